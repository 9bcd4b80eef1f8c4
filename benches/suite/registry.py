"""docker-registry on loopback, with an empty storage whenever it is started."""

import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

# Of the access log, which is Apache's: method, what is asked for, status, bytes of the answer.
REQUEST = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d+) (\d+)')
DIGEST = re.compile(r"[?&]digest=(sha256(?::|%3A)[0-9a-f]{64})")
MOUNT = re.compile(r"[?&]mount=(sha256(?::|%3A)[0-9a-f]{64})")


class Traffic:
    """Requests, the bytes of their answers, and how often which blob was sent or linked from another repository."""

    def __init__(self, lines: list, length):
        self.requests, self.received = len(lines), sum(int(size) for *_, size in lines)
        of = lambda method, form: Counter(found[1].replace("%3A", ":") for asked, path, status, _ in lines
                                          if asked == method and status == "201" and (found := form.search(path)))
        self.sent, self.linked = of("PUT", DIGEST), of("POST", MOUNT)
        self.bytes_sent = sum(times * length(digest) for digest, times in self.sent.items())


class DockerRegistry:
    """The server. Its address stays the same from the first start on. With `counts` it writes down what it is asked."""

    def __init__(self, directory: Path, counts: bool = False):
        self.directory, self.address, self.process, self.before = directory, "127.0.0.1:0", None, 0
        self.counts, self.log, self.read = counts, Path(f"{directory}.log"), 0

    def restart(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        config = self.directory / "config.yml"
        config.write_text(f"version: 0.1\nlog: {{level: info, accesslog: {{disabled: {str(not self.counts).lower()}}}}}\n"
                          f"storage: {{filesystem: {{rootdirectory: {self.directory}/storage}}, delete: {{enabled: true}}}}\n"
                          f"http: {{addr: '{self.address}'}}\n")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on ([0-9.:]+)", line):
                self.address = found[1]
                break
        else:
            raise RuntimeError("docker-registry ended")
        # A full pipe would stop it.
        threading.Thread(target=lambda said: [None for _ in said], args=(self.process.stderr,), daemon=True).start()
        self.forget()

    def forget(self):
        """Counts from now on."""
        self.before, self.read = self.stored(), self.log.stat().st_size

    def received(self) -> int:
        """Bytes of blobs since then that it did not have before."""
        return self.stored() - self.before

    def stored(self) -> int:
        return sum(blob.stat().st_size for blob in self.directory.glob("storage/docker/registry/v2/blobs/*/*/*/data"))

    def traffic(self) -> "Traffic":
        """What it was asked since then."""
        time.sleep(0.05)  # a line is written after its answer
        with open(self.log) as log:
            log.seek(self.read)
            return Traffic([found.groups() for found in map(REQUEST.search, log) if found], self.length)

    def length(self, digest: str) -> int:
        """Of a blob that it has."""
        algorithm, hexadecimal = digest.split(":")
        return (self.directory / "storage/docker/registry/v2/blobs" / algorithm / hexadecimal[:2] / hexadecimal / "data").stat().st_size

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

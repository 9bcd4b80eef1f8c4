"""docker-registry on loopback, with an empty storage whenever it is started."""

import re
import shutil
import subprocess
import threading
from pathlib import Path


class DockerRegistry:
    """The server. Its address stays the same from the first start on."""

    def __init__(self, directory: Path):
        self.directory, self.address, self.process, self.before = directory, "127.0.0.1:0", None, 0

    def restart(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        config = self.directory / "config.yml"
        config.write_text(f"version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n"
                          f"storage: {{filesystem: {{rootdirectory: {self.directory}/storage}}, delete: {{enabled: true}}}}\n"
                          f"http: {{addr: '{self.address}'}}\n")
        self.process = subprocess.Popen(["docker-registry", "serve", str(config)], stderr=subprocess.PIPE, text=True)
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
        self.before = self.stored()

    def received(self) -> int:
        """Bytes of blobs since then that it did not have before."""
        return self.stored() - self.before

    def stored(self) -> int:
        return sum(blob.stat().st_size for blob in self.directory.glob("storage/docker/registry/v2/blobs/*/*/*/data"))

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

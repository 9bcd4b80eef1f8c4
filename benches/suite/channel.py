"""A conda channel over HTTP on loopback, in a process of its own, that writes down how many bytes of which archive it sent.

It sends parts to who asks for them, as the servers of public channels do.
"""

import http.server
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    log: int

    def do_GET(self):
        path = (self.root / unquote(self.path).lstrip("/")).resolve()
        if self.root not in path.parents or not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            part = self.part(size)
            start, end = part or (0, size)
            self.send_response(206 if part else 200)
            self.send_header("Content-Length", str(end - start))
            if part:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.end_headers()
            self.wfile.flush()
            at = start
            try:
                while at < end:
                    at += os.sendfile(self.connection.fileno(), file.fileno(), at, end - at)
            finally:
                # One write to a file that is appended to: lines of threads do not mix.
                os.write(self.log, f"{at - start} {'part' if part else 'whole'} {path.name}\n".encode())

    def part(self, size: int) -> tuple:
        """Where what is asked for begins and ends: `bytes=A-B`, `bytes=A-` or `bytes=-LAST`; `None` for all."""
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        first, last = found.groups() if found else ("", "")
        if first:
            return min(int(first), size), min(int(last) + 1 if last else size, size)
        return (max(0, size - int(last)), size) if last else None

    def log_message(self, *_):
        pass


class Channel:
    """The server, and what it sent."""

    def __init__(self, root: Path, log: Path):
        log.write_bytes(b"")
        self.log = log
        self.process = subprocess.Popen([sys.executable, __file__, str(root), str(log)], stdout=subprocess.PIPE, text=True)
        self.url = f"http://{self.process.stdout.readline().strip()}"

    def forget(self):
        """Counts from now on."""
        os.truncate(self.log, 0)

    def sent(self) -> int:
        """Bytes of archives since then."""
        return sum(self._archives("whole")) + sum(self._archives("part"))

    def parts(self) -> int:
        """The bytes of these that were asked for as parts, which is what packages say of themselves."""
        return sum(self._archives("part"))

    def _archives(self, how: str) -> list:
        lines = [line.split(" ", 2) for line in self.log.read_text().splitlines()]
        return [int(size) for size, as_what, name in lines if as_what == how and name.endswith((".conda", ".tar.bz2"))]

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    Handler.root = Path(sys.argv[1]).resolve()
    Handler.log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

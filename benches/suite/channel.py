"""A conda channel over HTTP on loopback, in a process of its own, that writes down how many bytes of which archive it sent."""

import http.server
import os
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
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.flush()
            sent = 0
            try:
                while sent < size:
                    sent += os.sendfile(self.connection.fileno(), file.fileno(), sent, size - sent)
            finally:
                # One write to a file that is appended to: lines of threads do not mix.
                os.write(self.log, f"{sent} {path.name}\n".encode())

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
        lines = [line.split(" ", 1) for line in self.log.read_text().splitlines()]
        return sum(int(size) for size, name in lines if name.endswith((".conda", ".tar.bz2")))

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

"""Answers on 127.0.0.1:8000 with the versions of what it is made of, after using each part once."""

import importlib.metadata
import json
import os
import platform
import sqlite3
import ssl
import sys

import flask
import numpy

app = flask.Flask(__name__)


@app.get("/")
def parts():
    connection = sqlite3.connect(":memory:")
    ssl_context = ssl.create_default_context()
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "prefix": sys.prefix,
        "flask": importlib.metadata.version("flask"),
        "numpy": numpy.__version__,
        "sum": float(numpy.arange(10.0).sum()),
        "ssl": ssl.OPENSSL_VERSION,
        "certificates": len(ssl_context.get_ca_certs()),
        "sqlite": connection.execute("select sqlite_version()").fetchone()[0],
        "user": os.getuid(),
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["--once"]:
        print(json.dumps(parts()))
    else:
        app.run(host="127.0.0.1", port=8000)

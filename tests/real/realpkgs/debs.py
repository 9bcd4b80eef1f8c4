"""Reads Debian binary packages (.deb: an `ar` archive of control.tar and data.tar)."""

import io
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from . import files
from .files import Problem, Tree


@dataclass(frozen=True)
class Deb:
    """One unpacked package. `tree` has Debian's paths without the leading slash, e.g. "usr/bin/openssl"."""

    name: str
    architecture: str
    version: str
    control: dict[str, str]
    tree: Tree

    def upstream_version(self) -> str:
        """Debian's version without what is Debian's: "1:1.2.13.dfsg-1" is "1.2.13"."""
        version = self.version.split(":", 1)[-1].rsplit("-", 1)[0]
        return re.split(r"[+~]|\.dfsg", version)[0]


def read(path: Path) -> Deb:
    members = dict(_ar_members(path))
    control_tree = _tar(members, "control.tar", path)
    control = _control(control_tree["control"].data.decode())
    return Deb(control["Package"], control["Architecture"], control["Version"], control, _tar(members, "data.tar", path))


def _ar_members(path: Path):
    data = path.read_bytes()
    if not data.startswith(b"!<arch>\n"):
        raise Problem(f"{path} is not a Debian package")
    at = 8
    while at + 60 <= len(data):
        name, size = data[at : at + 16].decode().strip().rstrip("/"), int(data[at + 48 : at + 58])
        yield name, data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def _tar(members: dict[str, bytes], stem: str, path: Path) -> Tree:
    name = next((name for name in members if name.startswith(stem)), None)
    if name is None:
        raise Problem(f"{path} has no {stem}")
    data = members[name]
    if name.endswith(".zst"):
        data = subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(name=str(path), fileobj=io.BytesIO(data)) as tar:
        return files.from_tar(tar)


def _control(text: str) -> dict[str, str]:
    """The fields of a control file; continuation lines are dropped, nobody reads them."""
    lines = [line for line in text.splitlines() if line and not line.startswith(" ")]
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}

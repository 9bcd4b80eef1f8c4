"""Writes conda packages and a channel's repodata, byte for byte the same for the same input.

A package is a tree below the prefix plus what its `info/` says. Files in which the 255-character
placeholder of conda-build occurs are found here and declared, as conda-build does; .pyc files keep the
path they were compiled under, as conda-build leaves them.
"""

import bz2
import hashlib
import io
import json
import posixpath
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from . import files
from .files import Tree

PLACEHOLDER = ("/placehold" + "_placehold" * 26)[:255]
DEBIAN_12 = 1686355200  # 2023-06-10, for packages without files, which have no time of their own


@dataclass(frozen=True)
class Package:
    """What one archive says and holds. `entry_points` and a noarch of "python" make `info/link.json`."""

    name: str
    version: str
    build: str
    subdir: str
    tree: Tree
    build_number: int = 0
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    license: str = ""
    about: dict = field(default_factory=dict)
    noarch: str | None = None  # "generic", "python"; None where subdir is not "noarch"
    entry_points: tuple[str, ...] = ()
    licenses: Tree = field(default_factory=dict)
    extension: str = ".conda"  # or ".tar.bz2"

    @property
    def time(self) -> int:
        return files.newest(self.tree) or DEBIAN_12

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def file_name(self) -> str:
        return self.stem + self.extension


def index_record(package: Package) -> dict:
    """`info/index.json`, which is also the heart of the package's line in the repodata."""
    record = {
        "arch": {"linux-64": "x86_64", "linux-aarch64": "aarch64"}.get(package.subdir),
        "build": package.build,
        "build_number": package.build_number,
        "constrains": list(package.constrains),
        "depends": sorted(package.depends),
        "license": package.license,
        "name": package.name,
        "noarch": package.noarch,
        "platform": "linux" if package.subdir != "noarch" else None,
        "subdir": package.subdir,
        "timestamp": package.time * 1000,
        "version": package.version,
    }
    return {key: value for key, value in record.items() if value is not None}


def write(package: Package, channel: Path) -> dict:
    """Writes the archive into the channel and returns its repodata record."""
    info = _info(package)
    if package.extension == ".conda":
        data = _conda(package, info)
    else:
        # info/ first: readers that only want to know stop there.
        order = sorted(info) + sorted(package.tree)
        data = bz2.compress(_tar(info | package.tree, order), 9)
    path = channel / package.subdir / package.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    digests = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return index_record(package) | digests


def write_repodata(records: dict[str, dict[str, dict]], channel: Path) -> None:
    """`records` maps subdir to file name to record; every subdir of a channel has a repodata.json, if only an empty one."""
    for subdir, by_file in records.items():
        old = {name: record for name, record in by_file.items() if name.endswith(".tar.bz2")}
        new = {name: record for name, record in by_file.items() if name.endswith(".conda")}
        repodata = {"info": {"subdir": subdir}, "packages": old, "packages.conda": new, "removed": [], "repodata_version": 1}
        (channel / subdir).mkdir(parents=True, exist_ok=True)
        (channel / subdir / "repodata.json").write_text(_json(repodata))


def _info(package: Package) -> Tree:
    paths = [_path_record(path, package.tree) for path in sorted(package.tree)]
    prefixed = [path for path in paths if "prefix_placeholder" in path]
    texts = {
        "info/index.json": _json(index_record(package)),
        "info/about.json": _json(package.about | {"license": package.license}),
        "info/paths.json": _json({"paths": paths, "paths_version": 1}),
        "info/files": "".join(path["_path"] + "\n" for path in paths),
    }
    if prefixed:
        lines = [f'"{path["prefix_placeholder"]}" "{path["file_mode"]}" "{path["_path"]}"\n' for path in prefixed]
        texts["info/has_prefix"] = "".join(lines)
    if package.noarch == "python":
        noarch = {"type": "python"} | ({"entry_points": list(package.entry_points)} if package.entry_points else {})
        texts["info/link.json"] = _json({"noarch": noarch, "package_metadata_version": 1})
    licenses = {f"info/licenses/{name}": entry for name, entry in package.licenses.items()}
    return {path: files.file(text, package.time) for path, text in texts.items()} | licenses


def _path_record(path: str, tree: Tree) -> dict:
    entry = tree[path]
    data = _content(path, tree)
    record = {
        "_path": path,
        "path_type": "softlink" if entry.kind == "symlink" else "hardlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    if entry.kind != "symlink" and not path.endswith(".pyc") and PLACEHOLDER.encode() in data:
        record["prefix_placeholder"] = PLACEHOLDER
        record["file_mode"] = "binary" if b"\0" in data else "text"
    return record


def _content(path: str, tree: Tree) -> bytes:
    """A path's content through links; empty where a link leads to a directory or out of the package."""
    for _ in range(10):
        entry = tree.get(path)
        if entry is None or entry.kind == "dir":
            return b""
        if entry.kind == "file":
            return entry.data
        path = entry.target if entry.kind == "hardlink" else _beside(path, entry.target)
    return b""


def _beside(path: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _conda(package: Package, info: Tree) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (
            ("metadata.json", b'{"conda_pkg_format_version": 2}'),
            (f"pkg-{package.stem}.tar.zst", _zstd(_tar(package.tree))),
            (f"info-{package.stem}.tar.zst", _zstd(_tar(info))),
        ):
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o644 << 16
            archive.writestr(member, data)
    return out.getvalue()


def _tar(tree: Tree, order: list[str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        files.to_tar(tar, tree, order)
    return out.getvalue()


def _zstd(data: bytes) -> bytes:
    # One thread: with more the frame would depend on how many there are.
    return subprocess.run(["zstd", "-q", "-12", "-T1", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def _json(value) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"

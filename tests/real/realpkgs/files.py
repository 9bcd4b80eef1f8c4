"""A file tree in memory: what every step of the way takes and gives.

A tree maps a relative path ("lib/libz.so.1") to what is there. All of a package fits in memory, which
keeps the steps free of temporary directories and of this machine's umask and clock.
"""

import io
import os
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path


class Problem(Exception):
    """Something to tell the person who runs the script, without a stack trace."""


@dataclass(frozen=True)
class Entry:
    """One path: a file (`data`), a symlink or hard link (`target`), or a directory."""

    kind: str  # "file", "symlink", "hardlink" or "dir"
    mode: int
    mtime: int
    data: bytes = b""
    target: str = ""
    uid: int = 0
    gid: int = 0

    def with_data(self, data: bytes) -> "Entry":
        return replace(self, data=data)


Tree = dict[str, Entry]


def file(data: bytes | str, mtime: int, mode: int = 0o644) -> Entry:
    return Entry("file", mode, mtime, data=data.encode() if isinstance(data, str) else data)


def symlink(target: str, mtime: int) -> Entry:
    return Entry("symlink", 0o777, mtime, target=target)


def directory(mtime: int, mode: int = 0o755) -> Entry:
    return Entry("dir", mode, mtime)


def newest(tree: Tree) -> int:
    """The youngest file's mtime: a package's own idea of when it was made."""
    return max((entry.mtime for entry in tree.values()), default=0)


def from_tar(tar: tarfile.TarFile) -> Tree:
    """Reads a tar file whose names may start with "./"."""
    tree: Tree = {}
    for member in tar:
        path = os.path.normpath(member.name)
        if path == ".":
            continue
        common = dict(mode=member.mode, mtime=int(member.mtime), uid=member.uid, gid=member.gid)
        if member.isfile():
            tree[path] = Entry("file", data=tar.extractfile(member).read(), **common)
        elif member.issym():
            tree[path] = Entry("symlink", target=member.linkname, **common)
        elif member.islnk():
            tree[path] = Entry("hardlink", target=os.path.normpath(member.linkname), **common)
        elif member.isdir():
            tree[path] = Entry("dir", **common)
        else:
            raise Problem(f"{tar.name}: {path} is neither a file, a link nor a directory")
    return tree


def to_tar(tar: tarfile.TarFile, tree: Tree, order: list[str] | None = None) -> None:
    """Appends a tree, sorted by path unless `order` is given, with its own modes, owners and mtimes."""
    types = {"file": tarfile.REGTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE}
    written = set()
    for path in order or sorted(tree):
        entry = tree[path]
        if entry.kind == "hardlink" and entry.target not in written:
            raise Problem(f"hard link {path} comes before its target {entry.target}")
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.mtime = types[entry.kind], entry.mode, entry.mtime
        member.uid, member.gid, member.linkname = entry.uid, entry.gid, entry.target
        member.size = len(entry.data)
        tar.addfile(member, io.BytesIO(entry.data))
        written.add(path)


def write_out(tree: Tree, root: Path) -> None:
    """Puts a tree on disk, mtimes included, for programs that must see it there."""
    for path, entry in sorted(tree.items()):
        where = root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "dir":
            where.mkdir(exist_ok=True)
        elif entry.kind == "symlink":
            where.symlink_to(entry.target)
        else:
            where.write_bytes((tree[entry.target] if entry.kind == "hardlink" else entry).data)
            where.chmod(0o755 if entry.mode & 0o111 else 0o644)
            os.utime(where, (entry.mtime, entry.mtime))

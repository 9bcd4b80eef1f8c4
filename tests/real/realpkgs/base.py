"""A small Debian 12 as a base image, with the merged /usr of the real one, and two variants of it.

`debian`  two layers: the C library with what every program needs, and the rest
`moved`   the same programs, but libc.so.6 is removed by a third layer's whiteout and comes back in a fourth as a
          symlink to elsewhere: who looks for the C library must look through layers, whiteouts and links
`old`     like `moved`, with a C library that defines nothing newer than GLIBC_2.31; its programs do not start,
          as those of a new Debian would not on an old one
"""

import re
from dataclasses import replace
from pathlib import Path

from . import elf, files
from .debs import Deb
from .files import Problem, Tree
from .layout import Image, Layout
from .recipes import ARCHITECTURES, TRIPLETS

FIRST = ("base-files", "base-passwd", "libc6", "libcrypt1", "libgcc-s1")
SECOND = (
    *("bash", "coreutils", "dash", "libacl1", "libattr1", "libgmp10", "libpcre2-8-0", "libselinux1", "libtinfo6"),
    *("ca-certificates", "tzdata"),
)
NOARCH = ("ca-certificates", "tzdata")
OLD_GLIBC = 31

_DROPPED = re.compile(r"usr/share/(doc|man|info|locale|lintian|menu|doc-base)(/|$)|usr/share/zoneinfo/(right|posix)(/|$)")
_MERGED = re.compile(r"(bin|sbin|lib|lib64)(/|$)")


def wanted_debs() -> set[tuple[str, str]]:
    by_architecture = {*FIRST, *SECOND} - {*NOARCH}
    pairs = {(name, arch) for name in by_architecture for arch in ARCHITECTURES.values()}
    return pairs | {(name, "all") for name in NOARCH}


def make(target: Path, debs: dict[tuple[str, str], Deb]) -> str:
    layout = Layout(target)
    bases = {subdir: _debian(subdir, debs) for subdir in ARCHITECTURES}
    moved = {subdir: _with_moved_libc(image, subdir, lambda libc: libc) for subdir, image in bases.items()}
    old = {
        subdir: _with_moved_libc(image, subdir, lambda libc: elf.forget_versions_above(libc, OLD_GLIBC))
        for subdir, image in bases.items()
    }
    for tag, images in {"debian": bases, "moved": moved, "old": old}.items():
        layout.add(tag, list(images.values()))
    layout.finish()
    return "tags debian, moved, old for " + ", ".join(ARCHITECTURES.values())


def _debian(subdir: str, debs: dict[tuple[str, str], Deb]) -> Image:
    architecture = ARCHITECTURES[subdir]
    first = _merged([debs[name, architecture] for name in FIRST])
    second = _merged([debs[name, "all" if name in NOARCH else architecture] for name in SECOND])
    second = {path: entry for path, entry in second.items() if path not in first or entry.kind != "dir"}
    created = max(files.newest(first), files.newest(second))
    first |= _computed_first(first, created, "lib64" if architecture == "amd64" else None)
    second |= _computed_second(second, created)
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    config = {"Env": [f"{key}={value}" for key, value in environment.items()], "Cmd": ["bash"]}
    layers = [("debian: " + ", ".join(FIRST), first), ("debian: " + ", ".join(SECOND), second)]
    return Image(architecture, layers, config, created)


def _merged(debs: list[Deb]) -> Tree:
    """The packages' trees in one, with /bin, /sbin and /lib* below /usr."""
    tree: Tree = {}
    for deb in debs:
        for path, entry in deb.tree.items():
            path = _merge(path)
            if _DROPPED.match(path):
                continue
            if entry.kind == "hardlink":
                entry = replace(entry, target=_merge(entry.target))
            if path in tree and not tree[path].kind == entry.kind == "dir":
                raise Problem(f"two packages of the base have {path}, the second is {deb.name}")
            tree.setdefault(path, entry)
    return tree


def _merge(path: str) -> str:
    return f"usr/{path}" if _MERGED.match(path) else path


def _computed_first(tree: Tree, now: int, lib64: str | None) -> Tree:
    """What Debian's installer and the packages' scripts would have made."""
    links = {name: files.symlink(f"usr/{name}", now) for name in ("bin", "sbin", "lib", lib64) if name}
    passwd, group = (tree[f"usr/share/base-passwd/{name}.master"].data for name in ("passwd", "group"))
    return links | {
        "etc/passwd": files.file(passwd, now),
        "etc/group": files.file(group, now),
        "tmp": files.directory(now, 0o1777),
        "var/tmp": files.directory(now, 0o1777),
    }


def _computed_second(tree: Tree, now: int) -> Tree:
    certificates = [entry.data for path, entry in sorted(tree.items()) if path.endswith(".crt")]
    return {
        "etc/ssl/certs/ca-certificates.crt": files.file(b"".join(certificates), now),
        "etc/localtime": files.symlink("/usr/share/zoneinfo/Etc/UTC", now),
        "etc/timezone": files.file("Etc/UTC\n", now),
    }


def _with_moved_libc(image: Image, subdir: str, change) -> Image:
    folder, now = f"usr/lib/{TRIPLETS[subdir]}", image.created
    libc = image.layers[0][1][f"{folder}/libc.so.6"]
    without = {f"{folder}/.wh.libc.so.6": files.file(b"", now)}
    elsewhere = {
        "usr/lib/glibc": files.directory(now),
        "usr/lib/glibc/libc.so.6": libc.with_data(change(libc.data)),
        # Through /lib, which is itself a link of the first layer.
        f"{folder}/libc.so.6": files.symlink("/lib/glibc/libc.so.6", now),
    }
    return replace(image, layers=[*image.layers, ("remove libc.so.6", without), ("put libc.so.6 elsewhere", elsewhere)])

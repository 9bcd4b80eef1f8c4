"""Which conda package is made from which Debian packages, and how Debian's paths become a prefix's.

Python is different enough to have a file of its own, `python_recipe`.
"""

import posixpath
import re
from dataclasses import dataclass, replace

from . import elf, files
from .conda import PLACEHOLDER, Package
from .debs import Deb
from .files import Problem, Tree

ARCHITECTURES = {"linux-64": "amd64", "linux-aarch64": "arm64"}
TRIPLETS = {"linux-64": "x86_64-linux-gnu", "linux-aarch64": "aarch64-linux-gnu"}


@dataclass(frozen=True)
class Recipe:
    """`debs[0]` gives version and description. `depends` adds to what the ELF files show.

    `placeholder_rpath` names programs whose RPATH is the placeholder: with a wrong prefix they do not start.
    """

    name: str
    license: str
    debs: tuple[str, ...]
    depends: tuple[str, ...] = ()
    extension: str = ".conda"
    noarch: bool = False
    placeholder_rpath: tuple[str, ...] = ()


RECIPES = [
    Recipe("bzip2", "bzip2-1.0.6", ("bzip2", "libbz2-1.0"), extension=".tar.bz2"),  # has hard links
    Recipe("libexpat", "MIT", ("libexpat1",)),
    Recipe("libffi", "MIT", ("libffi8",), extension=".tar.bz2"),
    Recipe("libgcc", "GPL-3.0-only WITH GCC-exception-3.1", ("libgcc-s1",)),
    Recipe("liblzma", "0BSD", ("liblzma5",)),
    Recipe("libsqlite", "blessing", ("libsqlite3-0",)),
    Recipe("libstdcxx", "GPL-3.0-only WITH GCC-exception-3.1", ("libstdc++6",)),
    Recipe("libuuid", "BSD-3-Clause", ("libuuid1",)),
    Recipe("libxcrypt", "LGPL-2.1-or-later", ("libcrypt1",)),
    Recipe("libzlib", "Zlib", ("zlib1g",)),
    Recipe("ncurses", "X11", ("libncursesw6", "libtinfo6", "ncurses-bin", "ncurses-base"), extension=".tar.bz2"),
    Recipe("openssl", "Apache-2.0", ("openssl", "libssl3"), ("ca-certificates",), placeholder_rpath=("bin/openssl",)),
    Recipe("readline", "GPL-3.0-only", ("libreadline8",), extension=".tar.bz2"),
    Recipe("sqlite", "blessing", ("sqlite3",), placeholder_rpath=("bin/sqlite3",)),
    # A C compiler that is small: what it compiles for, it has below sysroot/, as conda's compilers do.
    Recipe("tcc", "LGPL-2.1-or-later", ("tcc", "libc6", "libc6-dev", "linux-libc-dev")),
    # Static: these run in an image that has nothing else.
    Recipe("bash", "GPL-3.0-or-later", ("bash-static",)),
    Recipe("busybox", "GPL-2.0-or-later", ("busybox-static",)),
    Recipe("ca-certificates", "MPL-2.0", ("ca-certificates",), noarch=True),
    Recipe("tzdata", "LicenseRef-Public-Domain", ("tzdata",), noarch=True),
]

_UNWANTED = re.compile(
    r"usr/share/(?!zoneinfo|tabset|ca-certificates/mozilla)|usr/share/zoneinfo/(right|posix)/|usr/sbin/"
    r"|usr/lib/(ssl|python|binfmt\.d)|etc/(?!ssl/openssl\.cnf)|lib64/|lib/ld-linux"
)
_APPLETS = ("cat", "env", "id", "ls", "sh", "sleep", "true", "uname")


def build(recipe: Recipe, subdir: str, debs: dict[str, Deb]) -> Package:
    """One package, without what its ELF files ask of others: see `with_needs`."""
    main = debs[recipe.debs[0]]
    tree: Tree = {}
    for name in recipe.debs:
        tree |= to_prefix(debs[name].tree, subdir)
    tree = _extras.get(recipe.name, lambda tree: tree)(tree)
    return Package(
        name=recipe.name,
        version=main.upstream_version(),
        build="deb12_0",
        subdir=subdir,
        tree=with_rpaths(tree, recipe.placeholder_rpath),
        depends=recipe.depends,
        license=recipe.license,
        about=about(main),
        noarch="generic" if recipe.noarch else None,
        licenses=licenses([debs[name] for name in recipe.debs]),
        extension=recipe.extension,
    )


def to_prefix(tree: Tree, subdir: str) -> Tree:
    """Debian's tree moved to where conda has things; directories go, a prefix makes its own."""
    moves = [
        (r"lib/terminfo/", "share/terminfo/"),
        (r"(usr/)?bin/", "bin/"),
        (rf"(usr/)?lib/({TRIPLETS.get(subdir, '-')}/)?", "lib/"),
        (rf"usr/include/({TRIPLETS.get(subdir, '-')}/)?", "sysroot/include/"),
        (r"usr/share/", "share/"),
        (r"etc/ssl/", "ssl/"),
    ]
    moved: Tree = {}
    for path, entry in tree.items():
        if entry.kind == "dir" or _UNWANTED.match(path):
            continue
        new = _moved(path, moves)
        if entry.kind == "hardlink":
            entry = replace(entry, target=_moved(entry.target, moves))
        elif entry.kind == "file":
            entry = replace(entry, mode=0o755 if entry.mode & 0o111 else 0o644)
        if new in moved:
            raise Problem(f"two files of one Debian package become {new}")
        moved[new] = entry
    return moved


def _moved(path: str, moves) -> str:
    for pattern, new in moves:
        if match := re.match(pattern, path):
            return new + path[match.end() :]
    raise Problem(f"no rule says where {path} goes in a prefix")


def with_rpaths(tree: Tree, placeholder: tuple[str, ...] = ()) -> Tree:
    """Makes dynamic programs and libraries find their libraries in the prefix's lib/, wherever the prefix is."""
    done = {}
    for path, entry in tree.items():
        # What is in a sysroot is there to be linked with, not to be run.
        if entry.kind == "file" and elf.is_elf(entry.data) and elf.needed(entry.data) and not path.startswith("sysroot/"):
            here = "$ORIGIN/" + posixpath.relpath("lib", posixpath.dirname(path))
            rpath = f"{PLACEHOLDER}/lib" if path in placeholder else here.removesuffix("/.")
            entry = entry.with_data(elf.set_rpath(entry.data, rpath))
        done[path] = entry
    return done


def about(deb: Deb) -> dict:
    keys = {"Homepage": "home", "Description": "summary"}
    return {ours: deb.control[theirs] for theirs, ours in keys.items() if theirs in deb.control}


def licenses(debs: list[Deb]) -> Tree:
    paths = {deb.name: f"usr/share/doc/{deb.name}/copyright" for deb in debs}
    found = {deb.name: deb.tree.get(paths[deb.name]) for deb in debs}
    return {f"{name}-copyright": replace(entry, mode=0o644) for name, entry in found.items() if entry and entry.kind == "file"}


def _certificates(tree: Tree) -> Tree:
    # OpenSSL has its directory compiled in and cannot be told by a prefix: an activation script says where.
    parts = [entry.data.decode() for path, entry in sorted(tree.items()) if path.endswith(".crt")]
    now = files.newest(tree)
    return {
        "ssl/cacert.pem": files.file("".join(part.rstrip("\n") + "\n" for part in parts), now),
        "ssl/cert.pem": files.symlink("cacert.pem", now),
        "etc/conda/activate.d/ca-certificates.sh": files.file('export SSL_CERT_FILE="${CONDA_PREFIX}/ssl/cacert.pem"\n', now),
        "etc/conda/deactivate.d/ca-certificates.sh": files.file("unset SSL_CERT_FILE\n", now),
    }


def _bash(tree: Tree) -> Tree:
    return {"bin/bash": tree["bin/bash-static"]}


def _busybox(tree: Tree) -> Tree:
    now = files.newest(tree)
    return {"bin/busybox": tree["bin/busybox"]} | {f"bin/{name}": files.symlink("busybox", now) for name in _APPLETS}


_CC = f"""#!/bin/sh
# tcc with its sysroot. Its own way to link looks for files of a Debian system.
prefix={PLACEHOLDER}
for argument; do
  case $argument in -c | -E) exec "$prefix/bin/tcc" "-B$prefix/lib/tcc" -nostdinc "$@" "-I$prefix/lib/tcc/include" "-I$prefix/sysroot/include" ;; esac
done
exec "$prefix/bin/tcc" "-B$prefix/lib/tcc" -nostdlib "$@" "-L$prefix/sysroot/lib" -lc "$prefix/lib/tcc/libtcc1.a"
"""
_TCC_SCRIPTS = {
    "activate": 'export CC="${CONDA_PREFIX}/bin/cc" LDSHARED="${CONDA_PREFIX}/bin/cc -shared"\n',
    "deactivate": "unset CC LDSHARED\n",
}


def _tcc(tree: Tree) -> Tree:
    now = files.newest(tree)
    headers = re.compile(r"sysroot/include/(?!c\+\+/|linux/(?!errno\.h|limits\.h))([^/]*$|(asm|asm-generic|bits|gnu|linux|sys)/)")
    kept = {path: entry for path, entry in tree.items() if re.match(r"bin/tcc$|lib/tcc/(include/|libtcc1\.a)", path) or headers.match(path)}
    for name in ("libc.so.6", "libm.so.6"):
        kept[f"sysroot/lib/{name}"] = tree[f"lib/{name}"]
        kept[f"sysroot/lib/{name.removesuffix('.6')}"] = files.symlink(name, now)
    scripts = {f"etc/conda/{when}.d/tcc.sh": files.file(text, now) for when, text in _TCC_SCRIPTS.items()}
    return kept | scripts | {"bin/cc": files.file(_CC, now, 0o755)}


_extras = {"ca-certificates": _certificates, "bash": _bash, "busybox": _busybox, "tcc": _tcc}

"""CPython 3.11 from Debian's parts, as a conda package: relocatable, `site-packages`, with bytecode."""

import os
import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from . import files, recipes
from .conda import PLACEHOLDER, Package
from .debs import Deb
from .files import Problem, Tree

DEBS = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libpython3.11-dev")
NOARCH_DEBS = ("python3-distutils", "python3-lib2to3")  # Debian keeps these parts of the library apart
LIBRARY = "lib/python3.11"
SITE_PACKAGES = f"{LIBRARY}/site-packages"

_UNWANTED = re.compile(
    rf"{LIBRARY}/(test/|config-|EXTERNALLY-MANAGED|_distutils_system_mod\.py|sitecustomize\.py|email/architecture\.rst"
    # Tests, and modules whose libraries no package of ours has.
    r"|lib-dynload/(_test|_xxtest|xx|_ctypes_test|nis\.|_dbm\.|ossaudiodev))"
)


def build(subdir: str, debs: dict[str, Deb]) -> Package:
    """The package without bytecode: `with_bytecode` needs it to make that."""
    tree: Tree = {}
    for name in DEBS + NOARCH_DEBS:
        tree |= _to_prefix(debs[name].tree)
    tree = recipes.with_rpaths({path: _changed(path, entry) for path, entry in tree.items()})
    main = debs[DEBS[0]]
    now = files.newest(tree)
    tree |= {
        "bin/python": files.symlink("python3.11", now),
        "bin/python3": files.symlink("python3.11", now),
        "bin/pydoc3.11": files.file(script("pydoc", "cli"), now, 0o755),
        "bin/pydoc3": files.symlink("pydoc3.11", now),
        f"{SITE_PACKAGES}/README.txt": files.file("This directory exists so that 3rd party packages can be installed here.\n", now),
    }
    return Package(
        name="python",
        version=main.upstream_version(),
        build="deb12_0_cpython",
        subdir=subdir,
        tree=tree,
        depends=("tzdata",),
        constrains=("python_abi 3.11.* *_cp311",),
        license="Python-2.0",
        about=recipes.about(main),
        licenses=recipes.licenses([debs[name] for name in DEBS]),
    )


def abi() -> Package:
    """python_abi has no files: it only stands between interpreters and compiled modules."""
    return Package(
        name="python_abi",
        version="3.11",
        build="8_cp311",
        build_number=8,
        subdir="noarch",
        tree={},
        constrains=("python 3.11.* *_cpython",),
        license="BSD-3-Clause",
        about={"summary": "Metapackage to select python implementation"},
        noarch="generic",
        extension=".tar.bz2",
    )


class Compiler:
    """The built interpreter for this machine, unpacked: bytecode comes from the very Python that will read it."""

    def __init__(self, packages: list[Package]):
        self._home = tempfile.TemporaryDirectory()
        for package in packages:
            files.write_out(package.tree, Path(self._home.name))

    def with_bytecode(self, tree: Tree) -> Tree:
        """Adds `__pycache__` for every module, bound to its source's size and mtime, as conda-build does.

        The path inside is the placeholder's, and is left so: Python corrects it when it imports.
        """
        sources = {path: entry for path, entry in tree.items() if path.startswith(LIBRARY) and path.endswith(".py")}
        with tempfile.TemporaryDirectory() as folder:
            files.write_out(sources, Path(folder))
            self._compile(folder)
            made = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.pyc"))}
        # A module that does not compile (lib2to3 has some as test data) has no bytecode, as with pip.
        return tree | {path: files.file(data, sources[_source(path)].mtime) for path, data in made.items()}

    def _compile(self, folder: str) -> None:
        # A fixed hash seed: the order of a frozenset's members is part of the bytecode.
        environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "TZ": "UTC"}
        python = [f"{self._home.name}/bin/python3.11", "-s", "-m", "compileall", "-q", "--invalidation-mode", "timestamp"]
        done = subprocess.run(
            [*python, "-s", folder, "-p", PLACEHOLDER, folder],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode not in (0, 1):
            raise Problem(f"the built Python cannot compile its library here: {done.stdout[-2000:]}")


def _source(bytecode: str) -> str:
    folder, name = bytecode.rsplit("/__pycache__/", 1)
    return f"{folder}/{name.removesuffix('.cpython-311.pyc')}.py"


def _to_prefix(tree: Tree) -> Tree:
    kept = {path: entry for path, entry in tree.items() if path.startswith(("usr/bin/python3.11", f"usr/{LIBRARY}/", "usr/include/python3.11/"))}
    moved = {path.removeprefix("usr/"): entry for path, entry in kept.items() if entry.kind != "dir"}
    # Debian's pyconfig.h only says where that of each architecture is.
    moved |= {"include/python3.11/pyconfig.h": entry for path, entry in tree.items() if path.endswith("-linux-gnu/python3.11/pyconfig.h")}
    normal = {path: replace(entry, mode=0o755 if entry.mode & 0o111 else 0o644) for path, entry in moved.items()}
    return {path: entry for path, entry in normal.items() if not _UNWANTED.match(path)}


def _changed(path: str, entry: files.Entry) -> files.Entry:
    """Takes Debian's own ways out of a file."""
    if entry.kind != "file":
        return entry
    data = entry.data
    if path == "bin/python3.11" or path == f"{LIBRARY}/site.py":
        # `site` is frozen into the interpreter; the names are equally long.
        data = data.replace(b"dist-packages", b"site-packages")
    elif path == f"{LIBRARY}/sysconfig.py":
        data = data.replace(b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'")
    elif path.startswith(f"{LIBRARY}/_sysconfigdata__") and b"/usr" in data:
        data = data.replace(b"/usr", PLACEHOLDER.encode())
    return entry.with_data(data)


def script(module: str, function: str) -> str:
    """A console script as pip writes it, for packages that are not noarch."""
    body = f"import sys\nfrom {module} import {function}\nif __name__ == '__main__':\n    sys.exit({function}())\n"
    return f"#!{PLACEHOLDER}/bin/python3.11\n{body}"

"""Dependencies as the ELF files show them: which package has the library, and which glibc is the least."""

from dataclasses import replace

from . import elf
from .conda import Package
from .files import Problem, Tree

GLIBC = {
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
}


def with_needs(packages: list[Package]) -> list[Package]:
    """Adds to each package of one subdir its dependencies on the others of the list, and on `__glibc`.

    A library that no package and not glibc has is an error: the package would not run.
    """
    homes = {path.removeprefix("lib/"): package for package in packages for path in _libraries(package.tree)}
    return [replace(package, depends=tuple(sorted({*package.depends, *_needs(package, homes)}))) for package in packages]


def _libraries(tree: Tree):
    return (path for path in tree if path.startswith("lib/") and path.count("/") == 1 and ".so" in path)


def _needs(package: Package, homes: dict[str, Package]):
    own = {path.rsplit("/", 1)[-1] for path in package.tree}
    minimum = None
    for path, entry in package.tree.items():
        if entry.kind != "file" or not elf.is_elf(entry.data):
            continue
        glibc = elf.glibc_minimum(entry.data)
        minimum = max(minimum or 0, glibc) if glibc else minimum
        for name in elf.needed(entry.data):
            if name in own or name in GLIBC:
                continue
            if name not in homes:
                raise Problem(f"{package.stem} ({package.subdir}): {path} needs {name}, which no package has")
            yield f"{homes[name].name} >={homes[name].version}"
    if minimum:
        yield f"__glibc >=2.{minimum},<3.0.a0"

"""The channel: from downloaded files to packages, repodata and workspaces, all in one directory."""

import platform
from dataclasses import replace
from pathlib import Path

from . import base, conda, debs, download, needs, python_recipe, recipes, wheels, workspaces
from .conda import Package
from .files import Problem

SUBDIRS = ("noarch", "linux-64", "linux-aarch64")


def wanted_debs() -> set[tuple[str, str]]:
    """Every Debian package the channel is made of, by name and architecture."""
    everywhere = {name for recipe in recipes.RECIPES if recipe.noarch for name in recipe.debs}
    everywhere |= {"ncurses-base", *python_recipe.NOARCH_DEBS}
    by_architecture = {name for recipe in recipes.RECIPES for name in recipe.debs} | set(python_recipe.DEBS)
    pairs = {(name, arch) for name in by_architecture - everywhere for arch in recipes.ARCHITECTURES.values()}
    return pairs | {(name, "all") for name in everywhere}


def wanted_wheels() -> list[tuple[wheels.Recipe, str]]:
    compiled = [(recipe, subdir) for recipe in wheels.COMPILED for subdir in recipes.ARCHITECTURES]
    return [(recipe, "noarch") for recipe in wheels.NOARCH] + compiled


def make(target: Path, final: Path, sources: Path, deb_files: dict, wheel_files: dict) -> int:
    """Writes the channel to `target`, which will be moved to `final`; returns the number of packages."""
    packages = _packages(deb_files, wheel_files)
    records = {subdir: {} for subdir in SUBDIRS}
    for package in packages:
        records[package.subdir][package.file_name] = conda.write(package, target)
    conda.write_repodata(records, target)
    workspaces.write(sources, target / "workspaces", final, records)
    return len(packages)


def download_all(cache: Path) -> tuple[dict, dict]:
    """The files by what they are; the base image's packages come along, see `download.debs`."""
    found = download.debs(wanted_debs() | base.wanted_debs(), cache)
    deb_files = {key: found[key] for key in wanted_debs()}
    wheel_files = {
        (recipe, subdir): download.wheel(recipe.name, recipe.version, subdir, cache) for recipe, subdir in wanted_wheels()
    }
    return deb_files, wheel_files


def _packages(deb_files: dict, wheel_files: dict) -> list[Package]:
    unpacked = {key: debs.read(path) for key, path in sorted(deb_files.items())}
    noarch = [recipes.build(recipe, "noarch", _of(unpacked, "all")) for recipe in recipes.RECIPES if recipe.noarch]
    noarch += [wheels.build_noarch(recipe, wheel_files[recipe, "noarch"]) for recipe in wheels.NOARCH]
    noarch.append(python_recipe.abi())
    compiled = {subdir: _libraries_and_python(subdir, unpacked) for subdir in recipes.ARCHITECTURES}
    compiler = python_recipe.Compiler(compiled[_own_subdir()])
    result = noarch
    for subdir, packages in compiled.items():
        packages = [replace(p, tree=compiler.with_bytecode(p.tree)) if p.name == "python" else p for p in packages]
        packages += [wheels.build_compiled(recipe, wheel_files[recipe, subdir], subdir, compiler) for recipe in wheels.COMPILED]
        result += needs.with_needs(packages)
    return result


def _libraries_and_python(subdir: str, unpacked: dict) -> list[Package]:
    of_subdir = _of(unpacked, "all") | _of(unpacked, recipes.ARCHITECTURES[subdir])
    libraries = [recipes.build(recipe, subdir, of_subdir) for recipe in recipes.RECIPES if not recipe.noarch]
    return [*libraries, python_recipe.build(subdir, of_subdir)]


def _of(unpacked: dict, architecture: str) -> dict[str, debs.Deb]:
    return {name: deb for (name, arch), deb in unpacked.items() if arch == architecture}


def _own_subdir() -> str:
    own = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}.get(platform.machine())
    if own is None:
        raise Problem(f"the channel is made on x86_64 and aarch64 only, this is {platform.machine()}")
    return own

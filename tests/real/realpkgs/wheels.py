"""Turns PyPI's wheels into conda packages: noarch for pure ones, per architecture for compiled ones."""

import calendar
import configparser
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from . import files, python_recipe
from .conda import Package
from .files import Problem, Tree


@dataclass(frozen=True)
class Recipe:
    """A wheel, pinned. `depends` are the other packages of the channel that it imports."""

    name: str
    version: str
    depends: tuple[str, ...] = ()
    extension: str = ".conda"


NOARCH = [
    Recipe("blinker", "1.8.2"),
    Recipe("certifi", "2024.8.30"),
    Recipe("charset-normalizer", "3.4.0", extension=".tar.bz2"),
    Recipe("click", "8.1.7", extension=".tar.bz2"),
    Recipe("flask", "3.0.3", ("blinker >=1.6.2", "click >=8.1.3", "itsdangerous >=2.1.2", "jinja2 >=3.1.2", "werkzeug >=3.0.0")),
    Recipe("gunicorn", "23.0.0", ("packaging",)),
    Recipe("idna", "3.10"),
    Recipe("itsdangerous", "2.2.0", extension=".tar.bz2"),
    Recipe("jinja2", "3.1.4", ("markupsafe >=2.0",)),
    Recipe("markdown-it-py", "3.0.0", ("mdurl >=0.1,<1",)),
    Recipe("mdurl", "0.1.2"),
    Recipe("packaging", "24.1", extension=".tar.bz2"),
    Recipe("pygments", "2.18.0"),
    Recipe("requests", "2.32.3", ("certifi >=2017.4.17", "charset-normalizer >=2,<4", "idna >=2.5,<4", "urllib3 >=1.21.1,<3")),
    Recipe("rich", "13.9.4", ("markdown-it-py >=2.2.0", "pygments >=2.13.0,<3.0.0")),
    Recipe("setuptools", "75.1.0"),
    Recipe("urllib3", "2.2.3"),
    Recipe("werkzeug", "3.0.4", ("markupsafe >=2.1.1",)),
]
COMPILED = [
    Recipe("markupsafe", "2.1.5", extension=".tar.bz2"),
    Recipe("numpy", "1.26.4"),
    Recipe("pyyaml", "6.0.2"),
]


def build_noarch(recipe: Recipe, path: Path) -> Package:
    """A noarch package: modules under `site-packages/`, console scripts as entry points, no bytecode."""
    wheel = _Wheel(path)
    tree = {f"site-packages/{name}": entry for name, entry in wheel.tree.items()}
    return wheel.package(recipe, "noarch", tree, "py_0", ("python >=3.9",), entry_points=wheel.console_scripts)


def build_compiled(recipe: Recipe, path: Path, subdir: str, compiler: python_recipe.Compiler) -> Package:
    """A package for one architecture: modules where Python 3.11 has them, with bytecode and ready scripts."""
    wheel = _Wheel(path)
    tree = {f"{python_recipe.SITE_PACKAGES}/{name}": entry for name, entry in wheel.tree.items()}
    for line in wheel.console_scripts:
        name, module, function = re.split(r"\s*[=:]\s*", line)
        tree[f"bin/{name}"] = files.file(python_recipe.script(module, function), wheel.time, 0o755)
    depends = ("python >=3.11,<3.12.0a0", "python_abi 3.11.* *_cp311")
    return wheel.package(recipe, subdir, compiler.with_bytecode(tree), "py311_0", depends)


class _Wheel:
    def __init__(self, path: Path):
        self.tree: Tree = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                if ".data/" in member.filename:
                    raise Problem(f"{path.name} has {member.filename}: no rule says where wheel data goes")
                executable = (member.external_attr >> 16) & 0o111
                # DOS times have no zone; the earliest one they can tell is the earliest conda keeps.
                mtime = calendar.timegm((*member.date_time, 0, 0, 0))
                self.tree[member.filename] = files.file(archive.read(member), mtime, 0o755 if executable else 0o644)
        self.time = files.newest(self.tree)
        self.info = next(name.split("/")[0] for name in self.tree if name.endswith(".dist-info/METADATA"))
        self.tree[f"{self.info}/INSTALLER"] = files.file("conda", self.time)
        self.tree[f"{self.info}/REQUESTED"] = files.file("", self.time)

    @property
    def console_scripts(self) -> tuple[str, ...]:
        entry = self.tree.get(f"{self.info}/entry_points.txt")
        if entry is None:
            return ()
        parser = configparser.ConfigParser(delimiters="=")
        parser.optionxform = str
        parser.read_string(entry.data.decode())
        scripts = parser["console_scripts"].items() if parser.has_section("console_scripts") else ()
        return tuple(f"{name} = {target}" for name, target in sorted(scripts))

    def package(self, recipe: Recipe, subdir: str, tree: Tree, build: str, depends: tuple[str, ...], entry_points=()) -> Package:
        metadata = self._metadata()
        return Package(
            name=recipe.name,
            version=recipe.version,
            build=build,
            subdir=subdir,
            tree=tree,
            depends=depends + recipe.depends,
            license=metadata.get("License-Expression", metadata.get("License", "")).split("\n")[0][:80],
            about={"summary": metadata.get("Summary", "")},
            noarch="python" if subdir == "noarch" else None,
            entry_points=entry_points,
            extension=recipe.extension,
        )

    def _metadata(self) -> dict[str, str]:
        head = self.tree[f"{self.info}/METADATA"].data.decode().split("\n\n")[0]
        return {key: value for key, _, value in (line.partition(": ") for line in reversed(head.split("\n")))}

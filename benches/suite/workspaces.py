"""The workspaces that are built: their packages in a channel, and what changes between one build and the next."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .change import changed_archive

APP = "print('an application of one file')\n"
MANIFEST = ('[workspace]\nname = "bench"\nchannels = ["{channel}"]\nplatforms = ["linux-64"]\n\n[dependencies]\n{packages}\n'
            '[tool.pixi-oci]\nbase = "scratch"\ninclude = ["app.py"]\n')


@dataclass(frozen=True)
class Source:
    """Where a workspace comes from."""

    name: str
    title: str
    # The directory with its pixi.lock.
    directory: Path
    # The channel's directory, and how the lock file names it.
    channel: Path
    named: str
    # The small package that changes: a `.conda` archive whose name ends in a build number.
    small: str
    # An OCI layout with its tag, or `scratch`.
    base: str


def synthetic(directory: Path, packages: int) -> Source:
    middle = f"linux-64/bench-{packages // 2:03}-1.0-0.conda"
    return Source("synthetic", "generated packages", directory, directory / "channel", "./channel", middle, "scratch")


def flask(cache: Path) -> Source:
    channel = cache / "channel"
    return Source("flask", "Flask and numpy, real packages", channel / "workspaces/flask", channel, str(channel),
                  "noarch/blinker-1.8.2-py_0.conda", f"oci:{cache}/base:debian")


class Workspace:
    """A workspace on disk, as it is now; its channel is a directory that a server can serve."""

    def __init__(self, source: Source, directory: Path):
        self.source, self.directory = source, directory / "ws"
        self.served = directory / "channel"
        self.url = None
        self.changes = {}
        shutil.copytree(source.channel, self.served, copy_function=os.link, ignore=shutil.ignore_patterns("workspaces"))
        for build in ("1", "2"):
            old = Path(source.small)
            new = re.sub(r"0\.conda$", f"{build}.conda", source.small)
            number = re.search(r"-([^-]*)\.conda$", new)[1]
            self.changes[build] = (old.name, Path(new).name,
                                   changed_archive(source.channel / old, self.served / new, number, f"build {build}\n".encode()))

    def serve(self, url: str):
        """From now on the channel is there."""
        self.url = url
        self.write()

    def write(self, build: str = None, app: str = ""):
        """Makes the workspace what it was in the beginning, but for a build of the small package and the application."""
        self.directory.mkdir(exist_ok=True)
        named = self.source.named
        lock = self._lock()
        if build:
            lock = self._changed(lock, *self.changes[build])
        packages = "".join(f'{name} = "*"\n' for name in re.findall(r"(?m)^  name: (\S+)$", lock))
        manifest = MANIFEST.format(channel=self.url, packages=packages)
        own = self.source.directory / "app.py"
        if own.exists():
            manifest = (self.source.directory / "pixi.toml").read_text()
        for name, text in [("pixi.lock", lock), ("pixi.toml", manifest)]:
            text = text.replace(f"file://{named}", self.url).replace(f" {named}", f" {self.url}").replace(f'"{named}', f'"{self.url}')
            (self.directory / name).write_text(text)
        (self.directory / "app.py").write_text((own.read_text() if own.exists() else APP) + app)

    def _lock(self) -> str:
        return (self.source.directory / "pixi.lock").read_text()

    @staticmethod
    def _changed(lock: str, old: str, new: str, values: dict) -> str:
        def entry(match):
            text = match[0]
            for key, value in values.items():
                text = re.sub(rf"(?m)^  {key}: .*$", f"  {key}: {value}", text)
            number = re.search(r"(\d+)\.conda$", new)[1]
            text = re.sub(r"(?m)^  build: .*$", f"  build: '{number}'", text)
            return re.sub(r"(?m)^  build_number: .*$", f"  build_number: {number}", text)

        lock = re.sub(rf"(?m)^- conda: \S*/{re.escape(old)}\n(  .*\n)*", entry, lock)
        return lock.replace(f"/{old}", f"/{new}")

    def lengths(self) -> dict:
        """The lengths of all archives of the channel by `NAME VERSION BUILD`."""
        lengths = {}
        for archive in self.served.glob("*/*-*-*"):
            stem = re.sub(r"\.(conda|tar\.bz2)$", "", archive.name)
            lengths[" ".join(stem.rsplit("-", 2))] = archive.stat().st_size
        return lengths

    def archives(self) -> list:
        """The archives of the linux-64 packages of the default environment."""
        default = re.search(r"(?ms)^  default:.*?^      linux-64:\n((?:      - [^\n]*\n)+)", self._lock())[1]
        return [self.source.channel / path for path in re.findall(r"conda: \S*/((?:linux-64|noarch)/\S+)", default)]

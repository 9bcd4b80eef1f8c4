"""A fleet of workspaces that share most of their packages, made of a seed; in a git repository, with a channel.

Of a workspace's packages most are a stack that all have, python among them, some are drawn out of a pool that a few workspaces
draw from, and a few are its own. A third are `noarch: python`, the others are for each of the two architectures.
"""

import subprocess
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from random import Random

from . import packages
from .packages import Package, scaled

sizes = SourceFileLoader("make_packages", str(Path(__file__).parent.parent / "make-packages")).load_module().sizes
PLATFORMS = ("linux-64", "linux-aarch64")
ARCHITECTURES = {"linux-64": "amd64", "linux-aarch64": "arm64"}
# Shares of a workspace's packages.
COMMON, DRAWN = 0.75, 0.15
NOARCH = 1 / 3
MANIFEST = """[workspace]
name = "{name}"
channels = ["{channel}"]
platforms = ["linux-64", "linux-aarch64"]

[dependencies]
{packages}

[tool.pixi-oci]
base = "scratch"
tags = ["latest@main"]
repositories = [{repositories}]
"""


@dataclass(frozen=True)
class Shape:
    """What a fleet is like: packages of a workspace, megabytes of its archives, and how much of them is left."""

    workspaces: int
    packages: int
    megabytes: int
    scale: float
    seed: int


@dataclass(frozen=True)
class Kind:
    """A package on all platforms."""

    name: str
    size: int
    noarch: bool
    build: str = "0"

    def on(self, platform: str) -> Package:
        version = "3.12.7" if self.name == "python" else "1.0"
        return Package(self.name, version, self.build, "noarch" if self.noarch else platform, self.size, self.noarch)


class Fleet:
    """The workspaces `services/NUMBER`, and their packages in a channel."""

    def __init__(self, shape: Shape, directory: Path):
        self.directory, self.channel, self.made = directory / "fleet", directory / "channel", {}
        random = Random(shape.seed)
        all_sizes = [scaled(size, shape.scale) for size in sizes(shape.packages, shape.megabytes * 1_000_000)]
        random.shuffle(all_sizes)
        common, drawn = int(shape.packages * COMMON), int(shape.packages * DRAWN)
        of = lambda name, size: Kind(name, size, random.random() < NOARCH)
        stack = [of(f"common-{number:03}", size) for number, size in enumerate(all_sizes[:common])]
        rest = all_sizes[common:]
        pool = [of(f"pool-{number:03}", random.choice(rest)) for number in range(2 * drawn)]
        own = lambda number: [of(f"own-{number:03}-{n}", random.choice(rest)) for n in range(shape.packages - common - drawn)]
        # One that all need, and that the layers of noarch packages depend on.
        stack[0] = replace(stack[0], name="python", noarch=False)
        # What changes is what most updates are about: neither large nor tiny, and of one architecture each.
        native = sorted((kind for kind in stack[1:] if not kind.noarch and kind.size > packages.TINY), key=lambda kind: kind.size)
        self.shared = native[len(native) // 2]
        self.workspaces = [[*stack, *random.sample(pool, drawn), *own(number)] for number in range(shape.workspaces)]
        self.own = replace(self.workspaces[0][-1], noarch=False)
        self.workspaces[0][-1] = self.own
        for kind in {kind for kinds in self.workspaces for kind in kinds}:
            self.make(kind)

    def make(self, kind: Kind):
        for package in {kind.on(platform) for platform in PLATFORMS}:
            self.made[package] = packages.write(package, self.channel)

    def settle(self, count: int, channel: str, repositories: list):
        """A new git repository with so many workspaces, as they were in the beginning."""
        subprocess.run(["rm", "-rf", self.directory], check=True)
        self.now, self.url, self.repositories = [list(kinds) for kinds in self.workspaces[:count]], channel, repositories
        self.directory.mkdir()
        (self.directory / ".gitignore").write_text("dist\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("begin")

    def change(self, kind: Kind, build: str):
        """Another build of a package, in all workspaces that have it, is committed; the jobs that have work then."""
        other = replace(kind, build=build)
        self.make(other)
        jobs = set()
        for number, kinds in enumerate(self.now):
            for at, one in enumerate(kinds):
                if one.name == kind.name:
                    kinds[at] = other
                    jobs |= {(self.path(number), architecture) for architecture in ARCHITECTURES.values()}
        self.commit(f"{kind.name}: build {build}")
        return jobs

    @staticmethod
    def path(number: int) -> str:
        return f"services/{number:03}"

    def commit(self, subject: str):
        for number, kinds in enumerate(self.now):
            directory, name = self.directory / self.path(number), f"{number:03}"
            directory.mkdir(parents=True, exist_ok=True)
            listed = {platform: sorted((kind.on(platform) for kind in kinds), key=lambda package: package.name) for platform in PLATFORMS}
            needed = "\n".join(f'{kind.name} = "*"' for kind in kinds)
            repositories = ", ".join(f'"{repository}/{name}"' for repository in self.repositories)
            (directory / "pixi.toml").write_text(MANIFEST.format(name=name, channel=self.url, packages=needed, repositories=repositories))
            (directory / "pixi.lock").write_text(packages.lock(listed, self.made, self.url))
        self.git("add", "--all")
        self.git("-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "--message", subject)

    def git(self, *arguments: str):
        subprocess.run(["git", "-C", self.directory, *arguments], check=True)

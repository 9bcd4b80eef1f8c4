"""Replays recorded histories of lock files: what each update sends and makes, against the least possible.

The packages are made of a seed (suite/packages.py) and have the recorded lengths, of which only a share is left above 64 KiB; that
leaves their order and the layers that they are divided over as they were. So bytes are given twice: as they were sent, and as they
were recorded, which counts for each layer that was sent the recorded lengths of its packages.
"""

import gzip
import json
import shutil
from pathlib import Path

from . import packages
from .channel import Channel
from .packages import Package, scaled
from .publisher import Publisher
from .registry import DockerRegistry

MB = 1_000_000
PLATFORM = "linux-64"
# Environment, application and configuration of each update.
OTHERS = 100_000
MANIFEST = '[workspace]\nname = "replay"\nchannels = ["{channel}"]\nplatforms = ["linux-64"]\n\n[tool.pixi-oci]\nbase = "scratch"\n'


class History:
    """The last updates of the environment that was updated most often, and of these of the largest."""

    def __init__(self, path: Path, updates: int, scale: float):
        recorded = json.loads(gzip.decompress(path.read_bytes()))
        self.sizes, self.all = {}, recorded["packages"]
        series = {}
        for version in recorded["versions"]:
            for environment, platforms in version["envs"].items():
                listed = frozenset(number for number in platforms.get(PLATFORM, []) if self.all[number][4] == "c")
                steps = series.setdefault(environment, [])
                if listed and (not steps or steps[-1] != listed):
                    steps.append(listed)
        environment = max(series, key=lambda name: (len(series[name]), len(series[name][-1]) if series[name] else 0))
        self.name = f"{recorded['repo']}, {environment}"
        self.steps = [self._packages(step, scale) for step in series[environment][-updates - 1:]]

    def _packages(self, step: frozenset, scale: float) -> list:
        has_python = any(self.all[number][1] == "python" for number in step)
        found = []
        for number in sorted(step):
            key, name, version, _, _, size, _, _, flags, _ = self.all[number]
            # Two archives of one version and build have two keys.
            package = Package(name, version, f"h{key[:10]}_0", "noarch" if "n" in flags else PLATFORM, scaled(size or 0, scale),
                              "y" in flags and has_python)
            self.sizes[f"{name} {version} {package.build}"] = size or 0
            found.append(package)
        return sorted(found, key=lambda package: package.name)


def run(binary: Path, directory: Path, updates: int, scale: float, work: Path) -> int:
    print("| history | packages | updates | new packages | layers made | of them without a new package | requests an update | CPU an update, s "
          "| sent, MB | archives of these, MB | recorded: sent, MB | least, MB | sent / least | / everything | |\n"
          f"|---|{'---:|' * 13}---|")
    met = True
    for path in sorted(directory.glob("*.json.gz")):
        place = work / path.name.removesuffix(".json.gz").lower()
        met &= one(binary, History(path, updates, scale), place)
        shutil.rmtree(place)
    print("\nGoals: no layer is made or sent twice; sent, as recorded, at most 1.05 times the least with ten updates or more, else 1.9 times; "
          "what is sent is as long as its archives, and 5 % and 0.1 MB an update more.")
    return 0 if met else 1


def one(binary: Path, history: History, work: Path) -> bool:
    """A line about one history; whether all goals are met."""
    workspace = work / "ws"
    workspace.mkdir(parents=True)
    made = {package: packages.write(package, work / "channel") for step in history.steps for package in step}
    channel, host = Channel(work / "channel", work / "channel.log"), DockerRegistry(work / "registry", counts=True)
    host.restart()
    publisher = Publisher(binary, workspace, work, channel, [host])
    length = {f"{package.name} {package.version} {package.build}": said["size"] for package, said in made.items()}
    seen, total = set(), dict.fromkeys(["new", "layers", "moved", "sent", "archives", "recorded", "least", "all", "requests", "more"], 0)
    cpu = 0.0
    (workspace / "pixi.toml").write_text(MANIFEST.format(channel=channel.url))
    try:
        for number, step in enumerate(history.steps):
            (workspace / "pixi.lock").write_text(packages.lock({PLATFORM: step}, made, channel.url))
            layers = publisher.publish("replay", number, [".", "--frozen", "--to", f"docker://{host.address}/app", "--tag", "replay"])
            figures, names = publisher.results[-1], {f"{package.name} {package.version} {package.build}" for package in step}
            new = names - seen
            seen |= names
            if number == 0:
                continue
            fresh = [layer["packages"] for layer in layers if layer["origin"] == "made"]
            cpu += figures["cpu"]
            for name, value in {
                "new": len(new), "layers": len(fresh), "moved": sum(not new & set(layer) for layer in fresh), "sent": figures["up"][0],
                "archives": sum(length[name] for layer in fresh for name in layer),
                "recorded": sum(history.sizes[name] for layer in fresh for name in layer), "least": sum(history.sizes[name] for name in new),
                "all": sum(history.sizes[name] for name in names), "requests": figures["all"],
                "more": figures["more"] + abs(figures["made"] - figures["new"]),
            }.items():
                total[name] += value
    finally:
        channel.stop()
        host.stop()
    updates, ratio = len(history.steps) - 1, total["recorded"] / max(1, total["least"])
    met = (total["more"] == 0 and ratio <= (1.05 if updates >= 10 else 1.9)
           and total["sent"] <= 1.05 * total["archives"] + OTHERS * updates)
    mb = lambda name: f"{total[name] / MB:.1f}"
    print(f"| {history.name} | {len(history.steps[-1])} | {updates} | {total['new']} | {total['layers']} | {total['moved']} "
          f"| {total['requests'] / updates:.0f} | {cpu / updates:.2f} | {mb('sent')} | {mb('archives')} | {mb('recorded')} | {mb('least')} "
          f"| {ratio:.3f} | {total['recorded'] / max(1, total['all']):.1%} | {'met' if met else 'MISSED'} |", flush=True)
    return met

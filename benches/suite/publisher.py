"""Runs `publish` and `plan` for a fleet, and counts what it costs at each registry, at the channel and on the machine."""

import json
import os
import shutil
from pathlib import Path

from .channel import Channel
from .measured import Failed, measured

PUBLISHED = {"cold": "cold", "nothing": "nothing changed", "shared": "a package of all workspaces changed",
             "own": "a package of one workspace changed"}
PLANNED = {"nothing": "`--since :latest`, nothing changed", "shared": "`--since :latest`, a package of all changed",
           "own": "`--since :latest`, a package of one changed", "shared, by files": "`--since COMMIT`, a package of all changed",
           "own, by files": "`--since COMMIT`, a package of one changed"}


class Publisher:
    """The program, the channel it downloads from and the registries it publishes to. Figures go to `results`."""

    KEPT_OUT = ("PIXI_", "REGISTRY_", "CI", "GITHUB_", "GITLAB_", "VERSION", "PUBLISH")

    def __init__(self, binary: Path, directory: Path, work: Path, channel: Channel, hosts: list):
        self.binary, self.directory, self.work, self.channel, self.hosts = binary, directory, work, channel, hosts
        self.cache, self.results, self.known = work / "cache", [], set()

    def forget(self):
        """An empty machine, and nothing is at the registries."""
        shutil.rmtree(self.cache, ignore_errors=True)
        self.known = set()

    def publish(self, case: str, size: int, workspaces: list, empty: bool = False) -> list:
        """The layers of packages of all images."""
        if empty:
            shutil.rmtree(self.cache, ignore_errors=True)
        command = ["publish", "--publish", "--json", *workspaces]
        shown = json.loads(self.run("published", case, size, command, self.cache))
        # One workspace gives its report, several a list.
        reports = [one["report"] for one in shown] if isinstance(shown, list) else [shown]
        layers = [layer for report in reports for image in report["build"]["images"] for layer in image["layers"]
                  if layer["kind"] == "packages"]
        made = [layer["digest"] for layer in layers if layer["origin"] == "made"]
        new = {layer["digest"] for layer in layers} - self.known
        self.known |= new
        figures = self.results[-1]
        figures.update(made=len(made), new=len(new), more=sum(times - 1 for sent in figures.pop("blobs") for times in sent.values()))
        return layers

    def plan(self, case: str, size: int, since: str, jobs: set) -> set:
        """The jobs that are listed, on an empty machine."""
        cache = self.work / "planning"
        command = ["plan", "--matrix", "github", "--workspace-glob", "services/*", "--since", since]
        shown = json.loads(self.run("planned", case, size, command, cache))
        shutil.rmtree(cache, ignore_errors=True)
        listed = {(job["workspace"], job["arch"]) for job in shown["include"]}
        self.results[-1].pop("blobs")
        self.results[-1].update(listed=len(listed), wrong=len(listed ^ jobs))
        return listed

    def run(self, what: str, case: str, size: int, command: list, cache: Path) -> str:
        """Measures a command of a machine that has this cache; what it printed."""
        self.channel.forget()
        [host.forget() for host in self.hosts]
        os.sync()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(self.KEPT_OUT)}
        environment["HOME"] = str(cache)
        log = self.work / f"{what}-{case}-{size}.log"
        with open(self.work / "stdout", "w+") as out, open(log, "w") as said:
            arguments = [str(part) for part in [self.binary, *command, "--cache-dir", cache, "--no-config", "--no-progress"]]
            try:
                figures = measured(arguments, stdout=out, stderr=said, environment=environment, directory=self.directory)
            except Failed as failed:
                raise Failed(f"{failed}\n{log.read_text()[-3000:]}") from None
            out.seek(0)
            shown = out.read()
        traffic = [host.traffic() for host in self.hosts]
        requests = [one.requests for one in traffic]
        self.results.append({
            "what": what, "case": case, "size": size, **figures, "requests": requests, "all": sum(requests),
            "up": [one.bytes_sent for one in traffic], "received": sum(one.received for one in traffic), "down": self.channel.sent(), "parts": self.channel.parts(),
            "sent": sum(sum(one.sent.values()) for one in traffic), "linked": sum(sum(one.linked.values()) for one in traffic),
            "blobs": [one.sent for one in traffic]})
        return shown

"""What is measured of one workspace and one destination, and in which state of the machine."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from .channel import Channel
from .measured import Failed, measured
from .registry import DockerRegistry
from .workspaces import Workspace

REPOSITORY = "bench/app"
CASES = {
    "cold": "cold",
    "nothing": "nothing changed",
    "file": "application file changed",
    "package": "one small package changed",
    "empty": "empty machine, layers from the registry, one small package changed",
}


class Bench:
    """Runs the cases of a workspace for a destination, `layout` or `registry`; figures go to `results`."""

    def __init__(self, programs: dict, workspace: Workspace, destination: str, work: Path, channel: Channel,
                 registry: DockerRegistry, results: list):
        self.programs, self.workspace, self.destination = programs, workspace, destination
        self.work, self.channel, self.registry, self.results = work, channel, registry, results

    def ours(self):
        """All cases: each begins with what the one before left, as on a machine on which somebody works."""
        self._empty()
        self.workspace.write()
        if self.destination == "registry":
            self.registry.restart()
        self._ours("cold")
        self._ours("nothing")
        self.workspace.write(app="# changed\n")
        self._ours("file")
        self.workspace.write(build="1")
        self._ours("package")
        if self.destination == "registry":
            self._empty()
            self.workspace.write(build="2")
            self._ours("empty")
        self._empty()

    def recipe(self):
        """The recipe on an empty machine, and once more: it does the same again, whatever changed."""
        self._empty()
        self.workspace.write()
        reference = []
        if self.destination == "registry":
            self.registry.restart()
            reference = [f"{self.registry.address}/{REPOSITORY}:bench"]
        state = self.work / "recipe"
        state.mkdir(parents=True)
        base, driver = self.workspace.source.base, self.programs["driver"]
        if base != "scratch":
            storage = f"containers-storage:[{driver}@{state}/storage+{state}/run]localhost/base:bench"
            subprocess.run(["skopeo", "copy", "--quiet", "--override-arch", "amd64", base, storage], check=True)
            base = "localhost/base:bench"
        command = ["benches/recipe", self.programs["installer"], self.workspace.directory / "pixi.lock", state, driver, base,
                   self.workspace.directory / "app.py", *reference]
        self._run("recipe", "cold", command, self._layout(state / "layout"))
        self._run("recipe", "nothing", command, self._layout(state / "layout"))
        self._empty()

    def umoci(self):
        """The recipe without a container storage, on an empty machine."""
        self._empty()
        self.workspace.write()
        reference = []
        if self.destination == "registry":
            self.registry.restart()
            reference = [f"{self.registry.address}/{REPOSITORY}:bench"]
        state = self.work / "recipe"
        state.mkdir(parents=True)
        command = ["benches/recipe-umoci", self.programs["installer"], self.workspace.directory / "pixi.lock", state,
                   self.workspace.source.base, *reference]
        self._run("umoci", "cold", command, self._layout(state / "layout"))
        self._empty()

    def floor(self):
        """The same bytes through the best tools; nothing is fetched and nothing is sent."""
        self._empty()
        out = self.work / "floor"
        out.mkdir(parents=True)
        self._run("floor", "cold", ["benches/floor", out, *self.workspace.archives()], lambda: 0)
        self._empty()

    def _empty(self):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.workspace.directory / "dist", ignore_errors=True)

    def _ours(self, case: str):
        out = self.work / "out/layout"
        out.parent.mkdir(parents=True, exist_ok=True)
        common = [self.workspace.directory, "--arch", "amd64", "--cache-dir", self.work / "cache", "--base",
                  self.workspace.source.base, "--no-config", "--no-progress", "--json"]
        if self.destination == "registry":
            to = f"docker://{self.registry.address}/{REPOSITORY}"
            command = [self.programs["ours"], "publish", "--publish", "--to", to, "--tag", "bench", *common]
        else:
            command = [self.programs["ours"], "build", "--output", f"oci:{out}:bench", *common]
        shown = self._run("ours", case, command, self._layout(out))
        figures = self.results[-1]
        report = json.loads(shown)
        build = report.get("build") or report
        layers = [layer for image in build["images"] for layer in image["layers"]]
        figures["image"] = sum(layer["size"] for layer in layers)
        # `NAME VERSION BUILD`
        figures["made_of"] = [package for layer in layers if layer.get("origin") == "made" for package in layer["packages"]]
        if self.destination == "registry":
            uploaded = set(report["destinations"][0]["uploaded"])
            figures["layers_pushed"] = sum(layer["digest"] in uploaded for layer in layers)
            figures["requests"] = report["destinations"][0]["requests"]

    @staticmethod
    def _layout(directory: Path):
        """Tells how many bytes of blobs a layout has."""
        return lambda: sum(blob.stat().st_size for blob in directory.glob("blobs/sha256/*"))

    def _run(self, who: str, case: str, command: list, in_layout) -> str:
        """Measures the command; what it printed."""
        to_registry = self.destination == "registry"
        before = self.registry.stored() if to_registry else in_layout()
        self.channel.forget()
        # Nothing that one run left to write to the disk may slow down the next.
        os.sync()
        log = self.work.parent / f"log-{self.workspace.source.name}-{self.destination}-{who}-{case}"
        with open(self.work.parent / "stdout", "w+") as out, open(log, "w") as said:
            environment = {**os.environ, "VERSION": "1.0.0-dev.1"}
            for name in list(environment):
                if name.startswith(("PIXI_", "REGISTRY_", "CI", "GITHUB_", "GITLAB_")):
                    del environment[name]
            try:
                figures = measured([str(part) for part in command], stdout=out, stderr=said, environment=environment)
            except Failed as failed:
                raise Failed(f"{failed}\n{log.read_text()[-3000:]}") from None
            out.seek(0)
            shown = out.read()
        after = self.registry.stored() if to_registry else in_layout()
        self.results.append({"set": self.workspace.source.name, "destination": self.destination, "who": who, "case": case,
                             **figures, "downloaded": self.channel.sent(), "new": after - before})
        return shown

"""Runs workflows of GitHub Actions as a runner would: expressions, matrices, needs, composite actions, artifacts.

Not imitated: containers and other machines. A job is a directory with a fresh clone, a clean environment and the
variables of docs.github.com "Default environment variables".
"""

import fnmatch
import itertools
import pathlib
import shutil
import subprocess

import yaml

from expressions import evaluate, fill, text


class GitHub:
    """A forge with one repository. `hosts` replaces names of registries in workflows by those of this machine."""

    def __init__(self, work, repository, action, hosts, path):
        self.work, self.repository, self.action, self.hosts, self.path = work, repository, action, hosts, path
        # Actions that only the forge has, with what each was given.
        self.elsewhere = {}
        self.runs = 0

    def run(self, workflow, event, secrets=(), only=None, broken=lambda job, matrix: False):
        """What became of every job: `{job: [(matrix, result, steps, log)]}`; `None` if the event does not start it.

        `broken` are jobs that die before they do anything.
        """
        source = pathlib.Path(workflow).read_text()
        for name, address in self.hosts.items():
            source = source.replace(name, address)
        document = yaml.safe_load(source)
        if not is_started(document[True], event):
            return None
        self.runs += 1
        run = Run(self, self.work / f"run{self.runs}", event, dict(secrets), broken)
        for name, job in document["jobs"].items():
            if only is None or name in only:
                run.job(name, job)
        return run.results


def is_started(on, event):
    """`on`, which is the key `true` for YAML 1.1."""
    if event["event_name"] not in on:
        return False
    rules = on[event["event_name"]] or {}
    if event["event_name"] == "pull_request" or not rules:
        return True
    patterns = rules.get("tags" if event["ref_type"] == "tag" else "branches", [])
    return any(fnmatch.fnmatchcase(event["ref_name"], pattern) for pattern in patterns)


def combinations(matrix):
    if "include" in matrix:
        assert list(matrix) == ["include"], matrix
        return matrix["include"]
    return [dict(zip(matrix, values)) for values in itertools.product(*matrix.values())]


class Run:
    def __init__(self, forge, work, event, secrets, broken):
        self.forge, self.work, self.event, self.secrets, self.broken = forge, work, event, secrets, broken
        self.results, self.needs, self.artifacts = {}, {}, work / "artifacts"
        self.artifacts.mkdir(parents=True)

    def job(self, name, job):
        wanted = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        context = {"github": self.event, "secrets": self.secrets, "needs": {n: self.needs[n] for n in wanted}, "matrix": {}}
        context["job"] = {"success": all(self.needs[n]["result"] == "success" for n in wanted)}
        self.results[name] = []
        if not evaluate(str(job.get("if", "success()")).strip().removeprefix("${{").removesuffix("}}"), context):
            self.needs[name] = {"result": "skipped", "outputs": {}}
            return
        strategy = job.get("strategy", {})
        result, outputs = "success", {}
        for number, matrix in enumerate(combinations(fill(strategy.get("matrix", {}), context)) or [{}]):
            if self.broken(name, matrix):
                outcome = (matrix, "failure", {}, "")
            else:
                instance = Instance(self, self.work / f"{name}{number}", {**context, "matrix": matrix, "steps": {}})
                instance.environment = fill(job.get("env", {}), instance.context)
                instance.steps(job["steps"])
                outputs = fill(job.get("outputs", {}), instance.context)
                outcome = (matrix, instance.result(), instance.context["steps"], instance.log)
            self.results[name].append(outcome)
            if outcome[1] != "success":
                result = "failure"
                if strategy.get("fail-fast", True):
                    break
        self.needs[name] = {"result": result, "outputs": outputs}


class Instance:
    """One job on one machine."""

    def __init__(self, run, work, context):
        self.run, self.work, self.context, self.log, self.environment = run, work, context, "", {}
        context["job"] = {"success": True}
        self.checkout = work / "repository"
        for directory in ("repository", "home", "temp"):
            (work / directory).mkdir(parents=True)

    def result(self):
        return "success" if self.context["job"]["success"] else "failure"

    def steps(self, steps):
        for number, step in enumerate(steps):
            condition = str(step.get("if", "success()")).strip()
            condition = condition.removeprefix("${{").removesuffix("}}")
            # A condition without a function of its own means `success() && …`.
            wanted = evaluate(condition, self.context) and (self.context["job"]["success"] or "()" in condition)
            name = step.get("id", f"step{number}")
            state = {"outputs": {}, "outcome": "skipped"}
            self.context["steps"][name] = state
            if wanted:
                good = self.uses(step, state) if "uses" in step else self.script(step, state, None)
                state["outcome"] = "success" if good else "failure"
                self.context["job"]["success"] &= good

    def uses(self, step, state):
        name, given = step["uses"], fill(step.get("with", {}), self.context)
        if name.startswith("actions/checkout@"):
            return self.clone(int(given.get("fetch-depth", 1)))
        if name.startswith("actions/upload-artifact@"):
            source, target = self.checkout / given["path"], self.run.artifacts / given["name"]
            if source.is_file():
                target.mkdir()
                shutil.copy(source, target)
                return True
            assert source.is_dir(), f"no files in {source}"
            shutil.copytree(source, target)
            # Modes are lost, as in the archive that the real one makes.
            for file in filter(pathlib.Path.is_file, target.rglob("*")):
                file.chmod(0o644)
            return True
        if name.startswith("actions/download-artifact@"):
            found = sorted(self.run.artifacts.glob(given.get("name") or given["pattern"]))
            assert found, f"there are no artifacts for {given}"
            for artifact in found:
                shutil.copytree(artifact, self.checkout / given.get("path", "."), dirs_exist_ok=True)
            return True
        if name.split("@")[0] in self.run.forge.elsewhere:
            self.run.forge.elsewhere[name.split("@")[0]].append(given)
            return True
        assert name.removesuffix("@COMMIT").endswith(".github/actions/pixi-oci"), f"nobody knows the action {name}"
        local = name.startswith("./")
        return self.composite(self.checkout / name if local else self.run.forge.action, step, given, state)

    def composite(self, directory, step, given, state):
        action = yaml.safe_load((directory / "action.yml").read_text())
        unknown = set(given) - set(action["inputs"])
        assert not unknown, f"the action has no inputs {unknown}"
        inputs = {name: text(given.get(name, entry["default"])) for name, entry in action["inputs"].items()}
        outer = self.context
        self.context = {"inputs": inputs, "steps": {}, "github": outer["github"], "job": {"success": True}}
        for inner in action["runs"]["steps"]:
            condition = inner.get("if", "success()").strip().removeprefix("${{").removesuffix("}}")
            if not (evaluate(condition, self.context) and self.context["job"]["success"]):
                continue
            result = {"outputs": {}}
            self.context["steps"][inner["id"]] = result
            environment = fill(step.get("env", {}), outer)
            self.context["job"]["success"] = self.script(inner, result, directory, environment)
        state["outputs"] = {name: fill(entry["value"], self.context) for name, entry in action["outputs"].items()}
        state["summary"] = "".join(inner.get("summary", "") for inner in self.context["steps"].values())
        good, self.context = self.context["job"]["success"], outer
        return good

    def script(self, step, state, action, environment=()):
        output, summary = self.work / "temp/output", self.work / "temp/summary"
        output.write_text("")
        file = self.work / "temp/script.sh"
        file.write_text(fill(step["run"], self.context))
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["bash", "-e"]
        event = self.run.event
        variables = {
            "PATH": self.run.forge.path, "HOME": self.work / "home", "CI": "true", "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event["event_name"], "GITHUB_REF": event["ref"], "GITHUB_REF_NAME": event["ref_name"],
            "GITHUB_REF_TYPE": event["ref_type"], "GITHUB_SHA": event["sha"], "GITHUB_HEAD_REF": event["head_ref"],
            "GITHUB_REPOSITORY": event["repository"], "GITHUB_WORKSPACE": self.checkout, "GITHUB_OUTPUT": output,
            "GITHUB_STEP_SUMMARY": summary, "RUNNER_TEMP": self.work / "temp", "RUNNER_OS": "Linux",
            **({"GITHUB_ACTION_PATH": action} if action else {}),
            **self.environment, **dict(environment), **fill(step.get("env", {}), self.context),
        }
        variables = {name: str(text(value) if not isinstance(value, pathlib.Path) else value) for name, value in variables.items()}
        process = subprocess.run([*shell, file], cwd=self.checkout, env=variables, text=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.log += process.stdout
        state["outputs"].update(outputs(output.read_text()))
        state["summary"] = summary.read_text() if summary.exists() else ""
        return process.returncode == 0

    def clone(self, depth):
        """As actions/checkout does: one commit unless all are asked for, and the address of the forge."""
        event, git = self.run.event, ["git", "-C", str(self.checkout)]
        commands = [["init", "--quiet"], ["remote", "add", "origin", f"file://{self.run.forge.repository}"],
                    ["fetch", "--quiet", *([f"--depth={depth}"] if depth else []), "--tags", "origin", event["sha"]],
                    ["checkout", "--quiet", event["sha"]],
                    ["remote", "set-url", "origin", f"https://git.example.org/{event['repository']}"]]
        for command in commands:
            subprocess.run([*git, *command], check=True)
        return True


def outputs(written):
    """`NAME=VALUE`, and `NAME<<END`, lines, `END`."""
    found, lines = {}, iter(written.splitlines())
    for line in lines:
        if "<<" in line.split("=")[0]:
            name, end = line.split("<<", 1)
            found[name] = "\n".join(itertools.takewhile(lambda inner: inner != end, lines))
        else:
            name, value = line.split("=", 1)
            found[name] = value
    return found

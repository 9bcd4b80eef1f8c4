"""Runs pipelines of Woodpecker as an agent would, without the containers: `when`, steps, secrets, and the variables of
woodpecker-ci.org "Environment variables". All steps of a pipeline share one clone."""

import fnmatch
import pathlib
import subprocess

import yaml


def run(pipeline, work, repository, event, secrets, hosts, path):
    """`[(step, good, log)]` of the steps that ran; `None` if the event does not start the pipeline."""
    source = pathlib.Path(pipeline).read_text()
    for name, address in hosts.items():
        source = source.replace(name, address)
    document = yaml.safe_load(source)
    if not fits(document["when"], event):
        return None
    for directory in ("home", "tmp"):
        (work / directory).mkdir(parents=True)
    checkout = work / "repository"
    subprocess.run(["git", "clone", "--quiet", f"file://{repository}", checkout], check=True)
    git = ["git", "-C", str(checkout)]
    subprocess.run([*git, "checkout", "--quiet", event["sha"]], check=True)
    subprocess.run([*git, "remote", "set-url", "origin", f"https://git.example.org/{event['repository']}.git"], check=True)
    variables = {
        "PATH": path, "HOME": str(work / "home"), "CI": "woodpecker", "CI_PIPELINE_EVENT": event["event"],
        "CI_COMMIT_SHA": event["sha"], "CI_COMMIT_REF": event["ref"], "CI_COMMIT_BRANCH": event.get("branch", ""),
        "CI_COMMIT_TAG": event.get("tag", ""), "CI_COMMIT_PULL_REQUEST": event.get("pull_request", ""),
        "CI_COMMIT_SOURCE_BRANCH": event.get("source_branch", ""), "CI_WORKSPACE": str(checkout),
    }
    results = []
    for step in document["steps"]:
        if "when" in step and not fits(step["when"], event):
            continue
        # A secret that does not exist, or not for this event, is nothing here.
        given = {name: secrets.get(value["from_secret"], "") if isinstance(value, dict) else str(value)
                 for name, value in step.get("environment", {}).items()}
        script = "set -e\n" + "\n".join(step["commands"])
        process = subprocess.run(["/bin/sh", "-c", script], cwd=checkout, env={**variables, **given}, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        results.append((step["name"], process.returncode == 0, process.stdout))
        if process.returncode != 0:
            break
    return results


def fits(rules, event):
    def one(rule):
        events = [rule["event"]] if isinstance(rule["event"], str) else rule["event"]
        return event["event"] in events and fnmatch.fnmatchcase(event.get("branch", ""), rule.get("branch", "*"))

    return any(one(rule) for rule in rules)

"""A machine with two registries, repositories as users have them, and the events of a forge."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

from github import GitHub

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/examples"
PASSWORD = "canary-password"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
INDEX = "application/vnd.oci.image.index.v1+json"


class Machine(unittest.TestCase):
    """`self.work` is gone after the test; `self.open` lets everybody in, `self.login` only robot."""

    def setUp(self):
        self.program, self.open, self.login = (os.environ[name] for name in ("PIXI_OCI", "OPEN_REGISTRY", "LOGIN_REGISTRY"))
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)
        # Each test has names of its own in the registries.
        self.owner = "-".join(self.id().split(".")[-2:]).replace("_", "-").lower()
        tools = self.work / "bin"
        tools.mkdir()
        # What `cargo install` does, without compiling for ten minutes.
        (tools / "cargo").write_text(
            '#!/bin/sh\nset -eu\n[ "$1 $2 $3 $4" = "install --locked --quiet --path" ] && [ -e "$5/Cargo.toml" ] && [ "$6" = --root ]\n'
            f'mkdir -p "$7/bin"\nln -s {self.program} "$7/bin/pixi-oci"\n')
        # Nix with what tests/lib/nix.sh says, which a job's clean environment does not have.
        settings = {name: os.environ[name] for name in os.environ if name.startswith("NIX_")}
        lines = "".join(f"export {name}={quote(value)}\n" for name, value in settings.items())
        (tools / "nix").write_text(f'#!/bin/bash\n{lines}exec /usr/bin/nix --offline "$@"\n')
        os.symlink(self.program, tools / "pixi-oci")
        # What tests copy is a script that calls the program, which is large.
        self.small_program = self.work / "small-pixi-oci"
        self.small_program.write_text(f'#!/bin/sh\nexec {self.program} "$@"\n')
        self.small_program.chmod(0o755)
        for name in ("cargo", "nix"):
            (tools / name).chmod(0o755)
        self.path = f"{tools}:{PATH}"

    def repository(self, workspaces, extra=()):
        """A git repository with copies of the example `hello`: `{directory: lines of [tool.pixi-oci]}`."""
        root = self.work / "repository"
        root.mkdir()
        for directory, lines in workspaces.items():
            place = root / directory
            shutil.copytree(EXAMPLES / "hello", place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("dist"))
            with open(place / "pixi.toml", "a") as manifest:
                manifest.write("\n".join(["", *lines, ""]))
        for name, content in dict(extra).items():
            (root / name).write_text(content)
        (root / ".gitignore").write_text("dist/\n")
        self.git(root, "init", "--quiet", "--initial-branch=main")
        self.commit(root)
        return root

    def git(self, root, *arguments):
        # `uploadpack`: forges give any commit that one asks for.
        settings = ["user.name=a", "user.email=a@example.org", "commit.gpgsign=false"]
        command = ["git", "-C", root, *(word for setting in settings for word in ("-c", setting)), *arguments]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def commit(self, root):
        self.git(root, "add", "--all")
        self.git(root, "commit", "--quiet", "--message", "a change")
        self.git(root, "config", "uploadpack.allowAnySHA1InWant", "true")
        return self.git(root, "rev-parse", "HEAD")

    def release_of(self, target):
        """A copy of what the action needs of our repository, with a release of the program under test for a target."""
        repository, files = self.work / "action", self.work / "files"
        for name in (".github/actions/pixi-oci", "packaging"):
            shutil.copytree(ROOT / name, repository / name)
        files.mkdir()
        shutil.copy(self.small_program, files / f"pixi-oci-{target}")
        subprocess.run([repository / "packaging/release", "9.9.9", f"file://{files}", files], check=True)
        return repository, files

    def github(self, root, repository=ROOT):
        hosts = {"ghcr.io": self.open, "git.example.org": self.open, "registry.example.com": self.login, "acme": self.owner}
        # A copy as a runner has it, and not our working tree.
        return GitHub(self.work / "github", root, repository / ".github/actions/pixi-oci", hosts, self.path)

    def event(self, root, kind, name, before="0" * 40):
        """`github` of an expression, for `push` of a branch, `tag` or `pull_request`."""
        sha = self.git(root, "rev-parse", "HEAD")
        ref = {"push": f"refs/heads/{name}", "tag": f"refs/tags/{name}", "pull_request": "refs/pull/7/merge"}[kind]
        return {
            "event_name": "push" if kind == "tag" else kind, "ref": ref, "sha": sha, "repository": f"{self.owner}/tool",
            "ref_name": "7/merge" if kind == "pull_request" else name, "ref_type": "tag" if kind == "tag" else "branch",
            "head_ref": name if kind == "pull_request" else "", "event": {"before": before}, "token": "",
            "server_url": "https://github.example.org",
        }

    def laptop(self, root, workspace, repository):
        """The digest of what `pixi-oci publish --publish` publishes from a clone, without any CI."""
        clone = self.work / f"laptop-{len(list(self.work.iterdir()))}"
        self.git(self.work, "clone", "--quiet", root, clone)
        self.git(clone, "remote", "set-url", "origin", f"git@git.example.org:{self.owner}/tool.git")
        command = [self.program, "publish", "--publish", workspace, "--to", f"docker://{self.open}/{repository}"]
        home = self.work / "laptop-home"
        process = subprocess.run(command, cwd=clone, env={"PATH": PATH, "HOME": str(home)}, check=True, text=True, stdout=subprocess.PIPE)
        return process.stdout.strip().split("@")[1]

    def tags(self, repository, registry=None):
        """`{tag: digest}`; empty if there is no such repository."""
        registry = registry or self.open
        try:
            listed = json.load(self.get(registry, f"{repository}/tags/list"))["tags"] or []
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise
        return {tag: self.get(registry, f"{repository}/manifests/{tag}").headers["Docker-Content-Digest"] for tag in listed}

    def get(self, registry, path):
        request = urllib.request.Request(f"http://{registry}/v2/{path}", headers={
            "Accept": f"{INDEX}, application/vnd.oci.image.manifest.v1+json"})
        if registry == self.login:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"robot:{PASSWORD}".encode()).decode())
        return urllib.request.urlopen(request)

    def assert_secret(self, *logs):
        for log in logs:
            self.assertNotIn(PASSWORD, log)


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"

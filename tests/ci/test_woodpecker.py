"""The pipelines of docs/examples/woodpecker."""

import hashlib
import os
import pathlib
import subprocess

import woodpecker
from fixture import EXAMPLES, PASSWORD, Machine


class Pipeline(Machine):
    extra, hosts = {}, {}

    def start(self, kind, name, secrets):
        sha = self.git(self.root, "rev-parse", "HEAD")
        event = {
            "push": {"event": "push", "branch": name, "ref": f"refs/heads/{name}"},
            "tag": {"event": "tag", "tag": name, "ref": f"refs/tags/{name}"},
            "pull_request": {"event": "pull_request", "branch": "main", "source_branch": name, "pull_request": "7", "ref": "refs/pull/7/head"},
        }[kind] | {"sha": sha, "repository": f"{self.owner}/tool"}
        # The user that the example names is `ci`, and docker-registry's is `robot`.
        hosts = {"REGISTRY_USER: ci": "REGISTRY_USER: robot", **self.hosts}
        work = self.work / f"run-{kind}-{name}"
        return woodpecker.run(self.pipeline, work, self.root, event, secrets, hosts, self.path)

    def begin(self):
        self.root = self.repository({".": [f'repositories = ["{self.login}/{self.owner}"]']}, self.extra)


class Common:
    def test_tag_is_published_and_the_laptops_digest_is_the_same(self):
        self.begin()
        self.git(self.root, "tag", "v2.0.0")
        steps = self.start("tag", "v2.0.0", {"registry_token": PASSWORD})
        log = "".join(step[2] for step in steps)
        self.assertTrue(all(good for _, good, _ in steps), log)
        self.assert_secret(log)
        tags = self.tags(self.owner, self.login)
        self.assertEqual(tags["2.0.0"], tags["latest"])
        self.assertEqual(self.laptop(self.root, ".", f"{self.owner}-laptop"), tags["2.0.0"])

    def test_branches(self):
        self.begin()
        steps = self.start("push", "main", {"registry_token": PASSWORD})
        self.assertTrue(all(good for _, good, _ in steps), steps)
        tags = self.tags(self.owner, self.login)
        self.assertNotIn("latest", tags)
        self.assertTrue(any(tag.startswith("sha-") for tag in tags), tags)
        self.assertNotIn("publish", [name for name, _, _ in self.start("push", "feature", {})])

    def test_missing_secret(self):
        self.begin()
        name, good, log = self.start("push", "main", {})[-1]
        self.assertEqual((name, good), ("publish", False))
        self.assertIn("BLOCKER(empty-token)", log)


class Container(Common, Pipeline):
    pipeline = EXAMPLES / "woodpecker/container.yaml"

    def test_pull_request_builds_and_verifies(self):
        self.begin()
        steps = self.start("pull_request", "feature", {})
        self.assertEqual([(name, good) for name, good, _ in steps], [("build", True)], steps)
        self.assertEqual(self.tags(self.owner, self.login), {})


class Binary(Common, Pipeline):
    """The release is a file of this machine."""

    pipeline = EXAMPLES / "woodpecker/binary.yaml"

    def setUp(self):
        super().setUp()
        self.release = hashlib.sha256(self.small_program.read_bytes()).hexdigest()
        self.hosts = {"https://github.com/OWNER/pixi-oci/releases/download/v0.1.0/pixi-oci-x86_64-unknown-linux-musl": f"file://{self.small_program}"}

    def start(self, kind, name, secrets):
        self.hosts["0" * 64] = self.release
        return super().start(kind, name, secrets)

    def test_another_program_is_not_run(self):
        self.begin()
        self.release = "1" * 64
        name, good, log = self.start("push", "main", {"registry_token": PASSWORD})[-1]
        self.assertEqual((name, good), ("build", False))
        self.assertIn("FAILED", log)

    def test_pull_request_builds_and_verifies(self):
        Container.test_pull_request_builds_and_verifies(self)


class Nix(Common, Pipeline):
    pipeline = EXAMPLES / "woodpecker/nix.yaml"

    def setUp(self):
        super().setUp()
        place = pathlib.Path(os.environ["NIX_STORE_DIR"]).parents[1]
        self.extra = {"flake.nix": (
            "{\n"
            f'  inputs.pixi-oci.url = "path:{place}/flake";\n'
            f'  inputs.pixi-oci.inputs.nixpkgs.url = "path:{place}/nixpkgs";\n'
            "  outputs = { self, pixi-oci }: { apps = pixi-oci.lib.mkApps { }; };\n"
            "}\n")}

    def begin(self):
        super().begin()
        # Nix would write the lock file into the clone, which is then no longer what was committed.
        features = ["--extra-experimental-features", "nix-command flakes"]
        subprocess.run(["nix", *features, "flake", "lock"], cwd=self.root, env={**os.environ, "PATH": self.path}, check=True)
        self.commit(self.root)

    def test_pull_request_builds_without_the_registry(self):
        self.begin()
        steps = self.start("pull_request", "feature", {})
        self.assertEqual([(name, good) for name, good, _ in steps], [("stage", True)], steps)
        self.assertEqual(self.tags(self.owner, self.login), {})

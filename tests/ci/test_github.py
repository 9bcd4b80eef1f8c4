"""The workflows of docs/examples/github, and our own."""

import json
import platform
import subprocess

import yaml
from fixture import EXAMPLES, PASSWORD, ROOT, Machine

TAGS = 'tags = ["{version}", "{major}.{minor}", "sha-{sha}", "latest", "latest@main"]'


def results(run):
    return {name: [result for _, result, _, _ in jobs] for name, jobs in run.items()}


def logs(run):
    return "".join(log for jobs in run.values() for _, _, _, log in jobs)


class Image(Machine):
    workflow = EXAMPLES / "github/image.yml"

    def setUp(self):
        super().setUp()
        self.root = self.repository({".": [TAGS]})
        self.forge = self.github(self.root)
        self.repository_name = f"{self.owner}/tool"

    def test_pull_request_builds_and_verifies_and_publishes_nothing(self):
        run = self.forge.run(self.workflow, self.event(self.root, "pull_request", "feature"))
        self.assertEqual(results(run), {"image": ["success"]}, logs(run))
        self.assertEqual(run["image"][0][2]["publish"]["outcome"], "skipped")
        self.assertEqual(self.tags(self.repository_name), {})

    def test_main_moves_latest(self):
        event = self.event(self.root, "push", "main")
        run = self.forge.run(self.workflow, event)
        self.assertEqual(results(run), {"image": ["success"]}, logs(run))
        tags = self.tags(self.repository_name)
        sha = f"sha-{event['sha'][:7]}"
        self.assertEqual({tag for tag in tags if not tag.endswith(("-amd64", "-arm64"))}, {"latest", sha}, tags)
        outputs = run["image"][0][2]["publish"]["outputs"]
        self.assertEqual({tags["latest"], tags[sha]}, {outputs["digest"]})
        self.assertEqual(outputs["references"], f"{self.open}/{self.repository_name}@{outputs['digest']}")
        self.assertIn(f"{self.open}/{self.repository_name}:latest", outputs["tags"].split("\n"))

    def test_tag_is_a_version_and_the_laptops_digest_is_the_same(self):
        self.git(self.root, "tag", "v1.2.3")
        run = self.forge.run(self.workflow, self.event(self.root, "tag", "v1.2.3"))
        # The example's base image is `scratch`, which needs no digest.
        self.assertEqual(results(run), {"image": ["success"]}, logs(run))
        tags = self.tags(self.repository_name)
        for tag in ("1.2.3", "1.2", "latest"):
            self.assertEqual(tags[tag], tags["1.2.3"])
        self.assertEqual(self.laptop(self.root, ".", f"{self.owner}/laptop"), tags["1.2.3"])
        laptops = self.tags(f"{self.owner}/laptop")
        self.assertEqual(laptops, tags)

    def test_another_branch_starts_nothing(self):
        self.assertIsNone(self.forge.run(self.workflow, self.event(self.root, "push", "feature")))


class Matrix(Machine):
    workflow = EXAMPLES / "github/matrix.yml"

    def setUp(self):
        super().setUp()
        self.root = self.repository({"services/api": [TAGS], "services/worker": [TAGS, 'env = { A = "1" }']})
        self.forge = self.github(self.root)

    def names(self):
        return [f"{self.owner}/services/{name}" for name in ("api", "worker")]

    def test_every_workspace_goes_to_every_registry(self):
        run = self.forge.run(self.workflow, self.event(self.root, "push", "main"), {"OTHER_TOKEN": PASSWORD})
        self.assertEqual(results(run), {"image": ["success"] * 4}, logs(run))
        for name in self.names():
            tags = self.tags(name)
            self.assertIn("latest", tags)
            self.assertEqual(self.tags(name, self.login), tags, "the same digests everywhere")
        self.assert_secret(logs(run))

    def test_missing_secret_blocks_its_registry_only(self):
        run = self.forge.run(self.workflow, self.event(self.root, "push", "main"), {})
        expected = ["success", "failure"] * 2
        self.assertEqual(results(run), {"image": expected}, logs(run))
        for matrix, result, _, log in run["image"]:
            self.assertEqual("BLOCKER(empty-token)" in log, result == "failure", log)
        for name in self.names():
            self.assertEqual(self.tags(name, self.login), {})
            self.assertIn("latest", self.tags(name))

    def test_wrong_secret_is_refused_and_not_shown(self):
        run = self.forge.run(self.workflow, self.event(self.root, "push", "main"), {"OTHER_TOKEN": "wrong-" + PASSWORD})
        self.assertIn("BLOCKER(auth-denied)", logs(run))
        self.assert_secret(logs(run))

    def test_pull_request_publishes_nothing_even_with_secrets(self):
        run = self.forge.run(self.workflow, self.event(self.root, "pull_request", "feature"), {"OTHER_TOKEN": PASSWORD})
        self.assertEqual(results(run), {"image": ["success"] * 4}, logs(run))
        for name in self.names():
            self.assertEqual((self.tags(name), self.tags(name, self.login)), ({}, {}))


class Legs(Machine):
    workflow = EXAMPLES / "github/legs.yml"

    def setUp(self):
        super().setUp()
        repositories = {name: [f'repositories = ["{self.open}/{self.owner}/{name}"]', TAGS] for name in ("api", "worker")}
        repositories["worker"].append('env = { A = "1" }')
        self.root = self.repository({f"services/{name}": lines for name, lines in repositories.items()})
        self.forge = self.github(self.root)
        self.names = [f"{self.owner}/{name}" for name in ("api", "worker")]

    def test_legs_joined_are_what_a_laptop_publishes(self):
        self.git(self.root, "tag", "v1.0.0")
        run = self.forge.run(self.workflow, self.event(self.root, "tag", "v1.0.0"), {"REGISTRY_TOKEN": "x"})
        self.assertEqual(results(run), {"plan": ["success"], "leg": ["success"] * 4, "join": ["success"]}, logs(run))
        for name in self.names:
            workspace = f"services/{name.rsplit('/', 1)[-1]}"
            tags = self.tags(name)
            self.assertEqual(tags["1.0.0"], tags["latest"])
            self.assertEqual(self.laptop(self.root, workspace, f"{name}-laptop"), tags["1.0.0"])

    def test_only_what_changed_is_built(self):
        before = self.git(self.root, "rev-parse", "HEAD")
        (self.root / "services/worker/new").write_text("x")
        self.commit(self.root)
        event = self.event(self.root, "push", "main", before)
        run = self.forge.run(self.workflow, event, {"REGISTRY_TOKEN": "x"})
        self.assertEqual([matrix["name"] for matrix, _, _, _ in run["leg"]],
                         ["services-worker-default-amd64", "services-worker-default-arm64"], logs(run))
        self.assertEqual(results(run)["join"], ["success"], logs(run))
        self.assertEqual(self.tags(self.names[0]), {})
        self.assertIn("latest", self.tags(self.names[1]))

    def test_nothing_changed_is_no_job_and_no_error(self):
        event = self.event(self.root, "push", "main", self.git(self.root, "rev-parse", "HEAD"))
        run = self.forge.run(self.workflow, event, {"REGISTRY_TOKEN": "x"})
        self.assertEqual(results(run), {"plan": ["success"], "leg": [], "join": []}, logs(run))

    def test_one_architecture_failed_and_the_other_workspace_is_published(self):
        def broken(job, matrix):
            return job == "leg" and (matrix["workspace"], matrix["arch"]) == ("services/worker", "arm64")

        run = self.forge.run(self.workflow, self.event(self.root, "push", "main"), {"REGISTRY_TOKEN": "x"}, broken=broken)
        self.assertEqual(results(run)["join"], ["failure"], logs(run))
        self.assertIn("BLOCKER(arch-missing)", logs(run))
        self.assertIn("latest", self.tags(self.names[0]))
        self.assertTrue(all(tag.endswith("-amd64") for tag in self.tags(self.names[1])), self.tags(self.names[1]))


class Action(Machine):
    """The inputs that no example uses."""

    def test_legs_tags_and_arguments(self):
        root = self.repository({".": []})
        uses = "OWNER/pixi-oci/.github/actions/pixi-oci@COMMIT"
        to = f"docker://{self.open}/{self.owner}/a\ndocker://{self.open}/{self.owner}/b\n"
        common = {"to": to, "tags": "one\ntwo\n", "publish": "true"}
        leg = lambda arch: {"uses": uses, "with": {**common, "arch": arch, "leg-file": f"legs/{arch}.json", "arguments": "--compression\nzstd:3"}}
        join = {"id": "join", "uses": uses, "with": {**common, "command": "publish-index", "legs": "legs/arm64.json\nlegs/amd64.json"}}
        steps = [{"uses": "actions/checkout@v4"}, leg("amd64"), leg("arm64"), join]
        workflow = self.work / "workflow.yml"
        workflow.write_text(yaml.safe_dump({True: {"push": None}, "jobs": {"all": {"runs-on": "x", "steps": steps}}}))
        run = self.github(root).run(workflow, self.event(root, "push", "main"))
        self.assertEqual(results(run), {"all": ["success"]}, logs(run))
        outputs = run["all"][0][2]["join"]["outputs"]
        for name in ("a", "b"):
            tags = self.tags(f"{self.owner}/{name}")
            self.assertEqual({tags["one"], tags["two"]}, {outputs["digest"]})
        self.assertEqual(len(outputs["references"].split("\n")), 2)

    def test_inputs_are_data_and_no_program(self):
        root = self.repository({".": []})
        hostile = f"$(touch {self.work}/here)'; touch {self.work}/here #"
        steps = [{"uses": "actions/checkout@v4"},
                 {"uses": "OWNER/pixi-oci/.github/actions/pixi-oci@COMMIT",
                  "with": {"command": "build", "environment": hostile}}]
        workflow = self.work / "workflow.yml"
        workflow.write_text(yaml.safe_dump({True: {"push": None}, "jobs": {"all": {"runs-on": "x", "steps": steps}}}))
        run = self.github(root).run(workflow, self.event(root, "push", "main"))
        self.assertEqual(results(run), {"all": ["failure"]})
        self.assertIn("touch", logs(run), "the environment of this name is not there")
        self.assertFalse((self.work / "here").exists())


    def steps(self, *given, env=()):
        uses = "OWNER/pixi-oci/.github/actions/pixi-oci@COMMIT"
        steps = [{"uses": "actions/checkout@v4"}]
        steps += [{"id": f"step{n}", "uses": uses, "with": inputs, "env": dict(env)} for n, inputs in enumerate(given)]
        workflow = self.work / "workflow.yml"
        workflow.write_text(yaml.safe_dump({True: {"push": None}, "jobs": {"all": {"runs-on": "x", "steps": steps}}}))
        return workflow

    def test_one_list_of_tags_for_every_event(self):
        root = self.repository({".": []})
        to = f"docker://{self.open}/{self.owner}/a"
        tags = "{version}\n{major}.{minor}\nlatest\nedge@main\nsha-{sha}\n"
        workflow = self.steps({"to": to, "tags": tags, "publish": "true"})
        forge = self.github(root)
        self.assertEqual(results(forge.run(workflow, self.event(root, "push", "main"))), {"all": ["success"]})
        plain = lambda: {tag for tag in self.tags(f"{self.owner}/a") if not tag.endswith(("-amd64", "-arm64", "64"))}
        sha = "sha-" + self.git(root, "rev-parse", "HEAD")[:7]
        self.assertEqual(plain(), {"edge", sha})
        self.git(root, "tag", "v1.2.3")
        self.assertEqual(results(forge.run(workflow, self.event(root, "tag", "v1.2.3"))), {"all": ["success"]})
        self.assertEqual(plain(), {"edge", sha, "1.2.3", "1.2", "latest"})

    def test_labels_annotations_outputs_and_summary(self):
        root = self.repository({".": []})
        to = f"docker://{self.open}/{self.owner}/a"
        workflow = self.steps({
            "to": to, "tags": "one", "publish": "true", "labels": "org.example.team=data & co\n",
            "annotations": 'org.example.say="quoted" = yes\n\norg.opencontainers.image.title=Tool\n'}, {"to": to, "tags": "one"})
        run = self.github(root).run(workflow, self.event(root, "push", "main"))
        self.assertEqual(results(run), {"all": ["success"]}, logs(run))
        first, second = (run["all"][0][2][f"step{n}"] for n in range(2))
        outputs = first["outputs"]
        report = json.loads(outputs["json"])
        self.assertEqual((report["digest"], f"{self.open}/{self.owner}/a@{report['digest']}"), (outputs["digest"], outputs["reference"]))
        index = json.load(self.get(self.open, f"{self.owner}/a/manifests/one"))
        image = json.load(self.get(self.open, f"{self.owner}/a/manifests/{index['manifests'][0]['digest']}"))
        for document in (index, image):
            self.assertEqual(document["annotations"]["org.example.say"], '"quoted" = yes')
            self.assertEqual(document["annotations"]["org.opencontainers.image.title"], "Tool")
        config = json.load(self.get(self.open, f"{self.owner}/a/blobs/{image['config']['digest']}"))
        self.assertEqual(config["config"]["Labels"]["org.example.team"], "data & co")
        sent = report["destinations"][0]
        line = f"| `{self.open}/{self.owner}/a` | `one-amd64` `one-arm64` `one` | {len(sent['uploaded'])} blobs, "
        self.assertIn(line, first["summary"])
        self.assertIn(f"Digest `{outputs['digest']}`", first["summary"])
        self.assertIn("A dry run: nothing was published.", second["summary"])

    def test_a_token_for_each_registry(self):
        root = self.repository({".": []})
        to = f"docker://{self.open}/{self.owner}/a\ndocker://{self.login}/{self.owner}/a\n"
        inputs = {"to": to, "tags": "one", "publish": "true", "tokens": f"{self.login}=robot:{PASSWORD}\n"}
        run = self.github(root).run(self.steps(inputs), self.event(root, "push", "main"))
        self.assertEqual(results(run), {"all": ["success"]}, logs(run))
        self.assertEqual(self.tags(f"{self.owner}/a"), self.tags(f"{self.owner}/a", self.login))
        # The only place of a token in a log is the word that has it masked in all of them.
        self.assert_secret(logs(run).replace(f"::add-mask::{PASSWORD}", ""))


class Release(Machine):
    """The program of a release, which is a file of this machine here."""

    TARGET = "x86_64-unknown-linux-musl" if platform.machine() == "x86_64" else "aarch64-unknown-linux-musl"

    def start(self, inputs, break_it=False):
        repository, files = self.release_of(self.TARGET)
        if break_it:
            with open(files / f"pixi-oci-{self.TARGET}", "ab") as file:
                file.write(b"x")
        root = self.repository({".": []})
        workflow = Action.steps(self, *inputs)
        return self.github(root, repository).run(workflow, self.event(root, "push", "main"))

    def without_cargo(self):
        (self.work / "bin/cargo").write_text("#!/bin/sh\necho nobody compiles >&2\nexit 1\n")

    def test_it_is_fetched_once_and_nothing_is_compiled(self):
        self.without_cargo()
        run = self.start([{"command": "build"}, {"command": "install"}])
        self.assertEqual(results(run), {"all": ["success"]}, logs(run))
        steps = run["all"][0][2]
        self.assertTrue(steps["step0"]["outputs"]["digest"].startswith("sha256:"))
        self.assertEqual(steps["step0"]["outputs"]["program"], steps["step1"]["outputs"]["program"])

    def test_another_file_is_not_run(self):
        self.without_cargo()
        run = self.start([{"command": "build"}], break_it=True)
        self.assertEqual(results(run), {"all": ["failure"]})
        self.assertIn("which the action pins", logs(run))
        self.assertNotIn("pixi-oci 0", logs(run))

    def test_from_source_compiles(self):
        run = self.start([{"command": "build", "from-source": "true"}], break_it=True)
        self.assertEqual(results(run), {"all": ["success"]}, logs(run))


class Own(Machine):
    def setUp(self):
        super().setUp()
        self.root = self.work / "repository"
        self.root.mkdir()
        files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
        for name in filter(None, files):
            if (ROOT / name).exists():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-P", ROOT / name, self.root / name], check=True)
        self.git(self.root, "init", "--quiet", "--initial-branch=main")

    def test_our_own_workflow_uses_our_action(self):
        self.commit(self.root)
        run = self.github(self.root).run(ROOT / ".github/workflows/ci.yml", self.event(self.root, "push", "main"), only=["image"])
        self.assertEqual(results(run), {"image": ["success"]}, logs(run))
        outputs = run["image"][0][2]["build"]["outputs"]
        self.assertTrue(outputs["digest"].startswith("sha256:"), outputs)
        self.assertIn("dist/oci", outputs["references"])

    def release(self, version):
        """All steps of release.yml, but for compilers and what only the forge can do: the programs are the one under test."""
        (self.root / "packaging/program").write_text(
            f'#!/bin/sh\nset -e\nmkdir -p "$2"\ncp {self.small_program} "$2/pixi-oci-$1"\ntouch "$2/pixi_oci-$1.whl"\n')
        changelog = self.root / "CHANGELOG.md"
        changelog.write_text(changelog.read_text().replace("## Unreleased", f"## {version}"))
        # Base images come from a registry that is not here.
        manifest = self.root / "packaging/image/pixi.toml"
        manifest.write_text(manifest.read_text().replace('"docker.io/library/buildpack-deps:bookworm-scm"', '"scratch"'))
        self.commit(self.root)
        self.git(self.root, "tag", "v0.1.0")
        gh = self.work / "bin/gh"
        gh.write_text(f"""#!/bin/sh
echo "$@" >>{self.work}/gh.log
case "$1 $2" in
  "release create") shift 7; mkdir -p {self.work}/released; cp notes.md "$@" {self.work}/released/ ;;
  "release download") cp {self.work}/released/release.json packaging/release.json ;;
  "auth setup-git") git config url.{self.root}.insteadOf https://github.com/{self.owner}/tool ;;
esac
""")
        gh.chmod(0o755)
        forge = self.github(self.root)
        forge.elsewhere = {"actions/attest-build-provenance": [], "pypa/gh-action-pypi-publish": []}
        return forge, forge.run(ROOT / ".github/workflows/release.yml", self.event(self.root, "tag", "v0.1.0"))

    def test_a_tag_becomes_a_release(self):
        forge, run = self.release("0.1.0")
        self.assertEqual({name: set(found) for name, found in results(run).items()}, {name: {"success"} for name in run}, logs(run))
        released = self.work / "released"
        programs = sorted(path.name for path in released.glob("pixi-oci-*"))
        self.assertEqual(len(programs), 6, programs)
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=released, check=True)
        record = json.loads((released / "release.json").read_text())
        self.assertEqual((record["version"], len(record["sha256"])), ("0.1.0", 6))
        self.assertIn("pixi-oci build", (released / "notes.md").read_text())
        # Our image, by ourselves; it is what was attested.
        tags = self.tags(f"{self.owner}/tool")
        self.assertEqual({tags["0.1.0"], tags["latest"]}, {forge.elsewhere["actions/attest-build-provenance"][0]["subject-digest"]})
        recorded = self.git(self.root, "show", "release-0.1.0:packaging/release.json")
        self.assertEqual(json.loads(recorded), record)

    def test_a_release_without_notes_ends_before_anything_is_made(self):
        _, run = self.release("Unreleased")
        self.assertEqual({name: found for name, found in results(run).items() if found}, {"check": ["failure"]})
        self.assertIn("has no section", logs(run))

"""Brings .deb and .whl files into a cache directory, with apt-get and pip as this machine has them set up.

A cache that has everything is used as it is, without the network. When a .deb is missing all of them are
looked up again, so that one set never mixes two states of the archive.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .files import Problem

SUITE = "bookworm"  # Debian 12, whose Python is 3.11
PLATFORMS = {
    "linux-64": ["manylinux_2_17_x86_64", "manylinux2014_x86_64"],
    "linux-aarch64": ["manylinux_2_17_aarch64", "manylinux2014_aarch64"],
}


def debs(wanted: set[tuple[str, str]], cache: Path) -> dict[tuple[str, str], Path]:
    """The files of packages given as (name, architecture), architecture "amd64", "arm64" or "all"."""
    folder = cache / "debs"
    found = _present(wanted, folder)
    if len(found) < len(wanted):
        # Beside and then moved, so that an interrupted download is not taken for a package.
        new = cache / "debs.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        _apt_download(sorted(wanted), new, cache / "apt")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        found = _present(wanted, folder)
    missing = [f"{name}:{arch}" for name, arch in sorted(wanted - found.keys())]
    if missing:
        raise Problem(f"apt-get download did not bring {', '.join(missing)}")
    return found


def _present(wanted, folder: Path) -> dict[tuple[str, str], Path]:
    files = {}
    for path in sorted(folder.glob("*.deb")):
        name, _version, arch = path.stem.split("_")
        files[name, arch] = path
    return {key: files[key] for key in wanted if key in files}


def _apt_download(wanted, folder: Path, apt: Path) -> None:
    """Uses apt's files under `apt`, so that neither dpkg's architectures nor apt's lists of this machine change."""
    for part in ("lists/partial", "cache/archives/partial", "sources"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    (apt / "sources" / "debian.sources").write_text(_debian_sources())
    options = [
        f"Dir::State={apt}",
        f"Dir::State::lists={apt}/lists",
        "Dir::State::status=/dev/null",
        f"Dir::Cache={apt}/cache",
        "Dir::Etc::sourcelist=/dev/null",
        f"Dir::Etc::sourceparts={apt}/sources",
        "Acquire::Languages=none",
        "APT::Sandbox::User=",  # the user _apt may not write here
        "APT::Architectures::=amd64",
        "APT::Architectures::=arm64",
    ]
    command = ["apt-get", "-q"] + [word for option in options for word in ("-o", option)]
    names = [name if arch == "all" else f"{name}:{arch}" for name, arch in wanted]
    _run([*command, "update"], folder, "bring Debian's lists of packages")
    _run([*command, "download", *names], folder, "download the Debian packages")


def _debian_sources() -> str:
    """This machine's own apt sources as far as they are Debian 12's: no archive is named here."""
    given = os.environ.get("PIXI_OCI_TEST_APT_SOURCES")
    paths = [Path(given)] if given else [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    stanzas = [stanza for path in paths if path.is_file() for stanza in _stanzas(path)]
    if not stanzas:
        raise Problem(
            f"no apt source of this machine is Debian 12 ({SUITE}), from which the real packages are made.\n"
            "Set PIXI_OCI_TEST_APT_SOURCES to a file in the format of /etc/apt/sources.list.d/debian.sources that is."
        )
    return "\n\n".join(stanzas) + "\n"


def _stanzas(path: Path):
    text = re.sub(r"^#.*\n?", "", path.read_text(), flags=re.M)
    if path.suffix == ".sources" or re.search(r"^Types:", text, flags=re.M):
        for stanza in re.split(r"\n\s*\n", text):
            suites = re.search(r"^Suites:(.*)$", stanza, flags=re.M | re.I)
            if suites and all(re.fullmatch(f"{SUITE}(-updates|-security)?", suite) for suite in suites[1].split()):
                yield stanza.strip()
        return
    for line in text.splitlines():
        entry = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)", line)
        if entry and re.fullmatch(f"{SUITE}(-updates|-security)?", entry[3]):
            signed = re.search(r"signed-by=(\S+)", entry[1] or "")
            yield "\n".join(
                [f"Types: deb\nURIs: {entry[2]}\nSuites: {entry[3]}\nComponents: {entry[4]}"]
                + ([f"Signed-By: {signed[1]}"] if signed else [])
            )


def wheel(name: str, version: str, subdir: str, cache: Path) -> Path:
    """The wheel of `name` for CPython 3.11 on `subdir`, "noarch" for one that runs everywhere."""
    folder = cache / "wheels" / subdir
    folder.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(rf"{re.sub('[-_.]', '[-_.]', name)}-{re.escape(version)}-.*\.whl", re.I)
    found = [path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)]
    if not found:
        platforms = PLATFORMS.get(subdir, ["any"])
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", "."]
        command += ["--python-version", "3.11", "--implementation", "cp" if subdir in PLATFORMS else "py"]
        command += [word for platform in platforms for word in ("--platform", platform)]
        _run([*command, f"{name}=={version}"], folder, f"download the wheel of {name} {version} for {subdir}")
        found = [path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)]
    if len(found) != 1:
        raise Problem(f"{len(found)} wheels of {name} {version} in {folder}, one expected")
    return found[0]


def _run(command: list[str], folder: Path, purpose: str) -> None:
    if shutil.which(command[0]) is None:
        raise Problem(f"cannot {purpose}: {command[0]} is not installed")
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Problem(f"could not {purpose}: {command[0]} exited with {done.returncode}\n{done.stdout[-2000:]}")

"""What the two commands share: the cache, the stamp that makes a second run a no-op, and how they end."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from .files import Problem

REAL = Path(__file__).resolve().parent.parent


def main(name: str, work: Callable[[Path, Path], None]) -> None:
    """Runs `work(cache, target directory)` alone among all users of the cache."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(f"usage: {name} DIR\nDownloads are kept in $PIXI_OCI_TEST_CACHE (default ~/.cache/pixi-oci-tests).", file=sys.stderr)
        sys.exit(2)
    cache = Path(os.environ.get("PIXI_OCI_TEST_CACHE") or Path.home() / ".cache" / "pixi-oci-tests").absolute()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with open(cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _require("patchelf", "zstd")
            work(cache, Path(sys.argv[1]).absolute())
    except Problem as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        sys.exit(1)


def make_once(target: Path, inputs: list[Path], make: Callable[[Path], str]) -> None:
    """Calls `make(new directory)` and moves the result to `target`, unless `target` was made from the same.

    The same: these input files, these scripts, this place (lock files name it).
    """
    stamp = _fingerprint(inputs + sorted(path for path in REAL.rglob("*") if path.suffix in (".py", ".toml")), str(target))
    if (target / "stamp").is_file() and (target / "stamp").read_text() == stamp:
        print(f"{target}: up to date")
        return
    if target.exists() and not (target / "stamp").is_file() and any(target.iterdir()):
        raise Problem(f"{target} is not empty and was not made by this script; name another directory")
    new = target.with_name(target.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    summary = make(new)
    (new / "stamp").write_text(stamp)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
    print(f"{target}: {summary}")


def _fingerprint(paths: list[Path], place: str) -> str:
    digest = hashlib.sha256(place.encode())
    for path in paths:
        digest.update(b"\0" + path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Problem(f"not installed: {', '.join(missing)} (tests/run installs what the tests need)")

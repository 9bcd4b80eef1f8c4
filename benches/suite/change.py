"""The same package with another build number and one file more: what a new build of a package costs."""

import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

TIME = 1767225600  # 2026-01-01, so that archives are the same on every day


def changed_archive(archive: Path, target: Path, build: str, content: bytes) -> dict:
    """Writes `target`, the `.conda` archive `archive` with `share/NEW` added; what a lock file says of it."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        stem = target.name.removesuffix(".conda")
        out.writestr(zipfile.ZipInfo("metadata.json"), source.read("metadata.json"))
        for member in source.namelist():
            part = member.split("-", 1)[0]
            if part not in ("pkg", "info"):
                continue
            plain = _zstd(source.read(member), "-d")
            edit = (lambda tar: _add(tar, _name(stem), content)) if part == "pkg" else \
                (lambda tar: _describe(tar, _name(stem), build, content))
            out.writestr(zipfile.ZipInfo(f"{part}-{stem}.tar.zst"), _zstd(edit(plain), "-9"))
    whole = target.read_bytes()
    return {"sha256": hashlib.sha256(whole).hexdigest(), "md5": hashlib.md5(whole).hexdigest(), "size": len(whole)}


def _name(stem: str) -> str:
    return f"share/changed-{stem}"


def _zstd(content: bytes, *arguments: str) -> bytes:
    return subprocess.run(["zstd", "-q", "-c", *arguments], input=content, stdout=subprocess.PIPE, check=True).stdout


def _entry(tar: tarfile.TarFile, name: str, content: bytes):
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o644, TIME
    tar.addfile(info, io.BytesIO(content))


def _add(plain: bytes, name: str, content: bytes) -> bytes:
    result = io.BytesIO(plain)
    with tarfile.open(fileobj=result, mode="a") as tar:
        _entry(tar, name, content)
    return result.getvalue()


def _describe(plain: bytes, name: str, build: str, content: bytes) -> bytes:
    def edit(path: str, text: bytes) -> bytes:
        if path == "info/index.json":
            return json.dumps({**json.loads(text), "build": build, "build_number": int(build.rsplit("_", 1)[-1])}).encode()
        if path == "info/paths.json":
            paths = json.loads(text)
            paths["paths"].append({"_path": name, "path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest(),
                                   "size_in_bytes": len(content)})
            return json.dumps(paths).encode()
        return text

    result = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(plain)) as old, \
            tarfile.open(fileobj=result, mode="w", format=tarfile.GNU_FORMAT) as new:
        for member in old:
            if not member.isreg():
                new.addfile(member)
                continue
            text = edit(member.name, old.extractfile(member).read())
            member.size = len(text)
            new.addfile(member, io.BytesIO(text))
    return result.getvalue()

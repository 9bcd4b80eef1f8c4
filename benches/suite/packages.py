"""Packages that are made of nothing but a seed: the same bytes on every machine.

Their files are random bytes, which do not compress, and the archive stores them as they are. So an archive is as long as asked
for (from some 5 kB on), and what a layer of it weighs can be compared with the length.
"""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

TIME = 1767225600  # 2026-01-01
BLOCK = 1 << 17  # the most that one block of zstd has
FILE = 1 << 16  # of a file; large packages have more and larger ones
MOST_FILES = 50
# Below it packages share layers (docs/layering.md).
TINY = 1 << 16


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    build: str
    subdir: str
    size: int
    # Of `noarch: python`, whose files go where Python looks for them.
    python: bool = False

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}-{self.build}.conda"


def scaled(size: int, scale: float) -> int:
    """Smaller, but on the same side of `TINY`, and in the same order: so packages are divided over layers as they were."""
    return size if size <= TINY else TINY + int((size - TINY) * scale)


def write(package: Package, channel: Path) -> dict:
    """Writes the archive; what a lock file says of it."""
    stem = package.file.removesuffix(".conda")
    below = "site-packages" if package.python else "share"
    index = {"name": package.name, "version": package.version, "build": package.build, "build_number": 0, "subdir": package.subdir,
             "depends": ["python"] if package.python else [], "license": "MIT", **({"noarch": "python"} if package.python else {})}
    link = {"info/link.json": {"noarch": {"type": "python"}, "package_metadata_version": 1}} if package.python else {}
    random, payload = Random(f"{package.subdir}/{stem}"), max(1, package.size - 5000)
    count = min(MOST_FILES, 1 + payload // FILE)
    lengths = [payload // count + (number < payload % count) for number in range(count)]
    files = {f"{below}/{package.name}/{number:02}.bin": random.randbytes(length) for number, length in enumerate(lengths)}
    paths = [{"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}
             for path, content in files.items()]
    info = {"info/index.json": index, "info/paths.json": {"paths": paths, "paths_version": 1}, **link}
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as out:
        out.writestr(zipfile.ZipInfo("metadata.json"), '{"conda_pkg_format_version": 2}')
        out.writestr(zipfile.ZipInfo(f"pkg-{stem}.tar.zst"), zstd(tar(files)))
        documents = {path: json.dumps(document).encode() for path, document in info.items()}
        out.writestr(zipfile.ZipInfo(f"info-{stem}.tar.zst"), zstd(tar(documents)))
    content = whole.getvalue()
    target = channel / package.subdir / package.file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def tar(files: dict) -> bytes:
    parts = []
    for path, content in files.items():
        entry = tarfile.TarInfo(path)
        entry.size, entry.mtime = len(content), TIME
        parts += [entry.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % tarfile.BLOCKSIZE)]
    return b"".join([*parts, bytes(2 * tarfile.BLOCKSIZE)])


def zstd(content: bytes) -> bytes:
    """A frame (RFC 8878) of raw blocks: length in four bytes, a window of 128 KiB."""
    parts = [b"\x28\xb5\x2f\xfd\x80\x38", len(content).to_bytes(4, "little")]
    for at in range(0, len(content), BLOCK):
        block = content[at:at + BLOCK]
        parts += [(len(block) << 3 | (at + BLOCK >= len(content))).to_bytes(3, "little"), block]
    return b"".join(parts)


def lock(packages: dict, made: dict, channel: str) -> str:
    """A lock file, version 6: `packages` by platform, `made` what `write` said of them."""
    lines = ["version: 6", "environments:", "  default:", "    channels:", f"    - url: {channel}/", "    packages:"]
    url = lambda package: f"{channel}/{package.subdir}/{package.file}"
    for platform, listed in packages.items():
        lines += [f"      {platform}:", *(f"      - conda: {url(package)}" for package in listed)]
    lines.append("packages:")
    for package in sorted({package for listed in packages.values() for package in listed}, key=url):
        lines += [f"- conda: {url(package)}", f"  name: {package.name}", f"  version: '{package.version}'", f"  build: '{package.build}'",
                  "  build_number: 0", f"  subdir: {package.subdir}", *(["  noarch: python"] if package.python else []),
                  f"  sha256: {made[package]['sha256']}", f"  depends: {'[python]' if package.python else '[]'}", "  license: MIT",
                  f"  size: {made[package]['size']}"]
    return "\n".join(lines) + "\n"

#!/usr/bin/env python3
"""Makes ./channel and ./pixi.lock of this example: same input, same bytes. Needs Python 3 only.

The program is 200 bytes of machine code that prints a file of another package. Where that file is, is a prefix
placeholder in the binary: pixi-oci replaces it while it writes the layer, as an installer would.
"""

import bz2
import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACEHOLDER = ("/placehold" * 26)[:255]
TIME = 1767225600  # 2026-01-01, so that archives are the same on every day
GREETING = "Hello from a Pixi environment at {prefix}, on no base image at all.\n"


def elf(machine: int, code: bytes, data: bytes) -> bytes:
    """A static ELF executable: one segment that holds headers, code and data."""
    base, start = 0x400000, 64 + 56
    size = start + len(code) + len(data)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x10000)
    return header + segment + code + data


def amd64(path: bytes) -> bytes:
    """open(path); read into the stack; write to stdout; exit."""
    after = bytes.fromhex("31f631d20f05")  # xor esi,esi; xor edx,edx; syscall
    after += bytes.fromhex("89c731c04881ec00100000")  # mov edi,eax; xor eax,eax; sub rsp,4096
    after += bytes.fromhex("4889e6ba001000000f05")  # mov rsi,rsp; mov edx,4096; syscall
    after += bytes.fromhex("89c2b801000000bf010000004889e60f05")  # write(1, rsp, what was read)
    after += bytes.fromhex("b83c00000031ff0f05")  # exit(0)
    open_ = bytes.fromhex("b802000000") + b"\x48\x8d\x3d" + struct.pack("<i", len(after))  # lea rdi,[rip+path]
    return elf(62, open_ + after, path)


def arm64(path: bytes) -> bytes:
    movz = lambda register, value: 0xD2800000 | value << 5 | register
    svc, sp_to_x1 = 0xD4000001, 0x910003E1
    before = [movz(8, 56), 0x92800000 | 99 << 5]  # openat(AT_FDCWD, …
    after = [movz(2, 0), movz(3, 0), svc, 0xD14007FF, sp_to_x1, movz(2, 4096), movz(8, 63), svc]
    after += [0xAA0003E2, movz(0, 1), sp_to_x1, movz(8, 64), svc, movz(0, 0), movz(8, 93), svc]
    distance = 4 * (len(after) + 1)
    adr = 0x10000000 | (distance & 3) << 29 | distance >> 2 << 5 | 1  # … path)
    return elf(183, b"".join(struct.pack("<I", word) for word in [*before, adr, *after]), path)


def package(subdir: str, name: str, files: dict, depends: list) -> dict:
    """Writes one .tar.bz2 package and returns its entry in the lock file. `files`: path -> (bytes, mode, file mode)."""
    build = "0"
    noarch = {"noarch": "generic"} if subdir == "noarch" else {}
    platform = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}.get(subdir)
    index = {"name": name, "version": "1.0", "build": build, "build_number": 0, "subdir": subdir, "depends": depends,
             "license": "MIT OR Apache-2.0", "arch": platform, "platform": platform and "linux", **noarch}
    paths = [{"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest(),
              "size_in_bytes": len(content), "file_mode": mode, "prefix_placeholder": PLACEHOLDER}
             for path, (content, _, mode) in sorted(files.items())]
    to_json = lambda value: json.dumps(value, indent=2, sort_keys=True).encode()
    entries = [("info/index.json", to_json(index), 0o644),
               ("info/paths.json", to_json({"paths": paths, "paths_version": 1}), 0o644),
               ("info/about.json", to_json({"summary": "An example of pixi-oci"}), 0o644)]
    entries += [(path, content, permissions) for path, (content, permissions, _) in sorted(files.items())]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content, permissions in entries:
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(content), permissions, TIME
            tar.addfile(info, io.BytesIO(content))
    archive = bz2.compress(buffer.getvalue(), 9)
    location = f"channel/{subdir}/{name}-1.0-{build}.tar.bz2"
    (HERE / location).parent.mkdir(parents=True, exist_ok=True)
    (HERE / location).write_bytes(archive)
    return {"location": location, "index": index, "sha256": hashlib.sha256(archive).hexdigest(),
            "md5": hashlib.md5(archive).hexdigest(), "size": len(archive), "subdir": subdir}


def lock(platforms: dict) -> str:
    """The lock file, version 6."""
    lines = ["version: 6", "environments:", "  default:", "    channels:", "    - url: ./channel", "    packages:"]
    for platform, packages in platforms.items():
        lines += [f"      {platform}:"] + [f"      - conda: ./{p['location']}" for p in packages]
    lines.append("packages:")
    unique = {p["location"]: p for packages in platforms.values() for p in packages}
    for location, p in sorted(unique.items()):
        lines += [f"- conda: ./{location}", f"  name: {p['index']['name']}", "  version: '1.0'", "  build: '0'",
                  "  build_number: 0", f"  subdir: {p['subdir']}", *(["  noarch: generic"] if p["subdir"] == "noarch" else []),
                  f"  sha256: {p['sha256']}", f"  md5: {p['md5']}"]
        depends = p["index"]["depends"]
        lines += ["  depends:", *(f"  - {d}" for d in depends)] if depends else ["  depends: []"]
        lines += ["  license: MIT OR Apache-2.0", f"  size: {p['size']}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    greeting = package("noarch", "hello-greeting", {
        "share/hello/greeting": (GREETING.format(prefix=PLACEHOLDER).encode(), 0o644, "text")}, [])
    path = f"{PLACEHOLDER}/share/hello/greeting".encode() + b"\0"
    platforms, repodata = {}, {"noarch": [greeting]}
    for platform, program in (("linux-64", amd64), ("linux-aarch64", arm64)):
        hello = package(platform, "hello", {"bin/hello": (program(path), 0o755, "binary")}, ["hello-greeting >=1.0"])
        platforms[platform], repodata[platform] = [hello, greeting], [hello]
    for subdir, packages in repodata.items():
        entries = {p["location"].rsplit("/", 1)[1]: {**p["index"], **{k: p[k] for k in ("sha256", "md5", "size")}} for p in packages}
        document = {"info": {"subdir": subdir}, "packages": entries, "packages.conda": {}, "repodata_version": 1}
        (HERE / "channel" / subdir / "repodata.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    (HERE / "pixi.lock").write_text(lock(platforms))


if __name__ == "__main__":
    main()

"""The little that is asked of ELF files: what they need, and what they are given for it.

Only 64-bit little-endian files occur here (amd64, arm64).
"""

import re
import struct
import subprocess
import tempfile
from pathlib import Path

from .files import Problem


def is_elf(data: bytes) -> bool:
    return data.startswith(b"\x7fELF\x02\x01")


def needed(data: bytes) -> list[str]:
    """The DT_NEEDED names; none for a static program."""
    dynamic = _dynamic(data)
    strings = dict(dynamic).get(5)
    if strings is None:
        return []
    base = _offset(data, strings)
    return [_string(data, base + value) for tag, value in dynamic if tag == 1]


def glibc_minimum(data: bytes) -> int | None:
    """N of the highest GLIBC_2.N that a dynamic file names, i.e. asks of the C library it runs with."""
    if not needed(data):
        return None
    return max((int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", data)), default=None)


def set_rpath(data: bytes, rpath: str) -> bytes:
    """Sets DT_RPATH, not DT_RUNPATH: only the former is searched for the libraries that libraries need."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "elf"
        path.write_bytes(data)
        subprocess.run(["patchelf", "--force-rpath", "--set-rpath", rpath, str(path)], check=True)
        return path.read_bytes()


def forget_versions_above(data: bytes, minor: int) -> bytes:
    """A libc.so.6 whose version definitions end with GLIBC_2.`minor`: what an older C library looks like.

    The chain of definitions is cut and its length corrected in the dynamic section, which is what readers go by.
    """
    out = bytearray(data)
    dynamic = dict(_dynamic(data))
    at, strings, count = _offset(data, dynamic[0x6FFFFFFC]), _offset(data, dynamic[5]), 0
    while True:
        count += 1
        _version, _flags, _index, _names, _hash, aux, following = struct.unpack_from("<HHHHIII", data, at)
        name = _string(data, strings + struct.unpack_from("<I", data, at + aux)[0])
        if name == f"GLIBC_2.{minor}":
            break
        if following == 0:
            raise Problem(f"this libc.so.6 does not define GLIBC_2.{minor}")
        at += following
    struct.pack_into("<I", out, at + 16, 0)
    start, size = _dynamic_segment(data)
    for entry in range(start, start + size, 16):
        if struct.unpack_from("<q", data, entry)[0] == 0x6FFFFFFD:
            struct.pack_into("<Q", out, entry + 8, count)
    sections, width, number = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    for header in range(sections, sections + width * number, width):
        if struct.unpack_from("<I", data, header + 4)[0] == 0x6FFFFFFD:
            struct.pack_into("<I", out, header + 44, count)
    return bytes(out)


def _segments(data: bytes):
    start, width, number = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    for at in range(start, start + width * number, width):
        kind, _flags, offset, address, _physical, size = struct.unpack_from("<IIQQQQ", data, at)
        yield kind, offset, address, size


def _dynamic_segment(data: bytes) -> tuple[int, int]:
    return next(((offset, size) for kind, offset, _, size in _segments(data) if kind == 2), (0, 0))


def _dynamic(data: bytes) -> list[tuple[int, int]]:
    start, size = _dynamic_segment(data)
    return [struct.unpack_from("<qQ", data, at) for at in range(start, start + size, 16)]


def _offset(data: bytes, address: int) -> int:
    for kind, offset, start, size in _segments(data):
        if kind == 1 and start <= address < start + size:
            return offset + address - start
    raise Problem(f"no segment of this ELF file holds address {address:#x}")


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()

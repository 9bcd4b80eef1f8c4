"""Writes an OCI layout: gzip layers, one image per architecture, an index per tag."""

import hashlib
import io
import json
import tarfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from . import files
from .files import Tree

MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True)
class Image:
    """Layers bottom first, each with the words of its history entry."""

    architecture: str
    layers: list[tuple[str, Tree]]
    config: dict
    created: int


class Layout:
    """An OCI layout directory being written; blobs go to disk at once, `finish` writes the index."""

    def __init__(self, root: Path):
        self._root = root
        self._tags: list[dict] = []
        (root / "blobs" / "sha256").mkdir(parents=True)
        (root / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))

    def add(self, tag: str, images: list[Image]) -> None:
        manifests = [self._image(image) | {"platform": _platform(image.architecture)} for image in images]
        index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": manifests}
        descriptor = self._json(index, f"{MEDIA}.index.v1+json")
        self._tags.append(descriptor | {"annotations": {"org.opencontainers.image.ref.name": tag}})

    def finish(self) -> None:
        index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": self._tags}
        (self._root / "index.json").write_text(json.dumps(index, indent=2))

    def _image(self, image: Image) -> dict:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(image.created))
        layers, diff_ids, history = [], [], []
        for words, tree in image.layers:
            tar = _tar(tree)
            layers.append(self._blob(_gzip(tar), f"{MEDIA}.layer.v1.tar+gzip"))
            diff_ids.append(_digest(tar))
            history.append({"created": created, "created_by": words})
        platform = _platform(image.architecture)
        rest = {"config": image.config, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}
        config = self._json({"created": created, **platform, **rest}, f"{MEDIA}.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": f"{MEDIA}.manifest.v1+json", "config": config, "layers": layers}
        return self._json(manifest, f"{MEDIA}.manifest.v1+json")

    def _json(self, value: dict, media_type: str) -> dict:
        return self._blob(json.dumps(value, separators=(",", ":")).encode(), media_type)

    def _blob(self, data: bytes, media_type: str) -> dict:
        digest = _digest(data)
        (self._root / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _platform(architecture: str) -> dict:
    return {"architecture": architecture, "os": "linux"} | ({"variant": "v8"} if architecture == "arm64" else {})


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _gzip(data: bytes) -> bytes:
    # wbits 31: a gzip header without name and time.
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    return compressor.compress(data) + compressor.flush()


def _tar(tree: Tree) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        files.to_tar(tar, tree)
    return out.getvalue()

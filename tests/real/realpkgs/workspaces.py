"""Writes workspaces that use the channel: the files of tests/real/workspaces and a version 6 lock file for each.

The lock file is what pixi writes for a `file://` channel: packages by absolute path, with `channel` and the
`subdir` spelled out because they do not follow from a path. So it is bound to where the channel is, and a
workspace can be copied elsewhere without it.
"""

import shutil
import tomllib
from pathlib import Path

from .files import Problem

Records = dict[str, dict[str, dict]]  # subdir -> file name -> repodata record


def write(sources: Path, target: Path, channel: Path, records: Records) -> None:
    """Copies each workspace below `sources` to `target` and locks it; `channel` is where the channel will be."""
    for source in sorted(path for path in sources.iterdir() if path.is_dir()):
        folder = target / source.name
        shutil.copytree(source, folder)
        manifest = folder / "pixi.toml"
        manifest.write_text(manifest.read_text().replace("@CHANNEL@", channel.as_uri()))
        (folder / "pixi.lock").write_text(lock(tomllib.loads(manifest.read_text()), channel, records))


def lock(manifest: dict, channel: Path, records: Records) -> str:
    platforms = manifest["workspace"]["platforms"]
    lines = ["version: 6", "environments:"]
    used: dict[tuple[str, str], dict] = {}
    for environment, roots in sorted(_environments(manifest).items()):
        lines += [f"  {environment}:", "    channels:", f"    - url: {channel.as_uri()}/", "    packages:"]
        for platform in platforms:
            lines.append(f"      {platform}:")
            for subdir, file_name, record in _closure(roots, platform, records):
                lines.append(f"      - conda: {channel}/{subdir}/{file_name}")
                used[subdir, file_name] = record
    lines.append("packages:")
    for (subdir, file_name), record in sorted(used.items(), key=lambda item: (item[1]["name"], item[0])):
        lines += [f"- conda: {channel}/{subdir}/{file_name}", *_package(record, channel)]
    return "\n".join(lines) + "\n"


def _environments(manifest: dict) -> dict[str, set[str]]:
    """Each environment's direct dependencies by name."""
    features = {name: set(feature.get("dependencies", {})) for name, feature in manifest.get("feature", {}).items()}
    default = set(manifest.get("dependencies", {}))
    chosen = {"default": []} | manifest.get("environments", {})
    return {name: default.union(*(features[feature] for feature in list_)) for name, list_ in chosen.items()}


def _closure(roots: set[str], platform: str, records: Records):
    """All packages that the roots need. The channel has one version of each, so there is nothing to choose."""
    by_name = {}
    for subdir in ("noarch", platform):
        by_name |= {record["name"]: (subdir, file_name, record) for file_name, record in records[subdir].items()}
    found, queue = {}, sorted(roots)
    while queue:
        name = queue.pop()
        if name in found or name.startswith("__"):
            continue
        if name not in by_name:
            raise Problem(f"{name} is needed on {platform}, but the channel does not have it")
        found[name] = by_name[name]
        queue += [spec.split()[0] for spec in by_name[name][2]["depends"]]
    return sorted(found.values(), key=lambda package: package[1])


def _package(record: dict, channel: Path) -> list[str]:
    lines = [f"  build_number: {record['build_number']}"] if record["build_number"] else []
    lines += [f"  {key}: {record[key]}" for key in ("subdir", "sha256", "md5")]
    for key in ("depends", "constrains"):
        lines += [f"  {key}:"] if record[key] else []
        lines += [f"  - {spec}" for spec in record[key]]
    lines.append(f"  channel: {channel.as_uri()}/")
    lines += [f"  license: {record['license']}"] if record["license"] else []
    return lines + [f"  {key}: {record[key]}" for key in ("size", "timestamp")]

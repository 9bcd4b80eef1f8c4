#!/usr/bin/env bash
# Wheels from PyPI, pure and compiled, for both architectures: built into an image through a mirror of their index, compared
# file by file with what uv installs for the same Python, checked by uv, and run by rootless podman without a network.
# arm64 runs through QEMU.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/podman.sh

pixi_oci=${PIXI_OCI:-target/debug/pixi-oci}
channel=${PIXI_OCI_REAL_CHANNEL:?made by tests/real/make-channel}
wheels=${PIXI_OCI_REAL_WHEELS:?made by tests/real/make-wheels}
base=oci:${PIXI_OCI_REAL_BASE:?made by tests/real/make-base}:debian

fail() { say "FAILED: $*"; exit 1; }

podman_require
enable_arm64
work=$PODMAN_DIR/wheels
mkdir "$work"

# The lock file names an index that nobody can reach; pixi's own setting says where its files are.
python3 -u -m http.server --bind 127.0.0.1 --directory "$wheels" 0 >"$work/server.log" 2>&1 &
server=$!
trap 'kill $server; podman_cleanup' EXIT
until port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$work/server.log") && [ -n "$port" ]; do sleep 0.1; done
tests/real/wheels-workspace "$channel" "$wheels" "$work/ws" https://files.index.example/packages
mkdir "$work/ws/.pixi"
printf '[mirrors]\n"https://files.index.example/packages" = ["http://127.0.0.1:%s"]\n' "$port" >"$work/ws/.pixi/config.toml"

build() { "$pixi_oci" build "$1" --base "$base" --cache-dir "$work/cache" --output "oci:$work/image:$2" >"$work/$2.said"; }
build "$work/ws" wheels
different=$(sed -n '/^- pypi: /,$s/^  sha256: //p' "$work/ws/pixi.lock" | sort -u | wc -l)
[ "$(grep -c '"GET .*\.whl' "$work/server.log")" = "$different" ] || fail "a wheel was fetched twice, or not at all"
"$pixi_oci" build "$work/ws" --base "$base" --cache-dir "$work/cache" --offline --output "oci:$work/again:wheels" >"$work/again.said"
[ "$(sed 's/.*@//' "$work/wheels.said")" = "$(sed 's/.*@//' "$work/again.said")" ] || fail "two builds differ"
"$pixi_oci" verify image "oci:$work/image:wheels"

# The same environment without wheels, for uv to install them.
cp -r "$work/ws" "$work/bare"
sed -i '/^      - pypi: /d; /^- pypi: /,$d' "$work/bare/pixi.lock"
sed -i '/^\[pypi-dependencies\]/,$d' "$work/bare/pixi.toml"
build "$work/bare" bare

mkdir "$work/uv"
for platform in linux-64 linux-aarch64; do
  python3 - "$wheels/$platform"/uv-*.whl "$work/uv/$platform" <<'PY'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith("/scripts/uv"))
    open(sys.argv[2], "wb").write(wheel.read(name))
PY
done
chmod 755 "$work/uv"/*
python3 - "$work/ws/pixi.lock" >"$work/uv/requirements.txt" <<'PY'
import re, sys
found = re.findall(r"^- pypi: .*\n  name: (.*)\n  version: '(.*)'\n", open(sys.argv[1]).read(), re.M)
print("\n".join(sorted({f"{name}=={version}" for name, version in found})))
PY
sort -o "$work/uv/requirements.txt"{,}
cat >"$work/uv/compare.py" <<'PY'
"""Prints what is below the prefix, one line a file: path, executable, hash.

Not INSTALLER, where uv has another name than when pixi calls it, and not uv_cache.json, which uv makes for wheels of a local
directory and which has a time; RECORD without their lines.
"""
import hashlib, os
prefix = "/opt/pixi/env"
for directory, _, names in sorted(os.walk(prefix)):
    for name in sorted(names):
        path = os.path.join(directory, name)
        if os.path.islink(path) or directory.startswith(prefix + "/conda-meta") or name in (".lock", "CACHEDIR.TAG"):
            continue
        if directory.endswith(".dist-info") and name in ("INSTALLER", "uv_cache.json"):
            continue
        content = open(path, "rb").read()
        if directory.endswith(".dist-info") and name == "RECORD":
            others = (b".dist-info/INSTALLER,", b".dist-info/uv_cache.json,")
            content = b"".join(line for line in content.splitlines(True) if not any(other in line for other in others))
        print(os.path.relpath(path, prefix), os.access(path, os.X_OK), hashlib.sha256(content).hexdigest())
PY
chmod -R a+rX "$work/uv"
cp -r "$wheels" "$work/wheels"
chmod -R a+rX "$work/wheels"
_own "$work"

python=/opt/pixi/env/bin/python3.11
for arch in amd64 arm64; do
  platform=linux-64 machine=x86_64
  [ $arch = amd64 ] || platform=linux-aarch64 machine=aarch64
  uv="/uv/$platform --offline --no-config --no-cache"
  mounts=(--volume "$work/uv:/uv:ro" --volume "$work/wheels/$platform:/wheels:ro")

  ours=$(podman_run "$work/image" wheels $arch "${mounts[@]}" -- $python -B /uv/compare.py)
  # shellcheck disable=SC2016 # for the shell in the container
  theirs=$(podman_run "$work/image" bare $arch "${mounts[@]}" --env UV="$uv" -- bash -c \
    '$UV pip install --quiet --no-deps --no-index --find-links /wheels --link-mode copy --python '$python' \
      --requirement /uv/requirements.txt >&2 && '$python' -B /uv/compare.py')
  diff <(printf '%s\n' "$ours") <(printf '%s\n' "$theirs") >&2 || fail "$arch: uv installs something else"
  say "$arch: $(wc -l <<<"$ours") files as uv has them"

  # The channel's Python has no run path that the libraries of wheels inherit, as conda-forge's has.
  check() { podman_run "$work/image" wheels $arch "${mounts[@]}" --env LD_LIBRARY_PATH=/opt/pixi/env/lib --read-only --user 12345 --tmpfs /tmp -- "$@"; }
  # shellcheck disable=SC2086 # options
  diff <(check $uv pip freeze --python $python | sort) "$work/uv/requirements.txt" >&2 || fail "$arch: uv pip freeze"
  # shellcheck disable=SC2086
  said=$(check $uv pip check --python $python 2>&1) || fail "$arch: uv pip check: $said"
  # shellcheck disable=SC2086
  said=$(podman_run "$work/image" wheels $arch "${mounts[@]}" -- \
    $uv pip sync --dry-run --no-index --find-links /wheels --python $python /uv/requirements.txt 2>&1)
  grep -q 'Would make no changes' <<<"$said" || fail "$arch: uv pip sync would do something: $said"

  said=$(check python -c '
import asyncio, platform, sys
import click, cryptography.hazmat.bindings._rust as rust, h11, httptools, numpy, pydantic, pydantic_core, rich, uvicorn, yaml
from cryptography.fernet import Fernet
class Model(pydantic.BaseModel):
    numbers: list[int]
key = Fernet(Fernet.generate_key())
assert key.decrypt(key.encrypt(b"text")) == b"text"
assert Model.model_validate_json("{\"numbers\": [1, 2]}").numbers == [1, 2]
print(platform.machine(), numpy.arange(10).sum(), sys.prefix)')
  [ "$said" = "$machine 45 /opt/pixi/env" ] || fail "$arch says $said"
  # Commands of wheels are on the PATH and find their interpreter.
  check uvicorn --version >&2
  check markdown-it --version >&2
done

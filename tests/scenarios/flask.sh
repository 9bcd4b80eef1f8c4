#!/usr/bin/env bash
# Real packages: a Flask + numpy + ssl + sqlite3 workspace, built here for both architectures, then run by rootless podman
# without a network, with a read-only root, as a user that nobody has heard of. arm64 runs through QEMU.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/podman.sh

pixi_oci=${PIXI_OCI:-target/debug/pixi-oci}
workspace=${PIXI_OCI_REAL_CHANNEL:?made by tests/real/make-channel}/workspaces/flask
base=oci:${PIXI_OCI_REAL_BASE:?made by tests/real/make-base}:debian

fail() { say "FAILED: $*"; exit 1; }

podman_require
enable_arm64
image=$PODMAN_DIR/image

"$pixi_oci" build "$workspace" --base "$base" --arch amd64,arm64 --output "oci:$image:flask" --cache-dir "$PODMAN_DIR/cache"
"$pixi_oci" verify image "oci:$image:flask"
skopeo inspect --raw "oci:$image:flask" >/dev/null
skopeo copy --quiet --all "oci:$image:flask" "oci:$PODMAN_DIR/copied:flask"
digest() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0]["digest"])' "$1/index.json"; }
[ "$(digest "$image")" = "$(digest "$PODMAN_DIR/copied")" ] || fail "skopeo changed the index"

for arch in amd64 arm64; do
  machine=x86_64
  [ $arch = amd64 ] || machine=aarch64
  said=$(podman_run "$image" flask $arch --read-only --user 12345 -- python app.py --once)
  say "$arch: $said"
  for part in "\"machine\": \"$machine\"" '"user": 12345' '"prefix": "/opt/pixi/env"' '"sum": 45.0'; do
    grep -qF "$part" <<<"$said" || fail "$arch does not say $part"
  done
  grep -q '"certificates": [1-9]' <<<"$said" || fail "$arch finds no certificates"

  # Bytecode that a package ships is used; only that of sources with a replaced prefix is stale.
  stale=$(podman_run "$image" flask $arch --read-only --user 12345 -- \
    python -v -c 'import flask, numpy, ssl, sqlite3, sysconfig; sysconfig.get_config_vars()' 2>&1 |
    sed -n "s/^# bytecode is stale for '\(.*\)'$/\1/p")
  for module in $stale; do
    case $module in _sysconfigdata*) ;; *) fail "$arch: the bytecode of $module is stale" ;; esac
  done
done

# The server answers; exec finds the environment without any entrypoint; SIGTERM reaches the process.
podman_start web "$image" flask amd64 --read-only --user 12345 --
ask='import json, urllib.request; print(json.load(urllib.request.urlopen("http://127.0.0.1:8000/", timeout=5))["flask"])'
for _ in $(seq 50); do
  if version=$(podman_exec web python -c "$ask" 2>/dev/null); then break; fi
  sleep 0.2
done
[ -n "${version:-}" ] || fail "the server does not answer"
say "the server answers with Flask $version"
[ "$(podman_exec web python -c 'import sys; print(sys.prefix)')" = /opt/pixi/env ] || fail "exec does not find the environment"
podman_exec web openssl version
podman_test rm --force --time 0 web >/dev/null

# The process is the first of the container, not a child of a shell: SIGTERM reaches it.
podman_start signalled "$image" flask amd64 --read-only --user 12345 -- \
  python -c 'import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print("ready", flush=True); time.sleep(60)'
for _ in $(seq 50); do
  [ "$(podman_test logs signalled 2>/dev/null)" = ready ] && break
  sleep 0.2
done
podman_test stop --time 10 signalled >/dev/null
[ "$(podman_test inspect --format '{{.State.ExitCode}}' signalled)" = 7 ] || fail "SIGTERM did not reach the process"

# What pixi does after a task with inputs or outputs: it makes the directory of its task cache, and a file in it.
replay='import os, pathlib; place = pathlib.Path("/app/.pixi/task-cache-v0"); os.makedirs(place, exist_ok=True)
(place / "task.json").write_text("{}"); print(os.getuid(), (place / "task.json").read_text())'
said=$(podman_run "$image" flask amd64 --read-only --user 12345 -- python -c "$replay")
[ "$said" = "12345 {}" ] || fail "the task cache cannot be written: $said"
if [ -x "${PIXI_OCI_TEST_PIXI:-}" ]; then
  cp "$PIXI_OCI_TEST_PIXI" "$PODMAN_DIR/pixi" && chmod 755 "$PODMAN_DIR/pixi"
  podman_run "$image" flask amd64 --read-only --user 12345 --env HOME=/tmp --volume "$PODMAN_DIR/pixi:/usr/local/bin/pixi:ro" -- \
    pixi run --as-is python -c 'import flask' || fail "pixi run does not work in the image"
else
  skip all "pixi run in the image: PIXI_OCI_TEST_PIXI is not set"
fi

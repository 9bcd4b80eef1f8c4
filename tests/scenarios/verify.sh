#!/usr/bin/env bash
# `verify image` and `verify product` with the real podman: the Flask + numpy image runs on both architectures without a network,
# as a user nobody knows; what fails is told from what cannot run; nothing is left, also of a run that was killed.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/podman.sh

pixi_oci=$(realpath "${PIXI_OCI:-target/debug/pixi-oci}")
workspace=${PIXI_OCI_REAL_CHANNEL:?made by tests/real/make-channel}/workspaces/flask
base=oci:${PIXI_OCI_REAL_BASE:?made by tests/real/make-base}:debian

fail() { say "FAILED: $*"; exit 1; }

podman_require
enable_arm64
image=oci:$PODMAN_DIR/image:flask
"$pixi_oci" build "$workspace" --base "$base" --arch amd64,arm64 --output "$image" --cache-dir "$PODMAN_DIR/cache"

user=()
[ "$(id -u)" != 0 ] || user=(--as-user "$PODMAN_TEST_USER")
mkdir "$PODMAN_DIR/scratch"
chmod 1777 "$PODMAN_DIR/scratch"
chmod a+x "$PODMAN_DIR"
export TMPDIR=$PODMAN_DIR/scratch
verify() { "$pixi_oci" verify image "$image" "${user[@]}" "$@"; }
report() { python3 -c 'import json, sys; report = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$@"; }
nothing_left() {
  for _ in $(seq 300); do
    [ -n "$(ls "$TMPDIR")" ] || return 0
    sleep 0.1
  done
  fail "left in $TMPDIR: $(ls "$TMPDIR")"
}

say "passes on both architectures"
out=$PODMAN_DIR/proof
verify --out "$out" -- sh -c '
  id -u; ls /sys/class/net; grep -q "^CapEff:.0*$" /proc/self/status 2>/dev/null || cat /proc/self/status
  if touch /written 2>/dev/null; then echo "the root is writable"; exit 1; fi
  python -c "import numpy, ssl; open(\"/tmp/x\", \"w\"); print(numpy.arange(3).sum())"' >"$PODMAN_DIR/said"
[ "$(grep -c passed "$PODMAN_DIR/said")" = 2 ] || fail "$(cat "$PODMAN_DIR/said")"
for platform in linux-amd64 linux-arm64-v8; do
  [ -e "$out/$platform" ] || platform=linux-arm64
  grep -qx 12345 "$out/$platform/stdout.log" || fail "another user: $(cat "$out/$platform/stdout.log")"
  grep -qx lo "$out/$platform/stdout.log" || fail "a network: $(cat "$out/$platform/stdout.log")"
  grep -qx 3 "$out/$platform/stdout.log" || fail "no numpy: $(cat "$out/$platform/stdout.log")"
done
[ "$(report "$out/report.json" 'report["isolation"]["rootless"]')" = True ] || fail "not rootless"
[ "$(report "$out/report.json" 'report["lockFile"]')" = "sha256:$(sha256sum <"$workspace/pixi.lock" | cut -d' ' -f1)" ] || fail "another lock file"
nothing_left

say "fails with 3, also where the command is not there"
status=0; verify --arch amd64 -- python -c 'raise SystemExit(5)' >"$PODMAN_DIR/said" 2>&1 || status=$?
[ $status = 3 ] && grep -q 'exit status 5' "$PODMAN_DIR/said" || fail "$status: $(cat "$PODMAN_DIR/said")"
status=0; verify --arch amd64 -- no-such-program >"$PODMAN_DIR/said" 2>&1 || status=$?
[ $status = 3 ] || fail "$status: $(cat "$PODMAN_DIR/said")"

say "a script"
printf '#!/usr/bin/env python\nimport sys\nsys.exit(sys.argv[1:] != ["a"])\n' >"$PODMAN_DIR/script"
verify --arch amd64 --script "$PODMAN_DIR/script" -- a >/dev/null || fail "the script"
nothing_left

say "an image whose larger packages go over several layers runs"
split=oci:$PODMAN_DIR/split:flask
"$pixi_oci" build "$workspace" --base "$base" --arch amd64 --set split-above=1 --output "$split" --cache-dir "$PODMAN_DIR/cache"
grep -qs '"dev.pixi-oci.part": *"2/' "$PODMAN_DIR"/split/blobs/sha256/* || fail "no package was split"
"$pixi_oci" verify image "$split" "${user[@]}" -- python -c 'import flask, numpy, sqlite3, ssl; print(numpy.arange(3).sum())' \
  >"$PODMAN_DIR/said" || fail "$(cat "$PODMAN_DIR/said")"
nothing_left

say "the project of the image as a product, bootstrapped and run"
"$pixi_oci" product --frozen --from-image "$image" --project-path /app --platform linux-64 --workdir "$PODMAN_DIR/work-airgap" \
  --cache-dir "$PODMAN_DIR/cache" >/dev/null
product=$PODMAN_DIR/work-airgap/product
verify_product() { "$pixi_oci" verify product "$product" --base "$base" --cache-dir "$PODMAN_DIR/cache" --arch amd64 "${user[@]}" "$@"; }
if [ "$(uname -m)" = x86_64 ]; then
  verify_product --out "$out" -- python -c 'import numpy, sys; print(sys.prefix)' >/dev/null || fail "the product"
  tail -n 1 "$out/linux-amd64/stdout.log" | grep -qx '/work/.*/.pixi/envs/default' || fail "$(cat "$out/linux-amd64/stdout.log")"
fi
printf x >>"$product/envs.sh"
status=0; verify_product -- true >"$PODMAN_DIR/said" 2>&1 || status=$?
[ $status = 3 ] && grep -q 'envs.sh: it was changed' "$PODMAN_DIR/said" || fail "$status: $(cat "$PODMAN_DIR/said")"
nothing_left

say "the project of a container, running and stopped, without running anything in it"
# The program calls podman as its user would; what this machine needs beyond that is in podman's own files.
mkdir -p "$PODMAN_DIR/bin" "$PODMAN_DIR/taken"
{
  echo '#!/usr/bin/env bash'
  declare -p PODMAN_DIR PODMAN_TEST_USER PODMAN_RUNTIME
  declare -f podman_test _as_test_user
  # Not this one again.
  printf 'PATH=%q\n' "$PATH"
  # The test user cannot write where the program wants the copy.
  printf 'printf "%%s\\n" "$*" >>"$PODMAN_DIR/calls"\nset -e\nif [ "$1" = cp ]; then rm -rf "$PODMAN_DIR/taken/copy"; podman_test cp "$2" "$PODMAN_DIR/taken/copy"; cp -r "$PODMAN_DIR/taken/copy/." "$3"; else podman_test "$@"; fi\n'
} >"$PODMAN_DIR/bin/podman"
chmod 755 "$PODMAN_DIR/bin/podman"
_own "$PODMAN_DIR/taken"
podman_start running "$PODMAN_DIR/image" flask amd64 --entrypoint sleep -- infinity
podman_start stopped "$PODMAN_DIR/image" flask amd64 --entrypoint true --
podman_test wait stopped >/dev/null
for container in running stopped; do
  PATH=$PODMAN_DIR/bin:$PATH "$pixi_oci" product --frozen --from-container $container --project-path /app --platform linux-64 \
    --workdir "$PODMAN_DIR/work-$container" --cache-dir "$PODMAN_DIR/cache" >/dev/null || fail "the container that is $container"
  for file in pixi.toml pixi.lock app.py; do
    cmp "$PODMAN_DIR/work-$container/product/flask-app/$file" "$workspace/$file" || fail "$container: another $file"
  done
done
[ "$(podman_test inspect --format '{{.State.Status}}' running stopped | tr '\n' ' ')" = "running exited " ] || fail "a container was started or stopped"
[ "$(cut -d' ' -f1 "$PODMAN_DIR/calls" | sort -u)" = cp ] || fail "more than copied: $(cat "$PODMAN_DIR/calls")"
podman_test rm --all --force --time 0 >/dev/null

say "killed in the middle"
"$pixi_oci" verify image "$image" "${user[@]}" --arch amd64 -- sleep 12345 >"$PODMAN_DIR/said" 2>&1 &
pid=$!
for _ in $(seq 600); do pgrep -f '^sleep 12345' >/dev/null && break; sleep 0.1; done
pgrep -f '^sleep 12345' >/dev/null || fail "it did not begin: $(cat "$PODMAN_DIR/said")"
kill -9 $pid
wait $pid 2>/dev/null || true
nothing_left
for _ in $(seq 100); do pgrep -f '^sleep 12345' >/dev/null || break; sleep 0.1; done
if pgrep -f '^sleep 12345' >/dev/null; then fail "the container is still there"; fi

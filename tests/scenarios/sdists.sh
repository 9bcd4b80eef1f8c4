#!/usr/bin/env bash
# Sources become wheels in rootless podman without a network, each once; builds that fail say why and leave nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/podman.sh

pixi_oci=$(realpath "${PIXI_OCI:-target/debug/pixi-oci}")
channel=${PIXI_OCI_REAL_CHANNEL:?made by tests/real/make-channel}

fail() { say "FAILED: $*"; exit 1; }

podman_require
enable_arm64
work=$PODMAN_DIR/work
mkdir "$work"
tests/real/make-sources "$channel" "${PIXI_OCI_REAL_WHEELS:?made by tests/real/make-wheels}" "$work/ws"
cp -r "${PIXI_OCI_REAL_BASE:?made by tests/real/make-base}" "$work/base"
cp "$pixi_oci" "$work/pixi-oci"
_own "$work"

as_user() { _as_test_user "$@"; }
build() { as_user "$work/pixi-oci" build "$work/ws" --frozen --base "oci:$work/base:debian" --cache-dir "$work/cache" "$@"; }
# Containers and images are in a directory of each run, and nowhere else.
left() { find "$PODMAN_DIR/tmp" /tmp -maxdepth 1 -user "$(stat -c %U "$work")" -name 'pixi-oci-r*'; }
report() { python3 -c 'import json, sys; report = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$@"; }

# Not silently.
if build -o "oci:$work/out:x" 2>"$work/said"; then fail "it built without being asked"; fi
for words in pypi:legacy pypi:curious pypi:gitted pypi:dynamic --build-sdists --wheel; do
  grep -qF -- "$words" "$work/said" || fail "the error does not say $words: $(cat "$work/said")"
done

build --build-sdists -o "oci:$work/out:x" --json >"$work/first.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/first.json" 'len(report["executed"])')" = 4 ] || fail "four sources were built, once for both architectures: $(cat "$work/first.json")"
[ -z "$(left)" ] || fail "it left containers or images"
for arch in amd64 arm64; do
  [ "$(podman_run "$work/out" x $arch -- legacy)" = "legacy runs" ] || fail "$arch: the built wheel does not run"
  [ "$(podman_run "$work/out" x $arch -- my-app)" = "my-app runs" ] || fail "$arch: the own package does not run"
  [ "$(podman_run "$work/out" x $arch -- python -c 'import dynamic, gitted; print(dynamic.text, gitted.text)')" = "dynamic is here gitted is here" ] || fail "$arch: a built repository or directory is not there"
  [ "$(podman_run "$work/out" x $arch -- python -c '
from importlib.metadata import distribution
print(distribution("legacy").read_text("direct_url.json") == """{"url":"file:///app/sdists/legacy-1.0.tar.gz","archive_info":{}}""", "commit_id" in distribution("gitted").read_text("direct_url.json"), "dir_info" in distribution("dynamic").read_text("direct_url.json"))
')" = "True True True" ] || fail "$arch: what was built does not say where it is from"
  [ "$(podman_run "$work/out" x $arch -- python -c 'import curious; print(curious.seen)')" = "no network, ['lo']" ] || fail "the build saw more than it may"
done

build --build-sdists -o "oci:$work/out:y" --json >"$work/second.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/second.json" 'report["executed"]')" = "[]" ] || fail "the second build ran something"
[ "$(report "$work/first.json" 'report["digest"]')" = "$(report "$work/second.json" 'report["digest"]')" ] || fail "the second build is different"

# A product has them, too, and says so, whether they were built for it or before.
product() { as_user "$work/pixi-oci" product "$work/ws" --frozen --build-sdists --set "base=oci:$work/base:debian" --cache-dir "$work/$1" --workdir "$work/$2" --json >"$work/$2.json" 2>"$work/said" || fail "$(cat "$work/said")"; }
product cache airgap
product other-cache other-airgap
[ "$(report "$work/other-airgap.json" 'len(report["executed"])')" = 4 ] || fail "four sources were built for the product: $(cat "$work/other-airgap.json")"
[ "$(report "$work/airgap.json" 'report["executed"]')" = "[]" ] || fail "the product of cached wheels ran something"
[ "$(report "$work/airgap/product/manifest.json" '[name.split()[0] for name in report["executed"]]')" = "['pypi:curious', 'pypi:dynamic', 'pypi:gitted', 'pypi:legacy']" ] || fail "manifest.json does not say what was run"
as_user "$work/pixi-oci" verify product "$work/airgap/product" >&2 || fail "the product has more than it says"
[ -z "$(left)" ] || fail "the product left containers or images"
said=$(podman_run "$work/base" debian amd64 --volume "$work/airgap/product:/media/product:ro" --read-only --tmpfs /srv:exec -- \
  sh -c "/media/product/bootstrap-project.sh --no-pixi --to /srv/site >&2 && . /srv/site/activate.sh && legacy")
[ "$said" = "legacy runs" ] || fail "the built wheel of the product does not run: $said"

says() {
  for words in "$@"; do
    grep -qF -- "$words" <<<"$(tr -s ' │\n' ' ' <"$work/said")" || fail "the error does not say $words: $(cat "$work/said")"
  done
  [ -z "$(left)" ] || fail "it left containers or images: $(cat "$work/said")"
}
refused() {
  local environment=$1
  shift
  if build -e "$environment" --arch amd64 --build-sdists -o "oci:$work/out-$environment:x" 2>"$work/said"; then fail "$environment was built"; fi
  says "$@"
}

# What is of a processor is built for each, and not on a machine that does not run its programs.
if [ "$(id -u)" = 0 ]; then
  export -f build as_user _as_test_user
  export work PODMAN_DIR PODMAN_TEST_USER
  if unshare --mount bash -c 'mount -t tmpfs none /proc/sys/fs/binfmt_misc && "$@"' bash \
    build -e native --arch arm64 --build-sdists -o "oci:$work/out-native:x" 2>"$work/said"; then
    fail "it was built for arm64 without QEMU"
  fi
  says pypi:native 'runs no programs of arm64' qemu-user-static --wheel
fi
build -e native --build-sdists -o "oci:$work/out-native:x" --json >"$work/native.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/native.json" 'len(report["executed"])')" = 2 ] || fail "it was not built once for each architecture: $(cat "$work/native.json")"
for arch in amd64:x86_64 arm64:aarch64; do
  machine=$(podman_run "$work/out-native" x "${arch%:*}" -- python -c 'import native; print(native.machine)')
  [ "$machine" = "${arch#*:}" ] || fail "${arch%:*} has what was built for $machine"
done

# C code, by the locked compiler. Its activation script says what compiles; the wheel has the tag of its Python and processor.
build -e compiled --build-sdists -o "oci:$work/out-compiled:x" --json >"$work/compiled.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/compiled.json" 'sorted(source["wheel"] for source in report["sources"])')" = \
  "['compiled-1.0-cp311-cp311-linux_aarch64.whl', 'compiled-1.0-cp311-cp311-linux_x86_64.whl']" ] || fail "the wheels have other tags: $(cat "$work/compiled.json")"
for arch in amd64:x86_64 arm64:aarch64; do
  said=$(podman_run "$work/out-compiled" x "${arch%:*}" -- python -c 'import compiled; print(compiled.machine, compiled.sum_of_roots([4.0, 9]))')
  [ "$said" = "${arch#*:} 5.0" ] || fail "${arch%:*}: the compiled extension says $said"
done

# An index that has no address here: a plan names what needs a decision, an error says where mirrors are set, and with one it is
# built and runs.
as_user "$work/pixi-oci" plan "$work/ws" -e neutral --frozen --base "oci:$work/base:debian" --cache-dir "$work/none" --json >"$work/plan.json"
said=$(report "$work/plan.json" 'report[0]["unpredicted"][0]["message"]')
for words in pypi:legacy pypi:curious pypi:models --build-sdists '--wheel FILE' 'a conda package'; do
  grep -qF -- "$words" <<<"$said" || fail "the plan does not say $words: $(cat "$work/plan.json")"
done
refused neutral files.index.example '[mirrors]' .pixi/config.toml
python3 -u -m http.server --bind 127.0.0.1 --directory "$work/ws/index" 0 >"$work/server.log" 2>&1 &
server=$!
trap 'kill $server; podman_cleanup' EXIT
until port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$work/server.log") && [ -n "$port" ]; do sleep 0.1; done
mkdir "$work/ws/.pixi"
printf '[mirrors]\n"https://files.index.example/packages" = ["http://127.0.0.1:%s"]\n' "$port" >"$work/ws/.pixi/config.toml"
build -e neutral --arch amd64 --build-sdists -o "oci:$work/out-neutral:x" --json >"$work/neutral.json" 2>"$work/said" || fail "$(cat "$work/said")"
said=$(podman_run "$work/out-neutral" x amd64 -- python -c '
import click, curious, httptools, legacy, models
print(models.text, httptools.HttpRequestParser.__name__, curious.seen); legacy.main()')
[ "$said" = $'models are here HttpRequestParser no network, [\'lo\']\nlegacy runs' ] || fail "the image of the mirrored index says $said"

# What a build requires and nothing has: uv finds it once, the file pins it, and from then on neither uv nor a flag is needed.
refused wanting pypi:wanting '`flit-core==3.12.0`' build-environment --build-sdists=resolve --wheel
if build -e wanting --build-sdists=resolve -o "oci:$work/out-wanting:x" 2>"$work/said"; then fail "it was resolved without uv"; fi
says 'there is no `uv` on PATH' build-environment
install -m 755 "${PIXI_OCI_REAL_BACKENDS:?made by tests/real/make-backends}/bin/uv" "$work/uv"
resolving() { as_user env PATH="$work:$PATH" "$work/pixi-oci" build "$work/ws" -e wanting --frozen --base "oci:$work/base:debian" --build-sdists=resolve "$@"; }
resolving --cache-dir "$work/cache" -o "oci:$work/out-wanting:x" --json >"$work/wanting.json" 2>"$work/said" || fail "$(cat "$work/said")"
says 'pinned in pixi-oci-build.lock' 'flit-core==3.12.0'
[ "$(report "$work/wanting.json" 'len(report["executed"])')" = 1 ] || fail "it was not built once: $(cat "$work/wanting.json")"
cp "$work/ws/pixi-oci-build.lock" "$work/pins"
grep -q 'sha256 = "' "$work/pins" || fail "there are no hashes: $(cat "$work/pins")"
for arch in amd64 arm64; do
  said=$(podman_run "$work/out-wanting" x $arch -- python -c '
import importlib.util, wanting
print(wanting.text, importlib.util.find_spec("flit_core"))')
  [ "$said" = "wanting is here None" ] || fail "$arch: the image says $said"
done
build -e wanting --build-sdists -o "oci:$work/out-wanting:y" --json >"$work/wanting.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/wanting.json" 'report["executed"]')" = "[]" ] || fail "what was pinned is built again"
as_user "$work/pixi-oci" build "$work/ws" -e wanting --frozen --base "oci:$work/base:debian" --cache-dir "$work/pinned" --build-sdists -o "oci:$work/out-wanting:z" --json >"$work/again.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/wanting.json" 'report["digest"]')" = "$(report "$work/again.json" 'report["digest"]')" ] || fail "the pinned build is different"
[ "$(report "$work/again.json" 'len(report["executed"])')" = 1 ] || fail "nothing was built in an empty cache"
resolving --cache-dir "$work/other" --arch amd64 -o "oci:$work/out-wanting:a" 2>"$work/said" || fail "$(cat "$work/said")"
cmp "$work/pins" "$work/ws/pixi-oci-build.lock" || fail "what is pinned was changed"
rm "$work/ws/pixi-oci-build.lock"

refused needy pypi:needy 'setuptools>=90' '(it has 75.1.0)' cython 'pixi lock'
refused extension pypi:extension --wheel "the build failed"

# Interrupted in the middle: with the exit code of the signal, and nothing is left.
running() { pgrep -f "conmon.*$PODMAN_DIR/tmp/pixi-oci-run-"; }
wait_for_container() {
  for _ in $(seq 600); do [ -z "$(running)" ] || return 0; sleep 0.2; done
  fail "the build did not begin: $(cat "$work/said")"
}
for signal in INT:130 TERM:143; do
  # Only a shell with job control starts programs that hear SIGINT in the background.
  set -m
  build -e forever --arch amd64 --build-sdists -o "oci:$work/out-forever:x" 2>"$work/said" &
  pid=$!
  set +m
  wait_for_container
  pkill "-${signal%:*}" -P $pid -x pixi-oci
  code=0
  wait $pid || code=$?
  [ $code = "${signal#*:}" ] || fail "$signal: it ended with $code: $(cat "$work/said")"
  grep -q 'error: interrupted' "$work/said" || fail "$signal: $(cat "$work/said")"
  [ -z "$(left)" ] || fail "$signal: it left containers or images"
  find "$work" -path "$work/cache" -prune -o -name '.pixi-oci-build-*' -print | grep -q . && fail "$signal: a directory is left"
  find "$work/cache/wheels" -name 'tmp-*' | grep -q . && fail "$signal: an unfinished wheel is in the cache"
done

# On this machine, where somebody says so: with the environment alone, and nothing of it is taken for what a container made.
hosted() { as_user env CANARY=leaked "$work/pixi-oci" build "$work/ws" --frozen --base "oci:$work/base:debian" --cache-dir "$work/cache" --build-sdists=host "$@"; }
hosted -e compiled --arch amd64 -o "oci:$work/out-hosted:x" --json >"$work/hosted.json" 2>"$work/said" || fail "$(cat "$work/said")"
said=$(report "$work/hosted.json" 'report["executed"][0]')
grep -q 'built compiled-1.0-cp311-cp311-linux_x86_64.whl on the host for linux/amd64, without a network' <<<"$said" || fail "the report does not say what ran here: $(cat "$work/hosted.json")"
said=$(podman_run "$work/out-hosted" x amd64 -- python -c 'import compiled; print(compiled.sum_of_roots([4.0, 9]))')
[ "$said" = 5.0 ] || fail "what was compiled on the host says $said"
hosted -e compiled --arch amd64 -o "oci:$work/out-hosted:y" --json >"$work/hosted.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/hosted.json" 'report["executed"]')" = "[]" ] || fail "it was built on the host twice"
hosted -o "oci:$work/out-hosted:z" --json >"$work/hosted.json" 2>"$work/said" || fail "$(cat "$work/said")"
[ "$(report "$work/hosted.json" 'len(report["executed"])')" = 4 ] || fail "wheels of containers were taken: $(cat "$work/hosted.json")"
podman_run "$work/out-hosted" z arm64 -- python -c '
import curious, legacy
assert "CANARY" not in curious.variables and not [name for name in curious.variables if name.startswith("XDG")], curious.variables
assert curious.network == "no network"
legacy.main()' >&2 || fail "the build on the host saw more than it may"
if hosted -e native --arch arm64 -o "oci:$work/out-hosted:a" 2>"$work/said"; then fail "it was built on the host for arm64"; fi
says pypi:native "only for this machine's own processor"
# Where the kernel gives no namespaces, the report says so, the wheel is another, and the whole build ends all the same.
unnamed() { as_user unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"' sh "$work/pixi-oci" build "$work/ws" --frozen --base "oci:$work/base:debian" --cache-dir "$work/cache" --build-sdists=host --arch amd64 "$@"; }
unnamed -e compiled -o "oci:$work/out-unnamed:x" --json >"$work/hosted.json" 2>"$work/said" || fail "$(cat "$work/said")"
said=$(report "$work/hosted.json" 'report["executed"][0]')
grep -q 'on the host for linux/amd64, with the network, which could not be cut off' <<<"$said" || fail "it is not said that there was a network: $(cat "$work/hosted.json")"
says 'with the network, which could not be cut off; they can read what you can'
hosted -e forever --arch amd64 -o "oci:$work/out-forever:x" 2>"$work/said" &
pid=$!
for _ in $(seq 600); do [ ! -d "$work/cache/wheels/2/tmp-host/build/source" ] || break; sleep 0.2; done
pkill -TERM -P $pid -x pixi-oci || kill $pid
code=0
wait $pid || code=$?
[ $code = 143 ] || fail "it ended with $code: $(cat "$work/said")"
find "$work/cache/wheels" -name 'tmp-*' | grep -q . && fail "the environment of a build on the host is left"
pgrep -f "$work/cache/wheels/2/tmp-host" >&2 && fail "a build on the host goes on"

# Killed in the middle: the container ends by itself, and so does what it needed. The next build removes what is left.
build -e forever --arch amd64 --build-sdists -o "oci:$work/out-forever:x" 2>"$work/said" &
pid=$!
wait_for_container
pkill -9 -P $pid -x pixi-oci || kill -9 $pid
wait $pid 2>/dev/null || true
for _ in $(seq 300); do [ -n "$(running)$(left)" ] || break; sleep 0.2; done
[ -z "$(running)" ] || fail "the container goes on after its builder was killed"
[ -z "$(left)" ] || fail "a killed build left containers or images: $(left)"
refused extension pypi:extension
find "$work/cache/wheels" -name 'tmp-*' | grep -q . && fail "a killed build is still in the cache"

# Cleaning that did not end in its time is finished by the next run, and said.
abandoned=$PODMAN_DIR/tmp/pixi-oci-run-abandoned
as_user sh -c 'mkdir -p "$1/storage" && touch "$1/lock"' sh "$abandoned"
refused extension pypi:extension "removed $abandoned, which an interrupted run left"

# A runtime that works is found, and a container that does not start is not called a build that failed.
mkdir "$work/bin"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/crun"
chmod 755 "$work/bin/crun"
if PODMAN_RUNTIME=runc podman_test run --rm "${PODMAN_LIMITS[@]}" --rootfs "$PODMAN_DIR/probe" /probe --version >/dev/null 2>&1; then
  as_user env PATH="$work/bin:$PATH" "$work/pixi-oci" build "$work/ws" -e native --arch amd64 --frozen --base "oci:$work/base:debian" \
    --cache-dir "$work/other-runtime" --build-sdists -o "oci:$work/out-runc:x" 2>"$work/said" || fail "runc was not tried: $(cat "$work/said")"
fi
say "sources: built once, nothing left"

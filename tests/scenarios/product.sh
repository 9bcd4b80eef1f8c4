#!/usr/bin/env bash
# An air-gap product of real packages for both architectures: bootstrapped without pixi by rootless podman, with no network
# and a read-only product, then used. There is no pixi-oci for arm64 here, so that prefix is installed by this machine's and
# used through QEMU. py-rattler, unmodified, installs from the product's cache with addresses that nobody answers.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/podman.sh

pixi_oci=${PIXI_OCI:-target/debug/pixi-oci}
workspace=${PIXI_OCI_REAL_CHANNEL:?made by tests/real/make-channel}/workspaces/flask
base=${PIXI_OCI_REAL_BASE:?made by tests/real/make-base}

fail() { say "FAILED: $*"; exit 1; }

podman_require
enable_arm64
work=$PODMAN_DIR/work
mkdir "$work"
product=$("$pixi_oci" product "$workspace" -e default -e full --workdir "$work" --cache-dir "$PODMAN_DIR/cache")
"$pixi_oci" verify product "$product"
again=$("$pixi_oci" product "$workspace" -e default -e full --workdir "$PODMAN_DIR/elsewhere" --cache-dir "$PODMAN_DIR/cache")
[ "$(cat "$product/DIGEST")" = "$(cat "$again/DIGEST")" ] || fail "two products differ"
rm -rf "$PODMAN_DIR/elsewhere"
chmod a+rx "$PODMAN_DIR" "$work"

expect() {
  local arch=$1 said=$2 part
  say "$arch: $said"
  for part in "\"machine\": \"$3\"" '"sum": 45.0'; do
    grep -qF "$part" <<<"$said" || fail "$arch does not say $part"
  done
}

for shell in dash bash; do
  said=$(podman_run "$base" debian amd64 --volume "$product:/media/product:ro" --read-only --tmpfs /srv:exec -- \
    $shell -c "cd / && $shell /media/product/bootstrap-project.sh --no-pixi --to /srv/site -e default -e full >&2 &&
      . /srv/site/activate.sh && cd /srv/site/flask-app && python app.py --once &&
      . /srv/site/activate-full.sh && python -c 'import rich, requests, yaml; print(\"full\")'")
  expect amd64 "$said" x86_64
  grep -q '^full$' <<<"$said" || fail "environment full does not work"
done

# One byte.
cp -rp "$product" "$work/bad"
printf x | dd of="$work/bad/flask-app/app.py" bs=1 seek=3 conv=notrunc status=none
if podman_run "$base" debian amd64 --volume "$work/bad:/media/product:ro" --tmpfs /srv:exec -- \
  dash /media/product/bootstrap-project.sh --no-pixi --to /srv/site 2>"$work/said"; then
  fail "a changed product was installed"
fi
grep -q 'app.py' "$work/said" || fail "nobody said which file was changed"
rm -rf "$work/bad"

"$pixi_oci" install-product "$product" --platform linux-aarch64 --prefix "$work/arm" --project /media/product/flask-app \
  --activate "$work/activate.sh" >/dev/null
said=$(podman_run "$base" debian arm64 --volume "$product:/media/product:ro" --volume "$work:$work:ro" --read-only -- \
  dash -c ". '$work/activate.sh' && cd /media/product/flask-app && python app.py --once")
expect arm64 "$said" aarch64

if [ -n "${PIXI_OCI_PY_RATTLER:-}" ] && [ -e "$PIXI_OCI_PY_RATTLER/stamp" ]; then
  cp -rp "$product/pkg-cache" "$work/cache"
  PYTHONPATH=$PIXI_OCI_PY_RATTLER/lib python3 - "$product/flask-app/pixi.lock" "$work" <<'PY'
import asyncio, os, pathlib, re, sys
from rattler import LockFile, install
from rattler.platform import Platform

lock, work = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
text = lock.read_text()
# Nobody listens there: a request would be an error.
text = re.sub(r"(conda: |url: )\S*?/channel(?=[/\s])", r"\1http://127.0.0.1:1/channel", text)
(work / "pixi.lock").write_text(text)
environment = LockFile.from_path(work / "pixi.lock").default_environment()
for platform in environment.platforms():
    name = str(platform.subdir if hasattr(platform, "subdir") else platform)
    name = next(known for known in ("linux-aarch64", "linux-64") if known in name)
    records = environment.conda_repodata_records_for_platform(platform)
    assert all("127.0.0.1:1" in str(record.url) for record in records), records[0].url
    asyncio.run(install(records, target_prefix=work / f"py-{name}", cache_dir=work / "cache" / name / "pkgs",
                        platform=Platform(name), show_progress=False))
    assert (work / f"py-{name}" / "bin" / "python").exists(), name
    print("py-rattler", name, len(records), "packages", file=sys.stderr, flush=True)
# Its threads may still run while the interpreter is taken down, which then dies of a segmentation fault.
os._exit(0)
PY
else
  # Its wheel is pinned for one architecture.
  skip "$([ "$(uname -m)" = x86_64 ] && echo debian || echo machine)" "PIXI_OCI_PY_RATTLER is not set to something"
fi

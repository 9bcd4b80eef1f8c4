#!/usr/bin/env bash
# Real packages for both architectures, published to docker-registry, read by skopeo and by a checker of our own, then
# pulled by rootless podman and run without a network; arm64 through QEMU. What is sent is counted in the registry's own
# log and storage: a second time nothing, and after a change of one package only what has that package in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/podman.sh

pixi_oci=${PIXI_OCI:-target/debug/pixi-oci}
channel=${PIXI_OCI_REAL_CHANNEL:?made by tests/real/make-channel}
# A release wants a base that is pinned.
base=oci:${PIXI_OCI_REAL_BASE:?made by tests/real/make-base}@$(python3 -c 'import json, sys
print(*[root["digest"] for root in json.load(open(sys.argv[1]))["manifests"] if "debian" in root["annotations"].values()])' "$PIXI_OCI_REAL_BASE/index.json")
checker=$(dirname "$pixi_oci")/examples/check-registry

fail() { say "FAILED: $*"; exit 1; }

podman_require
enable_arm64
work=$PODMAN_DIR/publish
mkdir "$work"

cat >"$work/registry.yml" <<EOF
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $work/storage}}
http: {addr: "127.0.0.1:0", secret: test}
EOF
docker-registry serve "$work/registry.yml" >"$work/access" 2>"$work/registry.log" &
registry=$!
trap 'kill $registry; podman_cleanup' EXIT
until address=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$work/registry.log") && [ -n "$address" ]; do
  kill -0 $registry || fail "docker-registry ended: $(cat "$work/registry.log")"
  sleep 0.1
done

# Requests since the last call, when all of them are in the log: METHOD TARGET STATUS.
seen=0 mark=0
requests() {
  mark=$((mark + 1))
  curl -sS -o /dev/null "http://$address/v2/?mark=$mark"
  until grep -q "mark=$mark " "$work/access"; do sleep 0.1; done
  tail -n +$((seen + 1)) "$work/access" | sed -n 's/^[^"]*"\([A-Z]*\) \([^ ]*\) HTTP[^"]*" \([0-9]*\) .*/\1 \2 \3/p' | grep -v mark= >"$work/requests" || true
  seen=$(wc -l <"$work/access")
}
count() { grep -cE "$1" "$work/requests" || true; }
uploads='^PUT /v2/[^ ]*/blobs/uploads/[^ ]* 201$'
mounts='^POST /v2/[^ ]*/blobs/uploads/\?[^ ]*mount=[^ ]* 201$'
# Bytes of all blobs and manifests that the registry has.
stored() { find "$work/storage/docker/registry/v2/blobs" -name data -printf '%s\n' | awk '{ sum += $1 } END { printf "%d", sum }'; }

publish() {
  VERSION=$1 "$pixi_oci" publish "$work/ws" --frozen --publish --json --base "$base" --arch amd64,arm64 \
    --cache-dir "$work/cache" --to "docker://$address/team/app" "${@:3}" >"$work/$2.json"
}
# What a report says: `said FILE EXPRESSION`, where r is the report and d its first destination.
said() {
  python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); d = r["destinations"][0]; print(eval(sys.argv[2]))' "$work/$1.json" "$2"
}

# Two repositories of one registry in one run: every blob is sent once, and is linked into the second one.
cp -r "$channel/workspaces/flask" "$work/ws"
publish 1.0.0 first --to "docker://$address/mirror/app"
requests
blobs=$(said first 'len(set(d["uploaded"]))')
[ "$blobs" -gt 20 ] || fail "there are only $blobs blobs"
[ "$(count "$uploads")" = "$blobs" ] || fail "$(count "$uploads") uploads of $blobs blobs"
[ "$(count "$mounts")" = "$blobs" ] || fail "$(count "$mounts") links of $blobs blobs"
"$checker" "$address" >"$work/tags"
index=$(said first 'r["digest"]')
for tag in team/app:1.0.0 team/app:latest mirror/app:1.0.0 mirror/app:latest; do
  grep -qxF "$tag $index" "$work/tags" || fail "$tag is not $index: $(cat "$work/tags")"
done
for tag in latest 1.0.0; do
  raw=$(skopeo inspect --raw --tls-verify=false "docker://$address/team/app:$tag" | sha256sum)
  [ "sha256:${raw%% *}" = "$index" ] || fail "skopeo reads another index"
done
for arch in amd64 arm64; do
  skopeo inspect --override-arch $arch --tls-verify=false "docker://$address/team/app:1.0.0" |
    grep -qF "\"Architecture\": \"$arch\"" || fail "skopeo finds no image for $arch"
done

# A second time nothing is sent. That an upload may be begun is found out all the same, and the upload cancelled.
requests
before=$(stored)
publish 1.0.0 second
requests
sent=$(grep -vE '^(GET|HEAD|DELETE) |^POST /v2/team/app/blobs/uploads/ ' "$work/requests" || true)
[ -z "$sent" ] || fail "the second time sent: $sent"
[ "$(stored)" = "$before" ] && [ "$(said second 'd["bytes"]')" = 0 ] || fail "the second time sent bytes"
[ "$(said second 'r["digest"]')" = "$index" ] || fail "the second time is another image"

# One package changes, a noarch one: its layer, which both architectures have, and the small ones above all packages.
tests/lib/change-package "$channel" "$work/ws"
publish 1.0.1 third
requests
python3 - "$work/first.json" "$work/third.json" "$(($(stored) - before))" "$(count "$uploads")" <<'PY' || fail "too much was sent"
import json, sys
first, third = (json.load(open(path)) for path in sys.argv[1:3])
growth, uploads = map(int, sys.argv[3:])
known = {layer["digest"] for image in first["build"]["images"] for layer in image["layers"]}
new, top = {}, 0
for image in third["build"]["images"]:
    for layer in image["layers"]:
        if layer["digest"] not in known:
            packages = [package.split()[0] for package in layer["packages"]]
            print(f'{image["platform"]} {layer["kind"]} {packages} {layer["size"]}', file=sys.stderr)
            assert layer["kind"] in ("environment", "application") or packages == ["click"], "not what changed"
            new[layer["digest"]] = layer["size"]
            top = max(top, 0 if packages else layer["size"])
assert sum(layer["packages"] != [] for image in third["build"]["images"] for layer in image["layers"] if layer["digest"] in new) == 2
# The environment layer has the paths of all packages.
assert top < 200_000, f"a layer above the packages has {top} bytes"
[destination] = third["destinations"]
configs = {image["config"] for image in third["build"]["images"]}
assert set(destination["uploaded"]) == set(new) | configs, destination
assert uploads == len(destination["uploaded"]) == len(new) + 2
# Besides the layers: two image configurations, two manifests and the index.
documents = growth - sum(new.values())
assert 0 < documents < 100_000, f"{documents} bytes of documents"
# Manifests are sent once by digest and once for each tag.
assert growth <= destination["bytes"] <= growth + 2 * documents, f'{destination["bytes"]} bytes sent, {growth} are new'
print(f"{growth} bytes for one package, {sum(new.values())} of them layers", file=sys.stderr)
PY
"$checker" "$address" >"$work/tags"
index=$(said third 'r["digest"]')
grep -qxF "team/app:latest $index" "$work/tags" || fail "latest is not $index"
[ "$(said third 'len(d["tags"])')" = 4 ] || fail "not four tags"

# Pulled as users pull, and run without a network.
for arch in amd64 arm64; do
  machine=x86_64
  [ $arch = amd64 ] || machine=aarch64
  image=$(podman_test pull --quiet --tls-verify=false --arch $arch "$address/team/app:1.0.1")
  answer=$(podman_test run --rm "${PODMAN_LIMITS[@]}" --read-only --user 12345 "$image" python app.py --once)
  say "$arch: $answer"
  for part in "\"machine\": \"$machine\"" '"user": 12345' '"prefix": "/opt/pixi/env"' '"sum": 45.0'; do
    grep -qF "$part" <<<"$answer" || fail "$arch does not say $part"
  done
done

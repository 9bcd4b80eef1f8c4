# What every registry has to bear, row by row: row_NAME does it and prints what it counted; it fails by its exit status.
# Sourced by tests/peers/run, which calls them in the order of ROWS, each with `set -e` and in a shell of its own.
#
# Every row finds: ADDRESS, OWNER, CA, STOCK and DELETES of the registry, DIR for what it keeps, WS a copy of the flask workspace.

ROWS="publish again second changed equal crane views six kill legs releases attached sif cache_from plan_to base verify podman"

to() { printf 'docker://%s/%s/%s' "$ADDRESS" "$OWNER" "$1"; }
name() { printf '%s/%s/%s' "$ADDRESS" "$OWNER" "$1"; }

# The program with what all publications have: VERSION REPOSITORY [ARGUMENT...].
publication() {
  export VERSION=$1
  PUBLICATION=("$PIXI_OCI" publish "${WS_OF:-$WS}" --frozen --publish --json --base "$BASE" --arch "${ARCH:-amd64,arm64}"
    --cache-dir "${CACHE:-$WORK/cache}" --to "$(to "$2")" "${@:3}")
}

# VERSION NAME REPOSITORY [ARGUMENT...]: publishes and keeps the report as NAME.json.
publish() {
  publication "$1" "${@:3}"
  "${PUBLICATION[@]}" >"$DIR/$2.json"
}

# What a report says: r is the report, d its first destination.
said() {
  python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); d = r["destinations"][0]; print(eval(sys.argv[2]))' "$DIR/$1.json" "$2"
}

is() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

tags_of() { "$BIN/crane" ls "$(name "$1")" 2>/dev/null | grep -v '^sha256-' | sort || true; }
digest_of() { "$BIN/crane" digest "$(name "$1")"; }

row_publish() {
  publish 1.0.0 first app
  local blobs manifests
  blobs=$(said first 'len(d["uploaded"])') manifests=$(said first 'len(d["manifests"])')
  [ "$blobs" -gt 40 ] || fail "$blobs blobs only"
  is "$manifests" 3 "manifests"
  is "$(said first 'len(d["present"]) + len(d["mounted"])')" 0 "blobs that were there"
  is "$(tags_of app | tr '\n' ' ')" "1.0.0 1.0.0-amd64 1.0.0-arm64 latest " "tags"
  echo "$blobs blobs, $manifests manifests"
}

row_again() {
  publish 1.0.0 again app
  is "$(said again 'len(d["uploaded"]) + len(d["mounted"]) + len(d["manifests"]) + d["bytes"]')" 0 "blobs, manifests and bytes sent"
  is "$(said again 'r["digest"]')" "$(said first 'r["digest"]')" "digest"
  echo "0 blobs, 0 manifests"
}

row_second() {
  publish 1.0.0 second mirror
  local blobs mounted present
  blobs=$(said first 'len(d["uploaded"])') mounted=$(said second 'len(d["mounted"])') present=$(said second 'len(d["present"])')
  # Where repositories have one stock, the blobs are in the second one as well.
  is "$([ "$STOCK" = shared ] && echo "$present" || echo "$mounted")" "$blobs" "blobs mounted, or there"
  is "$(said second 'len(d["uploaded"])')" 0 "blobs sent"
  is "$(said second 'r["digest"]')" "$(said first 'r["digest"]')" "digest"
  echo "$mounted mounted, $present there, 0 sent"
}

row_changed() {
  WS_OF=$WS_CHANGED publish 1.0.1 changed app
  python3 - "$DIR/first.json" "$DIR/changed.json" <<'PY'
import json, sys
first, changed = (json.load(open(path)) for path in sys.argv[1:])
known = {layer["digest"] for image in first["build"]["images"] for layer in image["layers"]}
layers = [layer for image in changed["build"]["images"] for layer in image["layers"] if layer["digest"] not in known]
packages = {package.split()[0] for layer in layers for package in layer["packages"]}
assert packages == {"click"}, packages
[destination] = changed["destinations"]
configs = {image["config"] for image in changed["build"]["images"]}
assert set(destination["uploaded"]) == {layer["digest"] for layer in layers} | configs, "something else was sent"
print(len(destination["uploaded"]), "blobs, one package layer of them")
PY
}

# The version is in the configurations and manifests only.
row_equal() {
  WS_OF=$WS_CHANGED publish 1.0.2 equal app
  is "$(said equal 'sorted(d["uploaded"]) == sorted(image["config"] for image in r["build"]["images"])')" True "only configurations are sent"
  echo "0 layers, 2 configurations, 3 manifests"
}

row_crane() {
  "$BIN/crane" validate --remote "$(name app):1.0.0" >&2
  "$BIN/crane" validate --fast --remote "$(name app):latest" >&2
  echo "2 indexes valid"
}

# Every document as each client reads it has the digest that the report says; what a copy has is what was published.
row_views() {
  local digest reader copy=$DIR/copy same=0
  "$BIN/regctl" registry set "$ADDRESS" --tls "$([ -n "$CA" ] && echo enabled || echo disabled)" >&2
  local plain=() verify=true
  [ -n "$CA" ] || plain=(--plain-http) verify=false
  for digest in $(said first 'r["digest"]') $(said first '" ".join(image["digest"] for image in r["images"])'); do
    for reader in "$BIN/crane manifest" "$BIN/regctl manifest get --format raw-body" "$BIN/oras manifest fetch ${plain[*]}"; do
      is "sha256:$($reader "$(name app)@$digest" | sha256sum | cut -d' ' -f1)" "$digest" "what $reader reads"
      same=$((same + 1))
    done
    is "sha256:$(skopeo inspect --raw --tls-verify=$verify "$(to app)@$digest" | sha256sum | cut -d' ' -f1)" "$digest" "what skopeo reads"
    same=$((same + 1))
  done
  local arm
  arm=$(said first '[image["digest"] for image in r["images"] if image["platform"] == "linux/arm64/v8"][0]')
  is "$("$BIN/oras" resolve "${plain[@]}" --platform linux/arm64/v8 "$(name app):1.0.0")" "$arm" "the image that oras finds for arm64"
  is "$("$BIN/regctl" image digest --platform linux/arm64 "$(name app):1.0.0")" "$arm" "the image that regctl finds for arm64"
  is "$("$BIN/crane" digest --platform linux/arm64 "$(name app):1.0.0")" "$arm" "the image that crane finds for arm64"
  skopeo copy --quiet --all --src-tls-verify=$verify "$(to app):1.0.0" "oci:$copy:app" >&2
  python3 - "$DIR/first.json" "$copy" <<'PY'
import hashlib, json, os, sys
report, copy = json.load(open(sys.argv[1])), sys.argv[2]
[root] = json.load(open(copy + "/index.json"))["manifests"]
assert root["digest"] == report["digest"], root
blobs = {"sha256:" + name for name in os.listdir(copy + "/blobs/sha256")}
wanted = {report["digest"]} | {digest for image in report["images"] for digest in [image["digest"], image["config"], *image["layers"]]}
assert blobs == wanted, blobs ^ wanted
PY
  rm -rf "$copy"
  echo "$same documents equal, 4 clients"
}

row_six() {
  local pids=() number
  for number in 1 2 3 4 5 6; do
    publish 2.0.$number six-$number six &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  for number in 1 2 3 4 5 6; do
    is "$(digest_of six:2.0.$number)" "$(said six-$number 'r["digest"]')" "2.0.$number"
    "$BIN/crane" validate --fast --remote "$(name six):2.0.$number" >&2
  done
  is "$(digest_of six:latest)" "$(said six-6 'r["digest"]')" "latest, whoever came last"
  is "$(tags_of six | wc -l)" 19 "tags"
  echo "6 versions, 19 tags, latest the newest"
}

# Each time into a repository of its own: before the first tag everything is to be sent.
row_kill() {
  local begin whole round tag found=0 killed=0 moment pid
  begin=$(date +%s%N)
  publish 3.0.0 kill kill0
  whole=$((($(date +%s%N) - begin) / 1000000))
  for round in $(seq "$KILLS"); do
    publication 3.0.0 "kill$round"
    "${PUBLICATION[@]}" >/dev/null 2>&1 &
    pid=$!
    moment=$(((RANDOM * 32768 + RANDOM) % whole))
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    ! kill -9 "$pid" 2>/dev/null || killed=$((killed + 1))
    wait "$pid" 2>/dev/null || true
    for tag in $(tags_of "kill$round"); do
      "$BIN/crane" validate --fast --remote "$(name "kill$round"):$tag" >&2
      found=$((found + 1))
    done
    publish 3.0.0 killed "kill$round"
    is "$(said killed 'r["digest"]')" "$(said kill 'r["digest"]')" "the digest after a kill"
    is "$(tags_of "kill$round" | wc -l)" 4 "tags"
    "$BIN/crane" validate --fast --remote "$(name "kill$round"):latest" >&2
  done
  echo "$killed killed, $found tags found whole, $KILLS finished"
}

row_legs() {
  local arch status=0 before
  publish 4.0.0 whole whole
  for arch in amd64 arm64; do
    ARCH=$arch publish 4.0.0 "leg-$arch" legs --leg-file "$DIR/$arch.leg"
  done
  before=$(tags_of legs | tr '\n' ' ')
  is "$before" "4.0.0-amd64 4.0.0-arm64 " "tags of legs"
  # As a job that has neither workspace nor version.
  cd "$DIR"
  unset VERSION
  "$PIXI_OCI" publish-index --publish amd64.leg 2>"$DIR/missing" || status=$?
  [ $status = 1 ] && grep -q 'BLOCKER(arch-missing)' "$DIR/missing" || fail "one leg: $status: $(cat "$DIR/missing")"
  is "$(tags_of legs | tr '\n' ' ')" "$before" "tags after a leg was missing"
  "$PIXI_OCI" publish-index --publish --json amd64.leg arm64.leg >"$DIR/joined.json"
  is "$(said joined 'r["digest"]')" "$(said whole 'r["digest"]')" "digest of joined legs"
  is "$(digest_of legs:latest)" "$(said whole 'r["digest"]')" "latest"
  echo "2 legs joined, one alone refused"
}

row_releases() {
  local status=0 before
  publish 5.1.0 release releases
  before=$(digest_of releases:latest)
  WS_OF=$WS_CHANGED publish 5.1.0 other releases 2>"$DIR/other" || status=$?
  [ $status = 1 ] && grep -q 'BLOCKER(tag-exists)' "$DIR/other" || fail "another 5.1.0: $status: $(cat "$DIR/other")"
  publish 5.0.0 older releases
  is "$(digest_of releases:latest)" "$before" "latest after an older release"
  is "$(digest_of releases:5.1.0)" "$before" "5.1.0"
  WS_OF=$WS_CHANGED publish 5.2.0-rc.1 dev releases
  is "$(digest_of releases:latest)" "$before" "latest after a development version"
  publish 5.2.0 newer releases
  is "$(digest_of releases:latest)" "$(said newer 'r["digest"]')" "latest after a newer release"
  echo "1 refused, latest moved twice"
}

# What others attach stays, whether the registry lists it (referrers) or it is under a tag `sha256-…`.
# SIFs beside their image: oras finds them by it, and pulls what was built.
row_sif() {
  local plain=() index manifest built
  [ -n "$CA" ] || plain=(--plain-http)
  publish 9.0.0 sif sif --to "oras://$(name sif)"
  is "$(tags_of sif | grep ^sif- | tr '\n' ' ')" "sif-9.0.0 sif-9.0.0-amd64 sif-9.0.0-arm64 sif-latest " "tags of SIFs"
  for arch in amd64 arm64; do
    index=$("$BIN/oras" resolve "${plain[@]}" "$(name sif):9.0.0-$arch")
    manifest=$("$BIN/oras" resolve "${plain[@]}" "$(name sif):sif-9.0.0-$arch")
    # Not by its type: go-containerregistry's registry says that of the configuration.
    "$BIN/oras" discover "${plain[@]}" --format json "$(name sif)@$index" | grep -q "$manifest" || fail "oras does not find the SIF of $arch"
    rm -rf "$DIR/pulled"
    "$BIN/oras" pull "${plain[@]}" --output "$DIR/pulled" "$(name sif)@$manifest" >&2
    VERSION=9.0.0 "$PIXI_OCI" build "$WS" --frozen --base "$BASE" --arch "$arch" --cache-dir "$WORK/cache" --output "sif:$DIR/built" >&2
    built=$(sha256sum <"$DIR/built.sif")
    is "$(sha256sum <"$DIR/pulled/flask-app-$arch.sif")" "$built" "the SIF that oras pulls"
  done
  VERSION=9.0.0 "$PIXI_OCI" publish "$WS" --frozen --publish --json --base "$BASE" --cache-dir "$WORK/cache" --to "$(to sif)" \
    --to "oras://$(name sif)" >"$DIR/sif_again.json"
  is "$(said sif_again 'sum(len(d["uploaded"]) + len(d["manifests"]) for d in r["destinations"])')" 0 "blobs and manifests sent again"
  echo "2 SIFs, found by their images"
}

row_attached() {
  [ "$DELETES" = yes ] || { echo "no deletion"; return; }
  local plain=() index attached tags
  [ -n "$CA" ] || plain=(--plain-http)
  publish 6.0.0 attached attached
  index=$(said attached 'r["digest"]')
  # An image that no index names.
  ARCH=amd64 WS_OF=$WS_CHANGED publish 6.0.1-dev.1 stale attached --leg-file "$DIR/stale.leg"
  printf 'a list of packages\n' >"$DIR/list.txt"
  (cd "$DIR" && "$BIN/oras" attach "${plain[@]}" --artifact-type application/vnd.example.list "$(name attached)@$index" list.txt:text/plain) >&2
  if [ -x "$BIN/cosign" ]; then
    [ -e "$DIR/cosign.key" ] || (cd "$DIR" && COSIGN_PASSWORD='' "$BIN/cosign" generate-key-pair) >&2
    COSIGN_PASSWORD='' "$BIN/cosign" sign --yes --key "$DIR/cosign.key" --use-signing-config=false --tlog-upload=false \
      --allow-http-registry "$(name attached)@$index" >&2
  fi
  attached=$("$BIN/oras" discover "${plain[@]}" --format json "$(name attached)@$index" | grep -c '"artifactType"')
  [ "$attached" -ge 1 ] || fail "nothing is attached"
  tags=$("$BIN/crane" ls "$(name attached)" | sort)
  "$PIXI_OCI" prune --delete --json --to "$(to attached)" >"$DIR/pruned.json"
  is "$("$BIN/crane" ls "$(name attached)" | sort | grep -v '^6.0.1-dev.1-amd64$')" "$(grep -v '^6.0.1-dev.1-amd64$' <<<"$tags")" "tags after prune"
  ! "$BIN/crane" digest "$(name attached):6.0.1-dev.1-amd64" >/dev/null 2>&1 || fail "the stale tag is still there"
  # The next release finds its way among them.
  publish 6.0.2 next attached
  is "$(digest_of attached:latest)" "$(said next 'r["digest"]')" "latest"
  is "$("$BIN/oras" discover "${plain[@]}" --format json "$(name attached)@$index" | grep -c '"artifactType"')" "$attached" "attachments"
  local signed=
  if [ -x "$BIN/cosign" ]; then
    signed=", the signature verified"
    "$BIN/cosign" verify --key "$DIR/cosign.pub" --insecure-ignore-tlog --allow-http-registry "$(name attached)@$index" >/dev/null
  fi
  echo "1 tag pruned, $attached attached stay$signed"
}

row_cache_from() {
  rm -rf "$DIR/cache"
  CACHE=$DIR/cache publish 1.0.3-dev.1 cached app --cache-from "$(to app):1.0.0"
  local layers taken
  layers=$(said cached 'sum(layer["packages"] != [] for image in r["build"]["images"] for layer in image["layers"])')
  taken=$(said cached 'sum(layer.get("origin") == "registry" for image in r["build"]["images"] for layer in image["layers"])')
  [ "$taken" -ge "$layers" ] && [ "$layers" -gt 20 ] || fail "$taken of $layers layers with packages were taken"
  is "$(said cached 'sum(len(d[what]) for what in ["mounted"])')" 0 "blobs linked within one repository"
  rm -rf "$DIR/cache"
  echo "$taken layers taken"
}

row_plan_to() {
  VERSION=1.0.0 "$PIXI_OCI" plan "$WS" --frozen --json --base "$BASE" --arch amd64,arm64 --cache-dir "$WORK/cache" --to "$(to app)" >"$DIR/plan.json"
  python3 - "$DIR/plan.json" "$DIR/first.json" <<'PY'
import json, sys
plan, first = (json.load(open(path)) for path in sys.argv[1:])
plan = plan[0] if isinstance(plan, list) else plan
[push] = plan["push"]
assert push.get("failure") is None and push["exact"], push
assert (push["blobs"], push["bytes"], push["manifests"]) == (0, 0, 0), push
assert plan["digest"] == first["digest"], plan["digest"]
# 1.0.2 has `latest`, and is newer.
assert push["tags"] == [], push["tags"]
print("nothing to send,", push["present"], "blobs there")
PY
}

row_base() {
  local digest
  digest=$(said first 'r["digest"]')
  rm -rf "$DIR/cache"
  "$PIXI_OCI" build "$WS" --frozen --base "$(to app)@$digest" --set prefix=/opt/other --arch amd64 --cache-dir "$DIR/cache" --output "oci:$DIR/derived" --json >"$DIR/derived.json"
  python3 - "$DIR/derived.json" "$DIR/first.json" <<'PY'
import json, sys
derived, first = (json.load(open(path)) for path in sys.argv[1:])
[image] = derived["images"]
below = [layer["digest"] for layer in image["layers"] if layer["kind"] == "base"]
[base] = [image["layers"] for image in first["images"] if image["platform"] == "linux/amd64"]
assert below == base, "not the layers of the base"
print(len(below), "layers of the base")
PY
  rm -rf "$DIR/cache" "$DIR/derived"
}

row_verify() {
  "$PIXI_OCI" verify image "$(to app):1.0.0" >"$DIR/verified" 2>&1 || fail "$(tail -5 "$DIR/verified")"
  echo "both images"
}

row_podman() {
  local tls=false answer image
  [ -z "$CA" ] || tls=true
  mkdir -p "$PODMAN_DIR/peers"
  cp "${REGISTRY_AUTH_FILE:-/dev/null}" "$PODMAN_DIR/peers/auth.json"
  [ -s "$PODMAN_DIR/peers/auth.json" ] || echo '{}' >"$PODMAN_DIR/peers/auth.json"
  [ $tls = false ] || cp "$CA" "$PODMAN_DIR/peers/ca.crt"
  chmod -R a+rX "$PODMAN_DIR/peers"
  local certificates=()
  [ $tls = false ] || certificates=(--cert-dir "$PODMAN_DIR/peers")
  local arch arches=(amd64)
  [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || arches+=(arm64)
  for arch in "${arches[@]}"; do
    image=$(podman_test pull --quiet --authfile "$PODMAN_DIR/peers/auth.json" "${certificates[@]}" --tls-verify=$tls --arch $arch "$(name app):1.0.0")
    is "$(podman_test image inspect --format '{{.Architecture}}' "$image")" $arch "the image that podman finds for $arch"
    answer=$(podman_test run --rm "${PODMAN_LIMITS[@]}" --read-only --user 12345 "$image" python app.py --once)
    grep -qF '"sum": 45.0' <<<"$answer" || fail "$arch: it says $answer"
    podman_test rmi --force "$image" >/dev/null
  done
  echo "pulled and run: ${arches[*]}"
}

#!/usr/bin/env bash
# The flake, with a stand-in for nixpkgs: every output is evaluated, and the apps' scripts are built and run against
# docker-registry. What `nix run .#publish` publishes is what `pixi-oci publish` publishes.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
. "$repository/tests/lib/host.sh"
. "$repository/tests/lib/nix.sh"
. "$repository/tests/lib/registry.sh"

pixi_oci=$(realpath "${PIXI_OCI:-$repository/target/debug/pixi-oci}")
work=$(mktemp -d)
trap 'registry_stop; chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

fail() { say "FAILED: $*"; exit 1; }
same() { [ "$1" = "$2" ] || fail "$3: $1 is not $2"; }

export HOME=$work/home PIXI_OCI_CACHE_DIR=$work/cache
mkdir -p "$HOME"
unset VERSION PUBLISH REGISTRY_TOKEN CI CI_COMMIT_TAG GITHUB_ACTIONS
nix_prepare "$repository" "$pixi_oci" "$work"
run_nix() {
  local verb=("$1")
  shift
  if [ "${verb[0]}" = flake ]; then verb+=("$1"); shift; fi
  nix "${verb[@]}" --override-input nixpkgs "path:$work/nixpkgs" --offline --no-write-lock-file --impure "$@"
}
flake=path:$work/flake

# The outputs, and that each evaluates, for both systems.
run_nix flake show "$flake" >show.log 2>&1 || { cat show.log; fail "nix flake show"; }
apps="publish publish-amd64 publish-arm64 publish-index stage-amd64 stage-arm64"
for system in x86_64-linux aarch64-linux; do
  found=$(run_nix eval --raw "$flake#apps.$system" --apply 'apps: toString (builtins.attrNames apps)')
  same "$found" "$apps" "apps of $system"
  for app in $apps; do
    program=$(run_nix eval --raw "$flake#apps.$system.$app.program")
    case $program in "$NIX_STORE_DIR"/*/bin/pixi-oci-"$app") ;; *) fail "$app of $system is $program" ;; esac
  done
  for output in packages.$system.default devShells.$system.default checks.$system.package checks.$system.publish; do
    run_nix eval --raw "$flake#$output.drvPath" >/dev/null || fail "$output"
  done
done
version=$(run_nix eval --raw "$flake#packages.x86_64-linux.default.name")
same "$version" "pixi-oci-$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml")" version

# A pinned nixpkgs, as the lock file says, and nothing else.
python3 - flake/flake.lock <<'PYTHON'
import json, sys
nodes = json.load(open(sys.argv[1]))["nodes"]
assert set(nodes) == {"root", "nixpkgs"}, nodes
assert len(nodes["nixpkgs"]["locked"]["rev"]) == 40 and nodes["nixpkgs"]["locked"]["narHash"].startswith("sha256-")
PYTHON

# The apps in another directory, which is a workspace.
registry_start "$work/registry"
cp -R "$repository/docs/examples/hello" workspace
cd workspace
app() {
  local name=$1
  shift
  run_nix run "$flake#$name" -- "$@"
}
to=docker://$REGISTRY

app stage-amd64 >staged
grep -q '^oci:.*dist/oci:amd64@sha256:' staged || fail "stage-amd64 says $(cat staged)"
app stage-arm64 >/dev/null
"$pixi_oci" verify image oci:dist/oci:arm64 >/dev/null || fail "what was staged is not sound"
[ ! -s "$work/registry/log" ] || ! grep -q '"GET\|"POST\|"PUT\|"HEAD' "$work/registry/log" || fail "staging asked the registry"

export VERSION=1.0.0
# Dry run by default: nothing is there afterwards.
app publish --to "$to/whole" 2>dry >/dev/null
grep -q 'dry run' dry || fail "a dry run does not say so: $(cat dry)"
app publish-amd64 --to "$to/legs" >/dev/null 2>&1
[ ! -e dist/legs ] || fail "a dry run left a leg"
[ ! -e "$work/registry/storage/docker/registry/v2/repositories" ] || fail "a dry run wrote"

app publish-amd64 --publish --to "$to/legs" >/dev/null
PUBLISH=1 app publish-arm64 --to "$to/legs" >/dev/null
if registry_tags legs | grep -qx 1.0.0; then fail "there is an index before it was joined"; fi
joined=$(app publish-index --publish --to "$to/legs")
whole=$(app publish --publish --to "$to/whole")
direct=$("$pixi_oci" publish --publish --to "$to/direct" --cache-dir "$work/another-cache")
same "${joined#*@}" "${direct#*@}" "legs"
same "${whole#*@}" "${direct#*@}" "publish"
same "$(registry_digest whole 1.0.0)" "${direct#*@}" "the tag"
same "$(registry_digest legs latest)" "${direct#*@}" "latest"

# One architecture failed: its leg is not there, and no index is published.
rm dist/legs/arm64.json
if app publish-index --publish --to "$to/legs-again" 2>missing; then fail "an index of one leg"; fi
grep -q 'arm64.json' missing || fail "the missing leg has no name: $(cat missing)"

# Another repository, with one line, and a workspace below it.
mkdir -p "$work/other/services" && cp -R "$repository/docs/examples/hello" "$work/other/services/api"
cat >"$work/other/flake.nix" <<NIX
{
  inputs.pixi-oci.url = "path:$work/flake";
  inputs.pixi-oci.inputs.nixpkgs.url = "path:$work/nixpkgs";
  outputs = { self, pixi-oci }:
    let
      api = pixi-oci.lib.mkApps { workspace = "services/api"; flags = [ "--environment" "default" ]; };
    in {
      apps = builtins.mapAttrs (system: apps: apps // { publish-api = apps.publish; }) api;
    };
}
NIX
cd "$work/other"
other() {
  local name=$1
  shift
  nix run --offline --impure "path:$work/other#$name" -- "$@"
}
same "$(other publish-api --publish --to "$to/other" | sed 's/.*@//')" "${direct#*@}" "mkApps"
other publish-amd64 --publish --to "$to/below" >/dev/null
other publish-arm64 --publish --to "$to/below" >/dev/null
[ -e services/api/dist/legs/arm64.json ] || fail "the leg is not below the workspace"
same "$(other publish-index --publish --to "$to/below" | sed 's/.*@//')" "${direct#*@}" "the legs of mkApps"

# Once there is a release, the apps fetch its program by hash and compile nothing; here it is a file of this machine.
cp -R "$work/flake" "$work/released"
mkdir "$work/files"
for target in x86_64 aarch64; do cp "$pixi_oci" "$work/files/pixi-oci-$target-unknown-linux-musl"; done
"$work/released/packaging/release" 9.9.9 "file://$work/files" "$work/files"
released=path:$work/released
same "$(run_nix eval --raw "$released#packages.aarch64-linux.bin.name")" pixi-oci-bin-9.9.9 "the released program"
cd "$work/workspace"
program=$(run_nix eval --raw "$released#apps.x86_64-linux.publish.program")
run_nix build --no-link "$released#packages.$(uname -m)-linux.bin" || fail "the released program"
run_nix run "$released#publish" -- --publish --to "$to/released" >released
same "$(sed 's/.*@//' released)" "${direct#*@}" "the released program"
nix-store --query --requisites "$program" | grep -q 'pixi-oci-bin-9.9.9' || fail "the apps do not use the release"
cat >"$work/other/flake.nix" <<NIX
{
  inputs.pixi-oci.url = "path:$work/released";
  inputs.pixi-oci.inputs.nixpkgs.url = "path:$work/nixpkgs";
  outputs = { self, pixi-oci }: { apps = pixi-oci.lib.mkApps { fromSource = true; }; };
}
NIX
source=$(nix eval --offline --impure --raw "path:$work/other#apps.x86_64-linux.publish.program")
[ "$source" != "$program" ] || fail "fromSource changes nothing"
# Another file is not run.
echo x | tee -a "$work"/files/pixi-oci-* >/dev/null
cp -R "$work/released" "$work/another"
"$work/another/packaging/release" 9.9.10 "file://$work/files" "$work/files"
echo y | tee -a "$work"/files/pixi-oci-* >/dev/null
if run_nix build --no-link "path:$work/another#packages.$(uname -m)-linux.bin" 2>mismatch; then fail "a wrong hash is taken"; fi
grep -q 'hash mismatch' mismatch || fail "a wrong hash is called $(cat mismatch)"

say "the flake's apps publish what the program publishes"

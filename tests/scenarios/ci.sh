#!/usr/bin/env bash
# The files for CI systems do what docs/ci.md says: each of their steps is run with the CI's variables against
# docker-registry, and what CI publishes is what a laptop publishes.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
. "$repository/tests/lib/host.sh"
. "$repository/tests/lib/nix.sh"
. "$repository/tests/lib/registry.sh"

pixi_oci=$(realpath "${PIXI_OCI:-$repository/target/debug/pixi-oci}")
work=$(mktemp -d)
trap 'kill "$open" 2>/dev/null; registry_stop; chmod -R u+w "$work"; rm -rf "$work"' EXIT
registry_start "$work/open"
OPEN_REGISTRY=$REGISTRY open=$REGISTRY_PID
registry_start "$work/login" login
export OPEN_REGISTRY LOGIN_REGISTRY=$REGISTRY
nix_prepare "$repository" "$pixi_oci" "$work/nix"

PIXI_OCI=$pixi_oci python3 -B -m unittest discover --start-directory "$repository/tests/ci" --pattern 'test_*.py' 2>&1

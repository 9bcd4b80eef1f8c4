#!/usr/bin/env bash
# Distribution 3, with a password and behind TLS, and four clients: the part of tests/peers that is quick to build. All of it:
# `tests/run --peers`.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/host.sh

# What tests/peers/*/go.mod ask for.
if ! printf '%s\n' go1.26.8 "$(go env GOVERSION 2>/dev/null || echo go0)" | sort -VC; then
  skip all "distribution 3, crane, regctl and oras: there is no Go 1.26.8 or newer to build them"
  exit 0
fi
tests/peers/build crane distribution oras regctl
PEERS_KILLS=5 exec tests/peers/run distribution3

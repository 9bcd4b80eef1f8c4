#!/usr/bin/env bash
# Distribution 3, with a password and behind TLS, and four clients: the part of tests/peers that is quick to build. All of it:
# `tests/run --peers`.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v go >/dev/null; then
  echo "SKIP: peers: Go is not installed, so distribution 3, crane, regctl and oras cannot be built"
  exit 0
fi
tests/peers/build crane distribution oras regctl
PEERS_KILLS=5 exec tests/peers/run distribution3

#!/bin/sh
# Bootstraps the product in /product for this machine, and runs a command in one of its environments.
set -eu
environment=$1 name=$2 manifest=$3 pixi=$4
shift 4
if [ -n "$pixi" ]; then
  /product/bootstrap-project.sh --to /work --environment "$environment" >&2
  PIXI_OCI_PRODUCT=/work PIXI_OFFLINE=true PIXI_FROZEN=true
  export PIXI_OCI_PRODUCT PIXI_OFFLINE PIXI_FROZEN
  cd "/work/$name"
  exec "/product/$pixi" run --as-is --manifest-path "/work/$name/$manifest" --environment "$environment" "$@"
fi
/product/bootstrap-project.sh --to /work --environment "$environment" --no-pixi >&2
activate=/work/activate.sh
[ "$environment" = default ] || activate=/work/activate-$environment.sh
# Scripts of packages are not written for `set -eu`.
set +eu
. "$activate"
cd "/work/$name" || exit 1
exec "$@"

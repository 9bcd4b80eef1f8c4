# Source this file: `. /PATH/TO/envs.sh`. It points pixi and rattler to the packages of this directory, and keeps them off
# the network. sh, bash and zsh. Made by pixi-oci.

_pixi_oci_here=
if [ -n "${BASH_VERSION:-}" ]; then
  _pixi_oci_here=${BASH_SOURCE:-}
elif [ -n "${ZSH_VERSION:-}" ]; then
  eval '_pixi_oci_here=${(%):-%x}'
else
  # Other shells do not say which file they read, but they have it open.
  for _pixi_oci_open in /proc/$$/fd/*; do
    _pixi_oci_open=$(readlink "$_pixi_oci_open" 2>/dev/null) || continue
    case $_pixi_oci_open in */envs.sh) _pixi_oci_here=$_pixi_oci_open ;; esac
  done
  unset _pixi_oci_open
fi
case $_pixi_oci_here in
  */*) _pixi_oci_here=${_pixi_oci_here%/*} ;;
  *) _pixi_oci_here=${PIXI_OCI_PRODUCT:-.} ;;
esac
_pixi_oci_here=$(CDPATH= cd -P -- "$_pixi_oci_here" 2>/dev/null && pwd -P)

case $(uname -m) in
  x86_64 | amd64) _pixi_oci_platform=linux-64 ;;
  aarch64 | arm64) _pixi_oci_platform=linux-aarch64 ;;
  *) _pixi_oci_platform= ;;
esac

if [ -z "$_pixi_oci_here" ] || [ ! -f "$_pixi_oci_here/envs.sh" ]; then
  echo "envs.sh: this shell does not say where envs.sh is; set PIXI_OCI_PRODUCT to its directory first" >&2
  unset _pixi_oci_here _pixi_oci_platform
  return 1
fi
if [ -z "$_pixi_oci_platform" ] || [ ! -d "$_pixi_oci_here/pkg-cache/$_pixi_oci_platform" ]; then
  echo "envs.sh: $_pixi_oci_here/pkg-cache has no packages for $(uname -m)" >&2
  unset _pixi_oci_here _pixi_oci_platform
  return 1
fi

PIXI_OCI_PRODUCT=$_pixi_oci_here
PIXI_CACHE_DIR=$_pixi_oci_here/pkg-cache/$_pixi_oci_platform
RATTLER_CACHE_DIR=$PIXI_CACHE_DIR
PIXI_OFFLINE=true
PIXI_FROZEN=true
UV_OFFLINE=true
export PIXI_OCI_PRODUCT PIXI_CACHE_DIR RATTLER_CACHE_DIR PIXI_OFFLINE PIXI_FROZEN UV_OFFLINE
if [ -d "$_pixi_oci_here/res" ]; then
  PIXI_OCI_RESOURCES=$_pixi_oci_here/res
  export PIXI_OCI_RESOURCES
fi
unset _pixi_oci_here _pixi_oci_platform

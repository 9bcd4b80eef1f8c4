# What the tests need of this machine. Sourced; needs bash.

# Programs the tests call, with the Debian package that has each.
NEEDED_PROGRAMS="
  buildah:buildah
  busybox:busybox
  bzip2:bzip2
  cc:build-essential
  crun:crun
  dash:dash
  docker-registry:docker-registry
  faketime:faketime
  git:git
  hyperfine:hyperfine
  jq:jq
  libdeflate-gzip:libdeflate-tools
  newuidmap:uidmap
  nix:nix-bin
  openssl:openssl
  patchelf:patchelf
  pigz:pigz
  podman:podman
  python3:python3
  qemu-aarch64-static:qemu-user-static
  rdsquashfs:squashfs-tools-ng
  runc:runc
  skopeo:skopeo
  umoci:umoci
  unsquashfs:squashfs-tools
  update-binfmts:binfmt-support
  zsh:zsh
  zstd:zstd
"

# Some of them are in directories that an ordinary user's PATH does not have.
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s\n' "$*" >&2; }

# Leaves a part of a scenario out, because something is missing: `skip debian|all WHAT`. It is counted; where
# PIXI_OCI_TEST_REQUIRE promises such things, it is a failure.
skip() {
  case ${PIXI_OCI_TEST_REQUIRE:-}:$1 in
    debian:debian | all:*) say "$2 is missing, and PIXI_OCI_TEST_REQUIRE=$PIXI_OCI_TEST_REQUIRE promises it"; exit 1 ;;
  esac
  say "SKIP: $2"
}

# Runs a command as root: directly, or with sudo where that asks for no password.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 126
  fi
}

missing_packages() {
  local pair
  for pair in $NEEDED_PROGRAMS; do
    command -v "${pair%%:*}" >/dev/null || printf '%s\n' "${pair#*:}"
  done
  python3 -m pip --version >/dev/null 2>&1 || printf '%s\n' python3-pip
  python3 -c 'import yaml' 2>/dev/null || printf '%s\n' python3-yaml
  python3 -c 'import ensurepip' 2>/dev/null || printf '%s\n' python3-venv
}

# Installs what is missing, and nothing else.
install_missing() {
  local missing
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  say "Installing what the tests need: ${missing//$'\n'/ }"
  # shellcheck disable=SC2086 # one word a package
  if ! { as_root apt-get -q update && as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing; } >&2; then
    say "The tests need these Debian packages, and they could not be installed here: ${missing//$'\n'/ }"
    say "Run this as root, as a user whom sudo asks for no password, or install them first:"
    say "  apt-get install ${missing//$'\n'/ }"
    return 1
  fi
}

# Lets the kernel run arm64 programs through QEMU, also in containers (flag F: the interpreter is opened now).
enable_arm64() {
  local binfmt=/proc/sys/fs/binfmt_misc
  [ "$(uname -m)" != aarch64 ] || return 0
  [ ! -e $binfmt/qemu-aarch64 ] || return 0
  [ -e $binfmt/register ] || as_root mount -t binfmt_misc binfmt_misc $binfmt || true
  if [ ! -e $binfmt/qemu-aarch64 ]; then
    # printf and not echo: the rule's backslashes are for the kernel.
    as_root sh -c "printf '%s' \"\$(cat /usr/lib/binfmt.d/qemu-aarch64.conf)\" >$binfmt/register" || true
  fi
  [ -e $binfmt/qemu-aarch64 ] || {
    say "arm64 programs cannot run here: $binfmt has no qemu-aarch64, and it takes root to register it."
    return 1
  }
}

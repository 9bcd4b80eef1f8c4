# Rootless podman for tests: no network, a storage of its own, nothing left behind. Sourced; needs bash.
#
#   podman_require                                         ends the script with an explanation where podman does not work
#   podman_run LAYOUT TAG ARCH [OPTION... --] [COMMAND...]          runs an image of an OCI layout, in the foreground
#   podman_start NAME LAYOUT TAG ARCH [OPTION... --] [COMMAND...]   the same, in the background
#   podman_exec NAME [OPTION... --] COMMAND...             runs a command in a container that podman_start started
#   podman_stop NAME                                       stops it (SIGTERM, then SIGKILL after 10 s) and removes it
#   podman_test ARGUMENT...                                podman itself, with all the settings
#
# An empty TAG means the only image of the layout. Started by root, podman runs as the user
# pixi-oci-test, who is created: what the tests show is rootless.

. "$(dirname "${BASH_SOURCE[0]}")/host.sh"

PODMAN_TEST_USER=pixi-oci-test
PODMAN_DIR=      # everything podman writes
PODMAN_RUNTIME=  # crun or runc, whichever works here

podman_require() {
  local problem
  if ! problem=$(_podman_prepare 2>&1); then
    say "podman cannot run containers here as an ordinary user:"
    say "$problem"
    exit 1
  fi
  PODMAN_DIR=$(sed -n 's/^directory //p' <<<"$problem")
  PODMAN_RUNTIME=$(sed -n 's/^runtime //p' <<<"$problem")
  trap podman_cleanup EXIT
}

podman_run() {
  local layout=$1 tag=$2 arch=$3 image
  shift 3
  image=$(_podman_image "$layout" "$tag" "$arch") || return
  _podman_split "$@"
  podman_test run --rm "${PODMAN_LIMITS[@]}" "${OPTIONS[@]}" "$image" "${COMMAND[@]}"
}

podman_start() {
  local name=$1 layout=$2 tag=$3 arch=$4 image
  shift 4
  image=$(_podman_image "$layout" "$tag" "$arch") || return
  _podman_split "$@"
  podman_test run --detach --name "$name" "${PODMAN_LIMITS[@]}" "${OPTIONS[@]}" "$image" "${COMMAND[@]}" >/dev/null
}

podman_exec() {
  local name=$1
  shift
  _podman_split "$@"
  podman_test exec "${OPTIONS[@]}" "$name" "${COMMAND[@]}"
}

podman_stop() {
  podman_test stop --time 10 "$1" >/dev/null
  podman_test rm --force "$1" >/dev/null
}

podman_test() {
  _as_test_user podman --root "$PODMAN_DIR/storage" --runroot "$PODMAN_DIR/runroot" --tmpdir "$PODMAN_DIR/tmp" \
    --storage-driver overlay --cgroup-manager cgroupfs --events-backend file \
    --runtime "$PODMAN_RUNTIME" --log-level error "$@"
}

podman_cleanup() {
  [ -n "$PODMAN_DIR" ] || return 0
  podman_test rm --all --force --time 0 >/dev/null 2>&1
  # Files of containers belong to subordinate users: only podman's user namespace may remove them.
  # podman may have mounted its storage on itself there; then the directory stays for the rm below.
  _as_test_user podman unshare sh -c 'umount -R "$1/overlay" 2>/dev/null; rm -rf "$@"' sh \
    "$PODMAN_DIR/storage" "$PODMAN_DIR/runroot" 2>/dev/null || :
  # The processes that hold podman's user namespace stay otherwise: podman_test's, and that of the call above. podman says
  # their numbers; they must be what they were.
  local pause
  for pause in "$PODMAN_DIR/tmp/pause.pid" "$PODMAN_DIR/run/libpod/tmp/pause.pid"; do
    pause=$(cat "$pause" 2>/dev/null) || continue
    ! grep -qsE '^(podman|catatonit)' "/proc/$pause/comm" || kill "$pause" 2>/dev/null || :
  done
  rm -rf "$PODMAN_DIR"
  PODMAN_DIR=
}

# A container may not raise limits above those of this shell; podman's defaults would.
PODMAN_LIMITS=(--network none --ulimit nofile=1024:1024 --ulimit nproc=4096:4096)

# Sets OPTIONS to what is before the first "--", COMMAND to what is after it; without "--" all is command.
_podman_split() {
  OPTIONS=() COMMAND=("$@")
  local i
  for ((i = 1; i <= $#; i++)); do
    if [ "${!i}" = -- ]; then
      OPTIONS=("${@:1:i-1}") COMMAND=("${@:i+1}")
      return
    fi
  done
}

# Prints the identifier of the image, which is pulled from the layout.
_podman_image() {
  local layout=$1 tag=$2 arch=$3 copy
  # The test user may not read a layout below /root; and nobody may change it.
  copy=$PODMAN_DIR/layout-$BASHPID-$RANDOM
  cp -r "$layout" "$copy" && chmod -R a+rX "$copy" || return
  _own "$copy"
  podman_test pull --quiet --arch "$arch" "oci:$copy${tag:+:$tag}" | tail -n 1
  local status=${PIPESTATUS[0]}
  rm -rf "$copy"
  return "$status"
}

_as_test_user() {
  local environment=(PATH="$PATH" HOME="$PODMAN_DIR/home" XDG_RUNTIME_DIR="$PODMAN_DIR/run" TMPDIR="$PODMAN_DIR/tmp")
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec setpriv --reuid $PODMAN_TEST_USER --regid $PODMAN_TEST_USER --clear-groups env -i "${environment[@]}" "$@")
  else
    (cd / && exec env "${environment[@]}" "$@")
  fi
}

_own() {
  [ "$(id -u)" != 0 ] || chown -R $PODMAN_TEST_USER: "$1"
}

# Says on success which directory and runtime to use, otherwise what is missing.
_podman_prepare() {
  local program user
  for program in podman newuidmap newgidmap setpriv qemu-aarch64-static; do
    command -v $program >/dev/null || { echo "  $program is not installed"; return 1; }
  done
  user=$(id -un)
  if [ "$user" = root ]; then
    user=$PODMAN_TEST_USER
    id $user >/dev/null 2>&1 || useradd --create-home --shell /bin/bash $user || return 1
    grep -qs "^$user:" /etc/subuid || usermod --add-subuids 524288-589823 $user || return 1
    grep -qs "^$user:" /etc/subgid || usermod --add-subgids 524288-589823 $user || return 1
  fi
  grep -qs "^$user:" /etc/subuid /etc/subgid || {
    echo "  $user has no subordinate users: as root, usermod --add-subuids 524288-589823 --add-subgids 524288-589823 $user"
    return 1
  }
  # Not /tmp, which may be a tmpfs: overlay storage wants a disk, and images are large.
  # No capitals, as mktemp has them: podman names images after their path.
  PODMAN_DIR=/var/tmp/pixi-oci-podman-$$-$RANDOM
  mkdir "$PODMAN_DIR" || return 1
  mkdir "$PODMAN_DIR"/{home,run,tmp,probe}
  cp "$(command -v qemu-aarch64-static)" "$PODMAN_DIR/probe/probe" # any static program
  chmod 700 "$PODMAN_DIR/run"
  _own "$PODMAN_DIR"
  for PODMAN_RUNTIME in crun runc; do
    if podman_test run --rm "${PODMAN_LIMITS[@]}" --rootfs "$PODMAN_DIR/probe" /probe --version >"$PODMAN_DIR/$PODMAN_RUNTIME.log" 2>&1; then
      printf 'directory %s\nruntime %s\n' "$PODMAN_DIR" $PODMAN_RUNTIME
      return 0
    fi
  done
  for PODMAN_RUNTIME in crun runc; do
    echo "  with $PODMAN_RUNTIME: $(tail -n 3 "$PODMAN_DIR/$PODMAN_RUNTIME.log")"
  done
  podman_cleanup
  return 1
}

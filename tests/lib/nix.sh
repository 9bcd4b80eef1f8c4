# Nix for scenarios, with a stand-in for nixpkgs and a store of its own: nothing is left on the machine. Sourced; needs bash.
#
#   nix_prepare REPOSITORY PROGRAM DIR   sets the environment; DIR/flake is then what nix takes of REPOSITORY, and
#                                        DIR/nixpkgs the stand-in, whose pixi-oci is PROGRAM

nix_prepare() {
  local repository=$1 program=$2 directory=$3
  export NIX_STORE_DIR=$directory/nix/store NIX_STATE_DIR=$directory/nix/state NIX_LOG_DIR=$directory/nix/log NIX_REMOTE=
  export NIX_CONFIG=$'experimental-features = nix-command flakes\nsandbox = false\nbuild-users-group =\nsubstituters =\n'
  mkdir -p "$directory/nixpkgs" "$directory/flake"
  sed "s|@pixi-oci@|$program|" "$repository/tests/nix/nixpkgs/flake.nix" >"$directory/nixpkgs/flake.nix"
  tracked_files "$repository" "$directory/flake"
}

# Copies the files that git knows, as they are now.
tracked_files() {
  git -C "$1" ls-files -z | (cd "$1" && while IFS= read -r -d '' file; do
    if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\0' "$file"; fi
  done) | tar -C "$1" --null -T - -cf - | tar -C "$2" -xf -
}

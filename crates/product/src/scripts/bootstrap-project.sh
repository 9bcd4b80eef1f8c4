#!/bin/sh
# Installs the project of this directory on a machine without a network. Made by pixi-oci.
set -eu
LC_ALL=C
export LC_ALL
umask 022

name=@NAME@
manifest=@MANIFEST@
all_environments=@ENVIRONMENTS@

usage() {
  cat <<EOF
Usage: bootstrap-project.sh [--to DIR] [-e ENVIRONMENT]... [--no-pixi [--prefix DIR]]

Checks this product, copies the project and installs its environments, without any network.

  --to DIR            where to install [default: installed/ in the product]
  -e, --environment   an environment [default: all of: $all_environments]
  --no-pixi           without pixi: the product's own pixi-oci installs; activate.sh then sets the environment up
  --prefix DIR        with --no-pixi and one environment: its directory
  --step STEP         only check, project, packages or environments, as the scripts in helpers/ do;
                      what was not checked before is not checked now
EOF
}

die() {
  echo "bootstrap-project.sh: $*" >&2
  exit 1
}

to=
environments=
no_pixi=
prefix=
step=
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --no-pixi) no_pixi=1; shift; continue ;;
    --to | -e | --environment | --prefix | --step) [ $# -gt 1 ] || die "$1 needs a value" ;;
    *) usage >&2; die "unknown argument $1" ;;
  esac
  case $1 in
    --to) to=$2 ;;
    --prefix) prefix=$2 ;;
    --step)
      case $2 in
        check | project | packages | environments) step=$2 ;;
        *) die "unknown step $2; expected check, project, packages or environments" ;;
      esac
      ;;
    *)
      case " $all_environments " in
        *" $2 "*) environments="$environments $2" ;;
        *) die "there is no environment $2; there are: $all_environments" ;;
      esac
      ;;
  esac
  shift 2
done
[ -n "$environments" ] || environments=$all_environments
if [ -n "$prefix" ]; then
  [ -n "$no_pixi" ] || die "--prefix goes with --no-pixi: pixi has its own places"
  # shellcheck disable=SC2086
  set -- $environments
  [ $# = 1 ] || die "--prefix is for one environment; say which with -e"
fi

for tool in cat chmod cp dirname head ln mkdir mv readlink rm sha256sum sort uname; do
  command -v "$tool" >/dev/null 2>&1 || die "this machine has no $tool"
done
here=$(CDPATH= cd -P -- "$(dirname -- "$0")" && pwd -P) || die "cannot find the directory of $0"
[ -f "$here/DIGEST" ] && [ -d "$here/$name" ] || die "$here is not the product; run bootstrap-project.sh where it is"

case $(uname -m) in
  x86_64 | amd64) platform=linux-64 ;;
  aarch64 | arm64) platform=linux-aarch64 ;;
  *) die "there are no packages for $(uname -m)" ;;
esac
[ -d "$here/pkg-cache/$platform" ] || die "the product has no packages for $platform (this machine)"

# What is checked need not be written to.
[ "$step" != check ] || to=${to:-${TMPDIR:-/tmp}}
to=${to:-$here/installed}
mkdir -p -- "$to" 2>/dev/null && [ -w "$to" ] || die "cannot write to $to; say where to install with --to DIR"
to=$(CDPATH= cd -P -- "$to" && pwd -P)
case $to/ in
  "$here/installed/"*) ;;
  "$here/"*) die "$to is in the product; only $here/installed may be" ;;
esac
scratch=$to/.bootstrap.$$
trap 'rm -rf "$scratch"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$scratch" || die "cannot write to $to"

# Every file and link below the prefix of paths $1. (In the loop, $1 is this call's; its list was made before it began.)
list() {
  for entry in "$1"* "$1".[!.]* "$1"..?*; do
    if [ -h "$entry" ]; then
      printf 'l %s -> %s\n' "$entry" "$(readlink "$entry")"
    elif [ -d "$entry" ]; then
      [ "$entry" = installed ] || list "$entry/"
    elif [ -u "$entry" ] || [ -g "$entry" ]; then
      # Runs as another user.
      printf 's %s\n' "$entry"
    elif [ -f "$entry" ]; then
      printf 'f %s\n' "$entry"
    elif [ -e "$entry" ]; then
      printf 'o %s\n' "$entry"
    fi
  done
}

sum() {
  sum=$(sha256sum <"$1") || die "cannot read $1"
  sum=${sum%% *}
}

verify() {
  sum "$here/SHA256SUMS"
  # Letter by letter, with the end of the line.
  [ "$(cat "$here/DIGEST"; echo x)" = "sha256:$sum
x" ] || die "SHA256SUMS is not the one that DIGEST names; the product is damaged or was changed"
  if ! (cd "$here" && sha256sum -c SHA256SUMS) >"$scratch/sums" 2>&1; then
    while IFS= read -r line; do
      case $line in *': OK') ;; *) echo "$line" ;; esac
    done <"$scratch/sums" | head -n 10 >&2
    die "files of the product are damaged, missing or changed; copy it again"
  fi
  (cd "$here" && list '') | sort >"$scratch/list"
  sum "$scratch/list"
  there=$sum
  sum "$here/FILES"
  if [ "$there" != "$sum" ]; then
    comm -3 "$scratch/list" "$here/FILES" 2>/dev/null | head -n 10 >&2 || :
    die "the product has files or links too many, too few or changed; copy it again"
  fi
}

# The project; what somebody added to it stays.
copy_project() {
  mkdir -p "$to/$name"
  cp -RPp "$here/$name/." "$to/$name/" || die "cannot copy the project to $to/$name"
  chmod -R u+w "$to/$name"
  rm -f "$to/res"
  if [ -d "$here/res" ]; then
    ln -s "$here/res" "$to/res" || die "cannot link the resources to $to/res"
  fi
}

# The part of the product that must be writable, and whole: it has its name when it is.
copy_cache() {
  if [ -d "$to/pkg-cache/$platform/pkgs" ] && [ -f "$to/pkg-cache/DIGEST" ] &&
    [ "$(cat "$to/pkg-cache/DIGEST")" = "$(cat "$here/DIGEST")" ]; then
    return
  fi
  rm -rf "$to/pkg-cache"
  mkdir -p "$scratch/pkg-cache/$platform"
  cp -RPp "$here/pkg-cache/$platform/pkgs" "$scratch/pkg-cache/$platform/" || die "cannot copy the packages to $to"
  chmod -R u+w "$scratch/pkg-cache"
  cp "$here/DIGEST" "$scratch/pkg-cache/DIGEST"
  mv "$scratch/pkg-cache" "$to/pkg-cache"
}
copy_packages() {
  copy_cache
  rm -f "$to/envs.sh"
  cp "$here/envs.sh" "$to/envs.sh"
}

program() {
  program=$here/bin/$platform/$1
  [ -f "$program" ] || return 1
  [ -x "$program" ] && return
  # A file system that has no programs.
  cp "$program" "$scratch/$1" && chmod 755 "$scratch/$1"
  program=$scratch/$1
}

# Installs one environment with the product's own pixi-oci: bytes only, no program of a package is run.
install_own() {
  "$program" install-product "$here" --environment "$1" --project "$to/$name" \
    --prefix "${prefix:-$to/$name/.pixi/envs/$1}" --activate "$2" >/dev/null ||
    die "environment $1 could not be installed"
}

case $step in
  '') verify; copy_project ;;
  check) verify; echo "$here: every file is there and unchanged"; exit ;;
  project) copy_project; echo "$to"; exit ;;
  packages) copy_packages; echo "$to"; exit ;;
  environments) [ -d "$to/$name" ] || die "the project is not in $to; run helpers/copy-project.sh first" ;;
esac
if [ -n "$no_pixi" ]; then
  program pixi-oci || die "the product has no bin/$platform/pixi-oci; make it with --installer $platform=FILE"
  for environment in $environments; do
    activate=$to/activate.sh
    [ "$environment" = default ] || activate=$to/activate-$environment.sh
    install_own "$environment" "$activate"
  done
else
  program pixi || program=$(command -v pixi) ||
    die "there is no pixi on this machine, nor in the product; use --no-pixi"
  pixi=$program
  if [ -z "$step" ]; then
    copy_packages
  elif ! [ -d "$to/pkg-cache/$platform/pkgs" ]; then
    die "the packages are not in $to; run helpers/copy-packages.sh first"
  fi
  # pixi finds conda packages in its cache; wheels it only finds where they are installed already.
  if [ -d "$here/pkg-cache/$platform/wheels" ]; then
    if program pixi-oci; then
      for environment in $environments; do
        install_own "$environment" "$scratch/activate.sh"
      done
    else
      echo "bootstrap-project.sh: warning: the product has wheels, which pixi alone may not find; make it with --installer $platform=FILE" >&2
    fi
  fi
  PIXI_OCI_PRODUCT=$to
  PIXI_CACHE_DIR=$to/pkg-cache/$platform
  RATTLER_CACHE_DIR=$PIXI_CACHE_DIR
  PIXI_OFFLINE=true
  UV_OFFLINE=true
  export PIXI_OCI_PRODUCT PIXI_CACHE_DIR RATTLER_CACHE_DIR PIXI_OFFLINE UV_OFFLINE
  offline=
  # pixi before 0.74 has no such option, and asks nobody either if everything is in the cache.
  case $("$pixi" install --help 2>/dev/null) in *--offline*) offline=--offline ;; esac
  for environment in $environments; do
    # shellcheck disable=SC2086
    "$pixi" install --frozen $offline --manifest-path "$to/$name/$manifest" --environment "$environment" >&2 ||
      die "pixi could not install environment $environment from the product; --no-pixi does without it"
  done
fi
echo "$to"

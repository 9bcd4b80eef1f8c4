#!/bin/sh
# @WHAT@: one step of bootstrap-project.sh, which does all of them. Made by pixi-oci.
here=$(CDPATH= cd -P -- "$(dirname -- "$0")" && pwd -P) || exit 1
exec sh "${here%/*}/bootstrap-project.sh" --step @STEP@ "$@"

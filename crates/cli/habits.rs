//! What users of other tools type, and how it is said here.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The one right hint for arguments that clap does not know.
pub fn hint(error: &clap::Error) -> Option<&'static str> {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.split('=').next(),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => match said(ContextKind::InvalidSubcommand)? {
            "push" => Some(PUSH),
            "run" => Some("podman run --rm \"$(pixi-oci build --load)\" builds the image and runs it"),
            _ => None,
        },
        ErrorKind::UnknownArgument => argument(said(ContextKind::InvalidArg)?),
        _ => None,
    }
}

const PUSH: &str =
    "`pixi-oci publish --publish` builds and pushes; with --from oci:DIR it pushes what was built before";

fn argument(name: &str) -> Option<&'static str> {
    Some(match name {
        "--push" => PUSH,
        "-t" | "--tag" => {
            "`build -o oci:DIR:TAG` names the image in a layout, `build --load NAME:TAG` in podman or docker, `publish --tag TAG` in a registry"
        }
        "-f" | "--file" => {
            "there is no Dockerfile; the workspace, or its pixi.toml, is an argument: `pixi-oci build DIR`"
        }
        "--dry-run" => "`pixi-oci plan` says what would be done",
        "--iidfile" | "--metadata-file" => "`--json` prints every digest: `pixi-oci build --json > FILE`",
        "--no-cache" => "PIXI_OCI_LAYER_CACHE_SIZE=0 makes all layers anew",
        "--build-arg" => "variables of the image are `--env NAME=VALUE`",
        "--max-layers" | "--prefix" | "--exclude" | "--base-glibc" | "--token-command" | "--chunk-size" => {
            "it is a key of [tool.pixi-oci]; `--set KEY=VALUE` sets it for one run"
        }
        _ => return None,
    })
}

//! `pixi-oci cache`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use pixi_oci_cachedir::Root;
use pixi_oci_plan::size;

use crate::{
    error::CliError,
    means::{CacheDir, bytes},
    output::Output,
    result::print,
};

/// Show the cache, or make it smaller.
///
/// What is removed is downloaded or made again when it is needed; a part that another run uses is left as it is.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci cache info                      # how large every part is
  pixi-oci cache trim --size 10GB          # what was not used for longest goes, of each part
  pixi-oci cache clear base repodata       # all of some parts")]
pub struct CacheArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    cache: CacheDir,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the parts of the cache and their sizes.
    #[command(after_long_help = "Examples:\n  pixi-oci cache info --json")]
    Info {
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Keep every part to a size.
    #[command(after_long_help = "Examples:\n  pixi-oci cache trim --size 10GB")]
    Trim {
        /// The most bytes of each part, e.g. 500MB or 10GB.
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        size: u64,
    },
    /// Remove parts, or everything.
    #[command(after_long_help = "Examples:\n  pixi-oci cache clear base repodata")]
    Clear {
        /// Parts, as `cache info` names them [default: all].
        #[arg(value_name = "PART")]
        parts: Vec<String>,
    },
}

pub fn run(args: CacheArgs, output: &Output) -> Result<ExitCode, CliError> {
    let root = Root::new(args.cache.path()?);
    let failed = |source| CliError::Io { action: format!("use the cache {}", root.display()), source };
    let parts = root.parts().map_err(failed)?;
    let text = match args.action {
        Action::Info { json: true } => {
            serde_json::to_string_pretty(&serde_json::json!({ "directory": &*root, "parts": parts }))?
        }
        Action::Info { json: false } => {
            let mut lines = vec![root.display().to_string()];
            lines.extend(
                parts.iter().map(|part| format!("{:10} {:>10} in {} files", part.name, size(part.bytes), part.files)),
            );
            let total = parts.iter().map(|part| part.bytes).sum();
            lines.push(format!("{:10} {:>10}", "all", size(total)));
            lines.join("\n")
        }
        Action::Trim { size: limit } => {
            each(&root, parts.into_iter().map(|part| part.name), output, |name| root.trim_part(name, limit))?
        }
        Action::Clear { parts: named } => {
            let known: Vec<String> = parts.into_iter().map(|part| part.name).collect();
            if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
                return Err(CliError::Usage(format!("the cache has no part `{unknown}`; it has {}", known.join(", "))));
            }
            let which = if named.is_empty() { known } else { named };
            each(&root, which.into_iter(), output, |name| root.clear_part(name))?
        }
    };
    print(&text, output)
}

/// Makes parts smaller, and says how much that gave.
fn each(
    root: &Root,
    names: impl Iterator<Item = String>,
    output: &Output,
    make: impl Fn(&str) -> std::io::Result<bool>,
) -> Result<String, CliError> {
    let failed = |source| CliError::Io { action: format!("use the cache {}", root.display()), source };
    let total = || -> Result<u64, CliError> { Ok(root.parts().map_err(failed)?.iter().map(|part| part.bytes).sum()) };
    let before = total()?;
    for name in names {
        if !make(&name).map_err(failed)? {
            output.warning(&format!("the part `{name}` is in use, and stays as it is"));
        }
    }
    Ok(format!("removed {}", size(before.saturating_sub(total()?))))
}

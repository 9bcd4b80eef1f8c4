//! Why there is no solution. URLs in it are redacted.

use std::fmt;

#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    #[error("{}", unknown(name, channels, similar))]
    UnknownPackage {
        name: String,
        /// The channels that were searched, redacted.
        channels: Vec<String>,
        similar: Vec<String>,
    },

    #[error("no version of {name} matches `{spec}`; the channels have {}", newest(versions))]
    NoSuchVersion { name: String, spec: String, versions: Vec<String> },

    /// The requirements contradict one another, or the target.
    #[error("the requirements cannot be met together:\n{explanation}{}", virtual_hint(explanation))]
    Conflict { explanation: String },

    #[error("cannot read the packages of {}: {message}{}", channels.join(", "), hint.unwrap_or_default())]
    Repodata {
        /// The channels that were asked, redacted.
        channels: Vec<String>,
        message: String,
        /// What to do, beginning with `; `.
        hint: Option<&'static str>,
    },

    #[error("the solver failed: {message}")]
    Solver { message: String },

    #[error("interrupted")]
    Interrupted,
}

const VERSIONS: usize = 8;

fn unknown(name: &str, channels: &[String], similar: &[String]) -> impl fmt::Display {
    let mut text = format!("no channel has a package `{name}`; searched: {}", channels.join(", "));
    if !similar.is_empty() {
        let quoted: Vec<_> = similar.iter().map(|name| format!("`{name}`")).collect();
        text.push_str(&format!("; did you mean {}?", quoted.join(" or ")));
    }
    text
}

/// What to do where something is asked of the target that it is not known to have.
fn virtual_hint(explanation: &str) -> String {
    let words = explanation.split_whitespace();
    let Some(name) = words.map(|word| word.trim_matches(',')).find(|word| word.starts_with("__")) else {
        return String::new();
    };
    format!(
        "\n{name} is a virtual package: if the machines that run the image have it, declare it with the platform in \
         `platforms`, or say --virtual-package {name}=VERSION"
    )
}

fn newest(versions: &[String]) -> String {
    let mut text = versions.iter().take(VERSIONS).cloned().collect::<Vec<_>>().join(", ");
    if versions.len() > VERSIONS {
        text.push_str(&format!(" and {} older ones", versions.len() - VERSIONS));
    }
    text
}

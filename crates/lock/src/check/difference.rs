//! In what a lock file differs from the manifest.

use std::fmt;

/// One thing in which a lock file differs from what the manifest wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As a person would write it: `numpy >=2`, `numpy 1.26.4`; URLs are redacted.
    pub text: String,
    /// The platforms on which it does; empty if it has nothing to do with platforms.
    pub platforms: Vec<String>,
    /// Whether it is about the lock file as a whole, and not about the environment that was compared.
    pub is_of_the_file: bool,
}

impl Difference {
    /// Adds to a list; what is there already gets the platform.
    pub(crate) fn add(list: &mut Vec<Self>, text: String, platform: Option<&str>) {
        let at = list.iter().position(|known| known.text == text).unwrap_or(list.len());
        if at == list.len() {
            list.push(Self { text, platforms: Vec::new(), is_of_the_file: false });
        }
        let platforms = &mut list[at].platforms;
        platforms
            .extend(platform.filter(|platform| !platforms.iter().any(|known| known == platform)).map(str::to_owned));
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.platforms.is_empty() { Ok(()) } else { write!(f, " ({})", self.platforms.join(", ")) }
    }
}

/// A requirement that nothing locked fulfils. `locked` is what there is instead: a version, a location; `None` if there is
/// nothing of that name.
pub(super) fn required(requirement: impl fmt::Display, by: &str, locked: Option<String>) -> String {
    match locked {
        Some(locked) => format!("{requirement} is required by {by}, the lock has {locked}"),
        None => format!("{requirement} is required by {by}, the lock does not have it"),
    }
}

pub(super) fn not_required(package: &str) -> String {
    format!("{package} is in the lock and nothing requires it")
}

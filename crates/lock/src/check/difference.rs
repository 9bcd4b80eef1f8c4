//! In what a lock file differs from the manifest.

use std::fmt;

/// One thing in which a lock file differs from what the manifest wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub what: What,
    /// The platforms on which it does; empty if it has nothing to do with platforms.
    pub platforms: Vec<String>,
}

/// What differs. Texts are as a person would write them: `numpy >=2`, `numpy 1.26.4`; URLs are redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    NoEnvironment {
        name: String,
    },
    /// An environment is locked that the manifest does not have.
    EnvironmentNotWanted {
        name: String,
    },
    /// Other channels, or in another order.
    Channels {
        manifest: Vec<String>,
        lock: Vec<String>,
    },
    /// Other Python package indexes, or in another order.
    Indexes {
        manifest: Vec<String>,
        lock: Vec<String>,
    },
    Option {
        /// As it is called in the manifest.
        key: &'static str,
        manifest: String,
        lock: String,
    },
    PlatformNotLocked {
        /// With what sets it apart, e.g. "`gpu` (__cuda=12)".
        platform: String,
    },
    /// The environment is locked for a platform that it is not for.
    PlatformNotWanted {
        /// With what sets it apart.
        platform: String,
    },
    /// A requirement that nothing locked fulfils.
    Required {
        /// E.g. `numpy >=2`.
        requirement: String,
        by: RequiredBy,
        /// What there is instead: a version, a location; `None` if there is nothing of that name.
        locked: Option<String>,
    },
    /// A constraint that something locked violates.
    Constrained {
        /// E.g. `numpy <2`.
        constraint: String,
        /// Whose constraint it is.
        by: RequiredBy,
        /// What is locked: a version.
        locked: String,
    },
    /// A locked package that nothing requires.
    NotRequired {
        /// With its version, e.g. `numpy 1.26.4`.
        package: String,
    },
    /// A locked package that is newer than `exclude-newer` allows.
    TooNew {
        /// With its version.
        package: String,
        /// The moment that the manifest names.
        cutoff: String,
    },
    /// A package that cannot be used as it is locked.
    Package {
        /// With its version.
        package: String,
        /// Why not.
        message: String,
    },
}

/// Who requires a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequiredBy {
    /// A feature of the manifest; `default` for the top-level tables.
    Feature(String),
    Package(String),
}

impl Difference {
    /// Whether it is about the lock file as a whole, and not about the environment that was compared.
    pub fn is_of_the_file(&self) -> bool {
        matches!(self.what, What::EnvironmentNotWanted { .. })
    }

    /// Adds to a list; what is there already gets the platform.
    pub(crate) fn add(list: &mut Vec<Self>, what: What, platform: Option<&str>) {
        let platforms: Vec<String> = platform.into_iter().map(str::to_owned).collect();
        match list.iter_mut().find(|known| known.what == what) {
            Some(known) => {
                for platform in platforms {
                    if !known.platforms.contains(&platform) {
                        known.platforms.push(platform);
                    }
                }
            }
            None => list.push(Self { what, platforms }),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)?;
        if self.platforms.is_empty() { Ok(()) } else { write!(f, " ({})", self.platforms.join(", ")) }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEnvironment { name } => write!(f, "environment `{name}` is in the manifest and not in the lock"),
            Self::EnvironmentNotWanted { name } => {
                write!(f, "environment `{name}` is in the lock and not in the manifest")
            }
            Self::Channels { manifest, lock } => {
                write!(f, "the channels are {}, the lock was made with {}", join(manifest), join(lock))
            }
            Self::Indexes { manifest, lock } => {
                write!(f, "the Python package indexes are {}, the lock was made with {}", join(manifest), join(lock))
            }
            Self::Option { key, manifest, lock } => {
                write!(f, "{key} is {manifest}, the lock was made with {lock}")
            }
            Self::PlatformNotLocked { platform } => {
                write!(f, "platform {platform} is in the manifest and not in the lock")
            }
            Self::PlatformNotWanted { platform } => {
                write!(f, "platform {platform} is in the lock and not in the manifest")
            }
            Self::Required { requirement, by, locked: Some(locked) } => {
                write!(f, "{requirement} is required by {by}, the lock has {locked}")
            }
            Self::Required { requirement, by, locked: None } => {
                write!(f, "{requirement} is required by {by}, the lock does not have it")
            }
            Self::Constrained { constraint, by, locked } => {
                write!(f, "{by} allows only {constraint}, the lock has {locked}")
            }
            Self::NotRequired { package } => write!(f, "{package} is in the lock and nothing requires it"),
            Self::TooNew { package, cutoff } => {
                write!(f, "{package} is newer than exclude-newer allows ({cutoff})")
            }
            Self::Package { package, message } => write!(f, "{package} {message}"),
        }
    }
}

impl fmt::Display for RequiredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature(name) => write!(f, "feature {name}"),
            Self::Package(name) => write!(f, "package {name}"),
        }
    }
}

fn join(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

//! Which layers of an image are ours, and what each is for.

/// What a layer of an image is for, as its history says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Packages,
    /// What is computed from several packages.
    Environment,
    Application,
    /// It says nothing that we would say: nothing in it is accounted for.
    Unknown,
}

/// Begins `created_by` in the history entries of our layers.
pub(crate) const OURS: &str = "pixi-oci:";

impl Purpose {
    pub fn of(created_by: &str) -> Self {
        match created_by.strip_prefix(OURS).map(str::trim) {
            Some("environment") => Self::Environment,
            Some("application") => Self::Application,
            Some(_) => Self::Packages,
            None => Self::Unknown,
        }
    }
}

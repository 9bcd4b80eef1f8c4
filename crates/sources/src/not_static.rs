//! The answer of everything that reads a project and must not guess.

/// Why a project's wheel cannot be known without its build backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotStatic(pub(super) String);

impl NotStatic {
    pub(super) fn because<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self(reason.into()))
    }
}

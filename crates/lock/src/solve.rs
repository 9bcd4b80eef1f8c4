//! From requirements to conda packages: the channels' repodata through rattler's gateway, the choice by resolvo.
//!
//! ```text
//! SolveInput ─▶ Repodata::solve ─▶ RepoDataRecord…
//! ```
//!
//! One problem is one platform. Which requirements and channels belong to it is decided before; nothing is asked of the
//! host, and the only things read are the channels and their cache.

mod candidates;
mod error;
mod guard;
mod input;
mod problem;
mod subset;

pub use candidates::Repodata;
pub use error::SolveError;
pub use input::SolveInput;
pub use subset::conda_subset;

#[cfg(test)]
mod tests;

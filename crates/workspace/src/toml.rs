//! TOML tables with errors that point at the place, and names that were meant.

mod error;
mod section;
mod suggestion;

pub use error::ManifestError;
pub(crate) use section::{Element, ManifestText, Section};
pub use suggestion::{listed, meant, suggestion};

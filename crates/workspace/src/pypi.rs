//! PyPI requirements, options, and the projects that `pyproject.toml` files describe.

mod options;
mod project;
mod requirement;

pub(crate) use options::url;
pub use options::{DEFAULT_PYPI_INDEX, FindLinks, Packages, PypiOptions, normalized};
pub use project::requires_dist;
pub use requirement::{PypiRequirement, PypiSource};

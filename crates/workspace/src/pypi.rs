//! PyPI requirements, options, and the projects that `pyproject.toml` files describe.

mod options;
mod project;
mod requirement;

pub use options::{DEFAULT_PYPI_INDEX, FindLinks, Packages, PypiOptions, normalized};
pub use project::PythonProject;
pub use requirement::{PypiRequirement, PypiSource};

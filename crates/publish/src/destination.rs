//! The repositories that a publication goes to.

use pixi_oci_registry::{Error, Registry, Repository};

/// A repository on the way.
pub struct Destination {
    pub repository: Repository,
    /// `Err`: what blocks.
    pub state: Result<Connection, Error>,
}

/// A repository that answers.
pub struct Connection {
    pub registry: Registry,
    pub existing: Vec<String>,
}

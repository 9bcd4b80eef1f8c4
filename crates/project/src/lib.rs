//! What the workspace's files and the command line say together, read once: [`Project`]; and what a run has: [`Session`].

mod configuration;
mod error;
mod event;
mod inputs;
mod lock;
mod needs;
mod open;
mod pin;
mod project;
mod recorded;
mod session;
mod target;
mod task;
pub mod version;

pub use configuration::Configuration;
pub use error::Error;
pub use event::Event;
pub use inputs::{BuildPlace, Inputs, LockUse, ProvenanceInputs, RequestError, SourceInputs};
pub use lock::{
    LockReport,
    image_lock::{ImagePackage, lock_differences},
    lock,
    locked::{Stale, StaleEnvironment},
};
pub use needs::{Need, needs};
pub use pin::{PinReport, pin_bases};
pub use project::{Declared, Project};
pub use recorded::{Recorded, RecordedBase};
pub use session::{
    Caches, Containers, OnEvent, Resources, Session,
    heard::{Heard, HeardArchive, HeardFacts},
};
pub use target::{Target, platform, virtual_packages};
pub use task::image_task;
pub use version::VersionFacts;

/// Where images and products go unless it is said, below the workspace. What is there is no file of the workspace.
pub const OUTPUTS: [&str; 2] = ["dist/oci", "dist/airgap"];

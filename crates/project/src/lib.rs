//! What the workspace's files and the command line say together, read once: [`Project`]; and what a run has: [`Session`].

mod configuration;
mod error;
mod event;
pub mod git;
mod image_lock;
mod inputs;
mod lock;
mod locked;
mod needs;
mod open;
mod pin;
pub mod platform;
mod project;
mod recorded;
mod session;
mod target;
mod task;
pub mod version;
pub mod virtual_packages;

pub use configuration::{Configuration, Include};
pub use error::Error;
pub use event::Event;
pub use image_lock::{ImagePackage, lock_differences};
pub use inputs::{BuildPlace, Inputs, LockUse, ProvenanceInputs, RequestError, SourceInputs};
pub use lock::{LockReport, PackageChange, lock};
pub use locked::{Stale, StaleEnvironment};
pub use needs::{Need, needs};
pub use pin::{PinReport, pin_bases};
pub use project::{Declared, Project};
pub use recorded::{Recorded, RecordedBase};
pub use session::{Caches, Containers, OnEvent, Resources, Session};
pub use target::Target;
pub use task::image_task;
pub use version::VersionFacts;

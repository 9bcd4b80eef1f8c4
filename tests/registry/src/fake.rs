//! The registry in the process.

mod answer;
mod blobs;
mod connection;
mod fault;
mod log;
mod manifests;
mod profile;
mod profiles;
mod route;
mod server;
mod tokens;
mod uploads;
mod world;

pub use fault::{Fault, Lie, Rule};
pub use log::Entry;
pub use profile::{Auth, Children, Errors, Location, Mount, Patch, Profile, Resume};
pub use route::Kind;
pub use server::{Point, Registry};
pub use world::TagValue;

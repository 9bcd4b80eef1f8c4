//! Registries for tests.
//!
//! [`Registry`] runs in the process: it speaks the distribution protocol with the quirks of a [`Profile`], fails as a
//! list of [`Fault`]s says, and remembers every request and every value that a tag ever had. [`docker::Docker`] is
//! Debian's docker-registry, the second opinion. [`checker`] walks a registry and verifies everything in it; [`second_reader`]
//! is a client that others wrote.
//!
//! Nothing here is fit for anything but tests: errors are panics, bodies are held in memory.

#![allow(missing_docs, reason = "a field of a test's data is what its name says")]

pub mod certificates;
pub mod checker;
pub mod client;
pub mod docker;
pub mod fake;
pub mod http;
pub mod issuer;
pub mod sample;
pub mod second_reader;

pub use fake::{Fault, Kind, Lie, Point, Profile, Registry, Rule};

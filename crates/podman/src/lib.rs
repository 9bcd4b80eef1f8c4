//! Containers by rootless podman: no network, a storage of their own, nothing left behind.
//!
//! [`Podman`] is how the program is called. A [`Session`] is podman with
//! everything that it writes in one directory, which goes away with the session, also if this process is killed.
//! [`Session::run`] runs one [`Container`], and [`Session::conversation`] one that is talked to. What podman needs of a machine and does not find there is a [`Requirement`].

mod build;
mod container;
mod copy;
mod error;
mod info;
mod janitor;
mod load;
mod log;
mod machine;
mod podman;
mod scratch;
mod session;
mod sweep;

pub use build::NOT_STARTED;
pub use container::{ARBITRARY_USER, Container, Ended, Mount};
pub use copy::{ContainerError, take_from_container};
pub use error::{Error, Requirement};
pub use info::Info;
pub use load::{find_container_engine, load};
pub use log::{Log, tail};
pub use machine::{Runs, runs};
pub use pixi_oci_platform::Account;
use podman::HARDENING;
pub use podman::Podman;
pub use scratch::Scratch;
pub use session::Session;

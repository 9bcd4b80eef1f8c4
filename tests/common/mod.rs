//! What black-box tests share: a clean environment to run the binary in, workspaces made in code, and an unpacker of
//! images that has no line in common with the crates under test.

pub use pixi_oci_testkit::{packages, wheels};

pub mod channel;
pub mod channel_server;
pub mod forge;
pub mod front;
pub mod image;
pub mod odd;
pub mod poison;
pub mod pypi;
pub mod sandbox;
pub mod server;
pub mod tls;
pub mod transcript;
pub mod workspace;

//! What black-box tests share: a clean environment to run the binary in, workspaces made in code, and an unpacker of
//! images that has no line in common with the crates under test.

// Package archives made in code; the tests of the crate that reads them use the same.
#[path = "../../crates/package/tests/common/mod.rs"]
pub mod packages;

pub mod channel;
// Likewise wheels.
#[allow(dead_code, reason = "the crate's own tests need more of it")]
#[path = "../../crates/wheel/tests/wheels/builder.rs"]
pub mod wheels;

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

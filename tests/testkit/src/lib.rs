//! Packages and wheels made in code: odd ones, old ones and hostile ones.

pub mod packages;
pub mod wheels;

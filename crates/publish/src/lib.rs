//! Which versions and [`tags`] an image gets.

pub mod tags;

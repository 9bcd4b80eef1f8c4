//! Pushes to registries that behave in every way that is known.

mod docker;
mod faults;
mod order;

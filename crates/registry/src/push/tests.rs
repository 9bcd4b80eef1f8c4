//! Pushes to registries that behave in every way that is known.

mod ahead;
mod docker;
mod faults;
mod order;

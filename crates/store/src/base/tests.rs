//! Base images from layouts made here, a registry made here, and the programs of this machine.

mod bombs;
mod fixture;
mod hostile;
mod layout;
mod proxy;
mod registry;
mod skopeo;
mod take_out;

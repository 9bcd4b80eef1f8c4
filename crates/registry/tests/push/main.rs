//! Publishing to registries that fail, lie and differ: what must hold whatever they do.
//!
//! The oracle is independent: the registry of `pixi-oci-test-registry` notes what every tag named at every moment and
//! what was missing below it, and its checker reads everything back over HTTP.

mod cost;
mod dry_run;
mod fixture;
mod killed;
mod lies;
mod matrix;
mod order;
mod profiles;
mod secrets;
mod soak;

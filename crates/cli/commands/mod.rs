//! One file a subcommand: its arguments, whose doc comments are the help, and one function.

pub mod build;
pub mod cache;
pub mod completion;
pub mod install_product;
pub mod layers;
pub mod lock;
pub mod man;
pub mod plan;
pub mod product;
pub mod prune;
pub mod publish;
pub mod publish_fleet;
pub mod publish_index;
pub mod verify;

//! Flags that several commands have. The doc comments are the help texts.

pub mod image;
pub mod registries;
pub mod selection;
pub mod workspaces;

pub use self::{
    image::{ImageArgs, SettingArgs, SourceArgs},
    registries::{PublishingArgs, RegistryArgs, publishes},
    selection::{ConfigurationArgs, LockFileArgs, Selection, Targets, WorkspacePath},
    workspaces::Workspaces,
};

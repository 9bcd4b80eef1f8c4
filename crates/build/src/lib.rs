//! The pipeline, and the policy between its stages.
//!
//! [`build`] reads from top to bottom as the picture in `docs/architecture.md`: workspace, targets, archives, packages,
//! groups, layers, image, index, destination. [`plan`] answers what it would do: the same way, as far as nothing is fetched or made.

mod activation;
mod application;
mod base;
mod build;
mod cache;
mod configuration;
mod contents;
mod describe;
mod elf;
mod environment;
mod error;
mod event;
mod fetch;
mod file_list;
mod git;
mod grouping;
mod image;
mod image_lock;
mod image_plan;
mod inputs;
mod install;
mod layer_key;
mod layers;
mod locate;
mod lock;
mod locked;
mod needs;
mod output;
mod package;
mod pin;
mod place;
mod places;
mod plan;
mod platform;
mod previous;
mod product;
mod project;
mod publication;
mod recorded;
mod remote;
mod report;
mod secrets;
mod session;
mod settings;
mod source_environments;
mod source_wheel;
mod sources;
mod stock;
mod table;
mod target;
mod task;
mod virtual_packages;
mod wheel;

pub use build::build;
pub use error::Error;
pub use event::Event;
pub use grouping::{LayerGroup, SizedPackage, TooFewLayers, group, package_layers};
pub use image_lock::{ImagePackage, lock_differences};
pub use inputs::{Assumed, BuildPlace, Inputs, LockUse, ProvenanceInputs, RequestError, SourceInputs};
pub use install::{InstallRequest, install_product};
pub use lock::{LockReport, PackageChange, lock};
pub use locked::Stale;
pub use needs::Need;
pub use pin::{PinReport, pin_bases};
pub use pixi_oci_image::Architecture;
pub use pixi_oci_product::Problem;
pub use plan::{
    AgainstImage, ChangedPackage, Changes, DestinationPlan, DownloadPlan, EnvironmentPlan, LayerState, LikelyLayer,
    OtherLayer, PackagePlan, PastRef, Plan, PlanError, PlanOptions, PlannedImage, PlannedLayerReport, PublishedRef,
    Reason, Unpredicted, images_since, plan, planned_images,
};
pub use product::{
    ProductReport, ProductReportEnvironment, ProductRequest, ProductRequestError, check_product, product,
};
pub use project::{Declared, Project};
pub use publication::{
    DestinationReport, FailureReport, KeptTag, Leg, PruneReport, PrunedRepository, PrunedTag, PublishError,
    PublishReport, PublishRequest, PublishSource, PublishedImage, PublishedTag, Settings, Status, VersionFacts,
    check_apart, prune, publish_images,
};
pub use recorded::{Recorded, RecordedBase};
pub use report::{
    BaseReport, BuildReport, ImageReport, LayerKind, LayerOrigin, LayerReport, SourceReport, WheelReport, WheelSource,
};
pub use session::{Caches, OnEvent, Resources, Session};
pub use source_wheel::{SourceWheel, WheelOrigin};
pub use sources::{BuildError, SourceError, Undecided};
pub use task::image_task;

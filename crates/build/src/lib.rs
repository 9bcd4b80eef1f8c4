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
mod describe;
mod divided;
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
mod install;
mod layer_key;
mod layers;
mod lock;
mod locked;
mod needs;
mod network;
mod output;
mod packages;
mod pin;
mod places;
mod plan;
mod platform;
mod previous;
mod product;
mod publication;
mod recorded;
mod remote;
mod report;
mod request;
mod reuse;
mod secrets;
mod settings;
mod source_environments;
mod source_wheel;
mod sources;
mod table;
mod target;
mod task;
mod virtual_packages;
mod wheels;

pub use build::{build, image_name};
pub use error::Error;
pub use event::{Event, OnEvent};
pub use grouping::{LayerGroup, SizedPackage, TooFewLayers, group, package_layers};
pub use image_lock::{ImagePackage, lock_differences};
pub use install::{InstallRequest, install_product};
pub use lock::{LockMeans, LockReport, LockRequest, PackageChange, lock};
pub use locked::Stale;
pub use needs::Need;
pub use pin::{PinReport, PinRequest, pin_bases};
pub use pixi_oci_image::Architecture;
pub use pixi_oci_product::Problem;
pub use pixi_oci_publish::{find_container_engine, load, registry::RepositoryRef};
pub use plan::{
    AgainstImage, ChangedPackage, Changes, DestinationPlan, DownloadPlan, EnvironmentPlan, LayerPlan, LayerState,
    LikelyLayer, OtherLayer, PackagePlan, PastRef, Plan, PlanError, PlanRequest, PlannedImage, Published, Reason,
    Unpredicted, images_since, plan, planned_images,
};
pub use product::{
    ProductReport, ProductReportEnvironment, ProductRequest, ProductRequestError, check_product, product,
};
pub use publication::{
    DestinationReport, FailureReport, KeptTag, Leg, PruneReport, PrunedRepository, PrunedTag, PublishError,
    PublishReport, PublishRequest, PublishSource, PublishedImage, PublishedTag, Status, VersionFacts, check_apart,
    prune, publish_images,
};
pub use recorded::{Recorded, RecordedBase};
pub use report::{
    BaseReport, BuildReport, ImageReport, LayerKind, LayerOrigin, LayerReport, SourceReport, WheelReport, WheelSource,
};
pub use request::{BuildPlace, BuildRequest, RequestError};
pub use source_wheel::{SourceWheel, WheelOrigin};
pub use sources::{BuildError, SourceError, Undecided};
pub use task::image_task;

/// A runtime for the network, which ends with what it is used for.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let build = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    build.map_err(|source| Error::Io { action: "start threads for", path: "the network".into(), source })
}

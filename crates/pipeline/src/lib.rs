//! From locked packages to images: every package is located, placed and grouped with others into layers; layers are taken
//! from where they are or made; contents and documents follow.

mod contents;
mod error;
mod fetch;
mod image;
mod layers;
mod package;
mod report;
mod stock;
mod together;
mod workshop;

pub use contents::{activation_scripts, certificates};
pub use error::{Error, in_one_line};
pub use fetch::{Downloads, fetch_archives};
pub use image::{base::Base, describe::paired, settings::RELEASE};
pub use layers::{
    PackageLayer,
    grouping::{LayerGroup, LayerPart, SizedPackage, TooFewLayers, group, package_layers},
    key::{KEY_ANNOTATION, LAYER_TIME, PACKAGES_ANNOTATION},
    plan::{ImagePlan, LayerSource, PlannedLayer, divide, find_layers},
};
pub use package::{
    Archive, Package, PackageKind,
    hear::hear,
    is_unpinned,
    locate::{fetch_unknown, find_archives, locked, recognise, with_wheels},
    place::place,
    source_wheel::{SourceWheel, hash},
    wheel::{Wheel, in_image},
};
pub use report::{
    BaseReport, BuildReport, ImageReport, LayerKind, LayerOrigin, LayerReport, SourceReport, WheelReport, WheelSource,
};
pub use stock::{
    LayerHere, OnLayer, Remote, Stock,
    believed::Believed,
    cache::FactsCache,
    previous::{
        ImageDocuments, Previous, documents, environment, package_layers as own_layers, read_images, share_tag, table,
    },
    remote::{Published, RemoteOptions, RemoteRepository},
};
pub use together::Together;
pub use workshop::Workshop;

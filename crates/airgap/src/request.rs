//! What a product is asked to be, and what is said of it.

use std::path::PathBuf;

use pixi_oci_layer::Digest;
use pixi_oci_product::ProductEnvironment;
use serde::Serialize;

#[derive(Debug, Clone)]
pub struct ProductRequest {
    /// The directory that `product/` and its companions go to.
    pub workdir: PathBuf,
    /// A directory for `res/`; `resources/` of the work directory, if it has files, else none.
    pub resources: Option<PathBuf>,
    /// Whether the locked package `pixi` goes to `bin/`.
    pub with_pixi: bool,
    /// This program and its conda platform; taken if the product has the platform and nobody says another.
    pub own_installer: Option<(String, PathBuf)>,
    /// Executables of pixi-oci by conda platform; the last one of a platform counts.
    pub installers: Vec<(String, PathBuf)>,
    pub version: String,
    /// The image that the workspace was taken out of.
    pub image: Option<Digest>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductReport {
    pub product: PathBuf,
    /// The digest of the product: of its `SHA256SUMS`.
    pub digest: Digest,
    pub name: String,
    pub lock_file_digest: Digest,
    /// The version of pixi in it, if one is.
    pub pixi: Option<String>,
    /// The image that the project was taken out of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// By name, then platform.
    pub environments: Vec<ProductReportEnvironment>,
    /// Package code that was run by this run.
    pub executed: Vec<String>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductReportEnvironment {
    pub name: String,
    pub platform: String,
    pub packages: usize,
    /// The sum of their archives' lengths in bytes.
    pub bytes: u64,
}

impl ProductReportEnvironment {
    pub(super) fn of(environment: &ProductEnvironment) -> Self {
        Self {
            name: environment.name.clone(),
            platform: environment.platform.clone(),
            packages: environment.packages.len(),
            bytes: environment.packages.iter().map(|package| package.size).sum(),
        }
    }
}

/// Why there is no product of that kind.
#[derive(Debug, thiserror::Error)]
pub enum ProductRequestError {
    #[error("a product needs at least one environment")]
    NoEnvironments,
    #[error("environment {name:?} cannot be in a product: its scripts take names of A-Z a-z 0-9 . _ - only")]
    Name { name: String },
    #[error("{} is not in the product; is it left out by `exclude`?", path.display())]
    NoLockFile { path: PathBuf },
    #[error(
        "--with-pixi takes the package `pixi` of the environments, and none has it for {platform}; run `pixi add pixi`, or copy pixi to the machine yourself"
    )]
    NoPixi { platform: String },
    #[error("--installer {platform}=…: the product is for {platforms}")]
    Installer { platform: String, platforms: String },
    #[error("the product has no environment `{name}` for {platform}; it has {known}")]
    NoEnvironment { name: String, platform: String, known: String },
    #[error("{package}: manifest.json and the lock file of the product contradict each other; it was changed")]
    Contradiction { package: String },
}

/// Names in scripts are words.
pub(super) fn check_name(name: &str) -> Result<(), ProductRequestError> {
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !name.starts_with('-');
    if is_word { Ok(()) } else { Err(ProductRequestError::Name { name: name.into() }) }
}

//! The one reader of OCI bytes that pixi-oci did not just write: base images, published images, layouts and archives.
//!
//! [`limits`] is the table of what is accepted. [`document`] reads indexes, manifests and configurations, [`json`] any
//! other document that decides something; [`unpack`] decompresses a layer, [`tar`] reads its entries, and
//! [`tree`] puts layers on top of one another. It depends on no crate that writes such bytes, so that a mistake made
//! there is not repeated when `verify` reads them.
#![allow(missing_docs)]

pub mod document;
mod hash;
pub mod json;
pub mod limits;
pub mod tar;
pub mod tree;
pub mod unpack;

pub use hash::HashReader;
pub use limits::Budget;

//! What a conda package or wheel puts under a prefix: the file tree of a conda package, and the plan for both kinds.
//! The trees of wheels are made in `crates/wheel`, by the readers and checks of this crate.
//!
//! Three steps, so that all packages of an environment can be decided together before any content is read:
//!
//! 1. [`read_info`] reads a package archive's metadata: what it is, which paths it has, how each is linked.
//! 2. [`link_plan`] decides the final path of every entry of every package: the place of `noarch: python` files, the
//!    winners of clobbers, paths through another package's linked directory.
//! 3. [`file_tree`] streams one archive and makes the [`FileTree`](pixi_oci_layer::FileTree) that the plan describes,
//!    with the prefix placeholder replaced.
//!
//! The result equals what rattler's installer writes (`tests/against_rattler` compares them); `docs/reproducibility.md`
//! lists the exceptions. Nothing is installed, no code of a package runs, and nothing outside the arguments is read:
//! no network, clock or environment.
//!
//! **Invariant:** an archive is hostile until checked. Whatever it holds, the answer is a tree whose paths are below
//! the prefix, or an [`Error`] that names the package and the path; memory and disk are bounded by the archive's length.

#![warn(missing_docs)]

mod archive;
mod check;
mod corrections;
mod error;
mod facts;
mod info;
mod path;
mod plan;
mod prefix;
mod python;
mod source;
mod tree;
mod unpack;
mod variables;
mod zip;

pub use archive::{Entry, Kind};
pub use check::Checker;
pub use corrections::{Corrections, Faults};
pub use error::{Error, Refusal};
pub use facts::{CompleteFacts, Links, PackageFacts, WheelFacts, WheelPath};
pub use info::{ListedPath, PackageInfo, missing_info, read_info, read_info_part, read_links};
pub use path::normalise;
pub use plan::{
    Change, LinkPlan, Overwritten, PathOwner, PlanInput, PlannedEntryPoint, PlannedPath, WheelPlan, environment_python,
    link_plan, lone_plan, wheel_plan,
};
pub use prefix::{PrefixError, TargetPrefix};
pub use python::Python;
pub use source::source_tree;
pub use tree::{CondaMeta, OutsideLink, PackageTree, file_tree};
pub use unpack::unpack;
pub use variables::check_variables;
pub use zip::{Member, MemberReader, Style, Zip};

/// The version of the rules by which a package becomes a tree. Changing anything in the tree of the same archive, plan
/// and prefix raises it.
pub const PACKAGE_TREE_VERSION: u32 = 1;

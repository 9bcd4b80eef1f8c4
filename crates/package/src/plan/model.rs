//! What goes into the plan, and what comes out.

use pixi_oci_layer::TreePath;
use rattler_conda_types::{PackageRecord, Subdir, package::EntryPoint};
use serde::Serialize;

use crate::{facts::PackageFacts, python::Python};

/// One package of the environment.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// The locked record. Its dependencies decide who wins a clobber.
    pub record: &'a PackageRecord,
    /// What its archive says.
    pub facts: &'a PackageFacts,
}

/// Where the paths of one package go. All paths are relative to the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlan {
    /// The platform the prefix is for.
    pub subdir: Subdir,
    /// The listed paths that are linked, in the order of [`PackageFacts::paths`].
    pub paths: Vec<PlannedPath>,
    /// The scripts that are made.
    pub entry_points: Vec<PlannedEntryPoint>,
    /// The interpreter that a `noarch: python` package is linked for.
    pub python: Option<Python>,
    /// What other packages changed about this one, in the order of paths: together with the package, the prefix and
    /// [`LinkPlan::python`] it determines the package's tree.
    pub changes: Vec<Change>,
}

/// One path that is linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPath {
    /// Its index in [`PackageFacts::paths`].
    pub index: usize,
    /// Where it goes.
    pub path: TreePath,
    /// Where it would be if it had not lost a clobber.
    pub clobbered: Option<TreePath>,
}

/// One script that is made for a function of a `noarch: python` package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedEntryPoint {
    /// What it runs.
    pub entry_point: EntryPoint,
    /// Where it goes.
    pub path: TreePath,
    /// Where it would be if it had not lost a clobber.
    pub clobbered: Option<TreePath>,
}

/// A difference from the tree that the package would have alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Another package has a directory or file in the place of a listed directory, which holds nothing of its own; or a
    /// wheel has the file too, and wins.
    Dropped {
        /// The directory or file.
        path: TreePath,
    },
    /// Another package has a link to a directory above the path.
    Resolved {
        /// The path as the package has it.
        path: TreePath,
        /// The same path without the link.
        to: TreePath,
    },
    /// Another package has the path too, and wins.
    Clobbered {
        /// The path that both have.
        path: TreePath,
        /// Where this package's one goes.
        to: TreePath,
    },
}

//! From packages to file trees.

use pixi_oci_layer::{ContentStore, FileTree, MemoryBudget};
use pixi_oci_package::{
    Error, LinkPlan, Links, PackageInfo, PackageTree, PlanInput, TargetPrefix, file_tree, link_plan, read_links,
};
use rattler_conda_types::Subdir;
use tempfile::TempDir;

use super::{Built, PREFIX, Package};

/// All three steps for an environment.
pub fn trees(built: &[Built], subdir: Subdir) -> Result<Vec<(LinkPlan, PackageTree)>, Error> {
    trees_at(built, subdir, PREFIX)
}

pub fn trees_at(built: &[Built], subdir: Subdir, prefix: &str) -> Result<Vec<(LinkPlan, PackageTree)>, Error> {
    let prefix = TargetPrefix::new(prefix).unwrap();
    let infos = built.iter().map(Built::info).collect::<Result<Vec<_>, _>>()?;
    let plans = plans(built, &infos, subdir)?;
    let scratch = TempDir::new().unwrap();
    let mut store = ContentStore::new(&MemoryBudget::new(64 << 20), scratch.path());
    let trees = built.iter().zip(&infos).zip(plans);
    trees
        .map(|((built, info), plan)| {
            let tree = file_tree(&built.path, info, &plan, &prefix, &built.meta(), &mut store, scratch.path())?;
            Ok((plan, tree))
        })
        .collect()
}

pub fn plans(built: &[Built], infos: &[PackageInfo], subdir: Subdir) -> Result<Vec<LinkPlan>, Error> {
    let records: Vec<_> = built.iter().map(|built| built.package.record()).collect();
    let facts: Vec<_> = infos.iter().map(PackageInfo::facts).collect();
    let inputs: Vec<_> = records.iter().zip(&facts).map(|(record, facts)| PlanInput { record, facts }).collect();
    link_plan(&inputs, subdir, &Links::new(), &mut |package| read_links(&built[package].path, &infos[package]))
}

/// One package alone.
pub fn tree(package: &Package) -> Result<PackageTree, Error> {
    let directory = TempDir::new().unwrap();
    let mut trees = trees(&[package.write(directory.path())], Subdir::Linux64)?;
    Ok(trees.remove(0).1)
}

/// All trees as one.
pub fn merged(trees: Vec<(LinkPlan, PackageTree)>) -> FileTree {
    let mut all = FileTree::new();
    for (_, tree) in trees {
        all.merge(tree.tree).unwrap();
    }
    all
}

//! Paths through another package's linked directory.
//!
//! One package ships the link `lib64 -> lib`, another the file `lib64/x`. In a layer, the directory that the second one
//! implies would replace the link of the first; so the file becomes `lib/x`, as if it had been written through the link.

use std::collections::{BTreeMap, HashMap, HashSet, btree_map::Entry};

use pixi_oci_layer::TreePath;
use rayon::prelude::*;

use super::{
    item::{Item, goes_through},
    model::PlanInput,
};
use crate::{
    error::{Error, Refusal},
    facts::Links,
    path::{follow, normalise},
};

/// As many links as Linux follows in one path.
const MAX_HOPS: usize = 40;

/// Who has a leaf (not a directory) at a path, if nobody is above it in the order of packages.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub rank: usize,
    pub package: usize,
    /// The index of the listed path if it is a symbolic link.
    pub link: Option<usize>,
}

enum Leads {
    /// To a path of these components below the prefix.
    Below(Vec<String>),
    /// To something that is known not to be a directory: then whatever is below the link contests its place.
    ToLeaf,
    /// Out of the prefix.
    Out,
}

/// The links that paths may lead through.
pub(super) struct LinkMap<'a> {
    pub packages: &'a [PlanInput<'a>],
    pub owners: HashMap<TreePath, Owner>,
    pub outside: &'a Links,
    /// The targets of a package's links, once they were asked for.
    pub targets: BTreeMap<usize, Links>,
    pub links_of: &'a mut dyn FnMut(usize) -> Result<Links, Error>,
}

impl<'a> LinkMap<'a> {
    /// Sets what every item's path is without links above it.
    pub fn resolve(
        packages: &'a [PlanInput<'a>],
        ranks: &[usize],
        items: &mut [Vec<Item>],
        outside: &'a Links,
        links_of: &'a mut dyn FnMut(usize) -> Result<Links, Error>,
    ) -> Result<(), Error> {
        let links = items.iter().flatten().filter(|item| item.what.link().is_some()).map(|item| item.own.as_str());
        let links: HashSet<&str> = links.chain(outside.keys().map(TreePath::as_str)).collect();
        if links.is_empty()
            || !items.par_iter().any(|items| goes_through(items, |item| &item.own, |path| links.contains(path)))
        {
            return Ok(());
        }
        let mut map = Self { packages, owners: owners(ranks, items), outside, targets: BTreeMap::new(), links_of };
        // Links first: one that is itself below a linked directory is found by others where it really is.
        for only_links in [true, false] {
            for (package, items) in items.iter_mut().enumerate() {
                for item in items.iter_mut().filter(|item| item.what.link().is_some() == only_links) {
                    let name = &packages[package].facts.file_name;
                    item.resolved = map.follow_all(name, Some(package), &item.own, item.what.is_directory())?;
                }
            }
            if only_links {
                map.owners = owners(ranks, items);
            }
        }
        Ok(())
    }

    /// The path without links above it, or at it if it is a directory. `package` is the index of the conda package that
    /// has it, `name` the file name of that or of the wheel.
    pub fn follow_all(
        &mut self,
        name: &str,
        package: Option<usize>,
        own: &TreePath,
        is_directory: bool,
    ) -> Result<TreePath, Error> {
        let mut path = own.clone();
        // Links that are no way to go on.
        let mut blocked = HashSet::new();
        for _ in 0..MAX_HOPS {
            let at = is_directory.then_some(path.as_str());
            let is_open = |above: &&str| !blocked.contains(*above) && self.is_link(package, above);
            let link = path.ancestors().chain(at).find(is_open).map(str::to_owned);
            let Some(link) = link else { return Ok(path) };
            let rest = path.as_str()[link.len()..].split('/').filter(|part| !part.is_empty());
            match self.target(&link)? {
                // An installer that creates the link first would write outside of the prefix.
                Leads::Out => return Err(Error::path(name, own.as_str(), Refusal::ThroughOutsideLink(link))),
                Leads::Below(target) if !target.is_empty() || rest.clone().next().is_some() => {
                    let resolved = target.into_iter().chain(rest.map(Into::into)).collect::<Vec<_>>().join("/");
                    path = normalise(&resolved).map_err(|refusal| Error::path(name, &resolved, refusal))?;
                }
                // To a file, or a directory that is the prefix itself.
                Leads::Below(_) | Leads::ToLeaf => {
                    blocked.insert(link);
                }
            }
        }
        Err(Error::path(name, own.as_str(), Refusal::LinkLoop(path.as_str().into())))
    }

    /// Whether there will be a link at `path` that is not the package's own.
    fn is_link(&self, package: Option<usize>, path: &str) -> bool {
        match self.owners.get(path) {
            Some(owner) => owner.link.is_some() && Some(owner.package) != package,
            None => self.outside.contains_key(path),
        }
    }

    /// Where the link at `link` leads.
    fn target(&mut self, link: &str) -> Result<Leads, Error> {
        let target = match self.owners.get(link) {
            Some(Owner { package, link: Some(index), .. }) => {
                let targets = match self.targets.entry(*package) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => unknown.insert((self.links_of)(*package)?),
                };
                let facts = self.packages[*package].facts;
                let source = &facts.paths[*index].0;
                targets.get(source).ok_or_else(|| Error::path(&facts.file_name, source.as_str(), Refusal::Missing))?
            }
            _ => match self.outside.get(link) {
                Some(target) => target,
                None => return Ok(Leads::ToLeaf),
            },
        };
        let Some(parts) = follow(link, target) else { return Ok(Leads::Out) };
        let leads_to_leaf = self.owners.get(&*parts.join("/")).is_some_and(|owner| owner.link.is_none());
        Ok(if leads_to_leaf { Leads::ToLeaf } else { Leads::Below(parts.into_iter().map(Into::into).collect()) })
    }
}

/// Who has each leaf.
fn owners(ranks: &[usize], items: &[Vec<Item>]) -> HashMap<TreePath, Owner> {
    let mut owners: HashMap<TreePath, Owner> = HashMap::new();
    for (package, items) in items.iter().enumerate() {
        for item in items.iter().filter(|item| !item.what.is_directory()) {
            let owner = Owner { rank: ranks[package], package, link: item.what.link() };
            let present = owners.entry(item.resolved.clone()).or_insert(owner);
            if present.rank < owner.rank {
                *present = owner;
            }
        }
    }
    owners
}

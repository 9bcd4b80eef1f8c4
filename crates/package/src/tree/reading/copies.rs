//! Files whose bytes belong to another entry of the archive: hard links, and symbolic links that are to be copied.
//!
//! When such an entry comes, the other one has been read, and what was kept of it may not be what is needed: nothing, if
//! it is not linked itself, or its patched form. Then, rarely, the archive is read a second time for its bytes.

use std::{collections::BTreeMap, ops::ControlFlow};

use pixi_oci_layer::{ContentStore, TreePath};
use rattler_conda_types::package::PathType;

use super::{Patcher, ReadPath, Reading, patch};
use crate::{
    archive::Part,
    error::{Error, Refusal},
    path::{follow, normalise},
};

/// As many links as Linux follows in one path.
const MAX_HOPS: usize = 40;

impl Reading<'_> {
    /// Finds the bytes of everything that is still without.
    pub fn copy(&mut self, patcher: &mut Patcher<'_>, store: &mut ContentStore) -> Result<(), Error> {
        // rattler copies what a link points to if its entry says `no_link` (`install/link.rs`).
        for at in 0..self.results.len() {
            let listed = self.listed(at);
            if listed.path_type == PathType::SoftLink && listed.no_link && matches!(self.results[at], ReadPath::Nothing)
            {
                let inode = self.target(self.plan.paths[at].index)?;
                self.results[at] = ReadPath::Later { inode };
            }
        }
        let later: Vec<_> = self
            .results
            .iter()
            .enumerate()
            .filter_map(|(at, found)| if let ReadPath::Later { inode } = found { Some((at, *inode)) } else { None })
            .collect();

        self.read_again(&later, store)?;
        for (at, inode) in later {
            let Some(placeholder) = &self.listed(at).prefix_placeholder else {
                self.results[at] = ReadPath::Verbatim { inode };
                continue;
            };
            // The other name may have had the same replaced: `perl` and `perl5.32.1` of one file.
            let patched = match self.patched.get(&(inode, placeholder)) {
                Some(patched) => patched.clone(),
                None => {
                    let path = &self.info.paths[self.plan.paths[at].index].path;
                    let Some((content, _)) = &self.inodes[inode].content else {
                        return Err(self.refuse(path, Refusal::Missing));
                    };
                    let patched = patcher.patch_content(path, content, placeholder, store)?;
                    self.patched.insert((inode, placeholder), patched.clone());
                    patched
                }
            };
            self.results[at] = ReadPath::Patched { inode, patched };
        }
        Ok(())
    }

    /// Reads the archive again for the bytes of inodes that were not kept.
    fn read_again(&mut self, later: &[(usize, usize)], store: &mut ContentStore) -> Result<(), Error> {
        let mut sources = BTreeMap::new();
        for (at, inode) in later {
            let listed = self.listed(*at);
            let from = &self.inodes[*inode];
            let is_known = match &listed.prefix_placeholder {
                Some(placeholder) => from.content.is_some() || self.patched.contains_key(&(*inode, placeholder)),
                None => from.content.is_some(),
            };
            if !is_known {
                sources.insert(from.source.clone(), *inode);
            }
        }
        if sources.is_empty() {
            return Ok(());
        }
        let archive = self.archive;
        archive.walk(Part::All, &mut |entry| {
            if let Some(inode) = sources.remove(&entry.path) {
                self.inodes[inode].content = Some(patch::keep(archive, &entry.path, entry.body, entry.size, store)?);
            }
            Ok(if sources.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// The file that the link at a listed path leads to, through the links of the archive.
    fn target(&self, index: usize) -> Result<usize, Error> {
        let link = &self.info.paths[index].path;
        let Some(first) = self.symlinks.get(link) else { return Err(self.refuse(link, Refusal::Missing)) };
        let mut path = link.clone();
        for _ in 0..MAX_HOPS {
            if let Some(inode) = self.files.get(&path) {
                return Ok(*inode);
            }
            // The first link from the root down.
            let above = path.ancestors().chain([path.as_str()]).find(|above| self.symlinks.contains_key(*above));
            let next = above.and_then(|above| self.through(&path, above));
            match next {
                Some(next) => path = next,
                None => break,
            }
        }
        Err(self.refuse(link, Refusal::CopyTarget(first.clone())))
    }

    /// `path`, which goes through the link at `above`, without that link.
    fn through(&self, path: &TreePath, above: &str) -> Option<TreePath> {
        let mut parts = follow(above, self.symlinks.get(above)?)?;
        parts.extend(path.as_str()[above.len()..].split('/').filter(|part| !part.is_empty()));
        normalise(&parts.join("/")).ok()
    }
}

//! What should be in a product, by its manifest.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use pixi_oci_layer::{Digest, DigestWriter, TreePath};
use pixi_oci_package::{Entry, Kind, unpack};
use pixi_oci_platform::{Links, open};

use crate::{
    ARCHIVES, Error, MANIFEST, PKG_CACHE, PackageEntry, ProductFile, ProductManifest,
    cache::{entry_path, global_lock, lock_bytes, readable},
    scripts,
    writer::{Listed, path, plain},
};

/// The digest of a regular file.
pub(super) fn digest(path: &Path) -> io::Result<Digest> {
    let mut writer = DigestWriter::new(io::sink());
    io::copy(&mut open(path, Links::Refuse)?, &mut writer)?;
    Ok(writer.finish().0)
}

/// What should be there. `None` is for files that vary in a way that was checked otherwise.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) files: BTreeMap<TreePath, Option<Listed>>,
    /// Those that are there though nothing is in them.
    pub(super) directories: BTreeSet<TreePath>,
    /// Archives that are not what the manifest says.
    pub(super) changed: Vec<TreePath>,
}

impl Expected {
    pub(super) fn manifest(
        &mut self,
        directory: &Path,
        manifest: &ProductManifest,
        version: &str,
    ) -> Result<(), Error> {
        self.files.insert(path(MANIFEST)?, None);
        for platform in &manifest.platforms {
            let empty = Listed::File { digest: Digest::of(b""), mode: Some(0o644) };
            self.files.insert(global_lock(platform)?, Some(empty));
        }
        let mut seen = BTreeSet::new();
        for environment in &manifest.environments {
            for package in environment.packages.iter().filter(|package| seen.insert(&package.archive)) {
                self.package(directory, &environment.subdir, package)?;
            }
        }
        for file in manifest.project.iter().chain(&manifest.resources).chain(&manifest.programs) {
            self.listed(file)?;
        }
        for (name, text, executable) in scripts::scripts(manifest) {
            let script = Listed::File { digest: Digest::of(text.as_bytes()), mode: Some(plain(executable)) };
            self.files.insert(path(&name)?, (manifest.pixi_oci == version).then_some(script));
        }
        Ok(())
    }

    fn listed(&mut self, file: &ProductFile) -> Result<(), Error> {
        let listed = match (&file.digest, &file.target) {
            (Some(digest), _) => Listed::File { digest: *digest, mode: Some(plain(file.executable)) },
            (None, target) => Listed::Symlink { target: target.clone().unwrap_or_default() },
        };
        self.files.insert(path(&file.path)?, Some(listed));
        Ok(())
    }

    fn package(&mut self, directory: &Path, platform: &str, package: &PackageEntry) -> Result<(), Error> {
        let archive = path(&package.archive)?;
        let file = |digest| Some(Listed::File { digest, mode: Some(0o644) });
        self.files.insert(archive.clone(), file(package.digest));
        if !archive.as_str().starts_with(&format!("{PKG_CACHE}/{platform}/{ARCHIVES}/")) {
            return Ok(());
        }
        let key = format!("{}-{}-{}", package.name, package.version, package.build.as_deref().unwrap_or_default());
        let entry = entry_path(platform, &key)?;
        self.files.insert(path(&format!("{entry}.lock"))?, file(Digest::of(&lock_bytes(&package.digest))));
        let at = directory.join(archive.as_str());
        // What is in another one than the manifest says proves nothing.
        if !digest(&at).is_ok_and(|digest| digest == package.digest) {
            self.changed.push(archive);
            return Ok(());
        }
        self.directories.insert(entry.clone());
        unpack(&at, &key, &mut |item| self.unpacked(&entry, item))?
    }

    fn unpacked(&mut self, directory: &TreePath, entry: Entry<'_>) -> Result<(), Error> {
        let at = path(&format!("{directory}/{}", entry.path))?;
        let listed = match entry.kind {
            Kind::Directory => {
                self.directories.insert(at);
                return Ok(());
            }
            Kind::Symlink(target) => Some(Listed::Symlink { target }),
            Kind::HardLink(target) => self.files.get(&path(&format!("{directory}/{target}"))?).cloned().flatten(),
            Kind::File => {
                let mut writer = DigestWriter::new(io::sink());
                io::copy(entry.body, &mut writer).map_err(Error::io("unpack", at.as_str()))?;
                Some(Listed::File { digest: writer.finish().0, mode: Some(readable(entry.mode)) })
            }
        };
        self.files.insert(at, listed);
        Ok(())
    }
}

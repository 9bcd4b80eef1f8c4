//! One package on its way from the lock file to a layer. Everything that is found out about it is kept in it.

pub mod hear;
pub mod locate;
pub mod place;
pub mod source_wheel;
pub mod wheel;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_layer::{ContentStore, TreePath};
use pixi_oci_lock::{LockedPackage, Sha256};
use pixi_oci_net::{canonical_channel, canonical_url};
use pixi_oci_package::{
    Change, CompleteFacts, CondaMeta, LinkPlan, Links, PackageFacts, PackageTree, Python, TargetPrefix, WheelFacts,
    file_tree, read_info, read_links,
};
use pixi_oci_wheel::{read_wheel, wheel_tree};
use rattler_conda_types::RepoDataRecord;

use crate::{
    Error, layers::key::KeyPackage, package::wheel::Wheel, report::WheelSource, stock::cache::KnownArchive,
    stock::cache::wheel_key,
};

/// A conda package or wheel of a target. Conda packages come first in a list of them, then wheels in the order in which
/// they are installed over one another.
#[derive(Clone)]
pub struct Package<'a> {
    /// The conda name, or `pypi:NAME`.
    pub name: String,
    /// `NAME VERSION BUILD`, or `pypi:NAME VERSION`.
    pub label: String,
    pub kind: PackageKind<'a>,
    /// What the lock file has of it; `None` for a wheel in place of a source.
    pub locked: Option<&'a LockedPackage>,
    /// `None` while neither the archive is here nor anything is known of what is in it.
    pub archive: Option<Archive>,
    /// Which paths it has, once that is known.
    pub facts: Option<Facts>,
    /// Where its paths go, once that is decided.
    pub placement: Option<Placement>,
}

#[derive(Clone)]
pub enum PackageKind<'a> {
    Conda(&'a RepoDataRecord),
    Wheel(Box<Wheel>),
}

#[derive(Debug, Clone)]
pub struct Archive {
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// Set once it is on this machine.
    path: OnceLock<PathBuf>,
}

#[derive(Debug, Clone)]
pub enum Facts {
    Conda {
        facts: PackageFacts,
        /// The targets of its symbolic links, which take reading the whole archive: copies learn them together.
        links: Arc<OnceLock<Links>>,
    },
    Wheel(WheelFacts),
}

#[derive(Clone)]
pub struct Placement {
    /// Its paths below the prefix, and whether each is a directory of its own.
    pub paths: Vec<(TreePath, bool)>,
    pub link: Link,
}

#[derive(Clone)]
pub enum Link {
    Conda(LinkPlan),
    Wheel {
        python: Python,
        /// What other packages changed about its paths.
        changes: Vec<Change>,
    },
}

impl Archive {
    /// An archive that need not be on this machine.
    pub fn known(sha256: Sha256, size: u64) -> Self {
        Self { sha256, size, path: OnceLock::new() }
    }

    pub fn here(path: PathBuf, sha256: Sha256, size: u64) -> Self {
        Self { sha256, size, path: path.into() }
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.get().map(PathBuf::as_path)
    }

    /// Notes that it is on this machine now.
    pub fn arrived(&self, path: PathBuf) {
        let _ = self.path.set(path);
    }
}

impl From<CachedArchive> for Archive {
    fn from(archive: CachedArchive) -> Self {
        Self::here(archive.path, archive.sha256, archive.size)
    }
}

impl From<CompleteFacts> for Facts {
    fn from(complete: CompleteFacts) -> Self {
        Self::Conda { facts: complete.facts, links: Arc::new(complete.links.into()) }
    }
}

impl<'a> Package<'a> {
    pub fn conda(record: &'a RepoDataRecord, locked: &'a LockedPackage) -> Self {
        let name = record.package_record.name.as_normalized().to_owned();
        Self::new(name, conda_label(record), PackageKind::Conda(record), Some(locked))
    }

    pub fn wheel(wheel: Wheel, locked: Option<&'a LockedPackage>) -> Self {
        let name = wheel.package_name();
        let label = format!("{name} {}", wheel.version);
        Self::new(name, label, PackageKind::Wheel(wheel.into()), locked)
    }

    fn new(name: String, label: String, kind: PackageKind<'a>, locked: Option<&'a LockedPackage>) -> Self {
        Self { name, label, kind, locked, archive: None, facts: None, placement: None }
    }

    pub fn forget(&mut self) {
        self.archive = None;
        self.facts = None;
    }

    /// Whether it is the workspace's own, which goes into the application layer.
    pub fn is_own(&self) -> bool {
        matches!(&self.kind, PackageKind::Wheel(wheel) if wheel.source == WheelSource::Own)
    }

    /// Whether it has a script that conda would run after linking.
    pub fn has_post_link(&self) -> bool {
        matches!(&self.facts, Some(Facts::Conda { facts, .. })
            if facts.link_scripts.iter().any(|path| path.as_str().ends_with("-post-link.sh")))
    }

    /// The archive's length in bytes, once that is known.
    pub fn size(&self) -> Option<u64> {
        self.archive.as_ref().map(|archive| archive.size).or_else(|| self.locked?.size())
    }

    pub fn sha256(&self) -> Option<Sha256> {
        self.archive.as_ref().map(|archive| archive.sha256).or_else(|| self.locked?.sha256())
    }

    /// What its facts are known by: a conda package's by its archive, a wheel's also by what decides about its paths; `None`
    /// while that is not known.
    pub fn facts_key(&self, python: Option<&Python>) -> Option<String> {
        let sha256 = self.sha256()?;
        match &self.kind {
            PackageKind::Conda(_) => Some(sha256.to_string()),
            PackageKind::Wheel(wheel) => Some(wheel_key(&sha256, python?, wheel.direct_url.as_ref())),
        }
    }

    /// The interpreter that a wheel was placed for.
    pub fn python(&self) -> Option<&Python> {
        match &self.placement {
            Some(Placement { link: Link::Wheel { python, .. }, .. }) => Some(python),
            _ => None,
        }
    }

    /// Whether the lock file says only where its archive is, and not what it must be.
    pub fn is_unpinned(&self) -> bool {
        self.locked.is_some_and(is_unpinned)
    }

    /// What to say if [it is](Self::is_unpinned), once its archive is known.
    pub fn unpinned_warning(&self) -> Option<String> {
        let (label, name, sha256) = (&self.label, &self.name, self.sha256().filter(|_| self.is_unpinned())?);
        Some(format!(
            "{label}: the lock file has no sha256 for it, so that it is whatever is there now; to pin it, add \
             `{name} = \"{sha256}\"` to [tool.pixi-oci.hashes]"
        ))
    }

    /// Its paths below the prefix; none before they are placed.
    pub fn paths(&self) -> &[(TreePath, bool)] {
        self.placement.as_ref().map(|placement| placement.paths.as_slice()).unwrap_or_default()
    }

    /// Its file on this machine.
    pub fn file(&self) -> Result<(&Archive, &Path), Error> {
        let here = self.archive.as_ref().and_then(|archive| Some((archive, archive.path()?)));
        here.ok_or_else(|| self.not_ready())
    }

    fn not_ready(&self) -> Error {
        Error::NotFetched { package: self.label.clone() }
    }

    /// The targets of its links, read from the archive where they are not known.
    pub fn links(&self) -> Result<Links, pixi_oci_package::Error> {
        let (PackageKind::Conda(record), Some(Facts::Conda { links, .. })) = (&self.kind, &self.facts) else {
            return Ok(Links::new());
        };
        if let Some(links) = links.get() {
            return Ok(links.clone());
        }
        let Some(path) = self.archive.as_ref().and_then(Archive::path) else {
            return Err(pixi_oci_package::Error::UnknownLinks { package: self.label.clone() });
        };
        let found = read_links(path, &read_info(path, &record.package_record)?)?;
        Ok(links.get_or_init(|| found).clone())
    }

    /// Its files. What the whole archive shows about a conda package is kept.
    pub fn tree(&self, prefix: &TargetPrefix, store: &mut ContentStore, scratch: &Path) -> Result<PackageTree, Error> {
        let (_, path) = self.file()?;
        match (&self.kind, &self.placement) {
            (PackageKind::Conda(record), Some(Placement { link: Link::Conda(plan), .. })) => {
                let info = read_info(path, &record.package_record)?;
                store.reserve(info.unpacked_size());
                let made = file_tree(path, &info, plan, prefix, &self.meta(record)?, store, scratch)?;
                if let Some(Facts::Conda { links, .. }) = &self.facts {
                    let _ = links.set(info.complete_facts(&made).links);
                }
                Ok(made)
            }
            (PackageKind::Wheel(wheel), Some(Placement { link: Link::Wheel { python, changes }, .. })) => {
                let info = read_wheel(path, &wheel.expected())?;
                Ok(wheel_tree(path, &info, python, prefix, wheel.direct_url.as_ref(), changes, store)?)
            }
            _ => Err(self.not_ready()),
        }
    }

    /// What is to be known of a conda package when its archive is not here.
    pub fn complete_facts(&self) -> Result<Option<KnownArchive<CompleteFacts>>, Error> {
        let (Some(archive), Some(Facts::Conda { facts, .. })) = (&self.archive, &self.facts) else { return Ok(None) };
        let facts = CompleteFacts { facts: facts.clone(), links: self.links()? };
        Ok(Some(KnownArchive { size: archive.size, facts }))
    }

    /// What the bytes of its layer depend on.
    pub fn key(&self) -> Result<KeyPackage<'_>, Error> {
        let (Some(archive), Some(placement)) = (&self.archive, &self.placement) else { return Err(self.not_ready()) };
        let sha256 = Cow::Owned(archive.sha256.to_string());
        Ok(match (&self.kind, &placement.link) {
            (PackageKind::Conda(record), Link::Conda(plan)) => {
                let meta = self.meta(record)?;
                KeyPackage {
                    sha256,
                    url: Some(meta.url.to_string().into()),
                    subdir: Some(record.package_record.subdir.as_str().into()),
                    channel: meta.channel.map(Into::into),
                    python: plan.python.as_ref(),
                    changes: &plan.changes,
                }
            }
            (PackageKind::Wheel(wheel), Link::Wheel { python, changes }) => KeyPackage {
                sha256,
                url: wheel.direct_url.as_ref().map(|url| String::from_utf8_lossy(&url.json()).into_owned().into()),
                subdir: None,
                channel: None,
                python: Some(python),
                changes,
            },
            _ => return Err(self.not_ready()),
        })
    }

    fn meta(&self, record: &RepoDataRecord) -> Result<CondaMeta, Error> {
        let archive = self.archive.as_ref().ok_or_else(|| self.not_ready())?;
        let url = canonical_url(&record.url);
        Ok(CondaMeta {
            url: url.parse().map_err(|_| Error::Url { package: self.label.clone(), url })?,
            channel: record.channel.as_deref().map(canonical_channel),
            sha256: (*archive.sha256.as_bytes()).into(),
            size: archive.size,
        })
    }
}

/// Whether a conda package is locked without a sha256. Of wheels, the report says it.
pub fn is_unpinned(package: &LockedPackage) -> bool {
    matches!(package, LockedPackage::Conda(_)) && package.sha256().is_none()
}

/// `NAME VERSION BUILD`
pub fn conda_label(record: &RepoDataRecord) -> String {
    let package = &record.package_record;
    format!("{} {} {}", package.name.as_normalized(), package.version, package.build)
}

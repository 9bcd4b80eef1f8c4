//! Environments without their sources, as images and on this machine: what builds of sources run in, and are given.

use std::{collections::BTreeMap, path::Path};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_image::Index;
use pixi_oci_lock::LockedPackage;
use pixi_oci_package::{PackageInfo, TargetPrefix, read_info};
use pixi_oci_publish::{OciLayout, publish};
use pixi_oci_workspace::OciConfig;

use crate::{
    Error, SourceReport,
    base::Base,
    fetch::fetch_archives,
    image::ImageBuilder,
    install::Installation,
    packages::Contents,
    sources::{Builds, Decided, Means, Need, Place},
    target::Target,
};

/// The targets of a build with their archives, before sources are built.
pub struct Environments<'a> {
    /// How images are made.
    pub builder: &'a ImageBuilder<'a>,
    /// What is built.
    pub targets: &'a [Target],
}

impl Environments<'_> {
    /// Builds what is pending, and adds the wheels to what was decided.
    pub fn build(&self, decided: &mut Decided) -> Result<(), Error> {
        if decided.pending.is_empty() {
            return Ok(());
        }
        let ImageBuilder { request, configuration, client, scratch, on_event, .. } = *self.builder;
        let means = Means { request, configuration, targets: self.targets, client, scratch, on_event };
        let mut builds = Builds::open(decided, &means)?;
        while let Some(need) = builds.next()? {
            match need {
                Need::Base(index) => builds.base(index, self.base(index)?),
                Need::Infos(index) => builds.infos(index, &self.infos(index)?),
                Need::Environment(index, place) => {
                    match &place {
                        Place::Layout { directory, tag, label } => self.write(index, directory, tag, label)?,
                        Place::Prefix { prefix, activate } => self.install(index, prefix, activate)?,
                    }
                    builds.environment(index, place)?;
                }
            }
        }
        Ok(())
    }

    /// What a target's conda packages say about themselves.
    fn infos(&self, index: usize) -> Result<Vec<PackageInfo>, Error> {
        let conda = self.targets[index].packages.iter().filter_map(|package| match package {
            LockedPackage::Conda(record) => Some((package, record)),
            _ => None,
        });
        let (packages, records): (Vec<_>, Vec<_>) = conda.unzip();
        let archives = self.archives(&packages)?;
        let infos =
            records.iter().zip(&archives).map(|(record, archive)| read_info(&archive.path, &record.package_record));
        Ok(infos.collect::<Result<_, _>>()?)
    }

    fn archives(&self, packages: &[&LockedPackage]) -> Result<Vec<CachedArchive>, Error> {
        fetch_archives(self.builder.request, self.builder.client, packages, self.builder.on_event)
    }

    /// The digest of a target's base image.
    fn base(&self, index: usize) -> Result<Option<String>, Error> {
        let architecture = self.targets[index].architecture;
        let ImageBuilder { request, configuration, on_event, .. } = *self.builder;
        let base = Base::open(request, configuration, architecture, on_event)?;
        Ok(base.report().map(|report| report.digest.to_string()))
    }

    /// Writes a target's locked packages to a prefix on this machine, with a script for shells that sets them up.
    fn install(&self, index: usize, to: &Path, activate: &Path) -> Result<(), Error> {
        let target = self.locked(index);
        let packages: Vec<&LockedPackage> = target.packages.iter().collect();
        let mut archives = self.archives(&packages)?.into_iter();
        let nothing_known = packages.iter().map(|_| None).collect();
        let (no_sources, workdir) = (BTreeMap::new(), &self.builder.configuration.workdir);
        let contents = Contents::new(&target, nothing_known, &mut archives, &no_sources, workdir);
        let ImageBuilder { request, workspace, configuration, .. } = *self.builder;
        let installation = Installation {
            workspace,
            environment: &configuration.environment,
            target: &target,
            prefix: &TargetPrefix::new(&to.to_string_lossy())?,
            project: &workspace.root,
            activate: Some(activate),
            memory: request.memory,
            interrupted: &request.interrupted,
        };
        installation.write(&contents)?;
        Ok(())
    }

    /// A target without its sources.
    fn locked(&self, index: usize) -> Target {
        let mut target = self.targets[index].clone();
        target.packages.retain(|package| matches!(package, LockedPackage::Conda(_) | LockedPackage::Wheel(_)));
        target
    }

    /// Writes the image of a target's locked packages into an empty directory, as an OCI layout.
    fn write(&self, index: usize, directory: &Path, tag: &str, label: &(&str, String)) -> Result<(), Error> {
        let target = self.locked(index);
        let mut configuration = self.builder.configuration.clone();
        configuration.include.clear();
        // Nothing of the application, and neither its user nor its command.
        configuration.oci = OciConfig {
            user: Some("0:0".into()),
            labels: BTreeMap::from([(label.0.to_owned(), label.1.clone())]),
            ..OciConfig::default()
        };
        let layout = OciLayout::open(directory)?;
        // It is no image for anybody else.
        let on_layer = &|_: &_, _: &_| ();
        let builder = ImageBuilder { configuration: &configuration, layout: &layout, on_layer, ..*self.builder };
        let packages: Vec<&LockedPackage> = target.packages.iter().collect();
        let mut archives = self.archives(&packages)?.into_iter();
        let nothing_known = packages.iter().map(|_| None).collect();
        let (no_sources, workdir) = (BTreeMap::new(), &configuration.workdir);
        let contents = Contents::new(&target, nothing_known, &mut archives, &no_sources, workdir);
        let (image, _) = builder.image(&target, &contents)?;
        let index = Index::new(vec![image], &BTreeMap::new())?;
        // The layers are in the layout already.
        publish(&index, &BTreeMap::new(), &layout, Some(tag))?;
        Ok(())
    }
}

/// What the report says of the wheels that stand for sources.
pub fn reports(decided: &Decided, targets: &[Target]) -> Vec<SourceReport> {
    let all = targets.iter().zip(&decided.wheels).flat_map(|(target, wheels)| {
        wheels.iter().map(|(package, wheel)| SourceReport {
            package: package.clone(),
            conda_platform: target.platform.name.clone(),
            wheel: wheel.file_name.clone(),
            sha256: wheel.sha256.to_string(),
            origin: wheel.origin,
        })
    });
    all.collect()
}

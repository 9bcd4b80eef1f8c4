//! One target: as far as a build gets without fetching or making a package layer.

mod likely;

use pixi_oci_lock::LockedPackage;
use pixi_oci_store::base::BaseRef;

use self::likely::add_likely;
use crate::Error;
use crate::{
    found::{Seen, fails},
    layers::{from_lock, from_plan},
    report::Reason,
    report::Unpredicted,
    report::layer::{LayerState, OtherLayer},
};
use pixi_oci_pipeline::{
    Base, ImagePlan, LayerKind, LayerReport, Package, PackageLayer, Workshop, find_archives, hear, locked, recognise,
    with_wheels,
};
use pixi_oci_project::{Session, Target};
use pixi_oci_sources::SourceWheels;

/// The sources that no wheel stands for.
pub fn without_wheel<'a>(packages: &'a [LockedPackage], wheels: &'a SourceWheels) -> impl Iterator<Item = String> + 'a {
    let sources = packages
        .iter()
        .filter(|package| matches!(package, LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. }));
    sources.map(LockedPackage::name).filter(|name| !wheels.contains_key(name))
}

pub struct Look<'a> {
    pub workshop: &'a Workshop<'a>,
    pub target: &'a Target,
    pub wheels: &'a SourceWheels,
    /// Whether this machine may know something. A plan makes no cache.
    pub has_cache: bool,
    pub asks_for_base: bool,
    /// With which channels and indexes are asked for what is in packages.
    pub channels: Option<&'a Session>,
}

impl Look<'_> {
    /// Goes as far with the target as a build can without fetching or making a package layer.
    pub fn look(&self, unpredicted: &mut Vec<Unpredicted>) -> Result<Seen, Error> {
        let mut reasons = Vec::new();
        let seen = match self.seen(&mut reasons) {
            // What a server can be asked for does not tell where links lead. It matters in few environments.
            Err(Error::Pipeline(pixi_oci_pipeline::Error::Package(pixi_oci_package::Error::UnknownLinks {
                ..
            }))) if self.channels.is_some() => {
                reasons.clear();
                Self { channels: None, ..*self }.seen(&mut reasons)?
            }
            seen => seen?,
        };
        // What is the same for all platforms is reported once.
        reasons.into_iter().for_each(|reason| {
            if !unpredicted.contains(&reason) {
                unpredicted.push(reason)
            }
        });
        Ok(seen)
    }

    fn seen(&self, reasons: &mut Vec<Unpredicted>) -> Result<Seen, Error> {
        let Self { workshop, target, wheels, .. } = *self;
        let workdir = &workshop.project.configuration.workdir;
        let mut packages = locked(&target.packages, workdir);
        if self.has_cache {
            recognise(target, &mut packages, workshop.stock)?;
            find_archives(&mut packages, workshop.session)?;
        }
        let unverified = match self.channels {
            Some(session) => hear(&mut packages, target, session, workshop.scratch)?,
            None => Vec::new(),
        };
        let unknown = unknown_names(target, &packages, wheels);
        let unpinned: Vec<&str> = packages.iter().filter(|p| p.is_unpinned()).map(|p| p.name.as_str()).collect();
        if self.has_cache && !unpinned.is_empty() {
            let message = format!(
                "the digest of {} is not known: the lock file has no sha256; a build says it, for [tool.pixi-oci.hashes]",
                unpinned.join(", ")
            );
            reasons.push(Unpredicted { reason: Reason::NoHash, message });
        }
        let base = if self.has_cache { base(workshop, target, self.asks_for_base, reasons)? } else { None };
        let mut seen = Seen { unknown, unverified, base, ..Seen::default() };
        if seen.unknown.is_empty() {
            let packages = with_wheels(packages, wheels, workdir);
            match ImagePlan::new(workshop.project, target, packages, seen.base.as_ref(), workshop.stock) {
                Ok(plan) => follow(workshop, plan, &mut seen, reasons)?,
                Err(error @ pixi_oci_pipeline::Error::Package(pixi_oci_package::Error::UnknownLinks { .. })) => {
                    return Err(error.into());
                }
                Err(error) => reasons.push(fails(error)?),
            }
        } else {
            reasons.push(unknown_packages(target, &seen.unknown));
            seen.layers = from_lock(workshop.project, &target.packages)?;
            if self.has_cache {
                add_likely(workshop, target, packages, wheels, &mut seen)?;
            }
        }
        if seen.layers.is_empty() {
            seen.layers = from_lock(workshop.project, &target.packages)?;
        }
        Ok(seen)
    }
}

/// Follows a plan to the image's documents, where no layer has to be made.
fn follow(
    workshop: &Workshop<'_>,
    mut plan: ImagePlan<'_>,
    seen: &mut Seen,
    reasons: &mut Vec<Unpredicted>,
) -> Result<(), Error> {
    plan.find_layers(workshop.stock)?;
    seen.layers = plan.layers.iter().map(from_plan).collect();
    let compression = workshop.project.configuration.compression;
    let found: Option<Vec<PackageLayer>> =
        plan.layers.iter().map(|planned| PackageLayer::found(planned, compression)).collect();
    match (found, &seen.base, reasons.is_empty()) {
        // An image says what is in its packages, and nothing vouches for that.
        (Some(_), ..) if !seen.unverified.is_empty() => reasons.push(unknown_packages(plan.target, &seen.unverified)),
        (Some(found), Some(base), true) => match workshop.assemble(&plan, base, found) {
            Ok((image, report)) => seen.image = Some((image, other_layers(&report.layers))),
            Err(error) => reasons.push(fails(error)?),
        },
        (None, ..) => {
            let count = seen.layers.iter().filter(|layer| layer.state == LayerState::ToBuild).count();
            let layers = if count == 1 { "a layer has".into() } else { format!("{count} layers have") };
            let message = format!("{}: {layers} to be made", plan.target.platform.name);
            reasons.push(Unpredicted { reason: Reason::LayersToBuild, message });
        }
        _ => {}
    }
    Ok(())
}

/// The base image, if it is here; and whether it is the one that a build will take.
fn base(
    workshop: &Workshop<'_>,
    target: &Target,
    asks: bool,
    reasons: &mut Vec<Unpredicted>,
) -> Result<Option<Base>, Error> {
    let name = &workshop.project.configuration.base;
    let reference = BaseRef::parse(name)?;
    let moves = matches!(reference, BaseRef::Registry(_)) && !reference.is_pinned() && !asks;
    if moves {
        let message = format!("base image {name} is not pinned by its digest; `pixi-oci lock --base` pins it");
        reasons.push(Unpredicted { reason: Reason::BaseNotPinned, message });
    }
    match Base::of_target(workshop.project, target, workshop.session) {
        Ok(base) => Ok(Some(base)),
        Err(pixi_oci_pipeline::Error::Project(pixi_oci_project::Error::Base(error)))
            if matches!(reference, BaseRef::Registry(_)) =>
        {
            if !moves {
                let message = format!("base image {name} is not on this machine; build once ({error})");
                reasons.push(Unpredicted { reason: Reason::BaseNotHere, message });
            }
            Ok(None)
        }
        Err(error) => {
            reasons.push(fails(error)?);
            Ok(None)
        }
    }
}

fn other_layers(layers: &[LayerReport]) -> Vec<OtherLayer> {
    let other = layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Environment | LayerKind::Application));
    other.map(|layer| OtherLayer { kind: layer.kind, digest: layer.digest, size: layer.size }).collect()
}

fn unknown_names(target: &Target, packages: &[Package<'_>], wheels: &SourceWheels) -> Vec<String> {
    let unknown = packages.iter().filter(|package| package.is_unknown()).map(|package| package.name.clone());
    unknown.chain(without_wheel(&target.packages, wheels)).collect()
}

fn unknown_packages(target: &Target, unknown: &[String]) -> Unpredicted {
    let packages = if unknown.len() == 1 { "a package".into() } else { format!("{} packages", unknown.len()) };
    let message = format!(
        "{}: it is not known what is in {packages}; build once, or name a published image with --cache-from",
        target.platform.name
    );
    Unpredicted { reason: Reason::UnknownPackages, message }
}

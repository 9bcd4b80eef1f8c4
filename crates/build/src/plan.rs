//! What a build would do, from the lock file alone: no package is downloaded, and no network is used
//! unless there is no lock file yet.

use pixi_oci_resolve::{Client, LockFile, LockedPackage, LockedPlatform, Workspace, requirements};
use serde::Serialize;

use crate::{
    Error, LayerGroup, OnEvent, SizedPackage,
    configuration::Configuration,
    group,
    locked::{check, checked},
    needs::{Need, needs},
    package_layers, platform,
};

/// Which plans are wanted.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// As for a build; architectures and platforms empty mean all.
    pub build: crate::BuildRequest,
    /// All environments of the lock file instead of one.
    pub all_environments: bool,
}

/// One environment on one platform.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The environment.
    pub environment: String,
    /// The platform's name.
    pub platform: String,
    /// The conda platform.
    pub subdir: String,
    /// `linux/amd64`; none for platforms that no image can be made for.
    pub oci_platform: Option<String>,
    /// How many packages there are.
    pub packages: usize,
    /// The sum of the archives' lengths in bytes, as far as the lock file has them.
    pub bytes: u64,
    /// Packages whose length the lock file does not have: wheels. Their layers can differ from what is shown.
    pub unknown_sizes: Vec<String>,
    /// Packages that would have to be built from source, and go into no layer.
    pub sources: Vec<String>,
    /// What the packages need of the machine: the highest minimum of each virtual package, e.g. `__glibc >=2.28`.
    pub requires: Vec<String>,
    /// The same, with the packages that ask for it.
    pub needs: Vec<Need>,
    /// The package layers, bottom first. The environment and application layers come above.
    pub layers: Vec<LayerPlan>,
}

/// One layer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerPlan {
    /// The sum of the archives' lengths in bytes.
    pub bytes: u64,
    /// By name.
    pub packages: Vec<PackagePlan>,
}

/// One package.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackagePlan {
    /// The conda name, or `pypi:` and the normalised name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The build string of a conda package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The archive's length, if the lock file has it.
    pub size: Option<u64>,
    /// The archive's sha256, if the lock file has it.
    pub sha256: Option<String>,
}

/// The plans of a workspace, sorted by environment and platform.
///
/// # Errors
///
/// Workspace or lock file cannot be read; an environment or platform that is not there.
pub fn plan(request: &PlanRequest, client: &Client, on_event: OnEvent<'_>) -> Result<Vec<Plan>, Error> {
    let workspace = Workspace::open(&request.build.workspace)?;
    let lock = crate::lock::lock_file(&workspace, &request.build, client, on_event)?;
    let mut plans = Vec::new();
    if request.all_environments {
        for environment in lock.environments() {
            let own = crate::BuildRequest { environment: Some(environment.clone()), ..request.build.clone() };
            let configuration = crate::configuration::configuration(&own, &workspace)?;
            let platforms = lock.platforms(&environment)?;
            if workspace.environments.contains_key(&environment) {
                check(&own, &workspace, &lock, &configuration, &platforms)?;
            }
            for platform in platforms {
                plans.push(plan_one(&configuration, &lock, &platform)?);
            }
        }
        return Ok(plans);
    }
    let configuration = crate::configuration::configuration(&request.build, &workspace)?;
    let choose = || crate::target::targets(&request.build, &workspace, &lock, &configuration);
    for target in checked(&request.build, &workspace, &lock, &configuration, choose)? {
        plans.push(plan_one(&configuration, &lock, &target.platform)?);
    }
    Ok(plans)
}

fn plan_one(configuration: &Configuration, lock: &LockFile, platform: &LockedPlatform) -> Result<Plan, Error> {
    let packages = lock.packages(&configuration.environment, platform)?;
    let in_layers: Vec<&LockedPackage> =
        packages.iter().filter(|p| matches!(p, LockedPackage::Conda(_) | LockedPackage::Wheel(_))).collect();
    let sized: Vec<SizedPackage> =
        in_layers.iter().map(|p| SizedPackage { name: p.name(), size: p.size().unwrap_or(0) }).collect();
    // The base image is not looked at here; up to three layers are reserved for it.
    let groups = group(&sized, package_layers(configuration.max_layers, 0)?);
    let needs = needs(&requirements(&packages));
    let names = |wanted: &dyn Fn(&LockedPackage) -> bool| {
        packages.iter().filter(|p| wanted(p)).map(LockedPackage::name).collect()
    };
    Ok(Plan {
        environment: configuration.environment.clone(),
        platform: platform.name.clone(),
        subdir: platform.subdir.to_string(),
        oci_platform: platform::architecture(platform.subdir).map(|architecture| format!("linux/{architecture}")),
        packages: packages.len(),
        bytes: sized.iter().map(|package| package.size).sum(),
        unknown_sizes: in_layers.iter().filter(|p| p.size().is_none()).map(|p| p.name()).collect(),
        sources: names(&|p| matches!(p, LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. })),
        requires: needs.iter().map(Need::text).collect(),
        needs,
        layers: groups.iter().map(|group| layer_plan(group, &in_layers)).collect(),
    })
}

fn layer_plan(group: &LayerGroup, packages: &[&LockedPackage]) -> LayerPlan {
    let packages = group.packages.iter().map(|&index| {
        let package = packages[index];
        let (version, build) = match package {
            LockedPackage::Conda(record) => {
                (record.package_record.version.to_string(), Some(record.package_record.build.to_string()))
            }
            LockedPackage::Wheel(wheel) => (wheel.version.clone(), None),
            LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. } => (String::new(), None),
        };
        PackagePlan {
            name: package.name(),
            version,
            build,
            size: package.size(),
            sha256: package.sha256().map(|sha256| sha256.to_string()),
        }
    });
    LayerPlan { bytes: group.size, packages: packages.collect() }
}

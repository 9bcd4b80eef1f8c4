//! What is solved together.

use pixi_oci_workspace::{ManifestPlatform, Requirement, Workspace};
use rattler_conda_types::Subdir;

use super::error::LockError;
use crate::{Wanted, wanted, wanted_by_group};

/// The environments of a solve group that have a platform in common, or one environment, on that platform.
#[derive(Debug, Clone)]
pub(super) struct JointSolve {
    pub(super) together: Wanted,
    /// What each wants, sorted by name.
    pub(super) members: Vec<Wanted>,
}

/// All problems of a workspace, in the order of the platforms and environments.
pub(super) fn problems(workspace: &Workspace) -> Result<Vec<JointSolve>, LockError> {
    let mut problems: Vec<JointSolve> = Vec::new();
    for environment in workspace.environments.keys() {
        for platform in workspace.environment_platforms(environment)? {
            let wanted = wanted(workspace, environment, &platform)?;
            match problems.iter_mut().find(|problem| problem.takes(&wanted)) {
                Some(problem) => problem.members.push(wanted),
                None => problems.push(JointSolve { together: wanted.clone(), members: vec![wanted] }),
            }
        }
    }
    for problem in &mut problems {
        if let Some(group) = problem.together.solve_group.clone() {
            problem.together = together(workspace, &group, problem)?;
        }
    }
    Ok(problems)
}

/// The group's options and what its members require. Members whose features declare other virtual packages are another
/// problem, as they are another platform in pixi.
fn together(workspace: &Workspace, group: &str, problem: &JointSolve) -> Result<Wanted, LockError> {
    let first = &problem.together;
    let mut all = Wanted {
        conda: Vec::new(),
        constraints: Vec::new(),
        pypi: Vec::new(),
        dev: Vec::new(),
        virtual_packages: first.virtual_packages.clone(),
        ..wanted_by_group(workspace, group, &first.platform)?
    };
    for member in &problem.members {
        add_new(&mut all.conda, &member.conda);
        add_new(&mut all.constraints, &member.constraints);
        add_new(&mut all.pypi, &member.pypi);
        add_new(&mut all.dev, &member.dev);
    }
    Ok(all)
}

fn add_new<T: PartialEq + Clone>(all: &mut Vec<T>, more: &[T]) {
    for item in more {
        if !all.contains(item) {
            all.push(item.clone());
        }
    }
}

impl JointSolve {
    fn takes(&self, wanted: &Wanted) -> bool {
        self.together.solve_group.is_some()
            && self.together.solve_group == wanted.solve_group
            && self.together.platform == wanted.platform
            && self.together.virtual_packages == wanted.virtual_packages
    }

    /// For messages: the environment, or the environments of the group.
    pub(super) fn name(&self) -> String {
        self.members.iter().map(|member| member.environment.as_str()).collect::<Vec<_>>().join("`, `")
    }

    /// Whether it is of a kind that can be solved here.
    pub(super) fn check(&self) -> Result<(), LockError> {
        let is_source = |requirement: &&Requirement| requirement.source.is_some();
        let sources = self.together.conda.iter().filter(is_source).map(|r| r.name.as_source().to_owned());
        let packages: Vec<String> = sources.chain(self.together.dev.iter().cloned()).collect();
        if !packages.is_empty() {
            return Err(LockError::CondaSource { environment: self.name(), packages });
        }
        let packages: Vec<String> = self.together.pypi.iter().map(|requirement| requirement.name.clone()).collect();
        if !packages.is_empty() {
            return Err(LockError::Pypi { environment: self.name(), packages });
        }
        Ok(())
    }
}

pub(super) fn subdir(platform: &ManifestPlatform) -> Result<Subdir, LockError> {
    platform.subdir.parse().map_err(|_| LockError::UnknownPlatform { platform: platform.subdir.clone() })
}

//! What to do when a build requires what its environment does not have.

use pixi_oci_lock::wanted;
use pixi_oci_platform::cannot;
use pixi_oci_workspace::write_atomically;

use super::{
    BuildError, Builds,
    pins::{FILE, Pins},
    requires::Missing,
    resolve::{Question, resolve},
};
use crate::SourceError;

impl Builds<'_> {
    /// Has uv find what is missing, and pins it. Fails as without uv if that was not asked for, if it was found and does
    /// not fit this target, or if the environment has another version, which no pinned one replaces.
    pub(super) fn resolve(&mut self, package: String, missing: Vec<Missing>, index: usize) -> Result<(), SourceError> {
        let (session, project) = (self.means.session, self.means.project);
        let requirements: Vec<String> = missing.iter().map(|missing| missing.requirement.clone()).collect();
        let known = self.known.entry(index).or_default();
        let asked = requirements.iter().any(|requirement| known.asked.contains(requirement));
        let other = missing.iter().any(|missing| missing.found.is_some());
        let Some(installed) = known.installed.as_ref().filter(|_| project.inputs.sources.resolve && !asked && !other)
        else {
            return Err(BuildError::Requires { package, missing }.into());
        };
        let refused = |said: &str| BuildError::Resolve { requirements: requirements.clone(), said: said.to_owned() };
        if session.offline {
            return Err(refused("with --offline nothing is looked up").into());
        }
        let tools = self.means.tools;
        let (environment, target) = (&tools.configuration.environment, &tools.targets[index]);
        let platforms = tools.workspace.environment_platforms(environment)?;
        let declared = platforms.iter().find(|platform| platform.subdir == target.platform.subdir.as_str());
        let wanted = declared.map(|platform| wanted(&tools.workspace, environment, platform)).transpose()?;
        let options = wanted.as_ref().map(|wanted| wanted.options.pypi_options.clone()).unwrap_or_default();
        let newest = wanted.and_then(|wanted| wanted.options.exclude_newer.cutoff);
        let question = Question {
            requirements: requirements.iter().cloned().chain(self.pins.requirements()).collect(),
            installed: installed.constraints(),
            python: &installed.python().ok_or_else(|| refused("the environment has no Python"))?,
            options: &options,
            newest: newest.map(|cutoff| cutoff.resolve(jiff::Timestamp::now()).to_string()),
            directory: &project.workspace.root,
            pinned: &self.pins.text,
        };
        let text = resolve(&question, &session.resources.containers.path, &session.cancelled)?;
        let path = project.workspace.root.join(FILE);
        let pins = Pins::parse(text).map_err(|message| refused(&format!("uv wrote {message}")))?;
        if pins.text != self.pins.text {
            write_atomically(&path, &pins.text).map_err(cannot("write", path))?;
            session.warn(format!("pinned in {FILE}, for {package}: {}; commit that file", requirements.join(", ")));
        }
        self.pins = pins;
        // What is pinned now may be of use to any target.
        for known in self.known.values_mut() {
            known.environment = None;
            known.installed = None;
        }
        self.known.entry(index).or_default().asked.extend(requirements);
        Ok(())
    }
}

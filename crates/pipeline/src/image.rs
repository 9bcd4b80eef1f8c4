//! Assembles one image from its package layers: contents, documents, report.

pub mod base;
pub mod describe;
mod layers_image;
pub mod settings;
mod test_script;

use std::{collections::BTreeMap, path::PathBuf};

use pixi_oci_contents::{
    ActivatedEnv, ActivationInput, ApplicationError, ApplicationInput, Below, ENTRYPOINT, EnvironmentInput, activate,
    application, apptainer_script, entrypoint_script, environment_tree, with_file_list, without_missing_scripts,
    workspace_env,
};
use pixi_oci_image::{AssembleInput, Image, Platform, assemble, rfc3339};
use pixi_oci_layer::{FileTree, TreePath};
use pixi_oci_lock::{VirtualRequirement, requirements};
use pixi_oci_platform::escape;
use pixi_oci_workspace::{Activation, TaskArgv};

use crate::{
    Error, contents::activation_scripts, contents::certificates, contents::has_path, contents::layer_table,
    fetch::Downloads, image::base::Base, image::describe::Described, image::describe::wheel_reports,
    image::settings::ImageInput, image::settings::Provenance, image::settings::image_settings,
    image::settings::standard_annotations, layers::PackageLayer, layers::key::LAYER_TIME, layers::plan::ImagePlan,
    package::Package, report::ImageReport, report::LayerKind, stock::table::Findings, workshop::Workshop,
};
use pixi_oci_project::{OUTPUTS, ProvenanceInputs, RequestError, Target, version::scheme, virtual_packages};

/// What is known of one image when its package layers are there.
struct Assembly<'p, 'a> {
    plan: &'p ImagePlan<'a>,
    base: &'p Base,
    activation: Activation,
    task: Option<TaskArgv>,
    needs: Vec<VirtualRequirement>,
    findings: Findings,
}

impl Workshop<'_> {
    /// Builds the image of packages.
    pub fn image<'a>(
        &self,
        target: &'a Target,
        packages: Vec<Package<'a>>,
        base: &Base,
        downloads: &Downloads,
    ) -> Result<(Image, ImageReport), Error> {
        let (plan, layers) = self.layers(target, packages, base, downloads)?;
        self.assemble(&plan, base, layers)
    }

    /// Makes the rest of the image, all of which follows from the package `layers`.
    pub fn assemble(
        &self,
        plan: &ImagePlan<'_>,
        base: &Base,
        mut layers: Vec<PackageLayer>,
    ) -> Result<(Image, ImageReport), Error> {
        let (configuration, target) = (&self.project.configuration, plan.target);
        let mut warnings = plan.warnings.clone();
        let table = layer_table(&layers, &plan.packages)?;
        let mut findings = Findings::default();
        layers.iter_mut().for_each(|layer| findings.extend(std::mem::take(&mut layer.findings)));
        let own = self.own_tree(&plan.packages, &mut findings)?;
        for (package, link) in &findings.outside_links {
            let link = escape(&format!("{} -> {}", link.path, link.target));
            warnings.push(format!("{package} has a link that leaves the prefix: {link}"));
        }
        for (package, corrections) in
            findings.corrections.iter().filter(|(_, corrections)| !corrections.what.is_empty())
        {
            warnings.push(format!("{package}: {}; it is installed anyway, as pixi does", corrections.what));
        }
        let is_here = |path: &str| has_path(&plan.packages, path);
        base.check_interpreters(&findings.interpreters, target.architecture, &configuration.prefix, &is_here)?;

        let workspace = &self.project.workspace;
        let mut activation = workspace.activation(&configuration.environment, target.platform.target())?;
        warnings.extend(without_missing_scripts(&workspace.root, &mut activation));
        let assembly = Assembly {
            plan,
            base,
            activation,
            task: self.task(target)?,
            needs: requirements(&target.packages),
            findings,
        };
        let (env, entrypoint) = self.activated(&assembly)?;
        warnings.extend(env.warnings());
        let has_entrypoint = entrypoint.is_some();
        let environment = self.environment(&env, entrypoint, table.to_bytes(), base.is_scratch())?;
        let environment_layer = self.environment_layer(&environment, self.time())?;
        let in_layers = plan.packages.iter().filter(|package| !package.is_own()).map(|package| package.paths());
        let below = Below::new(base.files(), configuration.prefix.tree_path(), in_layers.collect(), &environment);
        let mut application = self.application(&assembly.activation, &mut warnings)?;
        application.merge(own).map_err(ApplicationError::Tree)?;
        self.add_test(plan, base, &mut application)?;
        let application = with_file_list(below.settle(application)?)?;
        let application_layer = self.write_tree(LayerKind::Application, &application, self.time())?;
        warnings.extend(self.missing_command(&assembly, &env, &application));

        let described = Described {
            planned: &plan.layers,
            layers: &layers,
            environment: &environment_layer,
            application: &application_layer,
        };
        let mut annotations = self.annotations()?;
        annotations.extend(base.annotations());
        let image = assemble(&AssembleInput {
            platform: Platform { architecture: target.architecture, variant: base.variant() },
            base_layers: base.layers().to_vec(),
            base_history: base.history(),
            layers: described.own_layers(),
            settings: image_settings(ImageInput {
                configuration,
                base: base.settings(),
                env: env.all,
                entrypoint: has_entrypoint.then_some(ENTRYPOINT),
                task: assembly.task.map(|task| task.argv),
                annotations,
            }),
            created: self.time(),
        })?;
        let needs = pixi_oci_project::needs(&assembly.needs);
        warnings.iter().for_each(|text| self.session.warn(text.as_str()));
        let report = ImageReport {
            platform: image.platform.to_string(),
            conda_platform: target.platform.name.clone(),
            manifest: image.manifest.digest,
            config: image.config.digest,
            base: base.report(),
            layers: described.reports(base.layers()),
            wheels: wheel_reports(&plan.packages),
            post_link_scripts: plan.post_link_scripts(),
            requires: needs.iter().map(pixi_oci_project::Need::text).collect(),
            needs,
            warnings,
        };
        Ok((image, report))
    }

    pub fn annotations(&self) -> Result<BTreeMap<String, String>, Error> {
        let ProvenanceInputs { version, recorded, .. } = &self.project.inputs.provenance;
        let oci = &self.project.configuration.oci;
        let revision = match recorded {
            None => version.revision.clone(),
            Some(recorded) => recorded.revision.clone(),
        };
        let (version, release) = match recorded {
            Some(recorded) => (recorded.version.clone(), recorded.release.clone()),
            None => {
                let release = version.version(scheme(oci)).and_then(|version| Some(version.release()?.to_string()));
                let commit = || {
                    let revision = revision.as_deref()?;
                    let dirty = if revision.ends_with("-dirty") { "-dirty" } else { "" };
                    Some(format!("sha-{}{dirty}", revision.get(..7)?))
                };
                (release.clone().or_else(commit), release)
            }
        };
        Ok(standard_annotations(&Provenance {
            workspace: &self.project.workspace,
            environment: &self.project.configuration.environment,
            oci,
            version,
            release,
            revision,
            created: &rfc3339(self.time())?,
        }))
    }

    fn time(&self) -> i64 {
        self.project.inputs.provenance.epoch.unwrap_or(LAYER_TIME)
    }

    /// The variables; and the entrypoint's script, if there is something that only a shell can do.
    fn activated(&self, assembly: &Assembly<'_, '_>) -> Result<(ActivatedEnv, Option<String>), Error> {
        let configuration = &self.project.configuration;
        let (prefix, workdir) = (configuration.prefix.as_str(), &configuration.workdir);
        let packages = &assembly.plan.packages;
        let task_env = assembly.task.as_ref().map(|task| task.env.clone()).unwrap_or_default();
        let mut package_env = virtual_packages::cuda_env(
            &assembly.plan.target.packages,
            &assembly.needs,
            &assembly.plan.target.virtual_packages,
        );
        let base_env = assembly.base.settings().map(|settings| settings.env.clone()).unwrap_or_default();
        if !base_env.iter().any(|(name, _)| name == "LANG") {
            package_env.push(("LANG".into(), "C.UTF-8".into()));
        }
        package_env.extend(certificates(packages, prefix));
        let mut scripts = activation_scripts(packages, prefix);
        scripts.extend(assembly.activation.scripts.iter().map(|path| format!("{workdir}/{path}")));
        let input = ActivationInput {
            prefix,
            base_env: &base_env,
            package_env: &package_env,
            env_vars_d: &assembly.findings.env_vars_d,
            workspace_env: &workspace_env(&self.project.workspace, &configuration.environment, workdir)?,
            scripts: &scripts,
            manifest_env: &assembly.activation.env,
            image_env: &[task_env, configuration.oci.env.clone()].concat(),
        };
        let env = activate(&input)?;
        if input.scripts.is_empty() && env.late.is_empty() {
            return Ok((env, None));
        }
        let shell = if has_path(packages, "bin/bash") {
            format!("{prefix}/bin/bash")
        } else {
            let late = env.late.iter().map(|(name, reason)| format!("{name} with {reason}"));
            let needs = || input.scripts.iter().cloned().chain(late).collect::<Vec<_>>().join(", ");
            assembly.base.bash().ok_or_else(|| Error::NoShell { needs: needs() })?
        };
        let script = entrypoint_script(&shell, &input, &env);
        Ok((env, Some(script)))
    }

    /// A configured command that is nowhere in the image. The workspace's scripts may make a place for it.
    fn missing_command(
        &self,
        assembly: &Assembly<'_, '_>,
        env: &ActivatedEnv,
        application: &FileTree,
    ) -> Option<String> {
        let configuration = &self.project.configuration;
        let task = assembly.task.as_ref().map(|task| &task.argv);
        let command = configuration.oci.entrypoint.as_ref().or(configuration.oci.cmd.as_ref()).or(task)?;
        let program = command.first().filter(|_| assembly.activation.scripts.is_empty())?;
        let is_there = |path: &str| {
            let below = path.strip_prefix(configuration.prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
            below.is_some_and(|path| has_path(&assembly.plan.packages, path))
                || assembly.base.files().is_some_and(|files| files.resolve(path).is_some())
                || TreePath::new(path.trim_start_matches('/')).is_ok_and(|path| application.get(&path).is_some())
        };
        let path = env.all.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str())?;
        let found = match program.split_once('/') {
            Some(("", _)) => is_there(program),
            Some(_) => {
                let program = program.trim_start_matches("./");
                is_there(&format!("{}/{program}", configuration.workdir.trim_end_matches('/')))
            }
            None => path.split(':').any(|directory| is_there(&format!("{directory}/{program}"))),
        };
        (!found).then(|| {
            format!(
                "the command `{program}` is not in the image (PATH={path}): add the package or the file that has it"
            )
        })
    }

    fn environment(
        &self,
        env: &ActivatedEnv,
        entrypoint: Option<String>,
        table: Vec<u8>,
        scratch: bool,
    ) -> Result<FileTree, Error> {
        Ok(environment_tree(EnvironmentInput {
            prefix: self.project.configuration.prefix.tree_path(),
            workdir: &self.project.configuration.workdir,
            environment: &self.project.configuration.environment,
            apptainer: apptainer_script(env),
            entrypoint,
            table,
            scratch,
        })?)
    }

    /// Refuses files of the workspace that cannot be in the image of a target, above all those with secrets in them. Asked before
    /// anything is downloaded; what is written is looked at when it is collected.
    pub fn check_application(&self, target: &Target) -> Result<(), Error> {
        let (workspace, environment) = (&self.project.workspace, &self.project.configuration.environment);
        let mut activation = workspace.activation(environment, target.platform.target())?;
        without_missing_scripts(&workspace.root, &mut activation);
        self.application(&activation, &mut Vec::new())?;
        self.task(target)?;
        Ok(())
    }

    fn application(&self, activation: &Activation, warnings: &mut Vec<String>) -> Result<FileTree, Error> {
        let mut always = vec![self.project.workspace.manifest_file_name(), "pixi.lock".to_string()];
        always.extend(activation.scripts.iter().cloned());
        let root = &self.project.workspace.root;
        let mut outputs: Vec<PathBuf> = OUTPUTS.iter().map(|output| root.join(output)).collect();
        outputs.push(self.output.to_path_buf());
        outputs.extend(self.project.inputs.provenance.recorded.iter().filter_map(|recorded| recorded.place.clone()));
        let application = application(&ApplicationInput {
            root,
            workdir: &self.project.configuration.workdir,
            always: &always,
            include: &self.include(),
            exclude: self.project.configuration.oci.exclude.as_deref().unwrap_or_default(),
            directories: self.project.configuration.oci.directories.as_deref().unwrap_or_default(),
            outputs: &outputs,
        })?;
        warnings.extend(application.warnings(root));
        Ok(application.tree)
    }

    fn task(&self, target: &Target) -> Result<Option<TaskArgv>, Error> {
        let Some(name) = &self.project.configuration.oci.task else { return Ok(None) };
        let task =
            self.project.workspace.task(&self.project.configuration.environment, target.platform.target(), name)?;
        if task.cwd.is_some() {
            return Err(RequestError::Setting {
                setting: "task",
                text: name.clone(),
                reason: "has a working directory of its own; write its command as `cmd`, and say `workdir` if need be"
                    .into(),
            }
            .into());
        }
        Ok(Some(task))
    }
}

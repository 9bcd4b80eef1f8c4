//! One platform's image: from archives to documents. Its layers are in the layout when it is done.

use std::{collections::BTreeMap, path::Path};

use pixi_oci_image::{AssembleInput, Image, Platform, assemble, rfc3339};
use pixi_oci_layer::{FileTree, Layer, MemoryBudget};
use pixi_oci_lock::{VirtualRequirement, requirements};
use pixi_oci_net::Client;
use pixi_oci_publish::OciLayout;
use pixi_oci_workspace::{Activation, TaskArgv, Workspace};

use crate::{
    BuildRequest, Error, Event, ImageReport, OnEvent, RequestError,
    activation::{ActivatedEnv, ActivationInput, activate, apptainer_script, entrypoint_script},
    application::{ApplicationError, ApplicationInput, application},
    base::Base,
    cache::LayerCache,
    configuration::Configuration,
    describe::Described,
    divided::Divided,
    environment::{ENTRYPOINT, EnvironmentInput, environment_tree},
    file_list::with_file_list,
    git,
    layers::{CONSTANT_TIME, PackageLayer, ReadyPackage, Seen, own_tree, write_tree},
    packages::{Contents, activation_scripts, has_path, layer_table},
    places::Below,
    reuse::{OnLayer, Remote},
    settings::{ImageInput, Provenance, image_settings, standard_annotations},
    target::Target,
    virtual_packages,
    wheels::TargetWheel,
};

/// What all images of a build share.
pub struct ImageBuilder<'a> {
    /// What was asked for.
    pub request: &'a BuildRequest,
    /// The workspace.
    pub workspace: &'a Workspace,
    /// Its configuration.
    pub configuration: &'a Configuration,
    /// What the build writes: never part of an image.
    pub output: &'a Path,
    /// Where layers are made.
    pub layout: &'a OciLayout,
    /// Where temporary files go.
    pub scratch: &'a Path,
    /// Gets what is not here.
    pub client: &'a Client,
    /// The layers of earlier builds; `None` to make all anew.
    pub layer_cache: Option<&'a LayerCache>,
    /// The layers of published images.
    pub remote: Option<&'a dyn Remote>,
    /// Is given package layers as soon as they are there.
    pub on_layer: OnLayer<'a>,
    /// Is told what happens.
    pub on_event: OnEvent<'a>,
}

/// What is known of one image when its package layers are written.
struct Written<'a> {
    target: &'a Target,
    activation: Activation,
    /// Of the task that is the image's command.
    task_env: Vec<(String, String)>,
    packages: &'a [ReadyPackage<'a>],
    needs: &'a [VirtualRequirement],
    base: &'a Base,
    seen: Seen,
}

impl ImageBuilder<'_> {
    /// Builds the image of `target` of its `contents`.
    pub fn image(&self, target: &Target, contents: &Contents<'_>) -> Result<(Image, ImageReport), Error> {
        let base = self.base(target)?;
        base.put_layers(self.layout)?;
        let mut divided = self.divide(target, contents, Some(&base))?;
        let layers = self.package_layers(target, &mut divided)?;
        self.assembled(target, contents, &base, divided, layers)
    }

    /// Makes the rest of the image, all of which follows from the `layers` of the `divided` packages.
    pub fn assembled(
        &self,
        target: &Target,
        contents: &Contents<'_>,
        base: &Base,
        divided: Divided<'_>,
        mut layers: Vec<PackageLayer>,
    ) -> Result<(Image, ImageReport), Error> {
        let configuration = self.configuration;
        let needs = requirements(&target.packages);
        let Divided { mut packages, groups, post_link_scripts, mut warnings } = divided;
        let table = layer_table(&layers, &mut packages)?;
        let mut seen = Seen::default();
        layers.iter_mut().for_each(|layer| seen.extend(std::mem::take(&mut layer.seen)));
        let (memory, facts) = (MemoryBudget::new(self.request.memory), self.facts_cache());
        let own = own_tree(&packages, &self.options(&memory, &facts), &mut seen)?;
        for (package, link) in &seen.outside_links {
            warnings.push(format!("{package} has a link that leaves the prefix: {} -> {}", link.path, link.target));
        }
        base.check_interpreters(&seen.interpreters, target.architecture, &configuration.prefix, &packages)?;

        let activation = self.workspace.activation(&configuration.environment, target.platform.target())?;
        let task = self.task(target)?;
        let task_env = task.as_ref().map(|task| task.env.clone()).unwrap_or_default();
        let written = Written { target, activation, task_env, packages: &packages, needs: &needs, base, seen };
        let env = self.activated(&written)?;
        let entrypoint = self.entrypoint(&written, &env)?;
        let has_entrypoint = entrypoint.is_some();
        let environment = self.environment(&env, entrypoint, table.to_bytes(), base.is_scratch())?;
        let environment_layer = self.write(&environment)?;
        let below = Below::new(base.files(), configuration.prefix.tree_path(), &packages, &environment);
        let mut application = self.application(&written.activation, &mut warnings)?;
        application.merge(own).map_err(ApplicationError::Tree)?;
        let application = with_file_list(below.settle(application)?)?;
        let application_layer = self.write(&application)?;

        let described = Described {
            groups: &groups,
            packages: &packages,
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
                task: task.map(|task| task.argv),
                annotations,
            }),
            created: self.time(),
        })?;
        let needs = crate::needs::needs(&needs);
        warnings.iter().for_each(|text| (self.on_event)(Event::Warning(text.clone())));
        let report = ImageReport {
            platform: image.platform.to_string(),
            conda_platform: target.platform.name.clone(),
            manifest: image.manifest.digest,
            config: image.config.digest,
            base: base.report(),
            layers: described.reports(base.layers()),
            wheels: contents.wheels.iter().map(TargetWheel::report).collect(),
            post_link_scripts,
            requires: needs.iter().map(crate::needs::Need::text).collect(),
            needs,
            warnings,
        };
        Ok((image, report))
    }

    /// The annotations of the index, and of each image.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(standard_annotations(&Provenance {
            workspace: self.workspace,
            environment: &self.configuration.environment,
            source: &self.source(),
            created: &rfc3339(self.time())?,
        }))
    }

    fn source(&self) -> git::Source {
        match &self.request.recorded {
            None => git::source(&self.workspace.root),
            Some(recorded) => git::Source { url: recorded.source.clone(), revision: recorded.revision.clone() },
        }
    }

    fn time(&self) -> i64 {
        self.request.epoch.unwrap_or(CONSTANT_TIME)
    }

    fn activated(&self, written: &Written<'_>) -> Result<ActivatedEnv, Error> {
        let configuration = self.configuration;
        let mut package_env =
            virtual_packages::cuda_env(&written.target.packages, written.needs, &written.target.virtual_packages);
        let base_env = written.base.settings().map(|settings| settings.env.clone()).unwrap_or_default();
        if !base_env.iter().any(|(name, _)| name == "LANG") {
            package_env.push(("LANG".into(), "C.UTF-8".into()));
        }
        // OpenSSL looks where it was built, which is not always the prefix; and curl, git and Python ask this variable.
        let bundle = ["ssl/cert.pem", "ssl/cacert.pem"].into_iter().find(|path| has_path(written.packages, path));
        if let Some(bundle) = bundle {
            package_env.push(("SSL_CERT_FILE".into(), format!("{}/{bundle}", configuration.prefix.as_str())));
        }
        Ok(activate(&ActivationInput {
            prefix: configuration.prefix.as_str(),
            workdir: &configuration.workdir,
            environment: &configuration.environment,
            platforms: &self.workspace.platforms.iter().map(|p| p.name.clone()).collect::<Vec<_>>(),
            workspace_name: &self.workspace.name,
            workspace_version: self.workspace.version.as_deref(),
            manifest_file_name: &self.workspace.manifest_file_name,
            base_env: &base_env,
            env_vars_d: &written.seen.env_vars_d,
            manifest_env: &written.activation.env,
            image_env: &[written.task_env.clone(), configuration.oci.env.clone()].concat(),
            package_env: &package_env,
        })?)
    }

    /// The entrypoint's script, if there is something that only a shell can do.
    fn entrypoint(&self, written: &Written<'_>, env: &ActivatedEnv) -> Result<Option<String>, Error> {
        let prefix = self.configuration.prefix.as_str();
        let of_packages = activation_scripts(written.packages).into_iter().map(|path| format!("{prefix}/{path}"));
        let of_workspace =
            written.activation.scripts.iter().map(|path| format!("{}/{path}", self.configuration.workdir));
        let scripts: Vec<String> = of_packages.chain(of_workspace).collect();
        if scripts.is_empty() {
            return Ok(None);
        }
        let shell = if has_path(written.packages, "bin/bash") {
            format!("{prefix}/bin/bash")
        } else {
            written.base.bash().ok_or_else(|| Error::NoShell { scripts: scripts.join(", ") })?
        };
        Ok(Some(entrypoint_script(&shell, &scripts, env)))
    }

    fn write(&self, tree: &FileTree) -> Result<Layer, Error> {
        write_tree(tree, self.layout, self.configuration.compression, self.time(), &self.request.interrupted)
    }

    fn environment(
        &self,
        env: &ActivatedEnv,
        entrypoint: Option<String>,
        table: Vec<u8>,
        scratch: bool,
    ) -> Result<FileTree, Error> {
        Ok(environment_tree(&EnvironmentInput {
            prefix: self.configuration.prefix.tree_path(),
            workdir: &self.configuration.workdir,
            environment: &self.configuration.environment,
            apptainer: apptainer_script(env),
            entrypoint,
            table,
            scratch,
        })?)
    }

    fn application(&self, activation: &Activation, warnings: &mut Vec<String>) -> Result<FileTree, Error> {
        let mut always = vec![self.workspace.manifest_file_name.clone(), "pixi.lock".to_string()];
        always.extend(activation.scripts.iter().cloned());
        let mut outputs = vec![self.output.to_path_buf(), self.workspace.root.join("dist/oci")];
        outputs.extend(self.request.recorded.iter().filter_map(|recorded| recorded.place.clone()));
        let application = application(&ApplicationInput {
            root: &self.workspace.root,
            workdir: &self.configuration.workdir,
            always: &always,
            include: &self.configuration.include,
            exclude: self.configuration.oci.exclude.as_deref().unwrap_or_default(),
            directories: self.configuration.oci.directories.as_deref().unwrap_or_default(),
            outputs: &outputs,
        })?;
        for (path, what) in &application.left_out {
            warnings.push(format!(
                "{path} is left out: its name means {what}; name it in `include` if it is meant to be there"
            ));
        }
        for path in application.cleaned.keys() {
            warnings.push(format!(
                "{}: the logins in its URLs are left out of the image; `pixi auth login HOST` keeps them out of the file, too",
                path.strip_prefix(&self.workspace.root).unwrap_or(path).display()
            ));
        }
        Ok(application.tree)
    }

    fn task(&self, target: &Target) -> Result<Option<TaskArgv>, Error> {
        let Some(name) = &self.configuration.oci.task else { return Ok(None) };
        let task = self.workspace.task(&self.configuration.environment, target.platform.target(), name)?;
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

//! The activated environment, without running a shell: image `Env`, Apptainer's script, and the entrypoint.
//!
//! The reference is the script that pixi runs with bash (rattler_shell's `Activator::activation`): `PATH`, `CONDA_PREFIX`,
//! `env_vars.d`, `PIXI_*`, then the scripts of packages and workspace, then `[activation.env]`.

mod expand;
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use pixi_oci_workspace::{Activation, Workspace};

use self::expand::{Variable, expand, is_of_run_time, only_variables};
pub(crate) use self::script::assignment;
pub use self::script::{Restored, activate_script, apptainer_script, entrypoint_script};

/// What is known of an environment when its layers are written.
#[derive(Debug, Clone)]
pub struct ActivationInput<'a> {
    /// The prefix in the image, e.g. `/opt/pixi/env`.
    pub prefix: &'a str,
    /// The base image's `Env`.
    pub base_env: &'a [(String, String)],
    /// Variables that follow from packages: `SSL_CERT_FILE`, `NVIDIA_…`.
    pub package_env: &'a [(String, String)],
    /// The contents of `etc/conda/env_vars.d/*.json`, by file name.
    pub env_vars_d: &'a BTreeMap<String, Vec<u8>>,
    /// What pixi says of workspace and environment: [`workspace_env`].
    pub workspace_env: &'a [(String, String)],
    /// The scripts of packages and workspace, in their order; absolute paths in the image.
    pub scripts: &'a [String],
    /// `[activation.env]`, in pixi's order.
    pub manifest_env: &'a [(String, String)],
    /// `env` of `[tool.pixi-oci]` and `--env`.
    pub image_env: &'a [(String, String)],
}

/// The environment variables of an activated environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivatedEnv {
    /// Everything that is known, the base's variables included; each name once.
    pub all: Vec<(String, String)>,
    /// Variables of packages that need a running shell.
    pub late_env_vars_d: Vec<(String, String)>,
    /// What scripts must see as it was before `[activation.env]`.
    pub restored: Vec<Restored>,
    /// Variables that only the entrypoint can set, each with what makes it so: `$HOME`, `$(…)`.
    pub late: Vec<(String, String)>,
}

impl ActivatedEnv {
    /// Tells what `exec`, which does not go through the entrypoint, will not see.
    pub fn warnings(&self) -> Vec<String> {
        let text = |(name, reason): &(String, String)| {
            format!(
                "variable {name} depends on {reason}, which only a running container knows: the entrypoint sets it, `exec` \
                 does not see it; say it in `env` of [tool.pixi-oci] for both"
            )
        };
        self.late.iter().map(text).collect()
    }
}

/// Why the environment cannot be activated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ActivationError {
    /// `$NAME` in a value where no such variable is known when the image is built.
    #[error(
        "variable {variable} of [tool.pixi-oci] env uses {unknown}, which is not known when the image is built; known are the base image's variables, PATH, CONDA_PREFIX, PIXI_* and [activation.env]"
    )]
    UnknownVariable { variable: String, unknown: String },
    /// A file of a package that is not a JSON object.
    #[error("etc/conda/env_vars.d/{file} is not a JSON object: {reason}")]
    EnvVarsD { file: String, reason: String },
}

/// The `PATH` of images that do not say one (as podman and docker assume).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Puts the variables together in pixi's order.
pub fn activate(input: &ActivationInput<'_>) -> Result<ActivatedEnv, ActivationError> {
    let mut env = Variables { values: input.base_env.to_vec(), late: BTreeSet::new() };
    let path = env.get("PATH").unwrap_or(DEFAULT_PATH).to_string();
    env.set("PATH", format!("{}/bin:{path}", input.prefix));
    for (name, value) in conda_env(input) {
        env.set(&name, value);
    }
    let mut done = ActivatedEnv::default();

    // Packages' values are expanded before PIXI_* are set, and PIXI_* win.
    let mut of_packages = env.clone();
    let mut set_by_packages: Vec<(String, String)> = Vec::new();
    for (name, value) in env_vars_d(input)? {
        // A name of both is set once, where packages have it and to what pixi says.
        if let Some((_, value)) = input.workspace_env.iter().find(|(known, _)| *known == name) {
            of_packages.set(&name, value.clone());
            continue;
        }
        match expand(&value, &|name| of_packages.known(name)) {
            Ok(value) => {
                of_packages.set(&name, value.clone());
                set_by_packages.push((name, value));
            }
            Err(reason) => {
                of_packages.late.insert(name.clone());
                env.late.insert(name.clone());
                done.late.push((name.clone(), reason));
                done.late_env_vars_d.push((name, value));
            }
        }
    }
    for (name, value) in input.workspace_env.iter().chain(input.package_env).cloned().chain(set_by_packages) {
        env.set(&name, value);
    }

    let before = env.clone();
    for (name, value) in input.manifest_env {
        match expand(value, &|name| env.known(name)) {
            Ok(value) => env.set(name, value),
            Err(reason) => {
                env.late.insert(name.clone());
                done.late.push((name.clone(), reason));
            }
        }
    }
    for (name, value) in input.image_env {
        let known = |used: &str| match env.known(used) {
            Variable::Unset => Variable::AtRunTime,
            known => known,
        };
        let unknown = |unknown| ActivationError::UnknownVariable { variable: name.clone(), unknown };
        let value = expand(&only_variables(value), &known).map_err(unknown)?;
        env.set(name, value);
    }
    let is_own = |name: &str| input.image_env.iter().any(|(own, _)| own == name);
    done.late.retain(|(name, _)| !is_own(name));
    done.restored =
        restored(input.manifest_env.iter().map(|(name, _)| name).filter(|name| !is_own(name)), &before, &env);
    done.all = env.values;
    Ok(done)
}

fn restored<'a>(names: impl Iterator<Item = &'a String>, before: &Variables, after: &Variables) -> Vec<Restored> {
    let mut all: Vec<Restored> = Vec::new();
    for name in names.filter(|name| script::is_shell_name(name)) {
        let (old, Some(now)) = (before.get(name), after.get(name)) else { continue };
        if old != Some(now) && !all.iter().any(|known| known.name == *name) {
            all.push(Restored { name: name.clone(), now: now.to_owned(), before: old.map(str::to_owned) });
        }
    }
    all
}

fn conda_env(input: &ActivationInput<'_>) -> Vec<(String, String)> {
    vec![("CONDA_PREFIX".into(), input.prefix.into()), ("CONDA_SHLVL".into(), "1".into())]
}

/// What pixi says of a workspace in `workdir` and its environment (pixi's `get_static_environment_variables`).
pub fn workspace_env(
    workspace: &Workspace,
    environment: &str,
    workdir: &str,
) -> Result<Vec<(String, String)>, pixi_oci_workspace::Error> {
    let prompt = match environment {
        "default" => workspace.about.name.clone(),
        other => format!("{}:{other}", workspace.about.name),
    };
    let platforms = workspace.platform_names(environment)?.join(",");
    let version = workspace.about.version.as_deref().unwrap_or("NO_VERSION_SPECIFIED");
    let pairs = [
        ("CONDA_DEFAULT_ENV", prompt.clone()),
        ("PIXI_PROJECT_ROOT", workdir.to_owned()),
        ("PIXI_PROJECT_NAME", workspace.about.name.clone()),
        ("PIXI_PROJECT_MANIFEST", format!("{workdir}/{}", workspace.manifest_file_name())),
        ("PIXI_PROJECT_VERSION", version.to_owned()),
        ("PIXI_IN_SHELL", "1".to_owned()),
        ("PIXI_ENVIRONMENT_NAME", environment.to_owned()),
        ("PIXI_ENVIRONMENT_PLATFORMS", platforms),
        ("PIXI_PROMPT", format!("({prompt}) ")),
    ];
    Ok(pairs.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Leaves out the workspace's scripts that are not there, as pixi does; gives a warning that names them.
pub fn without_missing_scripts(root: &Path, activation: &mut Activation) -> Option<String> {
    let (there, missing): (Vec<_>, Vec<_>) =
        std::mem::take(&mut activation.scripts).into_iter().partition(|script| root.join(script).is_file());
    activation.scripts = there;
    (!missing.is_empty()).then(|| {
        format!("could not find activation scripts: {}; the environment is activated without them", missing.join(", "))
    })
}

/// The variables of packages as they are written, each name once: files by name, and in each its own order.
fn env_vars_d(input: &ActivationInput<'_>) -> Result<Vec<(String, String)>, ActivationError> {
    let mut all = Variables::default();
    for (file, json) in input.env_vars_d {
        // In its own order: a value can use the variables before it.
        let pairs: serde_json::Map<_, _> = serde_json::from_slice(json)
            .map_err(|e| ActivationError::EnvVarsD { file: file.clone(), reason: e.to_string() })?;
        for (name, value) in pairs {
            // As rattler_shell does: what is no text is no variable.
            if let serde_json::Value::String(value) = value {
                all.set(&name, value);
            }
        }
    }
    Ok(all.values)
}

#[derive(Debug, Clone, Default)]
struct Variables {
    values: Vec<(String, String)>,
    late: BTreeSet<String>,
}

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        self.late.remove(name);
        match self.values.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name.to_string(), value)),
        }
    }

    fn known(&self, name: &str) -> Variable<'_> {
        match self.get(name) {
            _ if self.late.contains(name) => Variable::AtRunTime,
            Some(value) => Variable::Value(value),
            None if is_of_run_time(name) => Variable::AtRunTime,
            None => Variable::Unset,
        }
    }
}

#[cfg(test)]
mod against_rattler;
#[cfg(test)]
mod tests;

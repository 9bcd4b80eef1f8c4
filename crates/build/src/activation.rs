//! The activated environment, without running a shell: image `Env`, Apptainer's script, and the entrypoint.

mod shell;

use std::collections::BTreeMap;

pub use self::shell::{activate_for_shell, activate_script};

/// What is known of an environment when its layers are written.
#[derive(Debug, Clone)]
pub struct ActivationInput<'a> {
    /// The prefix in the image, e.g. `/opt/pixi/env`.
    pub prefix: &'a str,
    /// The working directory in the image, which is the workspace's root there.
    pub workdir: &'a str,
    /// The environment's name.
    pub environment: &'a str,
    /// The conda platforms of the environment.
    pub platforms: &'a [String],
    /// The workspace's name.
    pub workspace_name: &'a str,
    /// The workspace's version, if it has one.
    pub workspace_version: Option<&'a str>,
    /// `pixi.toml` or `pyproject.toml`.
    pub manifest_file_name: &'a str,
    /// The base image's `Env`.
    pub base_env: &'a [(String, String)],
    /// The contents of `etc/conda/env_vars.d/*.json`, by file name.
    pub env_vars_d: &'a BTreeMap<String, Vec<u8>>,
    /// `[activation.env]`, in pixi's order.
    pub manifest_env: &'a [(String, String)],
    /// `env` of `[tool.pixi-oci]` and `--env`.
    pub image_env: &'a [(String, String)],
    /// Variables that follow from packages: `SSL_CERT_FILE`, `NVIDIA_…`.
    pub package_env: &'a [(String, String)],
}

/// The environment variables of an activated environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivatedEnv {
    /// Everything, the base's variables included; each name once.
    pub all: Vec<(String, String)>,
    /// `[activation.env]` and the image's own variables: pixi sets the former after activation scripts have run.
    pub after_scripts: Vec<(String, String)>,
}

/// Why the environment cannot be activated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ActivationError {
    /// `$NAME` in a value where no such variable is known when the image is built.
    #[error(
        "variable {variable} of {place} uses ${unknown}, which is not known when the image is built; known are the base image's variables, PATH, CONDA_PREFIX and PIXI_*"
    )]
    UnknownVariable {
        /// The variable that is being set.
        variable: String,
        /// Where it is set.
        place: &'static str,
        /// The variable that its value names.
        unknown: String,
    },
    /// A file of a package that is not a JSON object.
    #[error("etc/conda/env_vars.d/{file} is not a JSON object: {reason}")]
    EnvVarsD {
        /// The file's name.
        file: String,
        /// What the JSON parser says.
        reason: String,
    },
}

/// The `PATH` of images that do not say one (as podman and docker assume).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Puts the variables together in pixi's order: base, `PIXI_*`, `env_vars.d`, `[activation.env]`, then the image's own.
pub fn activate(input: &ActivationInput<'_>) -> Result<ActivatedEnv, ActivationError> {
    let mut env = Variables(input.base_env.to_vec());
    let path = env.get("PATH").unwrap_or(DEFAULT_PATH).to_string();
    env.set("PATH", format!("{}/bin:{path}", input.prefix));
    env.set("CONDA_PREFIX", input.prefix.into());
    env.set("CONDA_SHLVL", "1".into());
    env.set("CONDA_DEFAULT_ENV", prompt_name(input));
    env.set("PIXI_PROJECT_ROOT", input.workdir.into());
    env.set("PIXI_PROJECT_NAME", input.workspace_name.into());
    env.set("PIXI_PROJECT_MANIFEST", format!("{}/{}", input.workdir, input.manifest_file_name));
    env.set("PIXI_PROJECT_VERSION", input.workspace_version.unwrap_or("NO_VERSION_SPECIFIED").into());
    env.set("PIXI_IN_SHELL", "1".into());
    env.set("PIXI_ENVIRONMENT_NAME", input.environment.into());
    env.set("PIXI_ENVIRONMENT_PLATFORMS", input.platforms.join(","));
    env.set("PIXI_PROMPT", format!("({}) ", prompt_name(input)));
    for (name, value) in input.package_env {
        env.set(name, value.clone());
    }
    for (file, json) in input.env_vars_d {
        let bad = |e: serde_json::Error| ActivationError::EnvVarsD { file: file.clone(), reason: e.to_string() };
        let variables: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json).map_err(bad)?;
        for (name, value) in variables {
            // As rattler_shell does: what is no text is no variable.
            if let serde_json::Value::String(value) = value {
                env.set(&name, value);
            }
        }
    }
    let mut after_scripts = Variables::default();
    for (place, variables) in [("[activation.env]", input.manifest_env), ("[tool.pixi-oci] env", input.image_env)] {
        for (name, value) in variables {
            let value = expand(value, |name| env.get(name)).map_err(|unknown| ActivationError::UnknownVariable {
                variable: name.clone(),
                place,
                unknown,
            })?;
            after_scripts.set(name, value.clone());
            env.set(name, value);
        }
    }
    Ok(ActivatedEnv { all: env.0, after_scripts: after_scripts.0 })
}

fn prompt_name(input: &ActivationInput<'_>) -> String {
    match input.environment {
        "default" => input.workspace_name.to_string(),
        other => format!("{}:{other}", input.workspace_name),
    }
}

#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_string(), value)),
        }
    }
}

/// Replaces `$NAME` and `${NAME}`; `\$` and `$` before anything else stand for themselves, as in a shell's double
/// quotes. The error is the name of the unknown variable.
fn expand<'a>(text: &str, known: impl Fn(&str) -> Option<&'a str>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        if let Some(after) = tail.strip_prefix("\\$") {
            out.push('$');
            rest = after;
            continue;
        }
        let (name, after) = match tail.strip_prefix("${").and_then(|braced| braced.split_once('}')) {
            Some((name, after)) => (name, after),
            None => {
                let bare = &tail[1..];
                let end = bare.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(bare.len());
                (&bare[..end], &bare[end..])
            }
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if tail.starts_with('$') && is_name {
            out.push_str(known(name).ok_or_else(|| name.to_string())?);
            rest = after;
        } else {
            out.push_str(&tail[..1]);
            rest = &tail[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// `/.singularity.d/env/91-pixi-oci.sh`, which Apptainer's `run`, `exec` and `shell` source after their own scripts.
///
/// The exports are unconditional, because the host's variables reach the container and would win otherwise; and the
/// user's site-packages in the mounted home directory are kept out.
pub fn apptainer_script(env: &ActivatedEnv) -> String {
    let mut script =
        String::from("#!/bin/sh\n# Written by pixi-oci: the environment, for apptainer run, exec and shell.\n");
    for (name, value) in env.all.iter().filter(|(name, _)| is_shell_name(name)) {
        script.push_str(&format!("export {name}={}\n", quote(value)));
    }
    script.push_str("export PYTHONNOUSERSITE=1\n");
    script
}

/// The entrypoint for environments with activation scripts: runs them in their order, then becomes the command, so
/// that signals reach it. A script that is sourced sees, and may change, the arguments of who sources it; where it is
/// activated otherwise it has none, and some (Intel's) take what they find for their own.
pub fn entrypoint_script(shell: &str, scripts: &[String], env: &ActivatedEnv) -> String {
    let mut text = format!("#!{shell}\n# Written by pixi-oci: activates the environment, then becomes the command.\n");
    text.push_str("pixi_oci_command=(\"$@\")\n");
    for script in scripts {
        text.push_str(&format!("set --\n. {}\n", quote(script)));
    }
    for (name, value) in env.after_scripts.iter().filter(|(name, _)| is_shell_name(name)) {
        text.push_str(&format!("export {name}={}\n", quote(value)));
    }
    text.push_str("exec \"${pixi_oci_command[@]}\"\n");
    text
}

fn is_shell_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// In single quotes, where only the single quote itself needs help (POSIX shell, 2.2.2).
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input<'a>(base: &'a [(String, String)], manifest_env: &'a [(String, String)]) -> ActivationInput<'a> {
        static NONE: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        ActivationInput {
            prefix: "/opt/pixi/env",
            workdir: "/app",
            environment: "prod",
            platforms: &[],
            workspace_name: "demo",
            workspace_version: None,
            manifest_file_name: "pixi.toml",
            base_env: base,
            env_vars_d: &NONE,
            manifest_env,
            image_env: &[],
            package_env: &[],
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn the_prefix_comes_before_the_base_and_names_are_unique() {
        let base = [pair("PATH", "/usr/bin"), pair("LANG", "C")];
        let vars =
            BTreeMap::from([("a.json".to_string(), br#"{"GDAL_DATA": "/x", "LANG": "C.UTF-8", "N": 1}"#.to_vec())]);
        let env = activate(&ActivationInput { env_vars_d: &vars, ..input(&base, &[]) }).unwrap();
        let get = |name: &str| env.all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(get("PATH"), Some("/opt/pixi/env/bin:/usr/bin"));
        assert_eq!(get("GDAL_DATA"), Some("/x"));
        assert_eq!(get("LANG"), Some("C.UTF-8"));
        assert_eq!(get("PIXI_PROMPT"), Some("(demo:prod) "));
        assert_eq!(env.all.iter().filter(|(n, _)| n == "LANG").count(), 1);
        let bad = BTreeMap::from([("b.json".to_string(), b"[1]".to_vec())]);
        assert!(
            activate(&ActivationInput { env_vars_d: &bad, ..input(&base, &[]) })
                .unwrap_err()
                .to_string()
                .contains("b.json")
        );
    }

    #[test]
    fn variables_are_expanded_when_known_and_refused_when_not() {
        let env = [pair("A", "$CONDA_PREFIX/share:${PATH}"), pair("B", "$A!\\$HOME 5$"), pair("C", "${A}x$A")];
        let all = activate(&input(&[pair("PATH", "/b")], &env)).unwrap().all;
        let get = |name: &str| all.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!(get("A"), "/opt/pixi/env/share:/opt/pixi/env/bin:/b");
        assert_eq!(get("B"), get("A") + "!$HOME 5$");
        assert_eq!(get("C"), format!("{0}x{0}", get("A")));
        let unknown = [pair("A", "$HOME/x")];
        assert!(activate(&input(&[], &unknown)).unwrap_err().to_string().contains("uses $HOME"));
    }

    #[test]
    fn scripts_quote_everything() {
        let env =
            ActivatedEnv { all: vec![pair("A", "it's $X"), pair("a.b", "1")], after_scripts: vec![pair("Z", "1")] };
        assert_eq!(
            apptainer_script(&env).lines().skip(2).collect::<Vec<_>>(),
            [r"export A='it'\''s $X'", "export PYTHONNOUSERSITE=1"]
        );
        let entry = entrypoint_script("/bin/bash", &["/p/a b.sh".into()], &env);
        assert_eq!(
            entry.lines().skip(2).collect::<Vec<_>>(),
            [
                r#"pixi_oci_command=("$@")"#,
                "set --",
                ". '/p/a b.sh'",
                "export Z='1'",
                r#"exec "${pixi_oci_command[@]}""#
            ]
        );
        assert!(entry.starts_with("#!/bin/bash\n"));
    }
}

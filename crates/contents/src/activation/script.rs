//! Scripts that activate: the entrypoint of an image, Apptainer's, and `activate.sh` for a machine.

use pixi_oci_platform::quote;

use super::{
    ActivatedEnv, ActivationError, ActivationInput, DEFAULT_PATH, env_vars_d,
    expand::{between_quotes, only_variables},
};

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

/// The entrypoint: activates as `pixi run` does, then becomes the command, so that signals reach it.
///
/// As in pixi, a shell of its own is activated, and only its variables are taken over: whatever else scripts do to their
/// shell (its directory, options, traps, standard input) does not reach the command, and what they print is not the command's
/// output. Where a script ends that shell without an error, the variables of the image are what is left.
pub fn entrypoint_script(shell: &str, input: &ActivationInput<'_>, env: &ActivatedEnv) -> String {
    let own: Vec<&str> =
        input.image_env.iter().map(|(name, _)| name.as_str()).filter(|name| is_shell_name(name)).collect();
    let mut text = format!("#!{shell}\n{HEAD}");
    if !own.is_empty() {
        // The image's own variables, as the container's start gave them, win over scripts and manifest.
        text.push_str(&format!("{KEEP}{} 2>/dev/null)\n", own.join(" ")));
    }
    for restored in &env.restored {
        text.push_str(&restored.line());
    }
    for (name, value) in &env.late_env_vars_d {
        text.push_str(&assignment(name, value));
    }
    for script in input.scripts {
        // A sourced script sees, and may change, the arguments of who sources it; some (Intel's) take them for their own.
        text.push_str(&format!("set --\n. {}\n", quote(script)));
    }
    text.push_str("set --\n");
    for (name, value) in input.manifest_env.iter().filter(|(name, _)| is_shell_name(name)) {
        text.push_str(&assignment(name, value));
    }
    if !own.is_empty() {
        text.push_str(RESTORE_OWN);
    }
    text + TAIL
}

const KEEP: &str = "pixi_oci_own=$(builtin declare -p ";
const RESTORE_OWN: &str = "builtin eval \"$pixi_oci_own\"\n";

const HEAD: &str = "\
# Written by pixi-oci: activates the environment, then becomes the command.
pixi_oci_directory=$PWD
pixi_oci_variables=$(
{
";

const TAIL: &str = "\
trap - DEBUG ERR RETURN
} </dev/null >&2
builtin export -p && builtin export -pf && builtin echo '# activated'
exec >&2
)
case $?:$pixi_oci_variables in
0:*'# activated')
  for pixi_oci_name in $(compgen -e); do unset -v \"$pixi_oci_name\"; done 2>/dev/null
  eval \"$pixi_oci_variables\" 2>/dev/null
  PWD=$pixi_oci_directory
  unset -v OLDPWD
  ;;
0:*) echo 'pixi-oci: an activation script ended the shell: what scripts set is lost' >&2 ;;
*)
  echo 'pixi-oci: the environment could not be activated' >&2
  exit 1
  ;;
esac
exec \"$@\"
";

/// A variable that scripts must see as it was before `[activation.env]`, which comes after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub name: String,
    /// What the image's `Env` says; anything else was given when the container was started.
    pub now: String,
    pub before: Option<String>,
}

impl Restored {
    fn line(&self) -> String {
        let Self { name, now, before } = self;
        let then = match before {
            Some(value) => format!("{name}={}", quote(value)),
            None => format!("unset -v {name}"),
        };
        format!("[ \"${{{name}-}}\" != {} ] || {then}\n", quote(now))
    }
}

/// `activate.sh`: the same for a shell of a machine. What it does not set is the shell's own.
pub fn activate_script(input: &ActivationInput<'_>) -> Result<String, ActivationError> {
    let mut text = String::from("# Source this file: it sets the environment up. Written by pixi-oci.\n");
    let prefix = quote(&format!("{}/bin:", input.prefix));
    text.push_str(&format!("export PATH={prefix}\"${{PATH:-{DEFAULT_PATH}}}\"\n"));
    text.push_str("export LANG=\"${LANG:-C.UTF-8}\"\n");
    let fixed = super::conda_env(input).into_iter().chain(input.package_env.iter().cloned());
    text.extend(fixed.map(|(name, value)| export(&name, &value)));
    text.extend(env_vars_d(input)?.iter().map(|(name, value)| assignment(name, value)));
    text.extend(input.workspace_env.iter().map(|(name, value)| export(name, value)));
    for script in input.scripts {
        text.push_str(&format!(". {}\n", quote(script)));
    }
    text.extend(input.manifest_env.iter().map(|(name, value)| assignment(name, value)));
    text.extend(input.image_env.iter().map(|(name, value)| assignment(name, &only_variables(value))));
    Ok(text)
}

fn export(name: &str, value: &str) -> String {
    if is_shell_name(name) { format!("export {name}={}\n", quote(value)) } else { String::new() }
}

/// As pixi assigns, but that a value which is no shell syntax spoils nothing else.
pub fn assignment(name: &str, value: &str) -> String {
    if !is_shell_name(name) || !value.contains('$') {
        return export(name, value);
    }
    format!("eval {}\n", quote(&format!("export {name}=\"{}\"", between_quotes(value))))
}

pub fn is_shell_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

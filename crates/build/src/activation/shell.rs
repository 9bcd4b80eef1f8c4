//! `activate.sh`: the same variables for a shell of a machine instead of an image.
//!
//! What an image knows when it is built, its base's variables, is only known here when the script is sourced. So such variables
//! go through [`activate`] as marks, which become the shell's own in the end.

use super::{ActivatedEnv, ActivationError, ActivationInput, DEFAULT_PATH, activate, is_shell_name, quote};

/// Not in any variable: a control character, which no name has.
const MARK: char = '\u{1}';

fn mark(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}

/// Activates for a shell that has variables of its own: `PATH` goes before the shell's, and `$NAME` of a variable that
/// nothing sets is the shell's.
///
/// # Errors
/// As for [`activate`], but for unknown variables.
pub fn activate_for_shell(input: &ActivationInput<'_>) -> Result<ActivatedEnv, ActivationError> {
    // As for a base image that has a language.
    let mut base: Vec<(String, String)> = ["PATH", "LANG"].map(|name| (name.to_owned(), mark(name))).into();
    loop {
        match activate(&ActivationInput { base_env: &base, ..input.clone() }) {
            Err(ActivationError::UnknownVariable { unknown, .. }) if !base.iter().any(|(name, _)| *name == unknown) => {
                let value = mark(&unknown);
                base.push((unknown, value));
            }
            other => return other,
        }
    }
}

/// The script. `scripts` are run after the variables are set, as in the entrypoint of an image.
pub fn activate_script(env: &ActivatedEnv, scripts: &[String]) -> String {
    let mut text = String::from("# Source this file: it sets the environment up. Written by pixi-oci.\n");
    let export = |(name, value): &(String, String)| {
        // Unchanged: the shell has it.
        let is_own = *value == mark(name) && name != "LANG";
        (is_shell_name(name) && !is_own).then(|| format!("export {name}={}\n", marked(value)))
    };
    text.extend(env.all.iter().filter_map(export));
    for script in scripts {
        text.push_str(&format!(". {}\n", quote(script)));
    }
    text.extend(env.after_scripts.iter().filter_map(export));
    text
}

/// A value in quotes, with the shell's own variables in the place of marks.
fn marked(value: &str) -> String {
    let part = |(index, part): (usize, &str)| match (index % 2, part) {
        (0, "") => String::new(),
        (0, text) => quote(text),
        // Between two marks of a value of somebody else.
        (_, name) if !is_shell_name(name) || name.is_empty() => quote(name),
        (_, "PATH") => format!("\"${{PATH:-{DEFAULT_PATH}}}\""),
        (_, "LANG") => "\"${LANG:-C.UTF-8}\"".into(),
        (_, name) => format!("\"${{{name}:-}}\""),
    };
    let text: String = value.split(MARK).enumerate().map(part).collect();
    if text.is_empty() { "''".into() } else { text }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn variables_of_the_shell_stay_its_own() {
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        let input = ActivationInput {
            prefix: "/p",
            workdir: "/w",
            environment: "default",
            platforms: &[],
            workspace_name: "n",
            workspace_version: None,
            manifest_file_name: "pixi.toml",
            base_env: &[],
            env_vars_d: &BTreeMap::new(),
            manifest_env: &[pair("DATA", "$HOME/it's"), pair("EMPTY", "")],
            image_env: &[],
            package_env: &[],
        };
        let text = activate_script(&activate_for_shell(&input).unwrap(), &["/p/a b.sh".into()]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&r#"export DATA="${HOME:-}"'/it'\''s'"#), "{text}");
        assert!(lines.contains(&"export EMPTY=''"), "{text}");
        assert!(lines.contains(&"export LANG=\"${LANG:-C.UTF-8}\""), "{text}");
        assert!(lines.contains(&". '/p/a b.sh'"), "{text}");
        let path = "export PATH='/p/bin:'\"${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\"";
        assert!(lines.contains(&path), "{text}");
        assert!(!text.contains("export HOME"), "{text}");
        assert_eq!(marked("a\u{1}X;$(id)\u{1}b"), "'a''X;$(id)''b'");
    }
}

//! The entrypoint has nothing but the activation of scripts of packages and project, and variables that the configuration,
//! the manifest or a package says.

use std::collections::{BTreeSet, HashMap};

use super::{Facts, Purpose, ReadLayer};
use crate::places::ENV_VARS_D;

/// Between the lines on shell and origin and the activation.
const BEGIN: &str = "pixi_oci_directory=$PWD\npixi_oci_variables=$(\n{\n";
/// After the activation.
const END: &str = "\
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

/// Variables that may be set, each with its values, as they are written.
pub(super) struct Variables(HashMap<String, BTreeSet<String>>);

impl Variables {
    /// Those of the configuration, of the project's manifest, and of packages.
    pub fn new(facts: &Facts<'_>, layers: &[(Purpose, &ReadLayer)]) -> Self {
        let mut all = Self(HashMap::new());
        for (name, value) in facts.variables.iter().filter_map(|variable| variable.split_once('=')) {
            all.add(name, value);
        }
        let manifest = facts.variables.iter().find_map(|variable| variable.strip_prefix("PIXI_PROJECT_MANIFEST=/"));
        for (purpose, layer) in layers {
            for (path, bytes) in &layer.documents {
                let Ok(path) = std::str::from_utf8(path) else { continue };
                match purpose {
                    Purpose::Application if Some(path) == manifest => all.add_manifest(bytes),
                    Purpose::Packages | Purpose::Application if path.contains(ENV_VARS_D) => {
                        let json: HashMap<String, serde_json::Value> =
                            serde_json::from_slice(bytes).unwrap_or_default();
                        json.iter().filter_map(|(name, v)| Some((name, v.as_str()?))).for_each(|(n, v)| all.add(n, v));
                    }
                    _ => {}
                }
            }
        }
        all
    }

    fn add(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_default().insert(value.to_owned());
    }

    /// Every `env` table, whatever feature or platform it is of.
    fn add_manifest(&mut self, bytes: &[u8]) {
        let Some(document) =
            std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<toml_edit::DocumentMut>().ok())
        else {
            return;
        };
        self.add_tables(document.as_table());
    }

    fn add_tables(&mut self, table: &dyn toml_edit::TableLike) {
        for (key, item) in table.iter() {
            let Some(inner) = item.as_table_like() else { continue };
            if key == "env" {
                for (name, value) in inner.iter().filter_map(|(name, item)| Some((name, item.as_str()?))) {
                    self.add(name, value);
                }
            }
            self.add_tables(inner);
        }
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|values| values.contains(value))
    }
}

/// The error is the first line that is something else.
pub(super) fn check(facts: &Facts<'_>, variables: &Variables, script: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(script).map_err(|_| "not UTF-8".to_owned())?;
    let line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let (shell, rest) = text.split_once('\n').ok_or_else(|| line(text))?;
    if !(shell.starts_with("#!/") && shell.ends_with("/bash")) {
        return Err(shell.to_owned());
    }
    let head = "# Written by pixi-oci: activates the environment, then becomes the command.\n";
    let rest = rest.strip_prefix(head).ok_or_else(|| line(rest))?;
    let mut body = rest.strip_prefix(BEGIN).ok_or_else(|| line(rest))?;
    while body != END {
        let wrong = || body.lines().find(|line| END.lines().all(|own| own != *line)).unwrap_or(body);
        body = statement(facts, variables, body).ok_or_else(|| wrong().to_owned())?;
    }
    Ok(())
}

/// What is behind the statement that the text begins with.
fn statement<'t>(facts: &Facts<'_>, variables: &Variables, text: &'t str) -> Option<&'t str> {
    for fixed in ["set --\n", "builtin eval \"$pixi_oci_own\"\n"] {
        if let Some(rest) = text.strip_prefix(fixed) {
            return Some(rest);
        }
    }
    if let Some(rest) = text.strip_prefix("pixi_oci_own=$(builtin declare -p ") {
        let (names, rest) = rest.split_once(" 2>/dev/null)\n")?;
        return names.split(' ').all(is_name).then_some(rest);
    }
    if let Some(rest) = text.strip_prefix(". ") {
        let (path, rest) = quoted(rest)?;
        let places = [format!("/{}/etc/conda/activate.d/", facts.prefix), format!("/{}/", facts.workdir)];
        let is_own = places.iter().any(|place| path.starts_with(place)) && !path.contains("/../");
        return is_own.then_some(rest).and_then(line_end);
    }
    if let Some(rest) = text.strip_prefix("eval ") {
        let (inner, rest) = quoted(rest)?;
        let (name, value) = inner.strip_prefix("export ")?.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        // As it is in the manifest, with its quotation marks escaped.
        let written = |values: &BTreeSet<String>| values.iter().any(|own| own.replace('"', "\\\"") == value);
        return variables.0.get(name).is_some_and(written).then_some(rest).and_then(line_end);
    }
    if let Some(rest) = text.strip_prefix("export ") {
        let (name, rest) = rest.split_once('=')?;
        let (value, rest) = quoted(rest)?;
        return (is_name(name) && variables.has(name, &value)).then_some(rest).and_then(line_end);
    }
    // A variable of the configuration as scripts see it, before the manifest sets it.
    let (name, rest) = text.strip_prefix("[ \"${")?.split_once("-}\" != ")?;
    let (now, rest) = quoted(rest)?;
    let rest = rest.strip_prefix(" ] || ")?;
    let known = is_name(name) && variables.has(name, &now);
    let rest = match rest.strip_prefix("unset -v ") {
        Some(rest) => rest.strip_prefix(name)?,
        None => quoted(rest.strip_prefix(name)?.strip_prefix('=')?)?.1,
    };
    known.then_some(rest).and_then(line_end)
}

fn line_end(text: &str) -> Option<&str> {
    text.strip_prefix('\n')
}

/// A word in single quotes, where `'\''` is one; and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut word = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        word.push_str(part);
        match after.strip_prefix("\\''") {
            Some(more) => {
                word.push('\'');
                rest = more;
            }
            None => return Some((word, after)),
        }
    }
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

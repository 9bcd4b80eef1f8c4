//! The environment layer: every file has a rule that says its content.

use std::collections::BTreeMap;

use oci_read::tar::Kind;
use pixi_oci_formats::layer_table;
use sha2::{Digest as _, Sha256};

use super::{Comparison, Facts, Purpose, ReadLayer, entrypoint, needed_directories, owner};
use crate::{
    places::{APPTAINER, ENTRYPOINT},
    report::{Rule, printable},
};

/// Where pixi keeps what it knows of tasks with inputs or outputs.
const TASK_CACHE: &str = ".pixi/task-cache-v0";

/// What a path must be.
enum Rules {
    /// A file of exactly these bytes.
    Text(String, u32),
    /// A file that is looked at elsewhere.
    Document(u32),
    Link(String),
    Directory(u32),
}

fn rules(facts: &Facts<'_>) -> BTreeMap<String, Rules> {
    let in_workdir = |rest: &str| format!("{}/{rest}", facts.workdir).trim_start_matches('/').to_owned();
    let text = |text: &str| Rules::Text(text.into(), 0o644);
    let mut rules = BTreeMap::from([
        (format!("{}/conda-meta/history", facts.prefix), text("")),
        (APPTAINER.into(), Rules::Text(apptainer(facts), 0o755)),
        (in_workdir(".pixi/.gitignore"), text("*\n!config.toml\n")),
        (in_workdir(".pixi/.condapackageignore"), text(".pixi\n!.pixi/config.toml\n")),
        (in_workdir(TASK_CACHE), Rules::Link("/tmp".into())),
        (in_workdir(&format!(".pixi/envs/{}", facts.environment)), Rules::Link(format!("/{}", facts.prefix))),
        (layer_table::PLACE.into(), Rules::Document(0o644)),
    ]);
    if !facts.workdir.is_empty() {
        rules.insert(facts.workdir.into(), Rules::Directory(0o775));
    }
    if facts.entrypoint.first().is_some_and(|program| program.trim_start_matches('/') == ENTRYPOINT) {
        rules.insert(ENTRYPOINT.into(), Rules::Document(0o755));
        rules.insert(in_workdir("entrypoint.sh"), Rules::Link(format!("/{ENTRYPOINT}")));
    }
    if facts.is_scratch {
        let users = "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
        rules.insert("etc/passwd".into(), text(users));
        rules.insert("etc/group".into(), text("root:x:0:\nnobody:x:65534:\n"));
        rules.insert("tmp".into(), Rules::Directory(0o1777));
    }
    rules
}

/// Compares the layer, one of `layers`, with the rules.
pub(super) fn check(
    facts: &Facts<'_>,
    layer: &ReadLayer,
    layers: &[(Purpose, &ReadLayer)],
    found: &mut Comparison<'_>,
) {
    let mut rules = rules(facts);
    let needed = needed_directories(layer);
    for entry in &layer.entries {
        owner(entry, found);
        let rule = std::str::from_utf8(&entry.path).ok().and_then(|path| rules.remove(path));
        let wrong = match (&rule, &entry.kind) {
            (Some(Rules::Text(text, mode)), Kind::File) => {
                let sha256: [u8; 32] = Sha256::digest(text).into();
                (entry.sha256 != Some(sha256) || entry.mode != *mode)
                    .then(|| format!("is not what pixi-oci writes there, with the mode {mode:04o}"))
            }
            (Some(Rules::Document(mode)), Kind::File) => {
                (entry.mode != *mode).then(|| format!("has not the mode {mode:04o}"))
            }
            (Some(Rules::Link(target)), Kind::Symlink(own)) => (target.as_bytes() != &**own)
                .then(|| format!("leads to {}, not to {}", printable(own), printable(target.as_bytes()))),
            (Some(Rules::Directory(mode)), Kind::Directory) => {
                (entry.mode != *mode).then(|| format!("has not the mode {mode:04o}"))
            }
            (Some(_), _) => Some("is of another kind than pixi-oci makes there".into()),
            (None, Kind::Directory) if needed.contains(&*entry.path) => {
                (entry.mode != 0o755).then(|| "has not the mode 0755".into())
            }
            (None, _) => {
                found.entry(Rule::Unaccounted, entry, "is nothing that pixi-oci generates");
                None
            }
        };
        if let Some(text) = wrong {
            found.entry(Rule::Changed, entry, &text);
        }
    }
    for path in rules.keys() {
        found.path(Rule::Removed, path.as_bytes(), "is always generated, and not there");
    }
    if let Some(script) = layer.documents.get(ENTRYPOINT.as_bytes())
        && let Err(line) = entrypoint::check(facts, &entrypoint::Variables::new(facts, layers), script)
    {
        let text = format!("has a line that pixi-oci does not write: {}", printable(line.as_bytes()));
        found.path(Rule::Changed, ENTRYPOINT.as_bytes(), &text);
    }
}

/// All variables of the image's configuration, for a POSIX shell.
fn apptainer(facts: &Facts<'_>) -> String {
    let exports = facts.variables.iter().filter_map(|variable| export(variable));
    let head = "#!/bin/sh\n# Written by pixi-oci: the environment, for apptainer run, exec and shell.\n";
    format!("{head}{}export PYTHONNOUSERSITE=1\n", exports.collect::<String>())
}

fn export(variable: &str) -> Option<String> {
    let (name, value) = variable.split_once('=')?;
    entrypoint::is_name(name).then(|| format!("export {name}={}\n", quote(value)))
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

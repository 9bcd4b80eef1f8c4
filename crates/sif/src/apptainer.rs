//! What Apptainer looks for in an image, so that `run`, `exec`, `shell`, `test`, `instance start` and `inspect` work and
//! are activated: the contents of `/.singularity.d`, links to them, and places that it binds over.
//!
//! Its embedded action script sources `/.singularity.d/env/*.sh` in the order of names, with an interpreter of its own. So
//! an image needs no shell for `exec`, nor for `run`, as long as the run script has one certain line.

use std::collections::BTreeMap;

use oci_read::document::ImageConfig;
use pixi_oci_image::canonical;
use pixi_oci_platform::quote;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Error, LayeredImage,
    listing::{KEPT, LayerPaths},
};

pub(crate) struct Added {
    pub path: &'static str,
    pub content: AddedContent,
}

pub(crate) enum AddedContent {
    Directory,
    /// A file that something is bound over.
    Target,
    Program(String),
    Data(Vec<u8>),
    Symlink(&'static str),
}

impl Added {
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            AddedContent::Target => Some(b""),
            AddedContent::Program(text) => Some(text.as_bytes()),
            AddedContent::Data(bytes) => Some(bytes),
            AddedContent::Directory | AddedContent::Symlink(_) => None,
        }
    }
}

/// Everything of a SIF that is in no layer.
pub(crate) struct Own {
    pub nodes: Vec<Added>,
    pub deffile: String,
    /// What `apptainer inspect` shows without mounting anything.
    pub metadata: Vec<u8>,
    pub config: Vec<u8>,
}

const DIRECTORIES: [&str; 10] =
    ["dev", "proc", "sys", "tmp", "var/tmp", "home", "root", "etc", ".singularity.d/libs", ".singularity.d/env"];
const TARGETS: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];
const LINKS: [(&str, &str); 6] = [
    ("singularity", ".singularity.d/runscript"),
    (".run", ".singularity.d/actions/run"),
    (".exec", ".singularity.d/actions/exec"),
    (".test", ".singularity.d/actions/test"),
    (".shell", ".singularity.d/actions/shell"),
    ("environment", ".singularity.d/env/90-environment.sh"),
];
/// What `apptainer test` runs, and Singularity before 3.1 for everything; the rest later ones have built in.
const ACTIONS: [(&str, &str); 5] = [
    (".singularity.d/actions/exec", "exec \"$@\"\n"),
    (".singularity.d/actions/run", "exec /.singularity.d/runscript \"$@\"\n"),
    (".singularity.d/actions/shell", "exec /bin/sh \"$@\"\n"),
    (".singularity.d/actions/start", "exec /.singularity.d/startscript \"$@\"\n"),
    (
        ".singularity.d/actions/test",
        "if [ -x /.singularity.d/test ]; then exec /.singularity.d/test \"$@\"; fi\necho 'the image has no test' >&2\n",
    ),
];
const SOURCE: &str = "\
#!/bin/sh
# Written by pixi-oci: activates the environment, as Apptainer does.
for script in /.singularity.d/env/*.sh; do
    if [ -f \"$script\" ]; then . \"$script\"; fi
done
";
/// Apptainer sets what `--env` and `APPTAINERENV_*` say right after this file, and has `--nv` put libraries in the directory.
const BASE: &str = "\
#!/bin/sh
# Written by pixi-oci: libraries of the host are searched last.
LD_LIBRARY_PATH=\"${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs\"
PS1=\"${PS1:-Apptainer> }\"
export LD_LIBRARY_PATH PS1
";
const ENVIRONMENT: &str = "#!/bin/sh\n# Written by pixi-oci: the environment is in 91-pixi-oci.sh.\n";
const START: &str = "#!/bin/sh\n# Written by pixi-oci: an instance starts with nothing.\n";

/// The part of the configuration that is passed on, whatever is in it.
#[derive(Deserialize)]
struct Passed {
    #[serde(default)]
    config: serde_json::Value,
}

#[derive(Serialize)]
struct InspectAttributes<'a> {
    deffile: &'a str,
    environment: BTreeMap<String, String>,
    labels: &'a BTreeMap<String, String>,
    runscript: &'a str,
    startscript: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<String>,
}

pub(crate) fn files(image: &LayeredImage<'_>, config: &ImageConfig, layers: &[LayerPaths]) -> Result<Own, Error> {
    let settings = &config.config;
    let deffile =
        format!("# Written by pixi-oci of the OCI image with this manifest.\nbootstrap: oci\nfrom: {}\n", image.digest);
    let runscript = runscript(&settings.entrypoint, &settings.cmd);
    let labels = canonical(json!(settings.labels));

    let text = |path: &str| {
        layers
            .iter()
            .rev()
            .find_map(|layer| layer.kept.get(path))
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let [script, test] = KEPT;
    let attributes = InspectAttributes {
        deffile: &deffile,
        environment: text(script).into_iter().map(|text| (format!("/{script}"), text)).collect(),
        labels: &settings.labels,
        runscript: &runscript,
        startscript: START,
        test: text(test),
    };
    let metadata = canonical(json!({ "data": { "attributes": attributes }, "type": "container" }));
    let passed: Passed = serde_json::from_slice(image.config).map_err(|error| Error::Config(error.to_string()))?;

    let mut nodes: Vec<Added> = DIRECTORIES.map(|path| Added { path, content: AddedContent::Directory }).into();
    nodes.extend(TARGETS.map(|path| Added { path, content: AddedContent::Target }));
    let program = |path, text: &str| Added { path, content: AddedContent::Program(text.to_owned()) };
    nodes.extend(ACTIONS.map(|(path, last)| program(path, &format!("{SOURCE}{last}"))));
    nodes.push(program(".singularity.d/env/90-environment.sh", ENVIRONMENT));
    nodes.push(program(".singularity.d/env/99-base.sh", BASE));
    nodes.push(program(".singularity.d/runscript", &runscript));
    nodes.push(program(".singularity.d/startscript", START));
    let data = |path, bytes| Added { path, content: AddedContent::Data(bytes) };
    nodes.push(data(".singularity.d/labels.json", labels));
    nodes.push(data(".singularity.d/Singularity", deffile.clone().into_bytes()));
    nodes.extend(LINKS.map(|(path, target)| Added { path, content: AddedContent::Symlink(target) }));
    Ok(Own { nodes, deffile, metadata, config: canonical(passed.config) })
}

/// Starts what the image starts: arguments take the place of its command, and the entrypoint stays.
///
/// Apptainer runs a script with the line of `eval` by its own interpreter. Other scripts take `SINGULARITY_OCI_RUN` for
/// text of a shell, in which arguments with quotes become something else; here it only repeats the arguments.
pub(crate) fn runscript(entrypoint: &[String], cmd: &[String]) -> String {
    let words = |words: &[String]| words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
    let mut text = String::from("#!/bin/sh\n# Written by pixi-oci: the image's entrypoint and command.\n");
    if !cmd.is_empty() {
        text.push_str(&format!("if [ $# -eq 0 ]; then set -- {}; fi\n", words(cmd)));
    }
    if !entrypoint.is_empty() {
        text.push_str(&format!("set -- {} \"$@\"\n", words(entrypoint)));
    }
    text.push_str("if [ $# -eq 0 ]; then echo 'the image has no command; say what to run' >&2; exit 1; fi\n");
    text.push_str("SINGULARITY_OCI_RUN='-- \"$@\"'\neval \"set ${SINGULARITY_OCI_RUN}\"\nexec \"$@\"\n");
    text
}

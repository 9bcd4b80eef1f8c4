//! The activated environment: variables, the entrypoint of environments with scripts, Apptainer's script.
//!
//! The scripts are run for real, by this machine's bash, in a copy of the image's tree with the two places of the image
//! replaced by places of the sandbox.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::common::{
    image::{self, Image, Kind, content},
    odd,
    packages::*,
    sandbox::Sandbox,
    workspace::workspace,
};

/// The image's tree in `root`, with every mention of its places replaced in scripts.
fn relocate(image: &Image, root: &Path) {
    let mut tree = image.tree();
    let text = root.to_str().unwrap();
    for (path, entry) in &mut tree {
        match &mut entry.kind {
            Kind::File(bytes)
                if path.starts_with("opt/pixi/entrypoint") || path.ends_with(".sh") || path.starts_with("app/") =>
            {
                *bytes = moved(&String::from_utf8(bytes.clone()).unwrap(), text).into_bytes();
            }
            Kind::Link(target) if target.starts_with('/') => *target = moved(target, text),
            _ => {}
        }
    }
    image::unpack(&tree, root);
}

fn moved(text: &str, root: &str) -> String {
    text.replace("/opt/pixi/", &format!("{root}/opt/pixi/")).replace("/app", &format!("{root}/app"))
}

/// The variables after `bash SCRIPT…` with the image's variables, moved back to the image's places.
fn variables(image: &Image, root: &Path, arguments: &[&str]) -> BTreeMap<String, String> {
    let mut command = Command::new("/bin/bash");
    command.env_clear().args(arguments).stdin(Stdio::null());
    for pair in image.config["config"]["Env"].as_array().unwrap() {
        let (name, value) = pair.as_str().unwrap().split_once('=').unwrap();
        command.env(name, moved(value, root.to_str().unwrap()));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace(root.to_str().unwrap(), "");
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn scripts_run_in_their_order_and_then_the_command() {
    let sandbox = Sandbox::new();
    let ws = workspace([odd::bash(), odd::activated(), odd::activated_later()]).manifest(
        "[activation]\nscripts = [\"my script.sh\"]\n[activation.env]\nORDER_SEEN = \"env\"\nQUOTED = \"it's \\\"x\\\" \\\\$HOME $GDAL_DATA\"",
    );
    ws.write(&sandbox.path("ws"));
    fs::write(sandbox.path("ws/my script.sh"), "export ORDER=\"${ORDER}w\" ORDER_SEEN=script\n").unwrap();
    sandbox.build("ws", "oci:out:x");
    for image in image::read(&sandbox.path("out"), "x").images {
        assert_eq!(image.config["config"]["Entrypoint"], json!(["/opt/pixi/entrypoint"]));
        let tree = image.tree();
        assert_eq!(tree["opt/pixi/entrypoint"].mode, 0o755);
        assert_eq!(tree["app/entrypoint.sh"].kind, Kind::Link("/opt/pixi/entrypoint".into()));
        assert!(content(&tree, "opt/pixi/entrypoint").starts_with(b"#!/opt/pixi/env/bin/bash\n"));

        let root = sandbox.path(&image.platform.replace('/', "-"));
        relocate(&image, &root);
        let entrypoint = root.join("opt/pixi/entrypoint");
        let after = variables(&image, &root, &[entrypoint.to_str().unwrap(), "/usr/bin/env", "-0"]);
        let get = |name: &str| after.get(name).map(String::as_str);
        assert_eq!(get("ORDER"), Some("azw"), "packages' scripts by name, then the workspace's");
        assert_eq!(get("ODD"), Some("it's \"$HOME\" `x` \\n"));
        assert_eq!(get("SEEN_ODD"), get("ODD"));
        assert_eq!(get("LINES_"), Some("one\ntwo"));
        assert_eq!(get("GONE"), None, "a script unset it");
        assert!(get("PATH").unwrap().starts_with("/opt/pixi/env/odd bin:/opt/pixi/env/bin:"), "{:?}", get("PATH"));
        assert_eq!(get("ORDER_SEEN"), Some("env"), "[activation.env] comes after the scripts, as in pixi");
        assert_eq!(get("QUOTED"), Some("it's \"x\" $HOME a 'b' \"c\" $HOME"));
        assert_eq!(get("QUOTED"), image.env("QUOTED"));
    }
}

#[test]
fn the_command_gets_its_arguments_its_exit_code_and_the_signals() {
    let sandbox = Sandbox::new();
    // Arguments are the command's and not the scripts', which may do with theirs what they like.
    let greedy = |name: &str| {
        let script = "[ $# = 0 ] || { echo \"not mine: $*\"; exit 9; }\nset -- lost \"$@\"\nIFS=x\n";
        package(name, [file(&format!("etc/conda/activate.d/{name}.sh"), script)])
    };
    let packages = [odd::bash(), odd::activated(), greedy("greedy-1"), greedy("greedy-2")];
    workspace(packages).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let index = image::read(&sandbox.path("out"), "x");
    let root = sandbox.path("root");
    relocate(&index.images[0], &root);
    let script = root.join("opt/pixi/entrypoint");
    let mut command = Command::new("/bin/bash");
    command.env_clear().env("CONDA_PREFIX", root.join("opt/pixi/env")).env("PATH", "/usr/bin:/bin").arg(&script);
    // `exec`: the process id stays, so that signals reach the command.
    let child = command
        .args(["/bin/sh", "-c", "echo $$; for a; do echo \"<$a>\"; done; exit 7", "sh", "a b", "", "$x", "*"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{pid}\n<a b>\n<>\n<$x>\n<*>\n"));
}

/// What bash runs of an image whose packages and workspace have these scripts: exit code, output, errors.
fn run(sandbox: &Sandbox, scripts: &[(&str, &str)], manifest: &str, command: &[&str]) -> std::process::Output {
    let root = sandbox.path("root");
    let _ = fs::remove_dir_all(&root);
    let files = scripts.iter().map(|(name, text)| file(&format!("etc/conda/activate.d/{name}"), *text));
    let packages = [odd::bash(), package("scripts", files.collect::<Vec<_>>())];
    let ws = workspace(packages).platforms(&["linux-64"]).oci("env = { OWN = \"image\" }").manifest(manifest);
    ws.write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    sandbox.run(&["verify", "image", "oci:out:x"]).success();
    let index = image::read(&sandbox.path("out"), "x");
    relocate(&index.images[0], &root);
    let mut bash = Command::new("/bin/bash");
    bash.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/home/u").env("OWN", "at start").current_dir("/usr");
    bash.arg(root.join("opt/pixi/entrypoint")).args(command).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn scripts_reach_nothing_but_the_variables() {
    let sandbox = Sandbox::new();
    let script = "cd /; echo printed; umask 077; trap 'echo trapped' EXIT; trap '' TERM; exec 0<&-; set -f\n\
                  export A=1 OWN=script; export PS4='$(touch /never)'; f() { :; }; export -f f; unset HOME";
    let list =
        "pwd; umask; trap -p EXIT TERM; echo \"$A $OWN ${HOME-none} $OLDPWD\"; f && cat && env | grep -c pixi_oci_";
    let output = run(&sandbox, &[("a.sh", script)], "", &["/bin/bash", "-c", list]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "/usr\n0022\n1 at start none \n0\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "printed\ntrapped\n");
}

#[test]
fn a_script_that_ends_the_shell_does_not_end_the_container() {
    let sandbox = Sandbox::new();
    let command = ["/bin/sh", "-c", "echo reached"];
    for script in ["export A=1\nexit 0", "exec true", "trap 'exit 0' EXIT; exit 3"] {
        let output = run(&sandbox, &[("a.sh", script)], "", &command);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"reached\n"[..]), "{script}: {stderr}");
        assert!(stderr.contains("an activation script ended the shell"), "{script}: {stderr}");
    }
    // As `pixi run` does.
    for script in ["exit 3", "set -e\nfalse", "set -u\n: $NOT_THERE"] {
        let output = run(&sandbox, &[("a.sh", script)], "", &command);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{script}: {stderr}");
        assert!(stderr.contains("could not be activated"), "{script}: {stderr}");
    }
    for script in ["false", "return 3", "not-a-program", ". /not/there", "if"] {
        let output = run(&sandbox, &[("a.sh", script), ("b.sh", "export B=1")], "", &["/bin/sh", "-c", "echo $B"]);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"1\n"[..]), "{script}: {output:?}");
    }
}

#[test]
fn what_only_a_container_knows_is_set_by_the_entrypoint_with_a_warning() {
    let sandbox = Sandbox::new();
    let env = "[activation.env]\nDATA = \"$HOME/data\"\nBELOW = \"${DATA}/x\"\nNOW = \"$(echo \\\"it is\\\")\"\n\
               FIXED = \"${NOT_SET:-x}\"\nBROKEN = \"${HOME\"";
    let output = run(&sandbox, &[], env, &["/bin/sh", "-c", "echo \"$DATA;$BELOW;$NOW;$FIXED;$BROKEN;\""]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "/home/u/data;/home/u/data/x;\"it is\";x;;\n");
    let image = &image::read(&sandbox.path("out"), "x").images[0];
    assert_eq!((image.env("FIXED"), image.env("DATA"), image.env("BROKEN")), (Some("x"), None, None));
    let said = sandbox.run(&["build", "ws", "-o", "oci:out:x"]).success().stderr;
    for words in ["DATA depends on $HOME", "BELOW depends on $DATA", "NOW depends on $(…)", "BROKEN depends on"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_script_that_is_not_there_is_a_warning() {
    let sandbox = Sandbox::new();
    let scripts = "[activation]\nscripts = [\"install/setup.bash\", \"there.sh\", \"../missing.sh\"]";
    fs::create_dir_all(sandbox.path("ws")).unwrap();
    fs::write(sandbox.path("ws/there.sh"), "").unwrap();
    workspace([odd::bash()]).platforms(&["linux-64"]).manifest(scripts).write(&sandbox.path("ws"));
    let said = sandbox.run(&["build", "ws", "-o", "oci:out:x"]).success().stderr;
    assert!(said.contains("could not find activation scripts: install/setup.bash, ../missing.sh"), "{said}");
    let tree = image::read(&sandbox.path("out"), "x").images[0].tree();
    let entrypoint = String::from_utf8_lossy(content(&tree, "opt/pixi/entrypoint")).into_owned();
    assert!(entrypoint.contains(". '/app/there.sh'") && !entrypoint.contains("setup.bash"), "{entrypoint}");
}

#[test]
fn the_platforms_are_those_of_the_environment_by_their_names() {
    let sandbox = Sandbox::new();
    let small = || package("a", [file("share/a", "a")]);
    for (manifest, expected) in [
        ("", "linux-64,linux-aarch64"),
        ("[system-requirements]\nlibc = \"2.36\"", "linux-64-glibc-2-36,linux-aarch64-glibc-2-36"),
        (
            "[system-requirements]\nlibc = { version = \"2.28\" }\nlinux = \"5.4\"\ncuda = \"12\"",
            "linux-64-cuda-12-linux-5-4,linux-aarch64-cuda-12-linux-5-4",
        ),
    ] {
        workspace([small()]).manifest(manifest).write(&sandbox.path("ws"));
        sandbox.build("ws", "oci:out:x");
        let index = image::read(&sandbox.path("out"), "x");
        assert_eq!(index.images[0].env("PIXI_ENVIRONMENT_PLATFORMS"), Some(expected), "{manifest}");
    }
}

#[test]
fn apptainers_script_sets_the_same_variables() {
    let sandbox = Sandbox::new();
    workspace([package("a", [file("etc/conda/env_vars.d/a.json", r#"{"QUOTED": "\"one\" 'two' \\ *"}"#)])])
        .oci("env = { ODD = \"it's $CONDA_PREFIX; `x` \\\\$HOME\" }")
        .platforms(&["linux-64"])
        .write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let index = image::read(&sandbox.path("out"), "x");
    let image = &index.images[0];
    let tree = image.tree();
    let script = sandbox.path("script");
    fs::write(&script, content(&tree, ".singularity.d/env/91-pixi-oci.sh")).unwrap();
    let source = format!(". '{}'; exec /usr/bin/env -0", script.display());
    let output = Command::new("/bin/sh").env_clear().env("LANG", "of the host").args(["-c", &source]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<&str> = text.split('\0').filter(|pair| !pair.is_empty() && !pair.starts_with("PWD=")).collect();
    for pair in image.config["config"]["Env"].as_array().unwrap() {
        assert!(found.contains(&pair.as_str().unwrap()), "{pair} is not in {found:?}");
    }
    assert!(found.contains(&"PYTHONNOUSERSITE=1"));
    assert_eq!(image.env("ODD"), Some("it's /opt/pixi/env; `x` $HOME"));
}

#[test]
fn no_scripts_no_entrypoint_but_what_was_configured() {
    let sandbox = Sandbox::new();
    let only_deactivation = package(
        "a",
        [
            file("etc/conda/deactivate.d/a.sh", "exit 1"),
            file("etc/conda/activate.d/a.ps1", "x"),
            file("etc/conda/activate.d/a.bat", "x"),
            file("etc/conda/activate.d/deeper/a.sh", "exit 1"),
        ],
    );
    let ws = workspace([only_deactivation]).platforms(&["linux-64"]);
    ws.write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let index = image::read(&sandbox.path("out"), "x");
    assert_eq!(index.images[0].config["config"]["Entrypoint"], Value::Null);
    assert!(!index.images[0].tree().contains_key("opt/pixi/entrypoint"));

    let own = "entrypoint = [\"tini\", \"--\"]";
    ws.clone().oci(own).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let entrypoint =
        |tag: &str| image::read(&sandbox.path("out"), tag).images[0].config["config"]["Entrypoint"].clone();
    assert_eq!(entrypoint("x"), json!(["tini", "--"]));
    workspace([odd::bash(), odd::activated()]).platforms(&["linux-64"]).oci(own).write(&sandbox.path("both"));
    sandbox.build("both", "oci:out:both");
    assert_eq!(entrypoint("both"), json!(["/opt/pixi/entrypoint", "tini", "--"]), "activation comes first");
}

#[test]
fn what_cannot_be_activated_is_an_error() {
    let sandbox = Sandbox::new();
    let refused = |ws: crate::common::workspace::Workspace, words: &[&str]| {
        ws.write(&sandbox.path("ws"));
        sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, words);
    };
    refused(workspace([odd::activated()]), &["a first.sh", "bash"]);
    refused(workspace([]).manifest("[activation.env]\nX = \"$HOME/x\""), &["X with $HOME", "bash"]);
    let unknown = "env = { X = \"$NOT_THERE/x\" }";
    refused(workspace([]).oci(unknown), &["X", "$NOT_THERE", "not known"]);
    let bad = package("bad", [file("etc/conda/env_vars.d/bad.json", "[1]")]);
    refused(workspace([bad]), &["etc/conda/env_vars.d/bad.json"]);
    fs::write(sandbox.path("outside.sh"), "").unwrap();
    let scripts = "[activation]\nscripts = [\"../outside.sh\"]";
    refused(workspace([odd::bash()]).manifest(scripts), &["../outside.sh"]);
    // A name or value that would be another variable, or none, in the image.
    let name = package("name", [file("etc/conda/env_vars.d/n.json", r#"{"A=B": "x"}"#)]);
    refused(workspace([name]), &["A=B"]);
    let lines = package("lines", [file("etc/conda/env_vars.d/n.json", r#"{"LINES_OF": "x\ny"}"#)]);
    refused(workspace([lines]), &["LINES_OF", "newline"]);
    let nul = package("nul", [file("etc/conda/env_vars.d/n.json", r#"{"A": "x\u0000y"}"#)]);
    refused(workspace([nul]), &["A"]);
}

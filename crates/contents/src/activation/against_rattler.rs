//! The environment of a process under our entrypoint, compared with what bash makes of pixi's activation script.
//!
//! Exceptions, all of which are listed in [`is_excepted`]: variables that bash itself sets, and the backups for a deactivation
//! that an image never has.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use rattler_conda_types::Subdir;
use rattler_shell::{
    activation::{ActivationVariables, Activator, PathModificationBehavior},
    shell::Bash,
};

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    /// The base image's `Env`, beside `PATH`.
    base: Pairs<'a>,
    /// Files of `env_vars.d`.
    env_vars_d: Pairs<'a>,
    /// Scripts of packages.
    packages: Pairs<'a>,
    /// Scripts of the workspace.
    workspace: Pairs<'a>,
    /// `[activation.env]`.
    env: Pairs<'a>,
}

const NONE: Case<'static> = Case { base: &[], env_vars_d: &[], packages: &[], workspace: &[], env: &[] };

const fn env<'a>(env: Pairs<'a>) -> Case<'a> {
    Case { env, ..NONE }
}

const fn script<'a>(packages: Pairs<'a>) -> Case<'a> {
    Case { packages, ..NONE }
}

const fn json<'a>(env_vars_d: Pairs<'a>) -> Case<'a> {
    Case { env_vars_d, ..NONE }
}

const CASES: &[Case<'static>] = &[
    NONE,
    // [activation.env]: values without and with variables.
    env(&[("A", "plain"), ("B", "two words"), ("C", ""), ("D", "it's \"quoted\" `x` \\n \\")]),
    env(&[("A", "$CONDA_PREFIX/share"), ("B", "${A}/x"), ("C", "$A$B"), ("D", "${A}B")]),
    env(&[("LATER", "<$A>"), ("A", "1"), ("SEEN", "<$A>")]),
    env(&[("LD_LIBRARY_PATH", "$CONDA_PREFIX/lib:$LD_LIBRARY_PATH")]),
    Case {
        base: &[("LD_LIBRARY_PATH", "/usr/local/nvidia")],
        ..env(&[("LD_LIBRARY_PATH", "$CONDA_PREFIX/lib:$LD_LIBRARY_PATH")])
    },
    env(&[("PATH", "$CONDA_PREFIX/libexec:$PATH")]),
    env(&[("PATH", "$PIXI_PROJECT_ROOT/bin:${PATH}"), ("AFTER", "$PATH")]),
    env(&[("PYTHONPATH", "/opt/lib${PYTHONPATH:+:$PYTHONPATH}"), ("MODE", "${MODE:-fast}")]),
    Case {
        base: &[("MODE", "slow"), ("PYTHONPATH", "/b")],
        ..env(&[("PYTHONPATH", "/o${PYTHONPATH:+:$PYTHONPATH}"), ("MODE", "${MODE:-fast}")])
    },
    Case {
        base: &[("EMPTY", "")],
        ..env(&[("A", "${EMPTY-x}${EMPTY:-y}"), ("B", "${EMPTY+x}${EMPTY:+y}"), ("C", "${NOT-z}")])
    },
    env(&[("A", "${X:-${Y:-deep $CONDA_PREFIX}} end")]),
    env(&[("A", "${X:-a b  c}"), ("B", "${X:-it 'x'}"), ("C", "${X:-\"q\"}"), ("D", "${X:-\\}}|")]),
    env(&[("A", "$"), ("B", "5$ $. $/ $%"), ("C", "$'x' $\"y\"")]),
    env(&[("A", "\\$HOME $CONDA_SHLVL"), ("B", "\\\\$CONDA_SHLVL \\x \\`"), ("C", "a\\\nb$CONDA_SHLVL")]),
    env(&[("A", "quoted \"$CONDA_PREFIX\" twice \"\" "), ("B", "'$CONDA_PREFIX'")]),
    env(&[("A", "one\ntwo $CONDA_SHLVL\n"), ("B", "tab\tx"), ("C", "ünï $CONDA_SHLVL ☃")]),
    env(&[("A", "$1$2$@$*|$#")]),
    env(&[("A", "$UNSET_A-$UNSET_B"), ("B", "${UNSET_A}")]),
    env(&[("A", "* ? [a] ~ {a,b} ! #"), ("B", "* ~ {a,b} $CONDA_SHLVL ! # ; & | < > ( )")]),
    env(&[("PIXI_PROMPT", "mine $PIXI_PROMPT"), ("CONDA_PREFIX", "$CONDA_PREFIX/other"), ("C", "$CONDA_PREFIX")]),
    env(&[("A", "$PIXI_PROJECT_NAME $PIXI_PROJECT_VERSION $PIXI_ENVIRONMENT_NAME $PIXI_IN_SHELL $CONDA_DEFAULT_ENV")]),
    // What only a running shell knows.
    env(&[("A", "$HOME/data"), ("B", "$A/x"), ("C", "${A:-y}"), ("D", "${XDG:-$HOME/.cache}")]),
    env(&[("A", "$(echo run-time)"), ("B", "`echo x` $A"), ("C", "$((1 + 2)) $[3]")]),
    env(&[("A", "abc.tar.gz"), ("B", "${A%.gz} ${A##*.} ${#A} ${A/abc/x} ${A^^} ${A:1:2}"), ("C", "${NEW:=set} $NEW")]),
    env(&[("A", "${HOME}"), ("A2", "$A"), ("PATH", "$HOME/bin:$PATH")]),
    env(&[("A", "$UID $-")]),
    // env_vars.d.
    json(&[(
        "ev.json",
        r#"{"DOTNET_ROOT": "$CONDA_PREFIX/lib/dotnet", "WITH_UNSET": "a$NOT_SET", "SPACE": "x y", "NUMBER": 1, "NULL": null}"#,
    )]),
    json(&[("a.json", r#"{"Z": "1", "A": "$Z", "M": "$N", "N": "2"}"#), ("b.json", r#"{"Z": "3", "B": "$A$Z"}"#)]),
    json(&[("a.json", r#"{"PIXI_PROJECT_NAME": "theirs", "SEES": "<$PIXI_PROJECT_NAME>", "CONDA_DEFAULT_ENV": "x"}"#)]),
    json(&[("a.json", r#"{"Q": "\"one\" 'two' \\ *", "R": "\"$CONDA_SHLVL\" \\$X", "H": "$HOME/.x", "I": "$H"}"#)]),
    Case { base: &[("LANG", "C"), ("X", "base")], ..json(&[("a.json", r#"{"LANG": "C.UTF-8", "X": "$X:more"}"#)]) },
    Case { env: &[("A", "manifest $A")], ..json(&[("a.json", r#"{"A": "package"}"#)]) },
    json(&[("state.json", r#"{"GONE": "***unset***"}"#)]),
    // Scripts.
    script(&[("a.sh", "export ORDER=${ORDER}a"), ("b.sh", "export ORDER=${ORDER}b"), ("c.bash", "export ORDER=wrong")]),
    Case {
        packages: &[("z.sh", "export ORDER=${ORDER}z SEEN_A=${A-none} SEEN_J=$J")],
        workspace: &[("a.sh", "export ORDER=${ORDER}w S=script")],
        env_vars_d: &[("j.json", r#"{"J": "json"}"#)],
        env: &[("ORDER", "$ORDER!"), ("A", "$S")],
        ..NONE
    },
    Case { base: &[("GONE", "1"), ("KEPT", "1")], ..script(&[("a.sh", "unset GONE; export -n KEPT; LOCAL=1")]) },
    script(&[("a.sh", "cd /; echo on stdout; umask 077; ulimit -c 0; trap '' INT; trap 'echo bye' EXIT")]),
    script(&[("a.sh", "false\nnot-a-command\nexport AFTER=1"), ("b.sh", "return 3")]),
    script(&[("a.sh", "set -eu -o pipefail\nexport A=1"), ("b.sh", "export B=$A")]),
    script(&[("a.sh", "read -r line || export READ=nothing\nexport ARGS=\"$#:$*\" STDIN=\"$(cat)\"")]),
    script(&[(
        "a.sh",
        "f() { echo hello; }\nexport -f f\nexport LINES_=$'one\\ntwo' ODD=$'\\'\"\\\\$x\\t'\nexport ARRAY=(1 2)\ndeclare -rx FIXED=1\ndeclare -ix INT=5",
    )]),
    script(&[("a.sh", "set -a\nALL=1\nset -f -x +x\nIFS=/\nexport SPLIT='a/b c'"), ("b.sh", "export B=$ALL")]),
    script(&[("a.sh", "trap 'echo debug' DEBUG\nexport A=1\nshopt -s extglob nullglob\nalias ls=false")]),
    script(&[("a.sh", "export PATH=\"$CONDA_PREFIX/odd bin:$PATH\" BASH_ENV=/nowhere LC_ALL=C")]),
    script(&[("a.sh", "sleep 30 >/dev/null 2>&1 &\nexport BACKGROUND=1\ndisown")]),
    Case {
        env: &[("A", "$FROM_SCRIPT/${HOME:-x}"), ("PATH", "$FROM_SCRIPT:$PATH")],
        ..script(&[("a.sh", "export FROM_SCRIPT=/s")])
    },
    Case {
        workspace: &[("a.sh", "export PYTHONPATH=\"${PYTHONPATH:+$PYTHONPATH:}/from/script\"")],
        base: &[("PYTHONPATH", "/base")],
        env: &[("PYTHONPATH", "/env:$PYTHONPATH"), ("PYTHONPATH2", "$PYTHONPATH")],
        ..NONE
    },
];

/// What may differ.
fn is_excepted(name: &str) -> bool {
    matches!(name, "_" | "SHLVL" | "PWD" | "OLDPWD") || name.starts_with("CONDA_ENV_SHLVL_")
}

fn owned(pairs: Pairs<'_>) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn scripts_in(directory: &Path, scripts: Pairs<'_>) -> Vec<String> {
    fs::create_dir_all(directory).unwrap();
    let write = |(name, text): &(&str, &str)| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    scripts.iter().map(write).collect()
}

fn run(program: &str, arguments: &[&str], env: &[(String, String)]) -> Output {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", "/home/u").envs(env.iter().cloned()).args(arguments).current_dir("/usr");
    command.stdin(Stdio::null()).output().unwrap()
}

fn environment(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| !is_excepted(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The variables as pixi has them: bash runs rattler's script, and then lists them.
fn of_pixi(root: &Path, input: &ActivationInput<'_>, of_workspace: &[String]) -> BTreeMap<String, String> {
    let mut activator = Activator::from_path(Path::new(input.prefix), Bash::default(), Subdir::Linux64).unwrap();
    activator.activation_scripts.extend(of_workspace.iter().map(Into::into));
    activator.env_vars.extend(input.workspace_env.iter().cloned());
    activator.post_activation_env_vars.extend(input.manifest_env.iter().cloned());
    let variables = ActivationVariables {
        path_modification_behavior: PathModificationBehavior::Prepend,
        current_env: input.base_env.iter().cloned().collect::<HashMap<_, _>>(),
        ..ActivationVariables::default()
    };
    let script = activator.activation(variables).unwrap().script.contents().unwrap();
    let path = root.join("pixi.sh");
    let list = root.join("list");
    fs::write(&path, format!("{script}\n/usr/bin/env -0 >'{}'\n", list.display())).unwrap();
    let mut output = run("/bin/bash", &[path.to_str().unwrap()], input.base_env);
    output.stdout = fs::read(&list).unwrap_or_else(|e| panic!("{e}: {output:?}\n{script}"));
    environment(&output)
}

/// As a container has them: the image's `Env`, and the entrypoint if there is one.
fn of_image(root: &Path, input: &ActivationInput<'_>) -> BTreeMap<String, String> {
    let env = activate(input).unwrap();
    if input.scripts.is_empty() && env.late.is_empty() {
        return environment(&run("/usr/bin/env", &["-0"], &env.all));
    }
    let script = entrypoint_script("/bin/bash", input, &env);
    let path = root.join("entrypoint");
    fs::write(&path, &script).unwrap();
    let output = run("/bin/bash", &[path.to_str().unwrap(), "/usr/bin/env", "-0"], &env.all);
    assert!(output.status.success(), "{script}\n{output:?}");
    let parts: Vec<&[u8]> = output.stdout.split(|b| *b == 0).collect();
    let begins = parts.first().is_none_or(|part| !part.contains(&b'\n') || part.starts_with(b"LINES"));
    assert!(begins, "nothing but the command prints: {output:?}");
    environment(&output)
}

#[test]
fn a_container_has_what_pixi_run_has() {
    let mut wrong = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let root = tempfile::tempdir().unwrap();
        let prefix = root.path().join("env");
        let of_packages = scripts_in(&prefix.join("etc/conda/activate.d"), case.packages);
        let of_packages: Vec<String> = of_packages.into_iter().filter(|path| path.ends_with(".sh")).collect();
        let of_workspace = scripts_in(&root.path().join("app"), case.workspace);
        scripts_in(&prefix.join("etc/conda/env_vars.d"), case.env_vars_d);
        let mut base = owned(case.base);
        base.push(("PATH".into(), "/usr/bin:/bin".into()));
        let named = [
            ("CONDA_DEFAULT_ENV", "n"),
            ("PIXI_PROJECT_ROOT", "/w s"),
            ("PIXI_PROJECT_NAME", "n"),
            ("PIXI_PROJECT_VERSION", "1"),
            ("PIXI_IN_SHELL", "1"),
            ("PIXI_ENVIRONMENT_NAME", "default"),
            ("PIXI_PROMPT", "(n) "),
        ];
        let input = ActivationInput {
            prefix: prefix.to_str().unwrap(),
            base_env: &base,
            package_env: &[],
            env_vars_d: &case.env_vars_d.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect(),
            workspace_env: &owned(&named),
            scripts: &[of_packages, of_workspace.clone()].concat(),
            manifest_env: &owned(case.env),
            image_env: &[],
        };
        let (expected, found) = (of_pixi(root.path(), &input, &of_workspace), of_image(root.path(), &input));
        if found != expected {
            wrong.push(format!("case {number}: {case:?}\n  image: {found:?}\n  pixi:  {expected:?}"));
        }
        assert!(expected.contains_key("CONDA_PREFIX"), "case {number}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    const { assert!(CASES.len() >= 40) };
}

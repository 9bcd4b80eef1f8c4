//! What needs no shell to be checked.

use super::{script::is_shell_name, *};

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

static NO_FILES: BTreeMap<String, Vec<u8>> = BTreeMap::new();

fn input<'a>(base: &'a [(String, String)], manifest_env: &'a [(String, String)]) -> ActivationInput<'a> {
    ActivationInput {
        prefix: "/opt/pixi/env",
        base_env: base,
        package_env: &[],
        env_vars_d: &NO_FILES,
        workspace_env: &[],
        scripts: &[],
        manifest_env,
        image_env: &[],
    }
}

#[test]
fn the_prefix_comes_before_the_base_and_names_are_unique() {
    let base = [pair("PATH", "/usr/bin"), pair("LANG", "C")];
    let vars = BTreeMap::from([("a.json".to_string(), br#"{"GDAL_DATA": "/x", "LANG": "C.UTF-8", "N": 1}"#.to_vec())]);
    let env = activate(&ActivationInput { env_vars_d: &vars, ..input(&base, &[]) }).unwrap();
    let get = |name: &str| env.all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(get("PATH"), Some("/opt/pixi/env/bin:/usr/bin"));
    assert_eq!(get("GDAL_DATA"), Some("/x"));
    assert_eq!(get("LANG"), Some("C.UTF-8"));
    assert_eq!(env.all.iter().filter(|(n, _)| n == "LANG").count(), 1);
    let bad = BTreeMap::from([("b.json".to_string(), b"[1]".to_vec())]);
    let error = activate(&ActivationInput { env_vars_d: &bad, ..input(&base, &[]) }).unwrap_err();
    assert!(error.to_string().contains("b.json"), "{error}");
}

#[test]
fn what_only_a_running_container_knows_is_named() {
    let env = [pair("A", "$HOME/x"), pair("B", "$A"), pair("C", "$(date)"), pair("D", "${D}"), pair("E", "\\$HOME $X")];
    let done = activate(&input(&[], &env)).unwrap();
    let late: Vec<(&str, &str)> = done.late.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect();
    assert_eq!(late, [("A", "$HOME"), ("B", "$A"), ("C", "$(…)")]);
    assert_eq!(done.warnings().len(), 3);
    assert!(done.all.contains(&pair("D", "")) && done.all.contains(&pair("E", "$HOME ")), "{:?}", done.all);
    // The base knows it; or the image's own variable says it for good.
    assert!(activate(&input(&[pair("HOME", "/h")], &env[..2])).unwrap().late.is_empty());
    let own = [pair("A", "/own"), pair("B", "b"), pair("C", "c")];
    let done = activate(&ActivationInput { image_env: &own, ..input(&[], &env) }).unwrap();
    assert_eq!((done.late, done.all.contains(&own[0])), (vec![], true));
}

#[test]
fn the_images_own_variables_must_be_known() {
    for value in ["$NOT_THERE/x", "$HOME", "$(date)", "${A", "${CONDA_PREFIX%x}"] {
        let own = [pair("X", value)];
        let error = activate(&ActivationInput { image_env: &own, ..input(&[], &[]) }).unwrap_err();
        assert!(matches!(error, ActivationError::UnknownVariable { .. }), "{value}: {error}");
    }
    let own = [pair("X", r#"$A${A:+ is set} 5$ $1 $? \\ \n `x` "it's" \$A \"#)];
    let done = activate(&ActivationInput { image_env: &own, ..input(&[pair("A", "a")], &[]) }).unwrap();
    assert!(done.all.contains(&pair("X", r#"a is set 5$ $1 $? \\ \n `x` "it's" $A \"#)), "{:?}", done.all);
}

#[test]
fn scripts_quote_everything() {
    let env = ActivatedEnv { all: vec![pair("A", "it's $X"), pair("a.b", "1")], ..ActivatedEnv::default() };
    assert_eq!(
        apptainer_script(&env).lines().skip(2).collect::<Vec<_>>(),
        [r"export A='it'\''s $X'", "export PYTHONNOUSERSITE=1"]
    );
    for (name, is) in [("A_1", true), ("", false), ("1A", false), ("a.b", false), ("é", false), ("A=B", false)] {
        assert_eq!(is_shell_name(name), is, "{name}");
    }
}

#[test]
fn the_entrypoint() {
    let manifest = [pair("PATH", "$CONDA_PREFIX/x:$PATH"), pair("D", "it's $(date)"), pair("P", "it's")];
    let (own, base) = ([pair("OWN", "1")], [pair("PATH", "/bin")]);
    let input = ActivationInput { scripts: &["/p/a b.sh".into()], image_env: &own, ..input(&base, &manifest) };
    let text = entrypoint_script("/bin/bash", &input, &activate(&input).unwrap());
    let (body, end) = text.split_once("trap - ").unwrap();
    assert_eq!(
        body.lines().collect::<Vec<_>>(),
        [
            "#!/bin/bash",
            "# Written by pixi-oci: activates the environment, then becomes the command.",
            "pixi_oci_directory=$PWD",
            "pixi_oci_variables=$(",
            "{",
            "pixi_oci_own=$(builtin declare -p OWN 2>/dev/null)",
            r#"[ "${PATH-}" != '/opt/pixi/env/x:/opt/pixi/env/bin:/bin' ] || PATH='/opt/pixi/env/bin:/bin'"#,
            "[ \"${P-}\" != 'it'\\''s' ] || unset -v P",
            "set --",
            ". '/p/a b.sh'",
            "set --",
            r#"eval 'export PATH="$CONDA_PREFIX/x:$PATH"'"#,
            r#"eval 'export D="it'\''s $(date)"'"#,
            r"export P='it'\''s'",
            r#"builtin eval "$pixi_oci_own""#,
        ]
    );
    assert!(end.ends_with("\nexec \"$@\"\n"));
}

#[test]
fn a_script_for_a_machine_leaves_what_is_its_own() {
    let manifest = [pair("DATA", "$HOME/it's"), pair("EMPTY", "")];
    let workspace = [pair("PIXI_PROJECT_ROOT", "/w")];
    let text = activate_script(&ActivationInput {
        workspace_env: &workspace,
        scripts: &["/p/a b.sh".into()],
        ..input(&[], &manifest)
    })
    .unwrap();
    assert_eq!(
        text.lines().skip(1).collect::<Vec<_>>(),
        [
            "export PATH='/opt/pixi/env/bin:'\"${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\"",
            "export LANG=\"${LANG:-C.UTF-8}\"",
            "export CONDA_PREFIX='/opt/pixi/env'",
            "export CONDA_SHLVL='1'",
            "export PIXI_PROJECT_ROOT='/w'",
            ". '/p/a b.sh'",
            r#"eval 'export DATA="$HOME/it'\''s"'"#,
            "export EMPTY=''",
        ]
    );
}

use super::*;

fn workspace(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    dir
}

fn include(source: &str, destination: Option<&str>) -> Include {
    Include { source: source.into(), destination: destination.map(Into::into), mode: None }
}

fn collect(dir: &tempfile::TempDir, includes: &[Include], exclude: &[String]) -> Result<Application, ApplicationError> {
    application(&ApplicationInput {
        root: dir.path(),
        workdir: "/app",
        always: &["pixi.toml".into()],
        include: includes,
        exclude,
        directories: &["/host-libs".into()],
        outputs: &[dir.path().join("dist/oci")],
    })
}

fn paths(application: &Application) -> Vec<String> {
    application.tree.iter().map(|(path, _)| path.to_string()).collect()
}

#[test]
fn honours_ignore_files_and_leaves_secrets_and_outputs_out() {
    let dir = workspace(&[
        ("pixi.toml", ""),
        (".gitignore", "*.log\nbuild/\n"),
        ("src/a.py", ""),
        ("src/b.log", ""),
        ("src/.gitignore", "c.py\n"),
        ("src/c.py", ""),
        ("src/build/x", ""),
        ("src/.env", "A=1"),
        ("src/key.pem", ""),
        ("src/skip/me", ""),
        ("dist/oci/index.json", ""),
        ("dist/wheel.whl", ""),
    ]);
    let found = collect(&dir, &[include("src", None), include("dist", None)], &["skip".into()]).unwrap();
    assert_eq!(
        paths(&found),
        ["app", "app/dist/wheel.whl", "app/pixi.toml", "app/src/.gitignore", "app/src/a.py", "host-libs"]
    );
    assert_eq!(found.left_out.keys().collect::<Vec<_>>(), ["src/.env", "src/key.pem"]);
    let all = collect(&dir, &[include(".", None)], &[]).unwrap();
    assert!(paths(&all).contains(&"app/src/skip/me".to_string()));
    assert!(!paths(&all).iter().any(|p| p.contains("oci")));
}

#[test]
fn destinations_patterns_and_named_files() {
    let dir =
        workspace(&[("pixi.toml", ""), ("conf/a.ini", ""), ("conf/b.ini", ""), ("x/.env", "A=1"), ("x/y/z.ini", "")]);
    let found = collect(
        &dir,
        &[
            include("conf", Some("/etc/app")),
            include("conf/*.ini", None),
            include("x/.env", Some("settings/")),
            include("x/**/*.ini", Some("/data")),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(
        paths(&found),
        [
            "app",
            "app/conf/a.ini",
            "app/conf/b.ini",
            "app/pixi.toml",
            "app/settings/.env",
            "data/y/z.ini",
            "etc/app/a.ini",
            "etc/app/b.ini",
            "host-libs"
        ]
    );
}

#[test]
fn mistakes_are_named() {
    let token = format!("{}_{}", "ghp", "a1".repeat(18));
    let dir = workspace(&[("pixi.toml", ""), ("src/leak.txt", &token), ("a", "1"), ("b", "2")]);
    let message = |includes: &[Include]| collect(&dir, includes, &[]).unwrap_err().to_string();
    assert!(message(&[include("nope", None)]).contains("\"nope\""));
    assert!(message(&[include("*.nope", None)]).contains("nothing in"));
    assert!(message(&[include("../x", None)]).contains("outside of the workspace"));
    assert!(message(&[include("/etc/passwd", None)]).contains("outside of the workspace"));
    assert!(message(&[include("src", None)]).contains("GitHub token"));
    assert!(message(&[include("a", Some("same")), include("b", Some("same"))]).contains("same place"));
    assert!(collect(&dir, &[include("src/leak.txt", None)], &[]).is_ok());
}

#[test]
fn a_link_does_not_lead_out_of_the_workspace() {
    let dir = workspace(&[("pixi.toml", ""), ("src/a", "1")]);
    let away = workspace(&[("key", "2"), ("below/key", "3")]);
    std::os::unix::fs::symlink(away.path(), dir.path().join("src/away")).unwrap();
    for source in ["src/away/key", "src/away/below"] {
        let error = collect(&dir, &[include(source, None)], &[]).unwrap_err().to_string();
        assert!(error.contains("outside of the workspace"), "{source}: {error}");
    }
    assert!(paths(&collect(&dir, &[include("src/away", None)], &[]).unwrap()).contains(&"app/src/away".to_string()));
}

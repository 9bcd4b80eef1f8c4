use std::os::unix::fs::symlink;

use super::*;

fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// A small product as it is written, with one link.
fn product() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lock = "version: 6\n";
    let manifest = format!(
        r#"{{"format":1,"pixiOci":"0.1.0","project":[],"resources":[],"programs":[],"name":"app","workspaceManifest":"pixi.toml","lockFileDigest":"sha256:{}","platforms":["linux-64"],
            "environments":[{{"name":"default","platform":"linux-64","subdir":"linux-64","packages":[]}}]}}"#,
        sha256(lock.as_bytes())
    );
    let files =
        [("app/pixi.lock", lock), ("app/pixi.toml", "[workspace]\n"), ("app/a\\b", "x"), ("run.sh", "#!/bin/sh\n")];
    fs::create_dir(dir.path().join("app")).unwrap();
    let mut list = vec!["l app/link -> pixi.toml\n".to_owned()];
    let mut sums = String::new();
    for (path, text) in files.into_iter().chain([(MANIFEST, manifest.as_str())]) {
        fs::write(dir.path().join(path), text).unwrap();
        list.push(format!("f {path}\n"));
        let escaped = path.replace('\\', "\\\\");
        let mark = if escaped == path { "" } else { "\\" };
        sums.push_str(&format!("{mark}{}  {escaped}\n", sha256(text.as_bytes())));
    }
    symlink("pixi.toml", dir.path().join("app/link")).unwrap();
    list.extend([DIGEST, SUMS, FILES].map(|name| format!("f {name}\n")));
    list.sort();
    let list = list.concat();
    sums.push_str(&format!("{}  {FILES}\n", sha256(list.as_bytes())));
    fs::write(dir.path().join(FILES), list).unwrap();
    fs::write(dir.path().join(DIGEST), format!("sha256:{}\n", sha256(sums.as_bytes()))).unwrap();
    fs::write(dir.path().join(SUMS), sums).unwrap();
    dir
}

#[test]
fn a_product_as_it_was_written_is_sound() {
    let report = verify_product(product().path()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.product.unwrap().name, "app");
    assert_eq!(report.files, 9);
}

#[test]
fn every_byte_of_every_file_counts() {
    let dir = product();
    let mut paths = BTreeMap::new();
    walk(dir.path(), Vec::new(), 0, &mut paths, &mut Problems::default());
    let files = paths.iter().filter(|(_, kind)| matches!(kind, Kind::File));
    for (path, _) in files {
        let path = dir.path().join(os(path));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let sound = verify_product(dir.path()).is_ok_and(|report| report.is_sound());
            assert!(!sound, "byte {at} of {}", path.display());
        }
        fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        assert!(!verify_product(dir.path()).unwrap().is_sound(), "{} is longer", path.display());
        fs::write(&path, &whole).unwrap();
    }
    assert!(verify_product(dir.path()).unwrap().is_sound());
}

#[test]
fn what_is_added_missing_or_of_another_kind_is_found() {
    type Change = fn(&Path);
    let changes: [(Change, &str); 6] = [
        (|dir| fs::write(dir.join("app/more"), "x").unwrap(), "app/more: it does not belong to the product"),
        (|dir| fs::remove_file(dir.join("app/pixi.toml")).unwrap(), "app/pixi.toml: it is missing"),
        (
            |dir| {
                fs::remove_file(dir.join("app/link")).unwrap();
                symlink("/etc/passwd", dir.join("app/link")).unwrap();
            },
            "app/link: the link leads elsewhere",
        ),
        (
            |dir| {
                fs::rename(dir.join("app/pixi.lock"), dir.join("lock")).unwrap();
                symlink("../lock", dir.join("app/pixi.lock")).unwrap();
            },
            "app/pixi.lock: it is a link in place of a file",
        ),
        (|dir| nix_fifo(&dir.join("app/pipe")), "app/pipe: it is neither a file"),
        (
            |dir| {
                fs::create_dir(dir.join("installed")).unwrap();
                fs::write(dir.join("installed/x"), "").unwrap();
            },
            "installed/x: it does not belong",
        ),
    ];
    for (change, problem) in changes {
        let dir = product();
        change(dir.path());
        let report = verify_product(dir.path()).unwrap();
        assert!(report.problems.iter().any(|found| found.starts_with(problem)), "{problem}: {:?}", report.problems);
    }
}

fn nix_fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn what_is_no_product_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(verify_product(dir.path()).unwrap_err().to_string().contains("cannot read DIGEST"));
}

use super::*;
use crate::{
    tests::fixture::{digest, tar_of},
    verify_layout,
};

type Line<'a> = (&'a str, ::tar::EntryType, u32, &'a str);

const FILE: ::tar::EntryType = ::tar::EntryType::Regular;

fn unpack(kind: ArchiveKind, tar: &[u8]) -> (tempfile::TempDir, Result<(), ArchiveError>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive.tar");
    std::fs::write(&file, tar).unwrap();
    let result = unpack_archive(kind, &file, &directory.path().join("layout"));
    (directory, result)
}

fn docker(more: &[Line<'_>]) -> Vec<u8> {
    let layer = tar_of(&[("file", FILE, 0o644, "x")]);
    let layer = String::from_utf8(layer).unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux", "history": [{ "created_by": "test" }, { "created_by": "test" }],
        "rootfs": { "type": "layers", "diff_ids": [digest(layer.as_bytes()), digest(layer.as_bytes())] },
    });
    let manifest = r#"[{"Config":"config.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let config = config.to_string();
    let lines: [Line<'_>; 4] = [
        ("a/layer.tar", FILE, 0o644, &layer),
        ("b/layer.tar", ::tar::EntryType::Symlink, 0o777, "../a/layer.tar"),
        ("config.json", FILE, 0o644, &config),
        ("manifest.json", FILE, 0o644, manifest),
    ];
    tar_of(&[&lines[..], more].concat())
}

#[test]
fn what_docker_saves_is_verified() {
    let (directory, result) = unpack(ArchiveKind::Docker, &docker(&[]));
    result.unwrap();
    let report = verify_layout(&directory.path().join("layout"), None).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.images[0].layers.len(), 2);
    assert!(!directory.path().join("layout/spool").exists());
}

#[test]
fn nothing_is_written_outside_and_nothing_is_there_twice() {
    let (_directory, result) = unpack(ArchiveKind::Docker, &docker(&[("config.json", FILE, 0o644, "{}")]));
    assert!(result.is_err());
    let (directory, result) = unpack(
        ArchiveKind::Oci,
        &tar_of(&[
            ("../evil", FILE, 0o644, "x"),
            ("blobs/sha256/../../../evil", FILE, 0o644, "x"),
            ("blobs/sha256/evil", FILE, 0o644, "x"),
            ("oci-layout", FILE, 0o644, "{}"),
        ]),
    );
    result.unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(std::fs::read_dir(directory.path().join("layout/blobs/sha256")).unwrap().count(), 0);
    let twice = tar_of(&[("index.json", FILE, 0o644, "{}"), ("index.json", FILE, 0o644, "{}")]);
    assert!(unpack(ArchiveKind::Oci, &twice).1.is_err());
}

#[test]
fn archives_that_end_early_or_lie_are_refused() {
    let whole = docker(&[]);
    for length in (0..whole.len() - 1024).step_by(511) {
        assert!(unpack(ArchiveKind::Docker, &whole[..length]).1.is_err(), "{length}");
    }
    for manifest in ["", "{}", "[{}]", r#"[{"Config":"x","Layers":[]}]"#, r#"[{"Config":"loop","Layers":[]}]"#] {
        let lines: [Line<'_>; 2] =
            [("loop", ::tar::EntryType::Symlink, 0o777, "loop"), ("manifest.json", FILE, 0o644, manifest)];
        assert!(unpack(ArchiveKind::Docker, &tar_of(&lines)).1.is_err(), "{manifest}");
    }
}

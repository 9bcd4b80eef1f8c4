//! Directories that are taken out of images.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use pixi_oci_image::Architecture::Amd64;

use super::fixture::{Dir, File, Fixture, HardLink, Link, OCI, Put, gzip, tar};
use crate::base::{TakenOut, take_out};

/// Takes `directory` out of an image of layers with these entries.
fn taken(layers: &[&[Put<'_>]], directory: &str, to: &Path) -> Result<TakenOut, String> {
    let fixture = Fixture::new();
    let layers: Vec<_> = layers.iter().map(|entries| tar(entries)).map(|tar| (gzip(&tar), tar)).collect();
    let image = fixture.image(OCI, "linux/amd64", &layers);
    fixture.names(&[(&image, None)]);
    let image = fixture.resolve(&fixture.layout(""), Amd64)?;
    take_out(&image, directory, to).map_err(|error| format!("{error}: {}", std::error::Error::source(&error).unwrap()))
}

/// Every path with its content or target.
fn listing(root: &Path) -> Vec<String> {
    fn visit(root: &Path, directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                found.push(format!("{name}/"));
                visit(root, &path, found);
            } else if meta.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
            } else {
                found.push(format!("{name} = {}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    visit(root, root, &mut found);
    found.sort();
    found
}

#[test]
fn a_directory_is_what_a_container_sees() {
    let to = tempfile::tempdir().unwrap();
    let lower: &[Put<'_>] = &[
        Dir("srv/app"),
        File("srv/app/pixi.toml", b"old"),
        File("srv/app/gone", b"x"),
        File("srv/app/sub/hidden", b"x"),
        File("srv/app/stays", b"stays"),
        File("srv/other", b"not of the project"),
        Link("app", "srv/app"),
        Link("srv/app/link", "/etc/passwd"),
        HardLink("srv/app/hard", "srv/app/stays"),
        HardLink("srv/app/elsewhere", "srv/other"),
    ];
    let upper: &[Put<'_>] = &[
        File("srv/app/.wh.gone", b""),
        File("srv/app/sub/.wh..wh..opq", b""),
        File("srv/app/sub/new", b"new"),
        File("app/pixi.toml", b"through the link"),
        File("srv/application", b"not below"),
    ];
    let done = taken(&[lower, upper], "/app", to.path()).unwrap();
    assert_eq!(
        listing(to.path()),
        [
            "elsewhere = not of the project",
            "hard = stays",
            "link -> /etc/passwd",
            "pixi.toml = through the link",
            "stays = stays",
            "sub/",
            "sub/new = new",
        ]
    );
    assert_eq!((done.files, done.links), (5, 1));
    assert_eq!(fs::metadata(to.path().join("stays")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn nothing_is_written_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    fs::create_dir(&to).unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.display().to_string();
    // In an image, the target is a path of the image: what is written through the link is there and not here.
    let entries: &[Put<'_>] = &[
        Dir("app"),
        Link("app/way", &target),
        File("app/way/evil", b"x"),
        Link("app/up", "../../.."),
        File("app/up/evil", b"x"),
        File("app/pixi.toml", b"x"),
    ];
    taken(&[entries], "/app", &to).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    assert!(fs::symlink_metadata(to.join("way")).unwrap().is_symlink());
}

#[test]
fn what_is_not_there_is_said() {
    let to = tempfile::tempdir().unwrap();
    let entries: &[Put<'_>] = &[File("app/file", b"x"), HardLink("bad/hard", "none")];
    for (directory, why) in
        [("/none", "it has no directory /none"), ("/app/file", "no directory"), ("/bad", "hard link")]
    {
        let error = taken(&[entries], directory, to.path()).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

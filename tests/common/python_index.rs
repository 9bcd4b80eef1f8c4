//! An index of Python packages (PEP 503) made in code, and the uv that reads it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{
    sandbox::sha256,
    wheels::{Wheel, file},
};

/// A wheel with one module, for Python 3 on any platform.
pub fn wheel(name: &str, version: &str, requires: &[&str], extras: &[&str]) -> Wheel {
    let headers = |key: &str, values: &[&str]| values.iter().map(|v| format!("{key}: {v}\n")).collect::<String>();
    let metadata = format!(
        "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8\n{}{}\nText\n",
        headers("Requires-Dist", requires),
        headers("Provides-Extra", extras)
    );
    let members = vec![
        file(&format!("{name}.py"), format!("version = '{version}'\n")),
        file(&format!("{name}-{version}.dist-info/METADATA"), metadata),
        file(
            &format!("{name}-{version}.dist-info/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
    ];
    Wheel { name: name.into(), version: version.into(), members, record: None, record_mode: 0o100_644 }
}

/// Adds a wheel to an index, under the name that its tag makes: `INDEX/NAME/NAME-VERSION-TAG.whl`.
pub fn add(index: &Path, wheel: &Wheel, tag: &str) -> PathBuf {
    let directory = index.join(wheel.name.replace('_', "-"));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(format!("{}-{}-{tag}.whl", wheel.name, wheel.version));
    fs::write(&path, wheel.bytes()).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".html"));
    names.sort();
    let link = |name: &String| {
        let hash = sha256(&fs::read(directory.join(name)).unwrap());
        format!("<a href=\"{name}#sha256={hash}\">{name}</a>\n")
    };
    let links: String = names.iter().map(link).collect();
    fs::write(directory.join("index.html"), format!("<!DOCTYPE html><html><body>{links}</body></html>")).unwrap();
    path
}

/// A directory with the uv of `tests/real/make-wheels`, for a `PATH`. Without it a test is skipped aloud.
#[allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "the environment names the directory; a skip is loud"
)]
pub fn uv() -> Option<&'static Path> {
    static UV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = UV.get_or_init(|| {
        let platform = if cfg!(target_arch = "aarch64") { "linux-aarch64" } else { "linux-64" };
        let directory = PathBuf::from(std::env::var_os("PIXI_OCI_REAL_WHEELS")?).join(platform);
        let is_uv = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("uv-"));
        let wheel = fs::read_dir(directory).ok()?.map(|entry| entry.unwrap().path()).find(is_uv)?;
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(wheel.file_stem().unwrap());
        let program = target.join("uv");
        if !program.exists() {
            let mut archive = zip::ZipArchive::new(fs::File::open(&wheel).unwrap()).unwrap();
            let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
            let name = names.iter().find(|name| name.ends_with(".data/scripts/uv")).unwrap();
            fs::create_dir_all(&target).unwrap();
            let mut new = tempfile::NamedTempFile::new_in(&target).unwrap();
            std::io::copy(&mut archive.by_name(name).unwrap(), &mut new).unwrap();
            new.as_file().set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
            // A program that is open for writing cannot be run.
            new.into_temp_path().persist(&program).unwrap();
        }
        Some(target)
    });
    if found.is_none() {
        println!("SKIP: PIXI_OCI_REAL_WHEELS is not set, or has no uv");
    }
    found.as_deref()
}

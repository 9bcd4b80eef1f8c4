//! Whether a wheel is for the target: its file name's tags against the environment's Python, platform and C library.
//!
//! The rules are those of uv and `packaging.tags` for CPython on Linux
//! (<https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/>).

use pixi_oci_package::Python;
use rattler_conda_types::Subdir;

use crate::layout::python_directory;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TagError {
    #[error("{file_name:?} is not of the form NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl")]
    FileName { file_name: String },
    #[error("{file_name:?}: there are no wheels for the platform {subdir}; linux-64 and linux-aarch64 are supported")]
    Subdir { file_name: String, subdir: Subdir },
    #[error(
        "{file_name:?} is for Python {found:?}, and the environment has {python}; lock again with the environment's \
         Python"
    )]
    Python {
        file_name: String,
        /// The interpreter and ABI tags, such as `cp311-cp311`.
        found: String,
        /// The environment's interpreter, such as `cp312`.
        python: String,
    },
    #[error(
        "{file_name:?} is for musl (Alpine), and the environment's Python is linked with glibc; lock the manylinux wheel"
    )]
    Musl { file_name: String },
    #[error(
        "{file_name:?} needs glibc {}.{}, and the image has {}.{}; choose a newer base image, or lock with \
         `[system-requirements] libc = \"{}.{}\"`",
        needs.0, needs.1, glibc.0, glibc.1, glibc.0, glibc.1
    )]
    Glibc { file_name: String, needs: (u64, u64), glibc: (u64, u64) },
    #[error("{file_name:?} is for {found:?}, and the image is for {subdir}; lock again with that platform")]
    Platform { file_name: String, found: String, subdir: Subdir },
}

/// Checks that the wheel with that file name can be installed for `python` on `subdir`, with this version of glibc.
pub fn check_tags(file_name: &str, python: &Python, subdir: Subdir, glibc: (u64, u64)) -> Result<(), TagError> {
    let file_name = || file_name.to_owned();
    let machine = match subdir {
        Subdir::Linux64 => "x86_64",
        Subdir::LinuxAarch64 => "aarch64",
        _ => return Err(TagError::Subdir { file_name: file_name(), subdir }),
    };
    let name = file_name();
    let Some([interpreters, abis, platforms]) = tags(&name) else {
        return Err(TagError::FileName { file_name: name });
    };

    let target = Interpreter::new(python);
    let pairs = || interpreters.split('.').flat_map(|interpreter| abis.split('.').map(move |abi| (interpreter, abi)));
    let fitting: Vec<_> = pairs().filter(|(interpreter, abi)| target.runs(interpreter, abi)).collect();
    if fitting.is_empty() {
        let found = format!("{interpreters}-{abis}");
        return Err(TagError::Python { file_name: name, found, python: target.abi() });
    }
    // Only what has no binary interface of Python's can be for any platform.
    let any = fitting.iter().any(|(_, abi)| *abi == "none");
    let mut needs: Option<(u64, u64)> = None;
    for platform in platforms.split('.') {
        match needed_glibc(platform, machine) {
            _ if platform == "any" && any => return Ok(()),
            Some(version) if version <= glibc => return Ok(()),
            Some(version) => needs = Some(needs.map_or(version, |least| least.min(version))),
            None => {}
        }
    }
    Err(match needs {
        Some(needs) => TagError::Glibc { file_name: name, needs, glibc },
        None if platforms.contains("musllinux") => TagError::Musl { file_name: name },
        None => TagError::Platform { file_name: name.clone(), found: platforms.into(), subdir },
    })
}

/// The interpreter, ABI and platform tags of a file name, each several with dots between them.
fn tags(file_name: &str) -> Option<[&str; 3]> {
    let parts: Vec<_> = file_name.strip_suffix(".whl")?.split('-').collect();
    let has_build = match parts.len() {
        5 => false,
        6 => true,
        _ => return None,
    };
    let build = !has_build || parts[2].starts_with(|c: char| c.is_ascii_digit());
    let tag = |tag: &str| !tag.is_empty() && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let sound = parts.iter().all(|part| !part.is_empty()) && build;
    let tags = <[&str; 3]>::try_from(&parts[parts.len() - 3..]).ok()?;
    (sound && tags.iter().all(|tags| tags.split('.').all(tag))).then_some(tags)
}

struct Interpreter {
    major: u64,
    minor: u64,
    free_threaded: bool,
}

impl Interpreter {
    fn new(python: &Python) -> Self {
        let (major, minor) = python.version;
        Self { major, minor, free_threaded: python_directory(python).ends_with('t') }
    }

    /// The tag of its own binary interface.
    fn abi(&self) -> String {
        format!("cp{}{}{}", self.major, self.minor, if self.free_threaded { "t" } else { "" })
    }

    /// Whether it runs what has these tags, on the right platform.
    fn runs(&self, interpreter: &str, abi: &str) -> bool {
        let minor_of = |kind: &str| {
            let version = interpreter.strip_prefix(kind)?.strip_prefix(&self.major.to_string())?;
            version.parse::<u64>().ok().filter(|minor| minor.to_string() == version)
        };
        let own = minor_of("cp") == Some(self.minor);
        match abi {
            "none" => {
                own || interpreter.strip_prefix("py") == Some(&self.major.to_string())
                    || minor_of("py").is_some_and(|minor| minor <= self.minor)
            }
            // The interface that stays the same; without the global lock it has another one.
            "abi3" | "abi3t" => {
                (abi == "abi3t") == self.free_threaded
                    && minor_of("cp").is_some_and(|least| (2..=self.minor).contains(&least))
            }
            _ => own && abi == self.abi(),
        }
    }
}

/// The version of glibc that a platform tag needs on that machine. `None` if it is for something else.
fn needed_glibc(platform: &str, machine: &str) -> Option<(u64, u64)> {
    let kind = platform.strip_suffix(machine)?.strip_suffix('_')?;
    match kind {
        // Nothing is promised; it was built on some Linux.
        "linux" => Some((0, 0)),
        "manylinux1" => Some((2, 5)),
        "manylinux2010" => Some((2, 12)),
        "manylinux2014" => Some((2, 17)),
        _ => {
            let (major, minor) = kind.strip_prefix("manylinux_")?.split_once('_')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use pixi_oci_layer::TreePath;

    use super::*;

    fn python(minor: u64, threads: &str) -> Python {
        let path = |text: String| TreePath::new(&text).unwrap();
        Python {
            version: (3, minor),
            executable: path(format!("bin/python3.{minor}")),
            site_packages: path(format!("lib/python3.{minor}{threads}/site-packages")),
        }
    }

    fn check(tags: &str) -> Result<(), TagError> {
        check_tags(&format!("some_name-1.0-{tags}.whl"), &python(12, ""), Subdir::Linux64, (2, 28))
    }

    #[test]
    fn wheels_that_fit() {
        for tags in [
            "py3-none-any",
            "py2.py3-none-any",
            "py38-none-any",
            "py312-none-any",
            "cp312-none-any",
            "1-py3-none-any",
            "cp312-cp312-linux_x86_64",
            "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
            "cp312-cp312-manylinux_2_99_x86_64.manylinux_2_28_x86_64",
            "cp37-abi3-manylinux1_x86_64",
            "cp311-abi3.abi3t-manylinux2010_x86_64",
            "py3-none-manylinux_2_5_x86_64",
            "cp39.cp312-cp39.cp312-linux_x86_64",
        ] {
            assert_eq!(check(tags), Ok(()), "{tags}");
        }
        let arm =
            check_tags("a-1-cp312-cp312-manylinux2014_aarch64.whl", &python(12, ""), Subdir::LinuxAarch64, (2, 17));
        assert_eq!(arm, Ok(()));
        let free = |tags: &str| check_tags(&format!("a-1-{tags}.whl"), &python(13, "t"), Subdir::Linux64, (2, 17));
        assert_eq!(free("cp313-cp313t-linux_x86_64"), Ok(()));
        assert_eq!(free("py3-none-any"), Ok(()));
        for tags in ["cp313-cp313-linux_x86_64", "cp312-abi3-linux_x86_64"] {
            assert!(matches!(free(tags), Err(TagError::Python { python, .. }) if python == "cp313t"), "{tags}");
        }
    }

    #[test]
    fn wheels_for_something_else() {
        for (tags, words) in [
            ("cp311-cp311-linux_x86_64", "Python \"cp311-cp311\""),
            ("cp312-cp312t-linux_x86_64", "the environment has cp312"),
            ("cp313-abi3-linux_x86_64", "Python"),
            ("cp31-none-any", "Python"),
            ("py2-none-any", "Python"),
            ("py313-none-any", "Python"),
            ("pp310-pypy310_pp73-manylinux2014_x86_64", "Python"),
            ("cp312-cp312-any", "for \"any\""),
            ("cp312-cp312-manylinux_2_34_x86_64", "glibc 2.34, and the image has 2.28"),
            ("cp312-cp312-musllinux_1_2_x86_64", "musl"),
            ("cp312-cp312-manylinux2014_aarch64", "manylinux2014_aarch64"),
            ("cp312-cp312-win_amd64", "win_amd64"),
            ("cp312-cp312-macosx_11_0_arm64", "linux-64"),
            ("py3-none", "not of the form"),
            ("x-py3-none-any", "not of the form"),
            ("1-1-py3-none-any", "not of the form"),
            ("py3--any", "not of the form"),
            ("py3-none-a\u{1b}ny", "not of the form"),
        ] {
            let text = check(tags).unwrap_err().to_string();
            assert!(text.contains(words) && text.contains("some_name") && !text.contains('\u{1b}'), "{text}");
        }
        assert!(check_tags("a-1-py3-none-any.zip", &python(12, ""), Subdir::Linux64, (2, 28)).is_err());
        let osx = check_tags("a-1-py3-none-any.whl", &python(12, ""), Subdir::OsxArm64, (2, 28));
        assert!(matches!(osx, Err(TagError::Subdir { .. })));
    }
}

//! Whether a wheel, by its file name, can be used: <https://packaging.python.org/specifications/platform-compatibility-tags>.

#[derive(Debug, Clone, Copy)]
pub(super) struct WheelTarget {
    /// Major and minor version of CPython.
    pub(super) python: (u64, u64),
    /// Whether it is a build without the global interpreter lock.
    pub(super) free_threaded: bool,
    /// The machine as wheels call it: `x86_64`, `aarch64`.
    pub(super) machine: &'static str,
    /// Major and minor version of glibc.
    pub(super) glibc: (u64, u64),
}

/// Whether one of the wheel's tags fits. What is not named like a wheel is not judged.
pub(super) fn fits(file_name: &str, target: WheelTarget) -> bool {
    let Some(stem) = file_name.strip_suffix(".whl") else { return true };
    let parts: Vec<&str> = stem.rsplitn(4, '-').collect();
    let [platforms, abis, pythons, _] = parts[..] else { return true };
    platforms.split('.').any(|platform| platform_fits(platform, target))
        && pythons.split('.').any(|python| abis.split('.').any(|abi| python_fits(python, abi, target)))
}

fn platform_fits(tag: &str, target: WheelTarget) -> bool {
    let Some(system) = tag.strip_suffix(target.machine).and_then(|system| system.strip_suffix('_')) else {
        return tag == "any";
    };
    let least = match system {
        "linux" => (0, 0),
        "manylinux1" => (2, 5),
        "manylinux2010" => (2, 12),
        "manylinux2014" => (2, 17),
        _ => {
            let version = system.strip_prefix("manylinux_").and_then(|version| version.split_once('_'));
            match version.map(|(major, minor)| (major.parse(), minor.parse())) {
                Some((Ok(major), Ok(minor))) => (major, minor),
                _ => return false,
            }
        }
    };
    least <= target.glibc
}

fn python_fits(python: &str, abi: &str, target: WheelTarget) -> bool {
    let (major, minor) = target.python;
    let implementation = python.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &python[implementation.len()..];
    let Some(version) = digits.get(..1).and_then(|first| {
        let rest = &digits[1..];
        Some((first.parse::<u64>().ok()?, if rest.is_empty() { None } else { Some(rest.parse::<u64>().ok()?) }))
    }) else {
        return false;
    };
    let not_newer = version.0 == major && version.1.unwrap_or(0) <= minor;
    let exactly = version == (major, Some(minor));
    match (implementation, abi) {
        ("py", "none") => not_newer,
        ("cp", "none") => version.0 == major && version.1.is_none_or(|v| v == minor),
        // The stable interface is one of builds with the lock.
        ("cp", "abi3") => not_newer && !target.free_threaded,
        ("cp", _) => {
            let own = abi.strip_prefix("cp").and_then(|abi| abi.strip_prefix(&format!("{major}{minor}")));
            match own {
                Some("t") => exactly && target.free_threaded,
                // `m` and `u` were flags of Python before 3.8.
                Some("" | "m" | "mu") => exactly && !target.free_threaded,
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let target = WheelTarget { python: (3, 12), free_threaded: false, machine: "x86_64", glibc: (2, 28) };
        for name in [
            "a-1-py3-none-any.whl",
            "a-1-py2.py3-none-any.whl",
            "a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "a-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
            "a-1-1-cp39-abi3-manylinux_2_28_x86_64.whl",
            "a-1-cp312-none-linux_x86_64.whl",
            "a-1.tar.gz",
        ] {
            assert!(fits(name, target), "{name}");
        }
        for name in [
            "a-1-py2-none-any.whl",
            "a-1-cp311-cp311-manylinux2014_x86_64.whl",
            "a-1-cp313-abi3-manylinux2014_x86_64.whl",
            "a-1-cp312-cp312-manylinux_2_34_x86_64.whl",
            "a-1-cp312-cp312-manylinux2014_aarch64.whl",
            "a-1-cp312-cp312t-manylinux2014_x86_64.whl",
            "a-1-cp312-cp312-musllinux_1_2_x86_64.whl",
            "a-1-cp312-cp312-win_amd64.whl",
        ] {
            assert!(!fits(name, target), "{name}");
        }
    }
}

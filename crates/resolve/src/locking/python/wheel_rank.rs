//! Which of several wheels that all fit is the best one: the order of
//! <https://packaging.python.org/specifications/platform-compatibility-tags>, most specific first.

use url::Url;

use crate::locked_package::percent_decode;

/// Higher is better: not for any platform, for CPython, for a newer Python, for its own ABI, for a newer platform.
type TagRank = (bool, bool, (u64, u64), u8, (u64, u64));

/// The place of a wheel in the order; higher is better. Its best tag counts, then the number of its build.
pub(super) fn rank(file_name: &str) -> (Option<TagRank>, u64) {
    let parts: Vec<&str> = file_name.trim_end_matches(".whl").split('-').collect();
    let [_, _, build @ .., pythons, abis, platforms] = parts.as_slice() else { return (None, 0) };
    let mut best = None;
    for python in pythons.split('.') {
        for abi in abis.split('.') {
            for platform in platforms.split('.') {
                best = best.max(Some(tag(python, abi, platform)));
            }
        }
    }
    let digits = |text: &&str| text.bytes().take_while(u8::is_ascii_digit).count();
    (best, build.first().and_then(|build| build[..digits(build)].parse().ok()).unwrap_or(0))
}

fn tag(python: &str, abi: &str, platform: &str) -> TagRank {
    let digits = python.trim_start_matches(|c: char| !c.is_ascii_digit());
    let major = digits.get(..1).and_then(|digit| digit.parse().ok()).unwrap_or(0);
    let minor = digits.get(1..).and_then(|rest| rest.parse().ok()).unwrap_or(0);
    let abi = match abi {
        "none" => 0,
        "abi3" => 1,
        _ => 2,
    };
    (platform != "any", python.starts_with("cp"), (major, minor), abi, platform_version(platform))
}

/// `manylinux_2_28_x86_64`, `macosx_11_0_arm64`: the version of the system.
fn platform_version(platform: &str) -> (u64, u64) {
    for (old, version) in [("manylinux1_", (2, 5)), ("manylinux2010_", (2, 12)), ("manylinux2014_", (2, 17))] {
        if platform.starts_with(old) {
            return version;
        }
    }
    let mut numbers = platform.split('_').skip(1).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The name of the file that a URL is of.
pub(super) fn file_name(url: &Url) -> String {
    percent_decode(url.path().rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_specific_first() {
        let order = [
            "a-1-cp312-cp312-manylinux_2_28_x86_64.whl",
            "a-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            "a-1-cp312-cp312-linux_x86_64.whl",
            "a-1-cp312-abi3-linux_x86_64.whl",
            "a-1-cp312-none-manylinux_2_28_x86_64.whl",
            "a-1-cp39-abi3-manylinux_2_28_x86_64.whl",
            "a-1-py3-none-manylinux_2_28_x86_64.whl",
            "a-1-cp312-none-any.whl",
            "a-1-7-py3-none-any.whl",
            "a-1-py2.py3-none-any.whl",
            "a-1-py2-none-any.whl",
            "nonsense.whl",
        ];
        for pair in order.windows(2) {
            assert!(rank(pair[0]) > rank(pair[1]), "{pair:?}");
        }
    }
}

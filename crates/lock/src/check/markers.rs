//! The environment in which the markers of Python requirements are evaluated: that of the locked Python on the platform.

use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};
use rattler_conda_types::PackageRecord;

/// `None` if the platform has no Python, or none that markers could be evaluated for.
pub fn marker_environment(subdir: &str, python: &PackageRecord) -> Option<MarkerEnvironment> {
    let (sys_platform, platform_system, os_name) = match subdir.split('-').next()? {
        "linux" => ("linux", "Linux", "posix"),
        "osx" => ("darwin", "Darwin", "posix"),
        "win" => ("win32", "Windows", "nt"),
        _ => return None,
    };
    let platform_machine = match subdir {
        "linux-64" | "osx-64" => "x86_64",
        "linux-aarch64" => "aarch64",
        "linux-32" => "i386",
        "osx-arm64" => "arm64",
        "win-64" => "AMD64",
        "win-arm64" => "ARM64",
        other => other.strip_prefix("linux-").unwrap_or_default(),
    };
    let version = python.version.version().to_string();
    let (major, minor) = python.version.version().as_major_minor()?;
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: &version,
        os_name,
        platform_machine,
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system,
        platform_version: "",
        python_full_version: &version,
        python_version: &format!("{major}.{minor}"),
        sys_platform,
    })
    .ok()
}

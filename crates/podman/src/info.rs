//! What podman says about itself.

use pixi_oci_platform::stripped;
use serde_json::Value;

/// What podman says about itself and its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub version: String,
    /// Whether containers have no more rights than an ordinary user.
    pub rootless: bool,
    pub kernel: String,
    /// How many users a container may have.
    pub users: u64,
}

impl Info {
    /// Reads the output of `podman info --format json`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let info: Value = serde_json::from_str(text).ok()?;
        let host = &info["host"];
        let said = |value: &Value| value.as_str().map(stripped);
        let rootless = host["security"]["rootless"].as_bool()?;
        let ranges = host["idMappings"]["uidmap"].as_array();
        let sizes = ranges.into_iter().flatten().filter_map(|range| range["size"].as_u64());
        // root is not mapped: it has all users.
        let users = if rootless { sizes.fold(0, u64::saturating_add) } else { u64::from(u32::MAX) };
        Some(Self {
            version: said(&info["version"]["Version"])?,
            rootless,
            kernel: said(&host["kernel"]).unwrap_or_default(),
            users,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_of_containers_are_counted() {
        let text = r#"{"host": {"kernel": "6.1", "security": {"rootless": true}, "idMappings": {"uidmap":
            [{"container_id": 0, "host_id": 1000, "size": 1}, {"container_id": 1, "host_id": 100000, "size": 65536}]}},
            "version": {"Version": "4.3.1"}}"#;
        let info = Info::read(text).unwrap();
        assert_eq!((info.users, info.rootless, info.version.as_str()), (65537, true, "4.3.1"));
        let root = Info::read(&text.replace("true", "false")).unwrap();
        assert!(root.users > 65537 && !root.rootless);
        assert_eq!(Info::read("{}"), None);
        assert_eq!(Info::read("WARN[0000]"), None);
    }
}

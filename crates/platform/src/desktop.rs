//! What file managers leave in directories.

/// Files and directories that the desktops of macOS and Windows make for themselves, wherever a user looks.
const NAMES: [&str; 13] = [
    ".appledouble",
    ".apdisk",
    ".documentrevisions-v100",
    ".ds_store",
    ".fseventsd",
    ".lsoverride",
    ".spotlight-v100",
    ".temporaryitems",
    ".trashes",
    "__macosx",
    "desktop.ini",
    "icon\r",
    "thumbs.db",
];

/// Whether a file or directory of this name is a desktop's own: no part of the work.
pub fn is_of_desktop(name: &str) -> bool {
    // Attributes of the file `x` are in `._x` on file systems that have none.
    let is_attributes = name.strip_prefix("._").is_some_and(|of| !of.is_empty());
    is_attributes || NAMES.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_user_made() {
        for own in [".DS_Store", "._main.py", "__MACOSX", "Thumbs.db", "Icon\r", ".Spotlight-V100"] {
            assert!(is_of_desktop(own), "{own:?}");
        }
        for other in ["._", ".", "main.py", "_private.py", "icon", "Thumbs.dbx", "__init__.py", ".hidden"] {
            assert!(!is_of_desktop(other), "{other:?}");
        }
    }
}

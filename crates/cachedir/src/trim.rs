//! Keeping to a size.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::blobs::note_path;

/// Files that are kept or removed together.
#[derive(Debug, Clone)]
pub struct FileSet {
    /// When they were used last.
    pub used: SystemTime,
    /// Their bytes.
    pub size: u64,
    /// Removed in this order.
    pub paths: Vec<PathBuf>,
}

impl FileSet {
    /// A blob with its note, which is written again at each use; or a document.
    pub fn of(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(&path)?;
        let note = note_path(&path);
        let used = fs::symlink_metadata(&note).unwrap_or_else(|_| metadata.clone()).modified()?;
        Ok(Self { used, size: metadata.len(), paths: vec![path, note] })
    }

    /// All blobs or documents below a directory.
    pub fn all_below(directory: &Path) -> io::Result<Vec<Self>> {
        let files = files_below(directory)?;
        let notes: BTreeSet<PathBuf> = files.iter().map(|file| note_path(file)).collect();
        // A note whose blob is gone is an entry like any other.
        files.into_iter().filter(|file| !notes.contains(file)).map(Self::of).collect()
    }
}

/// [Trims](trim) all blobs or documents below a directory.
pub fn trim_below(directory: &Path, limit: u64) -> io::Result<()> {
    // Mostly there is room, and it need not be known when each was used.
    let mut left = limit;
    for file in files_below(directory)? {
        match left.checked_sub(fs::symlink_metadata(&file)?.len()) {
            Some(rest) => left = rest,
            None => return trim(FileSet::all_below(directory)?, limit),
        }
    }
    Ok(())
}

/// Removes what was not used for longest until the rest has at most `limit` bytes.
pub fn trim(mut entries: Vec<FileSet>, limit: u64) -> io::Result<()> {
    entries.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.paths.cmp(&b.paths)));
    let mut left = limit;
    for entry in entries {
        match left.checked_sub(entry.size) {
            Some(rest) => left = rest,
            // Older ones that are smaller may stay: what counts is the sum.
            None => entry.paths.iter().try_for_each(|path| gone(fs::remove_file(path)))?,
        }
    }
    Ok(())
}

/// The regular files in the directories of two hexadecimal digits in `directory`; none if it does not exist.
pub fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let outer = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        outer => outer?,
    };
    for entry in outer {
        let entry = entry?;
        let name = entry.file_name();
        let is_prefix = name.len() == 2 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
        if is_prefix && entry.file_type()?.is_dir() {
            for file in fs::read_dir(entry.path())? {
                let file = file?;
                if file.file_type()?.is_file() {
                    files.push(file.path());
                }
            }
        }
    }
    Ok(files)
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("ab");
        fs::create_dir(&place).unwrap();
        for (days, name) in ["old", "used", "new"].into_iter().enumerate() {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * days as u64);
            fs::write(place.join(name), [0; 10]).unwrap();
            File::open(place.join(name)).unwrap().set_modified(time).unwrap();
        }
        fs::write(place.join("old.note"), "").unwrap();
        fs::write(place.join("gone.note"), "").unwrap();
        trim_below(directory.path(), 30).unwrap();
        assert!(place.join("gone.note").exists());
        trim_below(directory.path(), 20).unwrap();
        assert_eq!(["old", "used", "new"].map(|name| place.join(name).exists()), [true, false, true]);
        trim(FileSet::all_below(directory.path()).unwrap(), 5).unwrap();
        assert!(!place.join("old.note").exists());
    }
}

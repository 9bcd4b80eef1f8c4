//! What a wheel says of itself: its `METADATA`, from the index where that has it apart (PEP 658), else from the wheel.

use std::{
    fs::File,
    io::Read,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
};

use futures_util::StreamExt;
use pep508_rs::{Requirement, VerbatimUrl, pep440_rs::VersionSpecifiers};

use super::{pylock::Wheel, wheel_rank::file_name};
use crate::{
    ArchiveCache, ArchiveLocation, Client, Error, FetchItem, FetchOptions, RetryPolicy,
    config_writer::write_atomically, locate, pypi_options::normalized,
};

/// The parts of it that a lock file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    /// In the wheel's order.
    pub(super) requires_dist: Vec<Requirement<VerbatimUrl>>,
    /// Nothing if it is not as PEP 440 has it, as for uv.
    pub(super) requires_python: Option<VersionSpecifiers>,
    /// The version, as it says it.
    pub(super) version: String,
}

/// Where metadata is read.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    /// Our cache.
    pub(super) cache_dir: &'a Path,
    /// Whether only the cache and files may be used.
    pub(super) offline: bool,
}

/// What the metadata of no package exceeds.
const MAX_METADATA: u64 = 16 << 20;

impl Source<'_> {
    /// The metadata of a wheel of the package `name`. In words why there is none, or the wheel cannot be had.
    pub(super) async fn read(&self, name: &str, wheel: &Wheel) -> Result<Metadata, Error> {
        let kept = wheel.sha256.map(|sha256| {
            let digits = sha256.to_string();
            self.cache_dir.join("wheel-metadata").join(&digits[..2]).join(digits)
        });
        if let Some(path) = &kept
            && let Ok(text) = locate::read_text(path, MAX_METADATA)
            && let Ok(metadata) = Metadata::parse(&text, name)
        {
            return Ok(metadata);
        }
        let (text, metadata) = match self.apart(wheel).await.and_then(|text| {
            let metadata = Metadata::parse(&text, name).ok()?;
            Some((text, metadata))
        }) {
            Some(found) => found,
            None => {
                let text = self.inside(name, wheel).await?;
                let metadata = Metadata::parse(&text, name).map_err(|message| wrong(name, &message))?;
                (text, metadata)
            }
        };
        // Without it the next run asks again.
        if let Some(path) = kept
            && let Some(directory) = path.parent()
            && std::fs::create_dir_all(directory).is_ok()
        {
            let _ = write_atomically(&path, &text);
        }
        Ok(metadata)
    }

    /// PEP 658. Whatever goes wrong, the wheel has it, too.
    async fn apart(&self, wheel: &Wheel) -> Option<String> {
        if !matches!(wheel.url.scheme(), "http" | "https") {
            return None;
        }
        let mut url = wheel.url.clone();
        url.set_fragment(None);
        url.set_path(&format!("{}.metadata", wheel.url.path()));
        let response = self.client.http().get(url).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let mut bytes = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.ok()?);
            if bytes.len() as u64 > MAX_METADATA {
                return None;
            }
        }
        String::from_utf8(bytes).ok()
    }

    /// From the wheel, which a build would fetch, too.
    async fn inside(&self, name: &str, wheel: &Wheel) -> Result<String, Error> {
        let location = match wheel.url.to_file_path() {
            Ok(path) if wheel.url.scheme() == "file" => ArchiveLocation::Path(path),
            _ => ArchiveLocation::Url(wheel.url.clone()),
        };
        let item = FetchItem { name: format!("pypi:{name}"), location, sha256: wheel.sha256, md5: None, size: None };
        let options = FetchOptions {
            offline: self.offline,
            concurrency: NonZeroUsize::MIN,
            retry: RetryPolicy::default(),
            on_event: &|_| {},
        };
        let cache = ArchiveCache::open(self.cache_dir)?;
        let _held = cache.hold();
        let archives = cache.fetch(&[item], &options, self.client).await?;
        let path = archives.into_iter().next().map(|archive| archive.path).unwrap_or_default();
        let prefix = dist_info(&file_name(&wheel.url));
        let read = crate::download::blocking(move || from_wheel(path, &prefix)).await;
        read.map_err(|message| wrong(name, &message))
    }
}

fn wrong(name: &str, message: &str) -> Error {
    Error::WheelMetadata { package: name.to_owned(), message: message.to_owned() }
}

/// `NAME-VERSION` of a wheel's name, as its directory of metadata begins.
fn dist_info(file_name: &str) -> String {
    file_name.split('-').take(2).map(normalized).collect::<Vec<_>>().join("-")
}

/// Reads `NAME-VERSION.dist-info/METADATA`.
fn from_wheel(path: PathBuf, prefix: &str) -> Result<String, String> {
    let file = File::open(&path).map_err(|error| error.to_string())?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| error.to_string())?;
    let is_it =
        |name: &str| name.strip_suffix(".dist-info/METADATA").is_some_and(|directory| dist_info(directory) == prefix);
    let mut names = archive.file_names().flatten();
    let name = names.find(|name| is_it(name)).map(|name| name.into_owned()).ok_or("it has no METADATA")?;
    drop(names);
    let member = archive.by_name(&name).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = member.take(MAX_METADATA + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > MAX_METADATA {
        return Err(format!("its METADATA has more than {MAX_METADATA} bytes"));
    }
    Ok(text)
}

impl Metadata {
    /// Reads the headers (<https://packaging.python.org/specifications/core-metadata>), which must be those of `name`.
    fn parse(text: &str, name: &str) -> Result<Self, String> {
        let (mut own_name, mut version) = (None, None);
        let (mut requires_dist, mut requires_python) = (Vec::new(), None);
        // An empty line ends the headers; a line that begins with a blank goes on with the one before it, which none of
        // these need.
        for line in text.lines().take_while(|line| !line.is_empty()) {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key.to_ascii_lowercase().as_str() {
                "name" => own_name = Some(normalized(value)),
                "version" => version = Some(value.to_owned()),
                "requires-python" => requires_python = VersionSpecifiers::from_str(value).ok(),
                "requires-dist" => requires_dist.push(
                    Requirement::from_str(value)
                        .map_err(|_| format!("it requires `{value}`, which is not as PEP 508 has it"))?,
                ),
                _ => {}
            }
        }
        if own_name.as_deref() != Some(name) {
            return Err(format!("it is that of {}", own_name.as_deref().unwrap_or("nothing")));
        }
        let version = version.ok_or("it has no version")?;
        Ok(Self { requires_dist, requires_python, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_nothing_else() {
        let text = "Metadata-Version: 2.1\nName: My_Pkg\nversion: 1.0\nRequires-Dist: a>=1 ; extra == 'x'\n\
                    Requires-Python: >=3.8\nDescription: long\n        Requires-Dist goes on\n\nRequires-Dist: not\n";
        let metadata = Metadata::parse(text, "my-pkg").unwrap();
        let shown: Vec<_> = metadata.requires_dist.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a>=1 ; extra == 'x'"]);
        assert_eq!(metadata.requires_python.unwrap().to_string(), ">=3.8");
        for (text, words) in [
            ("Name: other\nVersion: 1\n", "that of other"),
            ("<html>", "that of nothing"),
            ("Name: my-pkg\n", "no version"),
            ("Name: my-pkg\nVersion: 1\nRequires-Dist: a b\n", "`a b`"),
        ] {
            let error = Metadata::parse(text, "my-pkg").unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

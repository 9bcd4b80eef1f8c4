//! The text that names a destination, in the words of containers-transports(5).

use std::{fmt, path::PathBuf};

use pixi_oci_sif::RunCache;

use crate::{
    Destination, Error, OciLayout, archive,
    docker_archive::docker_archive,
    image_name::{check_layout_name, docker_name},
    oci_archive::oci_archive,
    sif_files::sif_files,
};

/// A destination and the name that the image gets there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRef {
    pub transport: Transport,
    /// The directory or file. Of SIFs it is that of one architecture; others are beside it.
    pub path: PathBuf,
    /// For [`publish`](crate::publish): a tag of a layout, or `NAME:TAG` in a docker-archive.
    pub name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `oci:DIR[:TAG]`: an OCI layout.
    OciLayout,
    /// `oci-archive:FILE[:TAG]`: an OCI layout in a tar.
    OciArchive,
    /// `docker-archive:FILE[:REF]`: the tar of `docker save`.
    DockerArchive,
    /// `sif:FILE[.sif]`: a SIF for each architecture.
    Sif,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a destination: {reason}")]
pub struct ParseDestinationError {
    text: String,
    reason: String,
}

impl DestinationRef {
    /// Reads `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]` or `sif:FILE[.sif]`. As in
    /// containers-transports(5) the path ends at the first colon.
    ///
    /// # Errors
    ///
    /// Another transport, no path, or a tag that cannot be one.
    pub fn parse(text: &str) -> Result<Self, ParseDestinationError> {
        let bad = |reason: String| ParseDestinationError { text: text.chars().take(300).collect(), reason };
        let Some((transport, rest)) = text.split_once(':') else {
            return Err(bad(format!("it has no transport; write oci:{text}")));
        };
        let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
        let transport = match transport {
            "oci" => Transport::OciLayout,
            "oci-archive" => Transport::OciArchive,
            "docker-archive" => Transport::DockerArchive,
            "sif" => Transport::Sif,
            "docker" | "oras" => {
                return Err(bad("a registry is written to by `pixi-oci publish --to`, not by a build".into()));
            }
            "containers-storage" | "docker-daemon" => {
                return Err(bad("use --load to hand the image to podman or docker".into()));
            }
            _ => {
                return Err(bad(
                    "the transports are oci:DIR, oci-archive:FILE, docker-archive:FILE and sif:FILE".into()
                ));
            }
        };
        if path.is_empty() {
            return Err(bad(format!("the path after {transport}: is empty")));
        }
        if text.contains(char::is_control) {
            return Err(bad("it contains control characters".into()));
        }
        let name = match (transport, name) {
            (_, None) => Ok(None),
            (Transport::OciLayout | Transport::OciArchive, Some(name)) => {
                check_layout_name(name).map(|()| Some(name.to_owned()))
            }
            (Transport::DockerArchive, Some(name)) => docker_name(name).map(Some),
            (Transport::Sif, Some(_)) => {
                return Err(bad("a SIF has no names in it; leave off what follows the path".into()));
            }
        };
        let name = name.map_err(|error| bad(error.to_string()))?;
        let path = if transport == Transport::Sif { with_ending(path.into()) } else { path.into() };
        Ok(Self { transport, path, name })
    }

    /// Prepares the destination. A layout's directory is made now, an archive's file when it is complete. `runs` is for SIFs.
    ///
    /// # Errors
    ///
    /// As [`OciLayout::open`]; [`Error::Io`] when an archive's path is a directory.
    pub fn open(&self, runs: Option<RunCache>) -> Result<Box<dyn Destination>, Error> {
        if self.transport != Transport::OciLayout {
            archive::dir_and_name(&self.path)?;
        }
        let path = self.path.clone();
        Ok(match self.transport {
            Transport::OciLayout => Box::new(OciLayout::open(&path)?),
            Transport::OciArchive => Box::new(oci_archive(path)),
            Transport::DockerArchive => Box::new(docker_archive(path)),
            Transport::Sif => Box::new(sif_files(path, runs)),
        })
    }
}

/// A file of this name with `.sif` at its end.
fn with_ending(path: PathBuf) -> PathBuf {
    if path.extension().is_some_and(|ending| ending == "sif") {
        return path;
    }
    let mut name = path.into_os_string();
    name.push(".sif");
    name.into()
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OciLayout => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::Sif => "sif",
        })
    }
}

impl fmt::Display for DestinationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.path.display())?;
        self.name.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_destination() {
        let same = [
            "oci:dist/oci",
            "oci:dist/oci:v1.2_3",
            "oci:/a b/é:name:1.0",
            "oci:d:a--b/c+d",
            "oci-archive:a.tar",
            "oci-archive:a.tar:latest",
            "docker-archive:a.tar",
            "docker-archive:a.tar:demo:1",
            "docker-archive:a.tar:localhost:5000/me/demo:1",
            "sif:a.sif",
            "sif:tool-1.0.sif",
        ];
        for text in same {
            assert_eq!(DestinationRef::parse(text).unwrap().to_string(), text);
        }
        let parsed = DestinationRef::parse("docker-archive:x/a.tar:localhost:5000/demo").unwrap();
        assert_eq!(parsed.name.as_deref(), Some("localhost:5000/demo:latest"));
        assert_eq!(parsed.path, PathBuf::from("x/a.tar"));
        assert_eq!(DestinationRef::parse("sif:tool-1.0").unwrap().to_string(), "sif:tool-1.0.sif");
    }

    #[test]
    fn a_directory_is_no_archive() {
        let dir = tempfile::tempdir().unwrap();
        for transport in ["oci-archive", "docker-archive"] {
            let target = DestinationRef::parse(&format!("{transport}:{}", dir.path().display())).unwrap();
            assert!(matches!(target.open(None).err(), Some(Error::Io(_))));
        }
    }

    #[test]
    fn what_is_none_and_why() {
        let cases = [
            ("dist/oci", "write oci:dist/oci"),
            ("docker://quay.io/a/b", "publish --to"),
            ("containers-storage:a", "--load"),
            ("docker-daemon:a:1", "--load"),
            ("dir:a", "the transports are"),
            ("", "no transport"),
            ("oci:", "is empty"),
            ("oci::tag", "is empty"),
            ("oci:a:", "letters and digits"),
            ("oci:a:-b", "letters and digits"),
            ("oci:a:b..c", "letters and digits"),
            ("oci:a:b---c", "letters and digits"),
            ("oci:a:b c", "letters and digits"),
            ("oci:a\n:b", "control"),
            ("oci-archive:a:b@sha256:0123", "under a tag"),
            ("sif:a.sif:1.0", "no names"),
            ("docker-archive:a:Upper:1", "NAME:TAG"),
            ("docker-archive:a:", "NAME:TAG"),
        ];
        for (text, reason) in cases {
            let error = DestinationRef::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}

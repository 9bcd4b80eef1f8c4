//! The base image as a build sees it: what it must have, and what is taken over from it.

use std::{collections::BTreeMap, path::Path};

use oci_spec::image::History;
use pixi_oci_image::{Architecture, LayerEntry};
use pixi_oci_lock::{VirtualRequirement, minimum, requirements};
use pixi_oci_package::TargetPrefix;
use pixi_oci_platform::{FileError, Links};
use pixi_oci_store::{
    OciLayout,
    base::{BaseConfig, BaseEntry, BaseFiles, BaseImage, BaseRef, count_layers, resolve_base, take_out},
};

use crate::{Error, report::BaseReport};
use pixi_oci_project::{Event, Project, Session, Target, virtual_packages};

/// Of `/etc/passwd` and `/etc/group`.
const MAX_USERS: u64 = 4 << 20;

/// A base image, or none.
pub struct Base {
    image: Option<SelectedBase>,
    layers: Vec<LayerEntry>,
}

struct SelectedBase {
    image: BaseImage,
    name: Option<String>,
    files: BaseFiles,
}

impl Base {
    /// Finds the base image for an architecture.
    pub fn open(project: &Project, architecture: Architecture, session: &Session) -> Result<Self, Error> {
        let reference = BaseRef::parse(&project.configuration.base)?;
        let events = session.registry_events();
        let options = session.base_options(project.configuration.compression, &events);
        let recorded = project
            .inputs
            .provenance
            .recorded
            .as_ref()
            .map(|recorded| recorded.base(&reference, architecture))
            .transpose()?;
        let meant = recorded.flatten().map(|text| BaseRef::parse(&text)).transpose()?;
        let meant = meant.as_ref().unwrap_or(&reference);
        session.emit(Event::BaseStarted { base: meant.to_string(), architecture });
        let Some(image) = session.run(resolve_base(meant, architecture, &options))?? else {
            return Ok(Self { image: None, layers: Vec::new() });
        };
        // A path of this machine means nothing elsewhere, and would make the image depend on where it was built.
        let name = matches!(reference, BaseRef::Registry(_)).then(|| reference.to_string());
        let layers: Vec<LayerEntry> = image.layers.iter().map(|layer| layer.entry.clone()).collect();
        let files = BaseFiles::read(&image, &session.caches.dir)?;
        Ok(Self { image: Some(SelectedBase { image, name, files }), layers })
    }

    /// How many layers the base image of an architecture has; nothing of these is fetched.
    pub fn count_layers(project: &Project, architecture: Architecture, session: &Session) -> Result<usize, Error> {
        let reference = BaseRef::parse(&project.configuration.base)?;
        let events = session.registry_events();
        Ok(session.run(count_layers(
            &reference,
            architecture,
            &session.base_options(project.configuration.compression, &events),
        ))??)
    }

    /// The base image of a target, if the packages fit to it and to what the target is assumed to have.
    pub fn of_target(project: &Project, target: &Target, session: &Session) -> Result<Self, Error> {
        let (configuration, needs) = (&project.configuration, requirements(&target.packages));
        virtual_packages::check(&target.platform.name, &needs, &target.virtual_packages)?;
        let base = Self::open(project, target.architecture, session)?;
        base.check_places(&[configuration.prefix.as_str(), &configuration.workdir])?;
        base.check_prefix(&configuration.prefix)?;
        base.check_glibc(&needs, project.configuration.oci.base_glibc)?;
        let mut brought =
            configuration.oci.include.iter().flatten().filter_map(|include| include.destination.as_deref());
        let brings_users = brought.any(|to| to.starts_with("/etc"));
        if let Some(user) = configuration.oci.user.as_deref().filter(|_| !brings_users) {
            base.check_user(user, &session.caches.dir)?;
        }
        Ok(base)
    }

    pub fn put_layers(&self, layout: &OciLayout) -> Result<(), Error> {
        for layer in self.image.iter().flat_map(|found| &found.image.layers) {
            layout.link_checked(&layer.path, &layer.entry.descriptor)?;
        }
        Ok(())
    }

    pub fn is_scratch(&self) -> bool {
        self.image.is_none()
    }

    /// Its layers, bottom first, as the image names them.
    pub fn layers(&self) -> &[LayerEntry] {
        &self.layers
    }

    pub fn history(&self) -> Vec<History> {
        self.image.as_ref().map(|found| found.image.history.clone()).unwrap_or_default()
    }

    pub fn variant(&self) -> Option<String> {
        self.image.as_ref().and_then(|found| found.image.variant.clone())
    }

    pub fn files(&self) -> Option<&BaseFiles> {
        self.image.as_ref().map(|found| &found.files)
    }

    /// What the image inherits; not its entrypoint, which is a program of the base's.
    pub fn settings(&self) -> Option<&BaseConfig> {
        self.image.as_ref().map(|found| &found.image.config)
    }

    /// The standard annotations that name it.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let Some(found) = &self.image else { return BTreeMap::new() };
        // Of the image for this platform (OCI image-spec, annotations.md: "the digest of the image this image is based on").
        let digest = Some(("digest", found.image.digest.to_string()));
        let name = found.name.clone().map(|name| ("name", name));
        let annotations = [digest, name].into_iter().flatten();
        annotations.map(|(key, value)| (format!("org.opencontainers.image.base.{key}"), value)).collect()
    }

    pub fn report(&self) -> Option<BaseReport> {
        let found = self.image.as_ref()?;
        Some(BaseReport {
            reference: found.image.reference.clone(),
            digest: found.image.digest,
            glibc: found.files.glibc().map(|(major, minor)| format!("{major}.{minor}")),
        })
    }

    /// The directories above these places have to be directories, or not there: a layer's entry for a directory would
    /// replace a link, and everything behind it would be gone.
    pub fn check_places(&self, places: &[&str]) -> Result<(), Error> {
        let Some(found) = &self.image else { return Ok(()) };
        for place in places {
            let ends = place.match_indices('/').map(|(at, _)| at).skip(1).chain([place.len()]);
            for end in ends {
                let path = &place[..end];
                if found.files.lookup(path).is_some_and(|entry| entry != BaseEntry::Directory) {
                    return Err(Error::BaseInTheWay { base: found.image.reference.clone(), path: path.into() });
                }
            }
        }
        Ok(())
    }

    /// Nothing may be below the prefix. Modules, plugins and records of packages that only the base has would be found by
    /// ours: two versions of one package, of which each has a part of its files.
    pub fn check_prefix(&self, prefix: &TargetPrefix) -> Result<(), Error> {
        let Some(found) = &self.image else { return Ok(()) };
        match found.files.first_below(prefix.tree_path().as_str()) {
            None => Ok(()),
            Some(path) => Err(Error::BasePrefixInUse { base: found.image.reference.clone(), path: format!("/{path}") }),
        }
    }

    /// `NAME`, `NAME:GROUP` or numbers: what is a name has to be one that the image knows, or no container starts.
    fn check_user(&self, user: &str, cache: &Path) -> Result<(), Error> {
        let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
        let asked = [(Some(name), "passwd"), (group, "group")];
        let is_name = |text: &&str| !text.is_empty() && !text.bytes().all(|b| b.is_ascii_digit());
        let asked: Vec<(&str, &str)> =
            asked.into_iter().filter_map(|(text, file)| Some((text.filter(is_name)?, file))).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let unknown = |name: &str, file: &'static str| Error::UnknownUser { name: name.to_owned(), file };
        let Some(found) = &self.image else {
            // What an image without a base is given.
            let wrong = asked.iter().find(|(name, _)| !matches!(*name, "root" | "nobody"));
            return wrong.map_or(Ok(()), |(name, file)| Err(unknown(name, file)));
        };
        let io = |source| FileError { action: "write", path: cache.into(), source };
        fs_err::create_dir_all(cache).map_err(io)?;
        let etc = tempfile::tempdir_in(cache).map_err(io)?;
        // An image without the directory knows nobody.
        let _ = take_out(&found.image, "/etc", etc.path());
        for (name, file) in asked {
            let path = etc.path().join(file);
            // Where it is a link, the users are elsewhere in the image.
            let is_link = fs_err::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
            let text = pixi_oci_platform::read_text(&path, Links::Refuse, MAX_USERS).unwrap_or_default();
            if !is_link && !text.lines().any(|line| line.split(':').next() == Some(name)) {
                return Err(unknown(name, file));
            }
        }
        Ok(())
    }

    /// The version of its glibc, or the one that was `said`.
    pub fn glibc(&self, said: Option<(u32, u32)>) -> Option<(u32, u32)> {
        said.or_else(|| self.files()?.glibc())
    }

    /// Its glibc has to be as new as the packages need it.
    pub fn check_glibc(&self, needs: &[VirtualRequirement], said: Option<(u32, u32)>) -> Result<(), Error> {
        let Some(found) = &self.image else { return Ok(()) };
        let Some((major, minor)) = self.glibc(said) else { return Ok(()) };
        let Some(need) = minimum(needs.iter().filter(|need| !need.constraint), "__glibc") else { return Ok(()) };
        let has = format!("{major}.{minor}");
        // Two numbers are always a version.
        let Ok(version) = has.parse::<rattler_conda_types::Version>() else { return Ok(()) };
        if need.minimum.as_ref().is_some_and(|needed| version < *needed) {
            return Err(Error::BaseTooOld {
                package: need.package.clone(),
                requirement: need.requirement.clone(),
                base: found.image.reference.clone(),
                found: has,
            });
        }
        Ok(())
    }

    /// What the kernel starts programs with has to be in the image. `interpreters` has a program for each.
    ///
    /// On a base image only the platform's own dynamic linker counts: packages may have programs of other systems as data.
    pub fn check_interpreters(
        &self,
        interpreters: &BTreeMap<String, String>,
        architecture: Architecture,
        prefix: &TargetPrefix,
        is_in_prefix: &dyn Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let own = match architecture {
            Architecture::Amd64 => "/lib64/ld-linux-x86-64.so.2",
            Architecture::Arm64 => "/lib/ld-linux-aarch64.so.1",
        };
        for (interpreter, program) in interpreters {
            let in_base = match &self.image {
                Some(found) => interpreter != own || found.files.resolve(interpreter).is_some(),
                None => false,
            };
            let below = interpreter.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
            if !in_base && !below.is_some_and(is_in_prefix) {
                return Err(Error::NoInterpreter { program: format!("/{program}"), interpreter: interpreter.clone() });
            }
        }
        Ok(())
    }

    pub fn sh(&self) -> Option<&'static str> {
        self.files()?.resolve("/bin/sh").map(|_| "/bin/sh")
    }

    pub fn bash(&self) -> Option<String> {
        let found = self.image.as_ref()?;
        ["/bin/bash", "/usr/bin/bash"].into_iter().find(|path| found.files.resolve(path).is_some()).map(str::to_string)
    }
}

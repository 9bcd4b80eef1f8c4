//! Published images as sources of layers.
//!
//! For a build the layers that can be taken are fetched into its layout. For a publication nothing is fetched: a layer is
//! taken if every repository that is published to has it already.
//!
//! A registry that cannot be used costs time and no more: there is a warning, and the layers are made.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use pixi_oci_image::Descriptor;
use pixi_oci_publish::{
    OciLayout,
    registry::{Access, CredentialSources, Error as RegistryError, Registry, RegistryOptions, Repository, no_events},
};
use tokio::runtime::Runtime;

use crate::{
    Error, Event, OnEvent,
    previous::{Previous, read_previous},
    reuse::Remote,
};

/// A repository, and what is needed to use it.
#[derive(Debug, Clone)]
pub struct RemoteRepository {
    /// The repository.
    pub repository: Repository,
    /// The tag or digest of the image whose layers are looked at; none where layers only have to be.
    pub reference: Option<String>,
    /// Where credentials are looked for.
    pub credentials: CredentialSources,
}

/// Published images.
pub struct Published<'a> {
    runtime: Runtime,
    options: RegistryOptions,
    from: Vec<RemoteRepository>,
    to: Vec<RemoteRepository>,
    scratch: PathBuf,
    on_event: OnEvent<'a>,
    previous: OnceLock<Previous>,
    /// The connections to `from` that could be made, once they are needed.
    sources: OnceLock<Vec<Registry>>,
    /// The connections to `to`, once they are needed.
    targets: OnceLock<Vec<Registry>>,
    /// Somebody did not answer: nobody is asked again.
    useless: AtomicBool,
}

impl<'a> Published<'a> {
    /// Layers of the images `from`. With repositories in `to`, they have to be there; else they are fetched. `scratch` is a
    /// directory for temporary files. Asks nobody yet.
    pub fn new(
        from: Vec<RemoteRepository>,
        to: Vec<RemoteRepository>,
        options: &RegistryOptions,
        scratch: PathBuf,
        on_event: OnEvent<'a>,
    ) -> Result<Self, Error> {
        Ok(Self {
            runtime: crate::runtime()?,
            options: options.clone(),
            from,
            to,
            scratch,
            on_event,
            previous: OnceLock::new(),
            sources: OnceLock::new(),
            targets: OnceLock::new(),
            useless: AtomicBool::new(false),
        })
    }

    async fn connect(&self, remote: &RemoteRepository) -> Result<Registry, RegistryError> {
        let credentials = remote.credentials.find(&remote.repository).await?;
        Registry::connect(&remote.repository, Access::Pull, &self.options, credentials, no_events())
    }

    async fn read(&self) -> Previous {
        let mut all = Previous::default();
        let mut sources = Vec::new();
        for remote in &self.from {
            let Some(reference) = &remote.reference else { continue };
            let read = async {
                let registry = self.connect(remote).await?;
                let previous = read_previous(&registry, reference, &self.scratch).await?;
                sources.push(registry);
                Ok(previous)
            };
            match read.await {
                Ok(previous) => {
                    all.layers.extend(previous.layers);
                    all.conda.extend(previous.conda);
                    all.wheels.extend(previous.wheels);
                }
                // A repository that nothing was published to yet.
                Err(RegistryError::NotFound { .. }) => {}
                Err(error) => self.give_up(&remote.repository, &error),
            }
        }
        let _ = self.sources.set(sources);
        all
    }

    fn give_up(&self, repository: &Repository, error: &RegistryError) {
        self.useless.store(true, Ordering::Relaxed);
        (self.on_event)(Event::Warning(format!("no layers are taken from {repository}: {error}")));
    }

    async fn is_at_all_targets(&self, blob: &Descriptor) -> Result<bool, (Repository, RegistryError)> {
        if self.targets.get().is_none() {
            let mut targets = Vec::new();
            for remote in &self.to {
                targets.push(self.connect(remote).await.map_err(|error| (remote.repository.clone(), error))?);
            }
            let _ = self.targets.set(targets);
        }
        for target in self.targets.get().into_iter().flatten() {
            if !target.has_blob(blob).await.map_err(|error| (target.repository().clone(), error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fetches a layer from the first image that has it.
    async fn fetch(&self, blob: &Descriptor, layout: &OciLayout) -> Result<bool, Error> {
        for registry in self.sources.get().into_iter().flatten() {
            let io = |source| Error::Io { action: "make a file in", path: self.scratch.clone(), source };
            // The permissions of any new file: it becomes the layout's.
            let mut new = tempfile::Builder::new();
            let mut file = new.permissions(Permissions::from_mode(0o666)).tempfile_in(&self.scratch).map_err(io)?;
            let fetched = async {
                if !registry.has_blob(blob).await? {
                    return Ok(false);
                }
                registry.fetch_blob(blob, file.as_file_mut()).await.map(|()| true)
            };
            match fetched.await {
                Ok(true) => return Ok(layout.link(file.path(), blob)?),
                Ok(false) => {}
                Err(error) => self.give_up(registry.repository(), &error),
            }
        }
        Ok(false)
    }
}

impl Remote for Published<'_> {
    fn previous(&self) -> Result<&Previous, Error> {
        fs_err::create_dir_all(&self.scratch).map_err(|source| Error::Io {
            action: "create",
            path: self.scratch.clone(),
            source,
        })?;
        Ok(self.previous.get_or_init(|| self.runtime.block_on(self.read())))
    }

    fn provide(&self, blob: &Descriptor, layout: &OciLayout) -> Result<bool, Error> {
        if self.useless.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.runtime.block_on(async {
            if self.to.is_empty() {
                return self.fetch(blob, layout).await;
            }
            Ok(self.is_at_all_targets(blob).await.unwrap_or_else(|(repository, error)| {
                self.give_up(&repository, &error);
                false
            }))
        })
    }
}

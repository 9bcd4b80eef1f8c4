//! What a feature declares that has to be solved: requirements, channels and options.

use std::path::Path;

use rattler_solve::{ChannelPriority, SolveStrategy};

use crate::{
    Error, ExcludeNewer, ManifestChannel, ManifestError, ManifestPlatform, PypiOptions, PypiRequirement, Requirement,
    exclude_newer::Cutoff, platform, pypi::normalized, requirement::Context, toml::Section,
};

/// A part of the manifest that only some commands need: what is wrong in it is an error when it is asked for, so that
/// `--frozen` can still use a lock file whose manifest has things in it that this program does not understand.
#[derive(Debug, Clone)]
pub struct Deferred<T>(Result<T, Box<ManifestError>>);

/// The requirements of a feature for some platforms, or for all.
#[derive(Debug, Clone, Default)]
pub struct Requirements {
    /// `dependencies`, `host-dependencies` and `build-dependencies`, the later ones in the place of the earlier ones.
    pub conda: Vec<Requirement>,
    /// `constraints`: hold only for packages that something else requires.
    pub constraints: Vec<Requirement>,
    /// `pypi-dependencies`, and the lists of `pyproject.toml`. A package can be there several times.
    pub pypi: Vec<PypiRequirement>,
    /// The names in `dev`: source packages of which only the dependencies are wanted.
    pub dev: Vec<String>,
}

/// The options of a feature; what it does not say, other features or the workspace do.
#[derive(Debug, Clone, Default)]
pub struct FeatureOptions {
    /// The platforms it is for, by name or subdir. Those that the workspace does not have are added to it.
    pub platforms: Option<Vec<ManifestPlatform>>,
    /// Its channels instead of the workspace's.
    pub channels: Option<Vec<ManifestChannel>>,
    pub channel_priority: Option<ChannelPriority>,
    pub solve_strategy: Option<SolveStrategy>,
    pub pypi: Option<PypiOptions>,
}

#[derive(Debug, Clone, Default)]
pub struct Solving {
    /// The channels of every feature that names none itself.
    pub channels: Vec<ManifestChannel>,
    /// The options under those of the features.
    pub pypi_options: PypiOptions,
    /// What is too new to be used; the channels' own cutoffs are theirs.
    pub exclude_newer: ExcludeNewer,
}

impl Solving {
    pub(crate) fn read(top: &Section<'_>, workspace: &Section<'_>, root: &Path) -> Result<Self, ManifestError> {
        let by_package = |key: &str| -> Result<Vec<(String, Cutoff)>, ManifestError> {
            // `exclude-newer` at the top is a table of packages; in `[workspace]` it is one cutoff.
            let Some(section) = top.section(key)? else { return Ok(Vec::new()) };
            let named = |name: &str| Ok(section.parsed(name, Cutoff::parse)?.map(|cutoff| (name.to_owned(), cutoff)));
            section.keys().filter_map(|name| named(name).transpose()).collect()
        };
        platform::check(workspace, &[])?;
        let pypi_packages = by_package("pypi-exclude-newer")?;
        Ok(Self {
            channels: ManifestChannel::read_list(workspace, root)?.unwrap_or_default(),
            pypi_options: PypiOptions::read(workspace)?.unwrap_or_default(),
            exclude_newer: ExcludeNewer {
                cutoff: workspace.parsed("exclude-newer", Cutoff::parse)?,
                channels: Vec::new(),
                packages: by_package("exclude-newer")?.into_iter().map(|(n, c)| (n.to_lowercase(), c)).collect(),
                pypi_packages: pypi_packages.into_iter().map(|(name, c)| (normalized(&name), c)).collect(),
            },
        })
    }
}

impl<T> Deferred<T> {
    pub(crate) fn of(result: Result<T, ManifestError>) -> Self {
        Self(result.map_err(Box::new))
    }

    /// What was read.
    pub fn get(&self) -> Result<&T, Error> {
        self.0.as_ref().map_err(|error| Error::Manifest(error.clone()))
    }

    /// Changes what was read, if it could be.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut T) -> Result<(), ManifestError>) {
        if let Ok(value) = &mut self.0
            && let Err(error) = change(value)
        {
            self.0 = Err(Box::new(error));
        }
    }
}

impl<T: Default> Default for Deferred<T> {
    fn default() -> Self {
        Self(Ok(T::default()))
    }
}

impl Requirements {
    pub(crate) fn read(section: &Section<'_>, context: Context<'_>) -> Result<Self, ManifestError> {
        let mut conda = Vec::new();
        for key in ["dependencies", "host-dependencies", "build-dependencies"] {
            overwrite(&mut conda, Requirement::read_table(section, key, context)?, |r| &r.name);
        }
        Ok(Self {
            conda,
            constraints: Requirement::read_table(section, "constraints", context)?,
            pypi: PypiRequirement::read_table(section, context)?,
            dev: section.section("dev")?.iter().flat_map(Section::keys).map(str::to_owned).collect(),
        })
    }

    /// What `later`, a more specific part of the same feature, says of a package replaces what `self` says of it.
    pub(crate) fn overwritten_by(mut self, later: &Self) -> Self {
        overwrite(&mut self.conda, later.conda.clone(), |r| &r.name);
        overwrite(&mut self.constraints, later.constraints.clone(), |r| &r.name);
        overwrite(&mut self.pypi, later.pypi.clone(), |r| &r.name);
        overwrite(&mut self.dev, later.dev.clone(), |name| name);
        self
    }
}

/// Drops what `list` has under the names of `later`, and appends `later`.
fn overwrite<T, K: PartialEq>(list: &mut Vec<T>, later: Vec<T>, name: impl Fn(&T) -> &K) {
    list.retain(|old| !later.iter().any(|new| name(new) == name(old)));
    list.extend(later);
}

impl FeatureOptions {
    /// Reads the options of `[feature.NAME]`, or of an environment's own table.
    pub(crate) fn read(section: &Section<'_>, root: &Path) -> Result<Self, ManifestError> {
        Ok(Self {
            platforms: platform::read(section)?,
            channels: ManifestChannel::read_list(section, root)?,
            channel_priority: channel_priority(section)?,
            solve_strategy: solve_strategy(section)?,
            pypi: PypiOptions::read(section)?,
        })
    }

    /// The options of the default feature: solver options are in `[workspace]`, whose channels and platforms it shares.
    pub(crate) fn read_default(top: &Section<'_>, workspace: &Section<'_>) -> Result<Self, ManifestError> {
        Ok(Self {
            platforms: None,
            channels: None,
            channel_priority: channel_priority(workspace)?,
            solve_strategy: solve_strategy(workspace)?,
            pypi: PypiOptions::read(top)?,
        })
    }
}

fn channel_priority(section: &Section<'_>) -> Result<Option<ChannelPriority>, ManifestError> {
    let all = [
        ("strict", ChannelPriority::Strict),
        ("flexible", ChannelPriority::Flexible),
        ("disabled", ChannelPriority::Disabled),
    ];
    section.one_of("channel-priority", &all)
}

fn solve_strategy(section: &Section<'_>) -> Result<Option<SolveStrategy>, ManifestError> {
    let all = [
        ("highest", SolveStrategy::Highest),
        ("lowest", SolveStrategy::LowestVersion),
        ("lowest-direct", SolveStrategy::LowestVersionDirect),
    ];
    section.one_of("solve-strategy", &all)
}

//! `[pypi-options]`: where Python packages come from and which kinds of them are allowed.

use url::Url;

use crate::{
    ManifestError,
    toml::{Element, Section},
};

/// The index that is used when none is named.
pub const DEFAULT_PYPI_INDEX: &str = "https://pypi.org/simple";

/// What `[pypi-options]` says; every part may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PypiOptions {
    pub index_url: Option<Url>,
    /// More indexes, searched first to last.
    pub extra_index_urls: Vec<Url>,
    /// Flat listings of distributions.
    pub find_links: Vec<FindLinks>,
    /// `first-index`, `unsafe-first-match` or `unsafe-best-match`.
    pub index_strategy: Option<String>,
    /// `disallow`, `allow`, `if-necessary`, `explicit` or `if-necessary-or-explicit`.
    pub prerelease_mode: Option<String>,
    /// Packages that may not be built from source.
    pub no_build: Packages,
    /// Packages that may not be taken as wheels.
    pub no_binary: Packages,
    /// Requirements that replace those of other packages, by PEP 503 name; values as they stand in the manifest.
    pub dependency_overrides: Vec<String>,
}

/// A flat listing of distributions, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindLinks {
    Path(String),
    Url(Url),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Packages {
    #[default]
    None,
    All,
    /// Those with these PEP 503 names.
    Named(Vec<String>),
}

impl Packages {
    /// Whether a PEP 503 name is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }

    fn united(self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (one, Self::None) => one,
            (Self::None, other) => other.clone(),
            (Self::Named(mut names), Self::Named(more)) => {
                names.extend(more.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
                Self::Named(names)
            }
        }
    }
}

impl PypiOptions {
    /// Reads the table under `pypi-options`; `None` if there is none. Keys nobody here needs are not looked at.
    pub(crate) fn read(section: &Section<'_>) -> Result<Option<Self>, ManifestError> {
        let Some(table) = section.section("pypi-options")? else { return Ok(None) };
        let mut find_links = Vec::new();
        for entry in table.list("find-links")?.unwrap_or_default() {
            let Element::Table(link) = &entry else { return Err(entry.error("`find-links` must be tables")) };
            find_links.push(match (link.parsed("url", url)?, link.string("path")?) {
                (Some(url), None) => FindLinks::Url(url),
                (None, Some(path)) => FindLinks::Path(path),
                _ => return Err(link.error("an entry of `find-links` needs either `url` or `path`")),
            });
        }
        let extra = table.list("extra-index-urls")?.unwrap_or_default();
        let extra = extra.iter().map(|entry| url(&entry.string()?).map_err(|message| entry.error(message)));
        let overrides = table.section("dependency-overrides")?;
        Ok(Some(Self {
            index_url: table.parsed("index-url", url)?,
            extra_index_urls: extra.collect::<Result<_, _>>()?,
            find_links,
            index_strategy: table.string("index-strategy")?,
            prerelease_mode: table.string("prerelease-mode")?,
            no_build: packages(&table, "no-build")?,
            no_binary: packages(&table, "no-binary")?,
            dependency_overrides: overrides.iter().flat_map(Section::keys).map(normalized).collect(),
        }))
    }

    /// Both together; the key of which only one value is possible and two are there is the error.
    pub fn united(mut self, other: &Self) -> Result<Self, &'static str> {
        fn extend<T: PartialEq + Clone>(list: &mut Vec<T>, more: &[T]) {
            for item in more {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
        }
        fn one<T: PartialEq + Clone>(
            own: Option<T>,
            other: &Option<T>,
            key: &'static str,
        ) -> Result<Option<T>, &'static str> {
            match (own, other) {
                (Some(own), Some(other)) if own != *other => Err(key),
                (own, other) => Ok(own.or_else(|| other.clone())),
            }
        }
        self.index_url = one(self.index_url, &other.index_url, "index-url")?;
        self.index_strategy = one(self.index_strategy, &other.index_strategy, "index-strategy")?;
        self.prerelease_mode = one(self.prerelease_mode, &other.prerelease_mode, "prerelease-mode")?;
        extend(&mut self.extra_index_urls, &other.extra_index_urls);
        extend(&mut self.find_links, &other.find_links);
        extend(&mut self.dependency_overrides, &other.dependency_overrides);
        self.no_build = self.no_build.united(&other.no_build);
        self.no_binary = self.no_binary.united(&other.no_binary);
        Ok(self)
    }

    /// All indexes in the order of a lock file: the primary one first.
    pub fn indexes(&self) -> Vec<String> {
        let primary = self.index_url.as_ref().map_or(DEFAULT_PYPI_INDEX, Url::as_str);
        let extra = self.extra_index_urls.iter().map(Url::as_str);
        std::iter::once(primary).chain(extra).map(str::to_owned).collect()
    }
}

pub(crate) fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|e| format!("`{text}` is not a URL: {e}"))
}

fn packages(table: &Section<'_>, key: &str) -> Result<Packages, ManifestError> {
    if table.raw(key).is_some_and(|item| item.is_array()) {
        let names = table.strings(key)?.unwrap_or_default();
        return Ok(Packages::Named(names.iter().map(|name| normalized(name)).collect()));
    }
    Ok(if table.boolean(key)? == Some(true) { Packages::All } else { Packages::None })
}

/// The PEP 503 name: lower case, every run of `-`, `_` and `.` one dash.
pub fn normalized(name: &str) -> String {
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

//! Reads the text of a `config.toml`.

use std::{collections::BTreeMap, num::NonZeroUsize, path::Path};

use url::Url;

use crate::{
    ManifestError, PixiConfig, ProxyConfig, PypiConfig, RepodataConfig, RepodataForms,
    toml::{Element, ManifestText, Section},
};
use pixi_oci_net::{S3Bucket, TlsRootCerts, mask_user_info, redact};

impl PixiConfig {
    /// Reads the text of a `config.toml`; `path` is where it is from.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ManifestError> {
        config(path, text)
    }
}

fn config(path: &Path, text: &str) -> Result<PixiConfig, ManifestError> {
    // Errors show lines of the file, and URLs in it can have passwords.
    let manifest = ManifestText { path: path.to_owned(), text: text.to_owned() };
    let masked = |error: ManifestError| ManifestError {
        text: mask_user_info(&error.text),
        message: mask_user_info(&error.message),
        ..error
    };
    read(&manifest).map_err(masked)
}

fn read(manifest: &ManifestText) -> Result<PixiConfig, ManifestError> {
    let document = manifest.parse()?;
    let top = Section::root(manifest, &document);
    let table = |kebab: &str| top.section(key(&top, kebab).as_str());
    let concurrency = table("concurrency")?;
    let count = |name: &str| concurrency.as_ref().map_or(Ok(None), |section| positive(section, name));
    Ok(PixiConfig {
        default_channels: top.strings(&key(&top, "default-channels"))?.unwrap_or_default(),
        authentication_override_file: top.string(&key(&top, "authentication-override-file"))?.map(Into::into),
        tls_no_verify: top.boolean(&key(&top, "tls-no-verify"))?,
        tls_root_certs: roots(&top)?,
        offline: top.boolean("offline")?,
        mirrors: table("mirrors")?.map_or(Ok(BTreeMap::new()), |section| mirrors(&section))?,
        proxy: table("proxy-config")?.map_or(Ok(ProxyConfig::default()), |section| {
            Ok(ProxyConfig {
                http: url(&section, "http")?,
                https: url(&section, "https")?,
                non_proxy_hosts: section.strings("non-proxy-hosts")?.unwrap_or_default(),
            })
        })?,
        s3: table("s3-options")?.map_or(Ok(BTreeMap::new()), |section| buckets(&section))?,
        concurrent_downloads: count("downloads")?,
        concurrent_solves: count("solves")?,
        pypi: table("pypi-config")?.map_or(Ok(PypiConfig::default()), |section| {
            Ok(PypiConfig {
                index_url: url(&section, "index-url")?,
                extra_index_urls: urls(&section, "extra-index-urls")?,
                allow_insecure_host: section.strings("allow-insecure-host")?.unwrap_or_default(),
            })
        })?,
        repodata: table("repodata-config")?.map_or(Ok(RepodataConfig::default()), |section| repodata(&section))?,
    })
}

/// The key as it is written here: pixi still reads the spelling with `_` of before 0.20.
fn key(section: &Section<'_>, kebab: &str) -> String {
    let snake = kebab.replace('-', "_");
    if section.contains(&snake) && !section.contains(kebab) { snake } else { kebab.to_owned() }
}

fn positive(section: &Section<'_>, key: &str) -> Result<Option<NonZeroUsize>, ManifestError> {
    match section.entry(key)? {
        None => Ok(None),
        Some(Element::Value(leaf)) => {
            let number = leaf.value().as_integer().ok_or_else(|| leaf.wanted("an integer"))?;
            let number = usize::try_from(number).ok().and_then(NonZeroUsize::new);
            number.map(Some).ok_or_else(|| leaf.error(format!("`{}.{key}` must be at least 1", section.name())))
        }
        Some(Element::Table(table)) => Err(table.error(format!("`{}.{key}` must be an integer", section.name()))),
    }
}

fn parse(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| !url.cannot_be_a_base())
}

fn url(section: &Section<'_>, key: &str) -> Result<Option<Url>, ManifestError> {
    let Some(text) = section.string(key)? else { return Ok(None) };
    let wrong =
        || section.error_at(key, format!("`{}.{key}` must be a URL, such as https://host.example/", section.name()));
    parse(&text).map(Some).ok_or_else(wrong)
}

fn urls(section: &Section<'_>, key: &str) -> Result<Vec<Url>, ManifestError> {
    let entries = section.list(key)?.unwrap_or_default();
    let url = |entry: &Element<'_>| {
        let wrong = || entry.error(format!("`{}` must be URLs, such as https://host.example/", join(section, key)));
        parse(&entry.string()?).ok_or_else(wrong)
    };
    entries.iter().map(url).collect()
}

fn join(section: &Section<'_>, key: &str) -> String {
    // A key that is a URL is shown without its password.
    format!("{}.{}", section.name(), redact(key))
}

/// Prefixes end in a slash, so that `…/conda-forge` does not stand for `…/conda-forge-beta`.
fn with_slash(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}

fn mirrors(section: &Section<'_>) -> Result<BTreeMap<Url, Vec<Url>>, ManifestError> {
    let mut mirrors = BTreeMap::new();
    for key in section.keys() {
        let wrong = || {
            section
                .error_at_key(key, "the keys of `mirrors` are URLs, such as \"https://conda.anaconda.org/conda-forge\"")
        };
        let origin = parse(key).ok_or_else(wrong)?;
        let targets = urls(section, key)?;
        if targets.is_empty() {
            return Err(
                section.error_at(key, "a list of mirrors needs at least one; the origin itself can be one of them")
            );
        }
        mirrors.insert(with_slash(origin), targets.into_iter().map(with_slash).collect());
    }
    Ok(mirrors)
}

fn roots(top: &Section<'_>) -> Result<Option<TlsRootCerts>, ManifestError> {
    let key = key(top, "tls-root-certs");
    let Some(text) = top.string(&key)? else { return Ok(None) };
    let wrong = |()| top.error_at(&key, "`tls-root-certs` is \"system\" or \"webpki\"");
    text.parse().map(Some).map_err(wrong)
}

/// `s3-options`, which a workspace manifest can have, too.
pub(crate) fn buckets(section: &Section<'_>) -> Result<BTreeMap<String, S3Bucket>, ManifestError> {
    let mut buckets = BTreeMap::new();
    for (name, bucket) in section.sections()? {
        let missing = |key: &str| bucket.error(format!("the bucket {name:?} of `s3-options` needs `{key}`"));
        let endpoint_url = url(&bucket, "endpoint-url")?.ok_or_else(|| missing("endpoint-url"))?;
        let region = bucket.string("region")?.ok_or_else(|| missing("region"))?;
        let path_style = match bucket.string("addressing-style")?.as_deref() {
            // The key of before rattler_config 0.12.
            None => bucket.boolean("force-path-style")?.unwrap_or(false),
            Some("path") => true,
            Some("virtual-host") => false,
            Some(_) => {
                return Err(bucket.error_at("addressing-style", "`addressing-style` is \"path\" or \"virtual-host\""));
            }
        };
        buckets.insert(name.to_owned(), S3Bucket { endpoint_url, region, path_style });
    }
    Ok(buckets)
}

fn repodata(section: &Section<'_>) -> Result<RepodataConfig, ManifestError> {
    let mut config = RepodataConfig { default: forms(section)?, per_channel: BTreeMap::new() };
    for key in section.keys() {
        // What is neither a form nor a URL was a form once (`disable-jlap`).
        let Some(channel) = parse(key) else { continue };
        if let Some(table) = section.section(key)? {
            config.per_channel.insert(channel, forms(&table)?);
        }
    }
    Ok(config)
}

fn forms(section: &Section<'_>) -> Result<RepodataForms, ManifestError> {
    let disabled = |form: &str| section.boolean(&key(section, &format!("disable-{form}")));
    Ok(RepodataForms {
        disable_bzip2: disabled("bzip2")?,
        disable_zstd: disabled("zstd")?,
        disable_sharded: disabled("sharded")?,
    })
}

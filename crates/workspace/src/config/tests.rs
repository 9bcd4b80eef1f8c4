use std::path::Path;

use super::*;

fn parse(text: &str) -> PixiConfig {
    PixiConfig::parse(Path::new("/c/config.toml"), text).unwrap()
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

const FULL: &str = r#"
default-channels = ["conda-forge", "https://chan.example/x"]
authentication-override-file = "/auth.json"
tls-no-verify = true
tls-root-certs = "native"
offline = false
pinning-strategy = "semver"
[mirrors]
"https://conda.anaconda.org/conda-forge" = ["https://m.example/cf", "oci://ghcr.io/channel-mirrors/conda-forge/"]
[proxy-config]
http = "http://u:p@proxy.example:3128"
https = "http://proxy.example:3129"
non-proxy-hosts = [".corp.example", "10.0.0.0/8"]
[s3-options.bucket]
endpoint-url = "https://s3.example"
region = "eu"
addressing-style = "path"
[s3-options.old]
endpoint-url = "https://s3.example"
region = "eu"
force-path-style = false
[concurrency]
downloads = 5
solves = 2
[pypi-config]
index-url = "https://pypi.example/simple"
extra-index-urls = ["https://more.example/simple"]
allow-insecure-host = ["pypi.example:8080"]
keyring-provider = "subprocess"
[repodata-config]
disable-bzip2 = true
disable-jlap = true
[repodata-config."https://prefix.dev"]
disable-sharded = false
[shell]
change-ps1 = 3
"#;

#[test]
fn reads_what_is_ours_and_nothing_else() {
    let config = parse(FULL);
    assert_eq!(config.default_channels, ["conda-forge", "https://chan.example/x"]);
    assert_eq!(config.authentication_override_file.as_deref(), Some(Path::new("/auth.json")));
    assert_eq!((config.tls_no_verify, config.tls_root_certs), (Some(true), Some(TlsRootCerts::System)));
    assert_eq!(config.offline, Some(false));
    assert_eq!(
        config.mirrors[&url("https://conda.anaconda.org/conda-forge/")],
        [url("https://m.example/cf/"), url("oci://ghcr.io/channel-mirrors/conda-forge/")]
    );
    assert_eq!(config.proxy.http, Some(url("http://u:p@proxy.example:3128")));
    assert_eq!(config.proxy.non_proxy_hosts, [".corp.example", "10.0.0.0/8"]);
    assert_eq!((config.s3["bucket"].path_style, config.s3["old"].path_style), (true, false));
    assert_eq!(config.concurrent_downloads.map(NonZeroUsize::get), Some(5));
    assert_eq!(config.concurrent_solves.map(NonZeroUsize::get), Some(2));
    assert_eq!(config.pypi.index_url, Some(url("https://pypi.example/simple")));
    assert_eq!(config.pypi.allow_insecure_host, ["pypi.example:8080"]);
    assert_eq!(config.repodata.default.disable_bzip2, Some(true));
    assert_eq!(config.repodata.per_channel[&url("https://prefix.dev")].disable_sharded, Some(false));
    assert_eq!(parse(""), PixiConfig::default());
    let old = parse("default_channels = [\"x\"]\ntls_no_verify = true\n[repodata_config]\ndisable_zstd = true\n");
    assert_eq!(
        (old.default_channels.len(), old.tls_no_verify, old.repodata.default.disable_zstd),
        (1, Some(true), Some(true))
    );
}

#[test]
fn the_more_important_file_wins_key_by_key() {
    let lower = parse(FULL);
    assert_eq!(PixiConfig::default().over(lower.clone()), lower);
    assert_eq!(lower.clone().over(PixiConfig::default()), lower);
    let upper = parse(
        r#"
default-channels = ["mine"]
tls-no-verify = false
concurrency.downloads = 7
mirrors = { "https://conda.anaconda.org/conda-forge/" = ["https://other.example"], "https://x.example" = ["https://y.example"] }
proxy-config.https = "http://mine.example"
s3-options.bucket = { endpoint-url = "https://mine.example", region = "us" }
pypi-config.extra-index-urls = ["https://mine.example/simple"]
repodata-config = { "https://prefix.dev" = { disable-zstd = true } }
"#,
    );
    let both = upper.over(lower);
    assert_eq!(both.default_channels, ["mine"]);
    assert_eq!((both.tls_no_verify, both.offline), (Some(false), Some(false)));
    assert_eq!(both.concurrent_downloads.map(NonZeroUsize::get), Some(7));
    assert_eq!(both.concurrent_solves.map(NonZeroUsize::get), Some(2));
    assert_eq!(both.mirrors.len(), 2);
    assert_eq!(both.mirrors[&url("https://conda.anaconda.org/conda-forge/")], [url("https://other.example/")]);
    assert_eq!(both.proxy.http, Some(url("http://u:p@proxy.example:3128")));
    assert_eq!((both.proxy.https, both.proxy.non_proxy_hosts), (Some(url("http://mine.example")), vec![]));
    assert_eq!((both.s3.len(), both.s3["bucket"].region.as_str()), (2, "us"));
    assert_eq!(both.pypi.extra_index_urls, [url("https://more.example/simple"), url("https://mine.example/simple")]);
    let forms = both.repodata.per_channel[&url("https://prefix.dev")];
    assert_eq!((forms.disable_zstd, forms.disable_sharded), (Some(true), Some(false)));
}

#[test]
fn wrong_values_are_pointed_at() {
    let cases = [
        ("mirrors = 3", 1, "`mirrors` must be a table"),
        ("[mirrors]\n\"no url\" = [\"https://m.example\"]", 2, "the keys of `mirrors` are URLs"),
        ("[mirrors]\n\"https://a.example\" = [\"b\"]", 2, "`mirrors.https://a.example/` must be URLs"),
        ("[mirrors]\n\"https://a.example\" = []", 2, "at least one"),
        ("\nproxy-config = { http = 1 }", 2, "`proxy-config.http` must be a string"),
        ("proxy-config = { http = \"proxy:3128x\" }", 1, "`proxy-config.http` must be a URL"),
        ("tls-no-verify = \"yes\"", 1, "`tls-no-verify` must be true or false"),
        ("tls-root-certs = \"mine\"", 1, "`tls-root-certs` is \"system\" or \"webpki\""),
        ("concurrency.downloads = 0", 1, "`concurrency.downloads` must be at least 1"),
        ("concurrency.downloads = \"5\"", 1, "`concurrency.downloads` must be an integer"),
        ("[s3-options.b]\nregion = \"x\"", 1, "the bucket \"b\" of `s3-options` needs `endpoint-url`"),
        ("a = ", 1, "value"),
    ];
    for (text, line, expected) in cases {
        let error = PixiConfig::parse(Path::new("/c/config.toml"), text).unwrap_err();
        assert!(error.message.contains(expected), "{text}: {error}");
        assert_eq!(error.line_and_column().map(|(line, _)| line), Some(line), "{text}: {error}");
    }
}

#[test]
fn errors_show_no_password() {
    let text = "[proxy-config]\nhttp = \"http://me:secret@p.example\"\nhttps = 3\n\n[mirrors]\n\"https://me:secret@h.example\" = 3\n";
    let error = PixiConfig::parse(Path::new("/c/config.toml"), text).unwrap_err();
    assert!(!format!("{error} {}", error.text).contains("secret"), "{error:?}");
    let text = "[mirrors]\n\"https://me:secret@h.example\" = 3\n";
    let error = PixiConfig::parse(Path::new("/c/config.toml"), text).unwrap_err();
    assert!(!format!("{error} {}", error.text).contains("secret"), "{error:?}");
}

#[test]
fn places_are_pixis() {
    let shown = |places: &ConfigPlaces| -> Vec<String> {
        places
            .files()
            .into_iter()
            .map(|(path, needed)| format!("{}{}", path.display(), if needed { "!" } else { "" }))
            .collect()
    };
    let places = ConfigPlaces {
        system: "/etc/pixi/config.toml".into(),
        home: Some("/h".into()),
        workspace: Some("/w".into()),
        ..ConfigPlaces::default()
    };
    assert_eq!(
        shown(&places),
        ["/etc/pixi/config.toml", "/h/.config/pixi/config.toml", "/h/.pixi/config.toml", "/w/.pixi/config.toml"]
    );
    let other = ConfigPlaces { xdg_config_home: Some("/x".into()), pixi_home: Some("/p".into()), ..places.clone() };
    assert_eq!(
        shown(&other),
        ["/etc/pixi/config.toml", "/x/pixi/config.toml", "/p/config.toml", "/w/.pixi/config.toml"]
    );
    assert_eq!(shown(&ConfigPlaces { no_config: true, ..places.clone() }), ["/w/.pixi/config.toml"]);
    let named = ConfigPlaces { config_file: Some("/f.toml".into()), ..places };
    assert_eq!(shown(&named), ["/f.toml!", "/w/.pixi/config.toml"]);
}

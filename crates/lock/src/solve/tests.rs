//! Solves against channels made here, on a local disk.

use std::{fs, path::Path};

use rattler_conda_types::{Channel, MatchSpec, ParseMatchSpecOptions, RepoDataRecord, Subdir};
use rattler_solve::{ChannelPriority, ExcludeNewer, SolveStrategy, TimestampPolicy};
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use super::{Repodata, SolveError, SolveInput, conda_subset};
use pixi_oci_net::Client;

/// `SUBDIR/NAME-VERSION-BUILD`, dependencies, what it constrains; the timestamp in days of 2024, if there is one.
type Package<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Option<u64>);

const DAY: u64 = 86_400_000;
const NEW_YEAR_2024: u64 = 1_704_067_200_000;

/// A directory of channels.
struct Channels {
    directory: TempDir,
}

impl Channels {
    fn new(channels: &[(&str, &[Package<'_>])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, packages) in channels {
            for subdir in ["linux-64", "linux-aarch64", "noarch"] {
                let mut entries = serde_json::Map::new();
                for (file, depends, constrains, day) in *packages {
                    let Some(file) = file.strip_prefix(subdir).and_then(|rest| rest.strip_prefix('/')) else {
                        continue;
                    };
                    let mut parts = file.rsplitn(3, '-');
                    let (build, version, name) = (parts.next(), parts.next(), parts.next());
                    let number = build.and_then(|build| build.rsplit('_').next()?.parse::<u64>().ok()).unwrap_or(0);
                    let mut entry = json!({
                        "name": name, "version": version, "build": build, "build_number": number, "subdir": subdir,
                        "depends": depends, "constrains": constrains, "sha256": "0".repeat(64), "md5": "0".repeat(32),
                        "size": 1,
                    });
                    if let Some(day) = day {
                        entry["timestamp"] = json!(NEW_YEAR_2024 + day * DAY);
                    }
                    entries.insert(format!("{file}.conda"), entry);
                }
                let path = directory.path().join(name).join(subdir);
                fs::create_dir_all(&path).unwrap();
                let document = json!({ "info": { "subdir": subdir }, "packages": {}, "packages.conda": entries });
                fs::write(path.join("repodata.json"), document.to_string()).unwrap();
            }
        }
        Self { directory }
    }

    fn channel(&self, name: &str) -> Channel {
        Channel::from_url(Url::from_directory_path(self.directory.path().join(name)).unwrap())
    }

    fn input(&self, specs: &[&str], channels: &[&str]) -> SolveInput {
        SolveInput {
            specs: specs.iter().map(|text| spec(text)).collect(),
            constraints: Vec::new(),
            channels: channels.iter().map(|name| self.channel(name)).collect(),
            subdir: Subdir::Linux64,
            virtual_packages: vec!["__glibc=2.28".parse().unwrap(), "__unix=0=0".parse().unwrap()],
            channel_priority: ChannelPriority::Strict,
            strategy: SolveStrategy::Highest,
            exclude_newer: None,
            locked: Vec::new(),
        }
    }
}

fn spec(text: &str) -> MatchSpec {
    MatchSpec::from_str(text, ParseMatchSpecOptions::lenient()).unwrap()
}

fn repodata(cache: &Path, offline: bool) -> Repodata {
    let client = Client::new(&pixi_oci_net::ClientSettings::default()).unwrap();
    Repodata::new(&client, cache, offline, std::num::NonZeroUsize::MIN)
}

fn records(input: &SolveInput) -> Result<Vec<RepoDataRecord>, SolveError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cache = tempfile::tempdir().unwrap();
    runtime.block_on(repodata(cache.path(), false).solve(input, &|| false))
}

fn names(records: &[RepoDataRecord]) -> String {
    let name = |record: &RepoDataRecord| {
        let record = &record.package_record;
        format!("{}-{}-{}", record.name.as_normalized(), record.version, record.build)
    };
    records.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn solved(input: &SolveInput) -> String {
    match records(input) {
        Ok(records) => names(&records),
        Err(error) => panic!("{error}"),
    }
}

const MAIN: &[Package<'_>] = &[
    ("linux-64/python-3.11.9-h1_0", &["openssl >=3,<4", "__glibc >=2.17"], &[], Some(1)),
    ("linux-64/python-3.12.4-h1_0", &["openssl >=3,<4", "__glibc >=2.17"], &[], Some(30)),
    ("linux-aarch64/python-3.11.9-h1_0", &["openssl >=3,<4"], &[], Some(1)),
    ("linux-64/openssl-3.0.1-h1_0", &[], &[], Some(1)),
    ("linux-64/openssl-3.3.0-h1_0", &[], &[], Some(60)),
    ("linux-64/openssl-3.3.0-h1_1", &[], &[], None),
    ("linux-aarch64/openssl-3.0.1-h1_0", &[], &[], Some(1)),
    ("noarch/flask-3.0.0-py_0", &["python >=3.9", "jinja2"], &[], Some(2)),
    ("noarch/jinja2-3.1.0-py_0", &["python"], &["flask >=2"], Some(2)),
    ("noarch/old-1.0-0", &["openssl <3.1"], &[], Some(2)),
    ("noarch/new-1.0-0", &["openssl >=3.2"], &[], Some(2)),
    ("noarch/gpu-1.0-0", &["__cuda >=12"], &[], Some(2)),
];
const OTHER: &[Package<'_>] =
    &[("linux-64/openssl-3.9.0-h1_0", &[], &[], Some(9)), ("linux-64/extra-1.0-0", &[], &[], Some(9))];

fn channels() -> Channels {
    Channels::new(&[("main", MAIN), ("other", OTHER)])
}

#[test]
fn the_highest_versions_and_builds_for_the_platform_that_was_asked_for() {
    let channels = channels();
    let input = channels.input(&["flask"], &["main"]);
    assert_eq!(solved(&input), "flask-3.0.0-py_0 jinja2-3.1.0-py_0 openssl-3.3.0-h1_1 python-3.12.4-h1_0");
    let foreign = SolveInput { subdir: Subdir::LinuxAarch64, ..input };
    assert_eq!(solved(&foreign), "flask-3.0.0-py_0 jinja2-3.1.0-py_0 openssl-3.0.1-h1_0 python-3.11.9-h1_0");
}

#[test]
fn options_decide() {
    let channels = channels();
    let input = |specs: &[&str]| channels.input(specs, &["main", "other"]);
    let new_year = ExcludeNewer::from_datetime(jiff_timestamp("2024-01-20T00:00:00Z"));
    let cases: [(&str, SolveInput, &str); 8] = [
        ("priority strict", input(&["openssl"]), "openssl-3.3.0-h1_1"),
        (
            "priority disabled",
            SolveInput { channel_priority: ChannelPriority::Disabled, ..input(&["openssl"]) },
            "openssl-3.9.0-h1_0",
        ),
        ("second channel", input(&["extra"]), "extra-1.0-0"),
        (
            "lowest",
            SolveInput { strategy: SolveStrategy::LowestVersion, ..input(&["python"]) },
            "openssl-3.0.1-h1_0 python-3.11.9-h1_0",
        ),
        (
            "lowest direct",
            SolveInput { strategy: SolveStrategy::LowestVersionDirect, ..input(&["python"]) },
            "openssl-3.3.0-h1_1 python-3.11.9-h1_0",
        ),
        (
            "exclude newer, unknown times allowed",
            SolveInput {
                exclude_newer: Some(new_year.with_timestamp_policy(TimestampPolicy::AllowMissing)),
                ..input(&["python"])
            },
            "openssl-3.3.0-h1_1 python-3.11.9-h1_0",
        ),
        (
            "constraints bind what is chosen, and choose nothing",
            SolveInput { constraints: vec![spec("openssl <3.1"), spec("extra")], ..input(&["python"]) },
            "openssl-3.0.1-h1_0 python-3.12.4-h1_0",
        ),
        (
            "virtual packages",
            SolveInput { virtual_packages: vec!["__cuda=12.4".parse().unwrap()], ..input(&["gpu"]) },
            "gpu-1.0-0",
        ),
    ];
    for (case, input, expected) in cases {
        assert_eq!(solved(&input), expected, "{case}");
    }
}

fn jiff_timestamp(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_was_locked_stays_while_it_can() {
    let channels = channels();
    let old = records(&channels.input(&["python ==3.11.9", "openssl ==3.0.1"], &["main"])).unwrap();
    let again = SolveInput { locked: old.clone(), ..channels.input(&["python", "flask"], &["main"]) };
    assert_eq!(solved(&again), "flask-3.0.0-py_0 jinja2-3.1.0-py_0 openssl-3.0.1-h1_0 python-3.11.9-h1_0");
    let forced = SolveInput { locked: old, ..channels.input(&["python >=3.12"], &["main"]) };
    assert_eq!(solved(&forced), "openssl-3.0.1-h1_0 python-3.12.4-h1_0");
}

#[test]
fn an_environment_takes_its_own_part_of_a_group() {
    let channels = channels();
    let group = records(&channels.input(&["flask", "old"], &["main"])).unwrap();
    assert_eq!(names(&conda_subset(&group, &[spec("old")])), "old-1.0-0 openssl-3.0.1-h1_0");
    assert_eq!(names(&conda_subset(&group, &[spec("python")])), "openssl-3.0.1-h1_0 python-3.12.4-h1_0");
    assert_eq!(names(&conda_subset(&group, &[])), "");
}

fn failure(specs: &[&str]) -> String {
    let channels = channels();
    let text = records(&channels.input(specs, &["main"])).unwrap_err().to_string();
    text.replace(&channels.directory.path().display().to_string(), "DIR")
}

#[test]
fn failures_say_why() {
    assert_eq!(
        failure(&["flaskk"]),
        "no channel has a package `flaskk`; searched: file://DIR/main; did you mean `flask`?"
    );
    assert_eq!(failure(&["zzz"]), "no channel has a package `zzz`; searched: file://DIR/main");
    assert_eq!(
        failure(&["python >=3.13"]),
        "no version of python matches `python >=3.13`; the channels have 3.12.4, 3.11.9"
    );
    assert_eq!(
        failure(&["old", "new"]),
        "the requirements cannot be met together:
The following packages are incompatible
├─ old * cannot be installed because there are no viable options:
│  └─ old 1.0 would require
│     └─ openssl <3.1, which cannot be installed because there are no viable options:
│        └─ openssl 3.0.1, which conflicts with the versions reported above.
└─ new * cannot be installed because there are no viable options:
   └─ new 1.0 would require
      └─ openssl >=3.2, which cannot be installed because there are no viable options:
         ├─ openssl 3.3.0, which conflicts with the versions reported above.
         └─ openssl 3.3.0, which conflicts with the versions reported above."
    );
    let cuda = failure(&["gpu"]);
    assert!(cuda.contains("__cuda"), "{cuda}");
}

#[test]
fn broken_channels_are_one_clear_error() {
    let broken = |text: &str| {
        let channels = channels();
        fs::write(channels.directory.path().join("main/linux-64/repodata.json"), text).unwrap();
        records(&channels.input(&["python"], &["main"])).unwrap_err().to_string()
    };
    for text in
        ["", "no json", "[]", r#"{"packages.conda": 7}"#, r#"{"packages.conda": {"python-1-0.conda": {"name": 1}}}"#]
    {
        let error = broken(text);
        assert!(error.starts_with("cannot read the packages of file://") && !error.contains('\n'), "{text}: {error}");
    }
    let channels = channels();
    let error = records(&channels.input(&["python"], &["nowhere"])).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn nothing_is_said_to_a_server_offline_and_credentials_are_not_told() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let channels = channels();
    let url = Url::parse("http://me:secret@127.0.0.1:1/t/tk-secret/chan").unwrap();
    let input = SolveInput { channels: vec![Channel::from_url(url)], ..channels.input(&["python"], &["main"]) };
    for offline in [true, false] {
        let error = runtime.block_on(repodata(cache.path(), offline).solve(&input, &|| false)).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(error.contains("without `--offline`"), offline, "{error}");
    }
}

#[test]
fn an_interrupted_solve_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // A server that accepts and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/chan", listener.local_addr().unwrap())).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let channels = channels();
    let input = SolveInput { channels: vec![Channel::from_url(url)], ..channels.input(&["python"], &["main"]) };
    let error = runtime.block_on(repodata(cache.path(), false).solve(&input, &|| true)).unwrap_err();
    assert!(matches!(error, SolveError::Interrupted), "{error}");
}

//! What is in packages that are neither here nor known: read out of parts of their archives, where servers send parts. Nothing
//! vouches for it, so that it says what a build will probably do, and is compared with the archive when that is here.

use std::{collections::BTreeSet, ops::Range, path::Path, sync::Mutex};

use futures_util::{StreamExt, stream};
use pixi_oci_fetch::{FetchItem, NoPart, PartialArchive};
use pixi_oci_lock::ArchiveLocation;
use pixi_oci_net::{Client, RetryPolicy};
use pixi_oci_package::{Python, WheelFacts, read_info, read_info_part};
use pixi_oci_wheel::{DirectUrl, WheelExpected, read_wheel, read_wheel_part};
use rattler_conda_types::PackageRecord;

use crate::{Error, package::Archive, package::Facts, package::Package, package::PackageKind};
use pixi_oci_project::{Heard, HeardArchive, HeardFacts, Session, Target};

/// So many for each download that may run: these are small, and wait for answers.
const AT_A_TIME: usize = 4;

/// Fills in what servers say of unknown packages, and gives the names of these. `scratch` is for temporary files. What a
/// server does not say stays unknown.
pub fn hear(
    packages: &mut [Package<'_>],
    target: &Target,
    session: &Session,
    scratch: &Path,
) -> Result<Vec<String>, Error> {
    let python = target.python()?;
    let unknown = packages.iter().enumerate().filter(|(_, package)| package.is_unknown());
    let questions: Vec<(usize, Question)> =
        unknown.filter_map(|(at, package)| Some((at, Question::about(package, python.as_ref())?))).collect();
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let client = session.client()?;
    // Of hosts where nothing answers no more is asked.
    let gone: &Mutex<BTreeSet<String>> = &Mutex::default();
    let is_gone = |host: &str| gone.lock().is_ok_and(|gone| gone.contains(host));
    let answers = stream::iter(questions).map(|(at, question)| async move {
        if let Some(known) = session.heard.get(&question.key) {
            return Some((at, known));
        }
        let (key, host) = (question.key.clone(), question.host());
        if is_gone(&host) {
            return None;
        }
        match question.ask(client, scratch).await {
            Ok(heard) => {
                session.heard.put(key, heard.clone());
                Some((at, heard))
            }
            Err(NoPart::Unreachable) => {
                gone.lock().ok()?.insert(host);
                None
            }
            Err(NoPart::Refused) => None,
        }
    });
    let at_a_time = session.resources.downloads.get() * AT_A_TIME;
    let answers: Vec<Option<(usize, HeardArchive)>> =
        session.run(answers.buffer_unordered(at_a_time).collect::<Vec<_>>())?;
    let mut names = Vec::new();
    for (at, heard) in answers.into_iter().flatten() {
        let package = &mut packages[at];
        let Some(sha256) = package.sha256() else { continue };
        package.archive = Some(Archive::known(sha256, heard.size));
        package.facts = Some(match heard.facts {
            HeardFacts::Conda(facts) => Facts::Conda { facts, links: Default::default() },
            HeardFacts::Wheel(facts) => Facts::Wheel(facts),
        });
        names.push(package.name.clone());
    }
    names.sort();
    Ok(names)
}

/// Compares what is known of packages with what was heard of them.
pub fn check_heard(packages: &[Package<'_>], heard: &Heard) -> Result<(), Error> {
    for package in packages {
        let (Some(archive), Some(said)) = (&package.archive, heard_of(package, heard)) else { continue };
        let agrees = match (&package.facts, &said.facts) {
            (Some(Facts::Conda { facts, .. }), HeardFacts::Conda(said)) => facts == said,
            (Some(Facts::Wheel(facts)), HeardFacts::Wheel(said)) => facts == said,
            _ => true,
        };
        if !agrees || archive.size != said.size {
            return Err(Error::Contradiction { package: package.label.clone(), host: said.host });
        }
    }
    Ok(())
}

/// Compares what was heard of a package with its archive.
pub fn check_archive(package: &Package<'_>, heard: &Heard) -> Result<(), Error> {
    let Some(said) = heard_of(package, heard) else { return Ok(()) };
    let (archive, path) = package.file()?;
    let agrees = match (&package.kind, &said.facts) {
        (PackageKind::Conda(record), HeardFacts::Conda(said)) => {
            read_info(path, &record.package_record)?.facts() == *said
        }
        (PackageKind::Wheel(wheel), HeardFacts::Wheel(said)) => {
            let paths = |python| read_wheel(path, &wheel.expected())?.paths(python, wheel.direct_url.as_ref());
            package.python().map(paths).transpose()?.is_none_or(|paths| paths == said.paths)
        }
        _ => true,
    };
    if !agrees || archive.size != said.size {
        return Err(Error::Contradiction { package: package.label.clone(), host: said.host });
    }
    Ok(())
}

/// What servers said of a package whose place is decided, if they were asked.
pub fn heard_of(package: &Package<'_>, heard: &Heard) -> Option<HeardArchive> {
    heard.get(&package.facts_key(package.python())?)
}

/// What is asked of an archive.
struct Question {
    item: FetchItem,
    key: String,
    kind: WantedFacts,
}

enum WantedFacts {
    Conda(Box<PackageRecord>),
    Wheel(Box<(WheelExpected, Python, Option<DirectUrl>)>),
}

impl Question {
    fn about(package: &Package<'_>, python: Option<&Python>) -> Option<Self> {
        let item = FetchItem::for_package(package.locked?)?;
        let kind = match &package.kind {
            // Only of a zip the metadata is in one place; and what it must be has to be locked.
            PackageKind::Conda(record) if record.url.path().ends_with(".conda") && item.size.is_some() => {
                WantedFacts::Conda(Box::new(record.package_record.clone()))
            }
            PackageKind::Conda(_) => return None,
            PackageKind::Wheel(wheel) => {
                WantedFacts::Wheel(Box::new((wheel.expected(), python?.clone(), wheel.direct_url.clone())))
            }
        };
        Some(Self { item, key: package.facts_key(python)?, kind })
    }

    fn host(&self) -> String {
        match &self.item.location {
            ArchiveLocation::Url(url) => url.authority().to_owned(),
            ArchiveLocation::Path(_) => String::new(),
        }
    }

    async fn ask(self, client: &Client, scratch: &Path) -> Result<HeardArchive, NoPart> {
        let retry = RetryPolicy::default();
        let mut part = PartialArchive::end_of(&self.item, client, scratch, retry).await?;
        loop {
            let missing = {
                let (path, here) = part.parts();
                self.kind.missing(path, here).map_err(|_| NoPart::Refused)?
            };
            if missing.is_empty() {
                break;
            }
            part.add(missing, client, retry).await?;
        }
        let (size, host) = (part.len, part.host.clone());
        let read = move || {
            let (path, here) = part.parts();
            self.kind.read(path, here).ok()
        };
        let facts = tokio::task::spawn_blocking(read).await.ok().flatten().ok_or(NoPart::Refused)?;
        Ok(HeardArchive { size, facts, host })
    }
}

impl WantedFacts {
    fn missing(&self, path: &Path, here: &[Range<u64>]) -> Result<Vec<Range<u64>>, pixi_oci_package::Error> {
        match self {
            Self::Conda(record) => pixi_oci_package::missing_info(path, here, record),
            Self::Wheel(wheel) => pixi_oci_wheel::missing_info(path, here, &wheel.0),
        }
    }

    fn read(&self, path: &Path, here: &[Range<u64>]) -> Result<HeardFacts, pixi_oci_package::Error> {
        Ok(match self {
            Self::Conda(record) => HeardFacts::Conda(read_info_part(path, here, record)?.facts()),
            Self::Wheel(wheel) => {
                let (expected, python, direct_url) = &**wheel;
                let info = read_wheel_part(path, here, expected)?;
                let paths = info.paths(python, direct_url.as_ref())?;
                HeardFacts::Wheel(WheelFacts { paths, file_name: info.file_name })
            }
        })
    }
}

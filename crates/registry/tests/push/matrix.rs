//! The fault matrix: every kind of request meets every fault, once and for good. What comes of it is declared in
//! `matrix.txt`: `ok`, the name of the refusal, or `-` for an error without a name.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_registry::{Access, Error};
use pixi_oci_test_registry::{Fault, Kind, Profile, Registry, Rule, checker, fake::Auth, http::Response};

use super::fixture::{
    BASE, REPOSITORY, Release, Setup, assert_never_incomplete, assert_no_canary, release, setup, start, variable,
};

const KINDS: [(&str, Kind); 12] = [
    ("ping", Kind::Ping),
    ("token", Kind::Token),
    ("HEAD blob", Kind::BlobHead),
    ("POST upload", Kind::UploadStart),
    ("mount", Kind::Mount),
    ("PATCH upload", Kind::UploadPatch),
    ("PUT upload", Kind::UploadPut),
    ("GET blob", Kind::BlobGet),
    ("GET sent blob", Kind::BlobGet),
    ("PUT manifest", Kind::ManifestPut),
    ("GET manifest", Kind::ManifestGet),
    ("HEAD manifest", Kind::ManifestHead),
];

fn faults() -> Vec<(&'static str, Fault)> {
    let error = |status, code| Fault::Answer(Response::error(status, code));
    let limited = |response: Response| Fault::Answer(response);
    vec![
        ("refuse", Fault::Refuse),
        ("reset before", Fault::ResetBefore),
        ("reset after", Fault::ResetAfter),
        ("cut up", Fault::CutUpload(1)),
        ("cut down", Fault::CutAnswer(1)),
        ("stall", Fault::Stall),
        ("slow", Fault::Trickle),
        ("400", error(400, "UNSUPPORTED")),
        ("401", error(401, "UNAUTHORIZED")),
        ("403 limit", Fault::Answer(Response::new(403).body("text/plain", "You have exceeded a secondary rate limit"))),
        ("403", error(403, "DENIED")),
        ("404", error(404, "NAME_UNKNOWN")),
        ("408", error(408, "TIMEOUT")),
        ("413", Fault::Answer(Response::new(413).body("text/html", "<html>413 Request Entity Too Large</html>"))),
        ("416", error(416, "BLOB_UPLOAD_INVALID")),
        ("429 seconds", limited(Response::error(429, "TOOMANYREQUESTS").header("Retry-After", "7"))),
        (
            "429 date",
            limited(
                Response::error(429, "TOOMANYREQUESTS")
                    .header("Date", "Wed, 21 Oct 2015 07:28:00 GMT")
                    .header("Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT"),
            ),
        ),
        ("500", error(500, "UNKNOWN")),
        ("502", Fault::Answer(Response::new(502).body("text/html", "<html>Bad Gateway</html>"))),
        ("503", error(503, "UNAVAILABLE")),
        ("504", Fault::Answer(Response::new(504))),
        ("522", Fault::Answer(Response::new(522))),
        ("200 web page", Fault::Answer(Response::new(200).body("text/html", "<html>Please log in</html>"))),
        ("200 half JSON", Fault::Answer(Response::new(200).body("application/json", "{\"token\":\"abc"))),
    ]
}

/// One cell: the registry and what came of it.
struct Cell {
    kind: &'static str,
    fault: &'static str,
    once: String,
    always: String,
}

/// A registry that wants tokens and has two blobs of the image in another repository, so that every kind of request
/// occurs.
fn registry(release: &Release) -> Arc<Registry> {
    let auth = Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: false, post: true };
    let registry = start(Profile { auth, ..Profile::plain() });
    for (digest, bytes) in release.image.blobs.iter().take(2) {
        registry.put_blob(BASE, digest, bytes);
    }
    registry
}

async fn run(release: &Release, (name, kind): (&str, Kind), rule: Rule, context: &str) -> String {
    let registry = registry(release);
    let mut setup = setup(&registry);
    if rule.times > 1 {
        // Nothing else may be slower than this by chance; if it is, it is tried again.
        setup.options.progress_timeout = Duration::from_secs(1);
    }
    let mut plan = release.plan.clone();
    match kind {
        Kind::Mount => plan.mount_from = vec![BASE.into()],
        Kind::UploadPatch => setup.options.chunk_size = Some(20),
        _ => {}
    }
    let limit = rule.fault.clone();
    registry.rules([rule]);
    let fetches = name == "GET blob";
    let result = if fetches {
        fetch(&setup, &registry, release).await
    } else {
        setup.push(&registry.address, &plan).await.map(drop)
    };
    let met = registry.log().iter().filter(|entry| entry.kind == kind && entry.faulty).count();
    assert!(met > 0, "{context}: the fault was never met");
    if let Fault::Answer(answer) = limit
        && answer.status == 429
    {
        // Every attempt but the last waits as long as the registry says; two uploads beside it may have been given up.
        let waits = setup.clock.waits.lock().unwrap();
        let obeyed = waits.iter().filter(|wait| **wait >= Duration::from_secs(7)).count();
        assert!(obeyed >= 1 && obeyed + 3 >= met, "{context}: Retry-After is the least: {waits:?} for {met}");
    }
    assert_never_incomplete(&registry, context);
    let said = format!("{result:?} {:?} {:?}", setup.events.lock().unwrap(), registry.log());
    assert_no_canary(&said, context);
    registry.heal();
    match result {
        Ok(()) => {
            if !fetches {
                let latest = registry.tag(REPOSITORY, "latest");
                assert_eq!(latest.as_deref(), Some(release.image.digest()), "{context}");
            }
            "ok".into()
        }
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.to_string().contains('\n'), "{context}: {error}");
            // Whatever happened: the next push ends it.
            setup.push(&registry.address, &plan).await.unwrap_or_else(|error| panic!("{context}, again: {error}"));
            assert_eq!(registry.tag(REPOSITORY, "latest").as_deref(), Some(release.image.digest()), "{context}");
            assert_never_incomplete(&registry, context);
            error.name().unwrap_or("-").into()
        }
    }
}

/// A blob, as base images are fetched.
async fn fetch(setup: &Setup, registry: &Registry, release: &Release) -> Result<(), Error> {
    let (digest, bytes) = release.image.blobs.iter().next().unwrap();
    registry.put_blob(REPOSITORY, digest, bytes);
    let client = setup.connect(&registry.address, Access::Pull);
    let mut file = tempfile::tempfile().unwrap();
    client.fetch_blob(&Descriptor::of(MediaType::ImageLayerGzip, bytes), &mut file).await?;
    let mut found = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    std::io::Read::read_to_end(&mut file, &mut found).unwrap();
    assert_eq!(checker::digest(&found), *digest);
    Ok(())
}

fn table(cells: &[Cell]) -> String {
    let mut text = String::from("# request      | fault         | once             | always\n");
    for cell in cells {
        writeln!(text, "{:14} | {:13} | {:16} | {}", cell.kind, cell.fault, cell.once, cell.always).unwrap();
    }
    text
}

/// Both halves of a cell, with a runtime of their own.
fn cell(release: &Release, kind: (&'static str, Kind), (fault_name, fault): (&'static str, Fault)) -> Cell {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |rule, times| {
        let context = format!("{}, {fault_name}, {times}", kind.0);
        runtime.block_on(run(release, kind, rule, &context))
    };
    let once = run(Rule::once(kind.1, fault.clone()), "once");
    Cell { kind: kind.0, fault: fault_name, once, always: run(Rule::always(kind.1, fault), "always") }
}

#[test]
fn every_request_meets_every_fault() {
    let release = release(2);
    let pairs: Vec<_> =
        KINDS.into_iter().flat_map(|kind| faults().into_iter().map(move |fault| (kind, fault))).collect();
    // What stalls waits for real time: many at once.
    let next = AtomicUsize::new(0);
    let work = || {
        let mut cells = Vec::new();
        while let Some((kind, fault)) = pairs.get(next.fetch_add(1, Ordering::SeqCst)) {
            cells.push(cell(&release, *kind, fault.clone()));
        }
        cells
    };
    let mut cells: Vec<Cell> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let place = |cell: &Cell| pairs.iter().position(|(kind, fault)| (kind.0, fault.0) == (cell.kind, cell.fault));
    cells.sort_by_key(place);
    assert_eq!(cells.len(), 12 * 24);
    let (found, declared) = (table(&cells), include_str!("matrix.txt"));
    let differences = found.lines().zip(declared.lines()).filter(|(found, declared)| found != declared);
    let text: Vec<String> = differences.map(|(found, declared)| format!("is  {found}\nnot {declared}")).collect();
    if variable("PIXI_OCI_WRITE_MATRIX").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/push/matrix.txt"), &found).unwrap();
    }
    assert!(text.is_empty() && found == declared, "{}", text.join("\n"));
}

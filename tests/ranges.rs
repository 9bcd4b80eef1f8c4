//! `plan` on a machine that has nothing: what is in packages is read out of parts of their archives. Nothing vouches for that: it
//! is told apart, kept nowhere, and compared with the archives in a run that has both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use pixi_oci_plan::{PlanOptions, build, plan};
use serde_json::Value;

use crate::{
    common::{
        channel_server::{ChannelServer, Fault},
        packages::{Package, file, noise, package, symlink},
        pypi::locked,
        sandbox::{Outcome, Sandbox},
        wheels::{Wheel, entry_points, file as wheel_file, wheel},
        workspace::workspace,
    },
    layer_keys::{project, session},
};

fn pure() -> Wheel {
    let files = (0..30).map(|n| wheel_file(&format!("pure/m{n}.bin"), noise(n, 30_000)));
    let scripts = entry_points("pure", "[console_scripts]\npure = pure:main\n");
    wheel("pure", files.chain([scripts]))
}

/// Packages whose metadata is at the end, in the middle of much else, and in many files.
fn packages() -> Vec<Package> {
    let python = package("python", [file("bin/python3.12", noise(1, 300_000)).mode(0o755)]).version("3.12.1");
    let many = (0..3000).map(|n| file(&format!("share/many/{n:04}-of-many-files-with-a-long-name"), format!("{n}")));
    let module = package("module", [file("site-packages/module/__init__.py", "")]).noarch("python");
    vec![python, package("many", many), module, package("big", [file("lib/big", noise(2, 700_000))])]
}

/// A workspace whose packages are on a server.
struct Machine {
    sandbox: Sandbox,
    channel: ChannelServer,
}

impl Machine {
    fn new(packages: Vec<Package>) -> Self {
        let sandbox = Sandbox::new();
        let channel = ChannelServer::new(&sandbox.path("ws"));
        let pure = locked(&pure()).at(&format!("{}/wheels", channel.address));
        workspace(packages).channel(&format!("{}/channel", channel.address)).pypi([pure]).write(&sandbox.path("ws"));
        Self { sandbox, channel }
    }

    fn plan(&self, arguments: &[&str]) -> Value {
        let all = [&["plan", "ws", "--arch", "amd64", "--json"], arguments].concat();
        let plans: Value = serde_json::from_str(&self.sandbox.run(&all).success().stdout).unwrap();
        plans[0].clone()
    }

    /// The requests for an archive.
    fn asked(&self, name: &str) -> usize {
        self.channel.requests().iter().filter(|request| request.target.contains(&format!("/{name}-"))).count()
    }
}

fn keys(plan: &Value) -> BTreeMap<String, String> {
    let layers = plan["platforms"][0]["layers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    layers.map(|layer| (text(&layer["packages"][0]["name"]), text(&layer["key"]))).collect()
}

fn strings(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn a_machine_with_nothing_knows_every_key_and_downloads_no_package() {
    let machine = Machine::new(packages());
    let planned = machine.plan(&[]);
    assert_eq!(planned["platforms"][0]["unknownPackages"], serde_json::json!([]), "{planned:#}");
    let unverified = ["big", "many", "module", "pypi:pure", "python"];
    assert_eq!(strings(&planned["platforms"][0]["unverifiedPackages"]), unverified.into());
    assert_eq!(planned["platforms"][0]["unknownSizes"], serde_json::json!([]), "the server says the wheel's");
    assert!(machine.channel.requests().iter().all(|request| request.headers.contains_key("range")));
    for name in ["python", "module", "big"] {
        assert_eq!(machine.asked(name), 1, "{name}");
    }
    assert!(machine.asked("many") <= 2 && machine.asked("pure") <= 2, "{:?}", machine.channel.asked());
    let sent = machine.channel.sent();
    assert!(sent < 500_000, "{sent} bytes of 2 MB");
    // Nothing of it is kept.
    let again = machine.plan(&[]);
    assert_eq!(machine.channel.sent(), 2 * sent);
    assert!(!machine.sandbox.path("../cache/pixi-oci").exists(), "a plan makes no cache");
    assert_eq!(keys(&again), keys(&planned));
    // They are those of the build.
    let outcome = machine.sandbox.run(&["build", "ws", "--arch", "amd64", "-o", "oci:out", "--json"]).success();
    let built: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let layers = built["images"][0]["layers"].as_array().unwrap().iter();
    let made: BTreeSet<&str> = layers.filter_map(|layer| layer["key"].as_str()).collect();
    assert_eq!(keys(&planned).values().map(String::as_str).collect::<BTreeSet<_>>(), made);
    // What is known is not asked for.
    let before = machine.channel.requests().len();
    let known = machine.plan(&[]);
    assert_eq!(
        (machine.channel.requests().len(), known["platforms"][0]["unverifiedPackages"].is_null()),
        (before, true)
    );
}

#[test]
fn offline_and_of_servers_without_ranges_nothing_is_known() {
    let machine = Machine::new(packages());
    let offline = machine.plan(&["--offline"]);
    assert_eq!(offline["platforms"][0]["unknownPackages"].as_array().unwrap().len(), 5);
    assert_eq!(machine.channel.requests().len(), 0);
    let whole = fs::read(machine.sandbox.path("ws/channel/linux-64/big-1.0-h1234567_0.conda")).unwrap();
    for answers in [
        vec![Fault::Bytes(whole)],
        vec![Fault::Status(403, Vec::new())],
        vec![Fault::Encoding("gzip")],
        vec![Fault::Endless],
        // Of one length, and then of another.
        vec![Fault::Status(206, vec![("Content-Range", "bytes 0-9/10".into())])],
        vec![Fault::Status(206, vec![("Content-Range", "bytes 0-9/99999999999999999999".into())])],
        vec![Fault::Status(206, vec![("Content-Range", "bytes */*".into())])],
    ] {
        machine.channel.faults("big-1.0-h1234567_0.conda", answers.clone());
        let planned = machine.plan(&[]);
        assert_eq!(strings(&planned["platforms"][0]["unknownPackages"]), ["big"].into(), "{answers:?}");
        assert_eq!(planned["unpredicted"][0]["reason"], "unknownPackages");
    }
    // One that is busy is asked again.
    machine.channel.faults("big-1.0-h1234567_0.conda", [Fault::Status(503, vec![("Retry-After", "0".into())])]);
    assert_eq!(machine.plan(&[])["platforms"][0]["unknownPackages"], serde_json::json!([]));
    // A tar has its metadata anywhere.
    let tars = Machine::new(vec![packages().remove(0), package("old", [file("bin/old", "o")]).tar_bz2()]);
    assert_eq!(strings(&tars.plan(&[])["platforms"][0]["unknownPackages"]), ["old"].into());
    assert_eq!(tars.asked("old"), 0);
}

/// Where links lead only the whole archive tells.
#[test]
fn an_environment_that_depends_on_where_links_lead_stays_unknown() {
    let linked = package("linked", [symlink("lib64", "lib"), file("lib/linked", "l")]);
    let through = package("through", [file("lib64/through", "t")]);
    let machine = Machine::new(packages().into_iter().chain([linked, through]).collect());
    let planned = machine.plan(&[]);
    assert_eq!(planned["unpredicted"][0]["reason"], "unknownPackages", "{planned:#}");
    assert_eq!(planned["platforms"][0]["unknownPackages"].as_array().unwrap().len(), 7);
    machine.sandbox.run(&["build", "ws", "-o", "oci:out"]).success();
}

/// Two archives of one package that have one length, and another path.
fn alike() -> (Vec<u8>, Vec<u8>) {
    let bytes = |path: String| package("tool", [file(&path, noise(3, 90_000)).mode(0o755)]).bytes();
    let honest = bytes("bin/tool".into());
    let others = (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| [a, b]));
    let mut others = others.map(|[a, b]| bytes(format!("bin/to{}{}", char::from(a), char::from(b))));
    let other = others.find(|other| other.len() == honest.len() && *other != honest).expect("one of one length");
    (honest, other)
}

#[test]
fn a_server_that_says_something_else_by_parts_is_named() {
    let (honest, other) = alike();
    let sandbox = Sandbox::new();
    let channel = ChannelServer::new(&sandbox.path("ws"));
    let tool = package("tool", [file("bin/tool", "")]);
    let ws = workspace([tool]).platforms(&["linux-64"]).channel(&format!("{}/channel", channel.address));
    ws.archive("tool", honest).write(&sandbox.path("ws"));
    let mut session = session(&sandbox, 2, 1 << 20);
    session.offline = false;
    let project = project(&sandbox, &session);
    let to = format!("oci:{}", sandbox.path("out").display());

    channel.lie(".conda", other);
    let (planned, _) = plan(std::slice::from_ref(&project), PlanOptions::default(), None, &session).unwrap().remove(0);
    assert!(planned.platforms[0].unknown_packages.is_empty());
    let error = build(&project, Some(&to), &session).unwrap_err();
    let text = pixi_oci_net::cause(&error);
    let host = channel.address.strip_prefix("http://").unwrap();
    assert!(text.contains("tool 1.0") && text.contains(&format!("what {host} answered")), "{text}");
    assert!(!sandbox.path("out").exists());
    // Another run believes the archive, and knows nothing of what was said.
    sandbox.run(&["build", "ws", "-o", "oci:out"]).success();
}

/// What a hostile server sends for a part is a reason not to know, whatever it is.
#[test]
fn hostile_parts_are_not_believed() {
    let machine = Machine::new(packages());
    let honest = fs::read(machine.sandbox.path("ws/channel/linux-64/big-1.0-h1234567_0.conda")).unwrap();
    let end = honest.len() - 22;
    let at = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = honest.clone();
        change(&mut bytes);
        bytes
    };
    let word = |place: usize, value: u32| at(&|bytes| bytes[place..place + 4].copy_from_slice(&value.to_le_bytes()));
    let member = honest.windows(5).rposition(|text| text == b"info-").unwrap() - 46;
    let lies = [
        vec![0; honest.len()],
        at(&|bytes| bytes.truncate(bytes.len() - 1)),
        at(&|bytes| bytes.extend([0; 9])),
        // The directory begins before the file, is nearly all of it, or has more members.
        word(end + 16, u32::MAX - 1),
        word(end + 12, honest.len() as u32 - 40),
        at(&|bytes| bytes[end + 10] = 200),
        // The metadata is longer than the file, lies over another member, or elsewhere.
        word(member + 20, u32::MAX - 1),
        word(member + 42, 0),
        word(member + 42, u32::MAX - 1),
        at(&|bytes| bytes[end - 300..end - 200].fill(7)),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        machine.channel.lie("big-1.0-h1234567_0.conda", lie);
        let planned = machine.plan(&[]);
        assert_eq!(strings(&planned["platforms"][0]["unknownPackages"]), ["big"].into(), "lie {number}");
    }
    // Metadata that unpacks to more than any package has, in place of what is there.
    machine.channel.lie("big-1.0-h1234567_0.conda", bomb(&machine.sandbox.path("ws"), honest.len()).unwrap());
    let mut command = machine.sandbox.program("sh");
    let limited = format!("ulimit -v 4000000; exec {} plan ws --arch amd64 --json", crate::common::sandbox::BINARY);
    let planned: Value = serde_json::from_str(&Outcome::of(command.args(["-c", &limited])).success().stdout).unwrap();
    assert_eq!(strings(&planned[0]["platforms"][0]["unknownPackages"]), ["big"].into());
}

/// A `.conda` of that length whose `info/paths.json` is a gigabyte of zeros.
fn bomb(_: &Path, length: usize) -> io::Result<Vec<u8>> {
    let mut tar = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
    let mut header = tar::Header::new_ustar();
    header.set_path("info/paths.json")?;
    header.set_size(200 << 20);
    header.set_mode(0o644);
    header.set_cksum();
    io::Write::write_all(&mut tar, header.as_bytes())?;
    io::copy(&mut io::Read::take(io::repeat(0), 200 << 20), &mut tar)?;
    let info = tar.finish()?;
    let members = |padding: usize| {
        let stem = "big-1.0-h1234567_0";
        let members = [
            ("metadata.json".to_owned(), b"{\"conda_pkg_format_version\": 2}".to_vec()),
            (format!("pkg-{stem}.tar.zst"), vec![0; padding]),
            (format!("info-{stem}.tar.zst"), info.clone()),
        ];
        crate::common::packages::zip(&members)
    };
    let overhead = members(0).len();
    let bytes = members(length - overhead);
    assert_eq!(bytes.len(), length);
    Ok(bytes)
}

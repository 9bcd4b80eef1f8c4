//! Wheels whose `RECORD` is not what the specification says are installed as uv installs them, with a word about it.

use std::collections::BTreeMap;

use pixi_oci_layer::{Digest, Node, TreePath};
use pixi_oci_package::PackageTree;

use pixi_oci_testkit::wheels::{Wheel, file, install, line, path, wheel};

const SITE_PACKAGES: &str = "lib/python3.12/site-packages";

pub fn plain() -> Wheel {
    wheel("odd", [file("odd/__init__.py", "x = 1\n"), file("odd/_ext.so", "\x7fELF"), file("odd/c.txt", "c")])
}

/// Wheels with one kind of fault each, and what is said of them.
pub fn faulty() -> Vec<(Wheel, &'static str)> {
    let lines = plain().record_lines();
    let ext = line("odd/_ext.so", b"\x7fELF");
    let with = |lines: String| plain().record(lines);
    let hexadecimal = |body: &str| format!("sha256={}", Digest::of(body.as_bytes()).hex());
    let (_, base64, _) = fields(&ext);
    vec![
        (with(lines.replace(&ext, "")), r#"RECORD does not list "odd/_ext.so""#),
        (with(lines.replace(&ext, "odd/_ext.so,,\n")), r#"RECORD has no hash of "odd/_ext.so""#),
        (with(lines.replace(&base64, &hexadecimal("\x7fELF"))), r#"RECORD has a hexadecimal hash of "odd/_ext.so""#),
        (with(lines.replace(&base64, &hexadecimal("other"))), r#"RECORD has a wrong hash of "odd/_ext.so""#),
        (
            with(lines.replace(&base64, "md5=1B2M2Y8AsgTpgAmY7PhCfg")),
            r#"RECORD has a hash other than sha256, sha384 or sha512 of "odd/_ext.so""#,
        ),
        (with(lines.replace(",4\n", ",5\n")), r#"RECORD has a wrong size of "odd/_ext.so""#),
        (with(format!("{lines}{}", line("odd/_ext.so", b"x"))), r#"RECORD lists twice "odd/_ext.so""#),
        (
            with(format!("{lines}odd/__pycache__/c.pyc,,\n../../../bin/odd,,\n")),
            r#"RECORD lists a file that is not there: "odd/__pycache__/c.pyc" and 1 more"#,
        ),
    ]
}

fn fields(line: &str) -> (String, String, String) {
    let mut fields = line.trim_end().split(',').map(str::to_owned);
    (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap())
}

fn record(tree: &PackageTree) -> String {
    let at = path(&format!("opt/pixi/env/{SITE_PACKAGES}/odd-1.0.dist-info/RECORD"));
    let Some(Node::File(file)) = tree.tree.get(&at) else { panic!("no RECORD") };
    String::from_utf8(file.content.to_vec().unwrap()).unwrap()
}

#[test]
fn faults_are_told_and_corrected() {
    let (_, tree) = install(&plain()).unwrap();
    assert!(tree.corrections.is_empty(), "{:?}", tree.corrections);
    let ext: BTreeMap<TreePath, Digest> =
        [(path(&format!("{SITE_PACKAGES}/odd/_ext.so")), Digest::of(b"\x7fELF"))].into();
    for (wheel, what) in faulty() {
        let (_, tree) = install(&wheel).unwrap();
        assert_eq!(tree.corrections.what, what);
        // A list that says too much, or a wrong length, has the digests.
        let has_digests = ["size", "twice", "not there"].iter().any(|word| what.contains(word));
        assert_eq!(tree.corrections.files, if has_digests { BTreeMap::new() } else { ext.clone() }, "{what}");
        assert!(tree.tree.get(&path(&format!("opt/pixi/env/{SITE_PACKAGES}/odd/_ext.so"))).is_some());
    }
}

#[test]
fn the_record_in_the_prefix_is_uvs() {
    let faulty = faulty();
    // What is missing is added without a hash; nothing that is there is corrected.
    let (_, tree) = install(&faulty[0].0).unwrap();
    assert!(record(&tree).contains("\nodd/_ext.so,,4\n"), "{}", record(&tree));
    let (_, tree) = install(&faulty[3].0).unwrap();
    let wrong = Digest::of(b"other").hex();
    assert!(record(&tree).contains(&format!("\nodd/_ext.so,sha256={wrong},4\n")), "{}", record(&tree));
    let (_, tree) = install(&faulty[7].0).unwrap();
    assert!(!record(&tree).contains("c.pyc") && !record(&tree).contains("bin/odd"), "{}", record(&tree));
}

#[test]
fn names_with_control_characters() {
    let (_, tree) = install(&wheel("odd", [file("odd/a\tb", "x"), file("odd/\u{1b}\u{202e}", "y")])).unwrap();
    assert!(tree.corrections.is_empty());
    for name in ["a\tb", "\u{1b}\u{202e}"] {
        assert!(tree.tree.get(&path(&format!("opt/pixi/env/{SITE_PACKAGES}/odd/{name}"))).is_some());
    }
}

#[test]
fn variables_have_a_limit() {
    let place = |length: usize| file("odd-1.0.data/data/etc/conda/env_vars.d/odd.json", "x".repeat(length));
    install(&wheel("odd", [place(65_536)])).unwrap();
    let error = install(&wheel("odd", [place(65_537)])).unwrap_err().to_string();
    assert!(error.contains("etc/conda/env_vars.d longer than 64 KiB"), "{error}");
}

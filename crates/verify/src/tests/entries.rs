//! What may stand in a layer.

use oci_read::tar::Reader;
use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

use super::{
    fixture::{Line, append, rules, tar_of, verify_on_base, verify_tars},
    simple_tar,
};
use crate::{Report, Rule, Severity};

#[test]
fn entries_that_no_layer_may_have_are_found() {
    let cases: &[(&[Line<'_>], Rule)] = &[
        (&[("a", Regular, 0o644, "1"), ("./a", Regular, 0o644, "2")], Rule::DuplicateEntry),
        (&[("a/", Directory, 0o755, ""), ("a", Directory, 0o755, "")], Rule::DuplicateEntry),
        (&[("/etc/passwd", Regular, 0o644, "1")], Rule::EscapingPath),
        (&[("a/../../b", Regular, 0o644, "1")], Rule::EscapingPath),
        (&[("..", Symlink, 0o777, "x")], Rule::EscapingPath),
        (&[("a", Link, 0o644, "../b")], Rule::EscapingPath),
        (&[("a", Link, 0o644, "/b")], Rule::EscapingPath),
        (&[("a", Link, 0o644, "b")], Rule::HardLink),
        (&[("a", Link, 0o644, "b"), ("b", Regular, 0o644, "1")], Rule::HardLink),
        (&[("b/", Directory, 0o755, ""), ("a", Link, 0o644, "b")], Rule::HardLink),
        (&[("a", Symlink, 0o777, "/etc"), ("a/b", Regular, 0o644, "1")], Rule::ThroughLink),
        (&[("a", Regular, 0o644, "1"), ("a/b", Regular, 0o644, "1")], Rule::ThroughLink),
    ];
    for (lines, rule) in cases {
        assert_eq!(rules(&verify_tars(&[tar_of(lines)])), [*rule], "{lines:?}");
        assert_eq!(rules(&verify_on_base(1, &[tar_of(lines)])), [*rule], "base: {lines:?}");
    }
}

#[test]
fn entries_that_only_base_layers_may_have_are_found() {
    let cases: &[(Line<'_>, Rule)] = &[
        (("a", Fifo, 0o644, ""), Rule::SpecialFile),
        (("a", Char, 0o644, ""), Rule::SpecialFile),
        (("a", Block, 0o644, ""), Rule::SpecialFile),
        (("a", Regular, 0o4755, "1"), Rule::Setuid),
        (("a/", Directory, 0o2755, ""), Rule::Setuid),
        ((".wh.a", Regular, 0o644, ""), Rule::Whiteout),
        (("b/.wh..wh..opq", Regular, 0o644, ""), Rule::Whiteout),
    ];
    for (line, rule) in cases {
        let tar = tar_of(&[*line]);
        assert_eq!(rules(&verify_tars(std::slice::from_ref(&tar))), [*rule], "{line:?}");
        let report = verify_on_base(1, &[tar.clone(), simple_tar()]);
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.severity, finding.rule)).collect();
        assert_eq!(found, [(Severity::Notice, *rule)], "{line:?}");
        assert_eq!(report.images[0].base_layers, 1);
        // Above the base it is a finding, in whatever image the layer also is part of the base.
        assert_eq!(rules(&verify_on_base(1, &[simple_tar(), tar])), [*rule], "{line:?}");
    }
}

#[test]
fn layers_are_seen_on_top_of_one_another() {
    let base = tar_of(&[
        ("usr/lib/", Directory, 0o755, ""),
        ("lib", Symlink, 0o777, "usr/lib"),
        ("opt/old/x", Regular, 0o644, "1"),
        ("opt/old/y", Regular, 0o644, "1"),
    ]);
    // A hard link to a file below, a path through a link, a directory in the place of that link.
    let top =
        tar_of(&[("copy", Link, 0o644, "opt/old/x"), ("lib/a", Regular, 0o644, "1"), ("lib/", Directory, 0o755, "")]);
    let found = |report: Report| -> Vec<(Severity, Rule, String)> {
        report.findings.into_iter().map(|f| (f.severity, f.rule, f.path.unwrap_or_default())).collect()
    };
    let (through, replaces) = ((Rule::ThroughLink, "lib/a".to_string()), (Rule::ReplacesLink, "lib".to_string()));
    assert_eq!(
        found(verify_on_base(1, &[base.clone(), top.clone()])),
        [
            (Severity::Error, Rule::HardLink, "copy".into()),
            (Severity::Error, through.0, through.1.clone()),
            (Severity::Error, replaces.0, replaces.1.clone()),
        ]
    );
    assert_eq!(
        found(verify_on_base(2, &[base.clone(), top])),
        [(Severity::Notice, through.0, through.1), (Severity::Notice, replaces.0, replaces.1)]
    );

    // What is hidden can be linked to no more, and a link that is hidden can be replaced.
    let hiding = tar_of(&[
        ("opt/old/.wh..wh..opq", Regular, 0o644, ""),
        (".wh.lib", Regular, 0o644, ""),
        ("lib/", Directory, 0o755, ""),
        ("copy", Link, 0o644, "opt/old/x"),
    ]);
    assert_eq!(rules(&verify_on_base(2, &[base, hiding])), [Rule::HardLink]);
}

#[test]
fn tars_that_two_readers_read_differently_are_found() {
    let mut after_end = simple_tar();
    after_end.extend(simple_tar());

    let mut wrong_sum = simple_tar();
    wrong_sum[0] = b'b';

    let sized = |kind, size, content: &[u8]| {
        let mut tar = Vec::new();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.as_old_mut().name[0] = b'd';
        append(&mut tar, &mut header, content);
        tar.extend([0; 1024]);
        tar
    };
    let deep = {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut tar::Header::new_gnu(), "d/".repeat(300), [0; 0].as_slice()).unwrap();
        builder.into_inner().unwrap()
    };
    for (what, tar) in [
        ("after_end", after_end),
        ("wrong_sum", wrong_sum),
        ("sized_directory", sized(Directory, 512, &[0; 512])),
        ("sized_hard_link", sized(Link, 512, &[0; 512])),
        ("unknown_type", sized(tar::EntryType::new(b'S'), 0, &[])),
        ("long_name_bomb", sized(tar::EntryType::GNULongName, 1 << 40, &[])),
        ("huge_file", sized(Regular, u64::MAX, &[])),
        ("cut_in_file", simple_tar()[..1100].to_vec()),
        ("cut_in_header", simple_tar()[..600].to_vec()),
        ("no_end", simple_tar()[..512].to_vec()),
        ("deep", deep),
        ("not_a_tar", b"hello".repeat(1000)),
    ] {
        assert_eq!(rules(&verify_tars(&[tar])), [Rule::Tar], "{what}");
    }
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("{}/file", "d".repeat(150));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    builder.append_data(&mut header, &long, [0; 0].as_slice()).unwrap();
    builder.append_pax_extensions([("path", b"pax/name".as_slice()), ("mtime", b"1.5")]).unwrap();
    builder.append_data(&mut tar::Header::new_ustar(), "other", [0; 0].as_slice()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(Link);
    builder.append_link(&mut header, "link", &long).unwrap();
    builder.append_link(&mut header, "link2", "pax/name").unwrap();
    let report = verify_tars(&[builder.into_inner().unwrap()]);
    // Both hard links find the names that the extension headers gave.
    assert_eq!(report.findings, []);
    assert_eq!(report.images[0].layers[0].entries, 4);
}

#[test]
fn findings_are_bounded_and_printable() {
    let names: Vec<_> = (0..100).map(|n| format!("x\x1b[31m{n}")).collect();
    let mut lines: Vec<Line<'_>> = names.iter().map(|name| (&**name, Regular, 0o4755, "")).collect();
    lines.push((".wh.last", Regular, 0o644, ""));
    let findings = verify_tars(&[tar_of(&lines)]).findings;
    assert_eq!(findings.len(), 22);
    assert_eq!(findings[0].path.as_deref(), Some("x\\u{1b}[31m0"));
    // What is repeated hides nothing else.
    assert_eq!(findings[20].rule, Rule::Whiteout);
    assert_eq!((findings[21].rule, findings[21].severity), (Rule::TooMany, Severity::Error));
    assert_eq!(findings[21].detail, "80 further findings are not listed");
}

#[test]
fn no_damaged_header_makes_the_reader_panic() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut tar::Header::new_gnu(), "n".repeat(150), b"1".as_slice()).unwrap();
    builder.append_pax_extensions([("path", b"pax/name".as_slice()), ("size", b"1")]).unwrap();
    builder.append_data(&mut tar::Header::new_ustar(), "other", b"1".as_slice()).unwrap();
    let whole = builder.into_inner().unwrap();
    for place in 0..whole.len() {
        for byte in [0, b'0', b'9', 0x7f, 0x80, 0xff] {
            let mut tar = whole.clone();
            tar[place] = byte;
            // Most damage would stop at the checksum, and nothing behind it would be tried.
            for block in tar.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                let mut header = tar::Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
            let mut reader = Reader::new(&tar[..]);
            while let Ok(Some(_)) = reader.next_entry() {}
        }
    }
}

//! Hostile wheels through the front door: each is refused with the wheel named, and nothing is left behind.
//!
//! The crate that reads wheels has the longer list; here is every kind of attack once. References: CVE-2025-54368 and
//! GHSA-pjjw-68hj-v9mw (zips that programs read differently), CVE-2026-24049 and CVE-2026-8643 (paths), GHSA-4xh5-x5gv-qwph.

use crate::{
    common::{
        odd,
        pypi::{Locked, locked},
        wheels::{Member, Wheel, entry_points, file, wheel, zip},
        workspace::workspace,
    },
    hostile::Target,
};

const NAME: &str = "evil-1.0-py3-none-any.whl";

/// The wheel with these bytes, rightly locked.
fn lock(bytes: Vec<u8>) -> Locked {
    let mut lock = locked(&evil([]));
    lock.sha256 = Some(crate::common::sandbox::sha256(&bytes));
    lock.file = lock.file.map(|(path, _)| (path, bytes));
    lock
}

fn evil(members: impl IntoIterator<Item = Member>) -> Wheel {
    wheel("evil", members)
}

#[track_caller]
fn refused(target: &Target, bytes: Vec<u8>, words: &[&str]) {
    let ws = workspace([odd::python()]).pypi([lock(bytes)]).platforms(&["linux-64"]);
    target.refuses(&ws, &[&[NAME], words].concat());
}

#[test]
fn paths_that_are_not_the_wheels_own() {
    let target = Target::new();
    for (path, words) in [
        ("../../../../canary", ["../canary", "`..`"]),
        ("/canary", ["/canary", "absolute"]),
        ("evil/.wh.x", [".wh.x", ".wh."]),
        ("a\n\u{1b}]0;x\u{7}/../b", ["a\\n\\u{1b}]0;x", "`..`"]),
        ("evil-1.0.data/data/../../x", ["data/../../x", "`..`"]),
        ("evil-1.0.data/data/conda-meta/history", ["conda-meta", "installer"]),
        ("evil-1.0.data/data/conda-meta/python-3.12.1-h1234567_0.json", ["conda-meta", "installer"]),
        ("evil-1.0.data/scripts/python3.12", ["python3.12", "interpreter"]),
        ("evil-1.0.data/purelib/other-1.0.dist-info/RECORD", ["other-1.0.dist-info", "another package"]),
        ("evil-1.0.data/elsewhere/x", ["elsewhere", "purelib"]),
        ("other-1.0.dist-info/METADATA", ["other-1.0.dist-info", ".dist-info"]),
    ] {
        refused(&target, evil([file(path, "x")]).bytes(), &words);
    }
}

#[test]
fn entry_points_that_leave_the_prefix() {
    let target = Target::new();
    for name in ["../../canary", "/canary", "..", "a/b", "python", "x\u{1b}[2J/"] {
        let text = format!("[console_scripts]\n{name} = m:f\n");
        refused(&target, evil([entry_points("evil", &text)]).bytes(), &["entry_points.txt"]);
    }
}

#[test]
fn records_that_leave_the_prefix() {
    let target = Target::new();
    let good = evil([file("evil.py", "x")]);
    for (path, word) in [("../../../../canary", "`..`"), ("/canary", "absolute")] {
        let record = format!("{}{path},,\n", good.record_lines());
        refused(&target, good.clone().record(record).bytes(), &["RECORD", "canary", word]);
    }
    let all = evil([file("evil.py", "x")]).all_members();
    refused(&target, zip(&all[..all.len() - 1]), &["RECORD"]);
}

#[test]
fn zips_that_programs_read_differently() {
    let target = Target::new();
    let with = |member: Member| evil([member]).bytes();
    let named = |name: &'static str| move |header: &mut crate::common::wheels::Header| header.name = name.into();
    refused(&target, with(file("evil.py", "x").local(named("good.py"))), &["evil.py", "contradict"]);
    refused(&target, with(file("link", "/etc/passwd").mode(0o120_777)), &["link", "symbolic link"]);
    refused(&target, with(file("pipe", "").mode(0o010_644)), &["pipe", "device or pipe"]);
    refused(&target, with(file("evil.py", "x").both(|header| header.flags |= 1)), &["evil.py", "encrypted"]);
    refused(&target, with(file("evil.py", "x").central(|header| header.size = 2)), &["evil.py"]);
    let twice = evil([file("evil.py", "x"), file("evil.py", "y")]);
    refused(&target, twice.bytes(), &["evil.py", "twice"]);
    let good = evil([file("evil.py", "x")]).bytes();
    refused(&target, [b"#!/bin/sh\n".to_vec(), good.clone()].concat(), &["zip"]);
    refused(&target, [good.clone(), good.clone()].concat(), &["zip"]);
    refused(&target, [good.clone(), b"x".to_vec()].concat(), &["zip"]);
    refused(&target, good[..good.len() - 30].to_vec(), &["zip"]);
    refused(&target, b"<html>not found</html>".to_vec(), &["zip"]);
    // A few bytes that would be gigabytes.
    let bomb = file("evil.bin", "x").both(|header| header.size = u32::MAX - 1);
    refused(&target, with(bomb), &["decompression bomb"]);
}

//! `RECORD`: the list of a wheel's files with their hashes, as it is read and as it is written.
//!
//! Comma-separated values with three columns: path, hash, length.

use std::{borrow::Cow, collections::BTreeMap};

use pixi_oci_layer::TreePath;

use pixi_oci_package::{Error, Faults, Member, Refusal, normalise};

use crate::hash::is_known;

const FILE: &str = "RECORD";

/// The files that cannot have their own hash in `RECORD`.
const UNHASHED: [&str; 3] = ["RECORD", "RECORD.jws", "RECORD.p7s"];

/// The lines that name a file of the wheel. As in uv, a line that names none is not kept, and a file that has none gets one
/// without a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// In the order of `RECORD`, with the index of the file.
    pub lines: Vec<(usize, Line)>,
    /// What builders got wrong, and pip and uv do not mind: the archive's own hash is what is trusted.
    pub faults: Faults,
}

/// One line. Its order is the one of uv's lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    /// As it is spelled, relative to `site-packages`.
    pub path: String,
    pub hash: Option<String>,
    pub size: Option<u64>,
}

impl Record {
    pub fn parse(wheel: &str, bytes: &[u8], members: &[Member], dist_info: &TreePath) -> Result<Self, Error> {
        // With the index of each, and whether it was listed.
        let mut files: BTreeMap<&str, (usize, bool)> = members
            .iter()
            .enumerate()
            .filter(|(_, member)| !member.is_directory)
            .map(|(index, member)| (member.path.as_str(), (index, false)))
            .collect();
        let unhashed = UNHASHED.map(|name| format!("{dist_info}/{name}"));
        let text = std::str::from_utf8(bytes).map_err(|error| Error::info(wheel, FILE, error))?;

        let mut record = Self { lines: Vec::new(), faults: Faults::new(FILE) };
        for fields in rows(text) {
            let [path, hash, size] = fields.map_err(|reason| Error::info(wheel, FILE, reason))?;
            let fail = |reason: &str| Error::info(wheel, FILE, format!("{path:?} {reason}"));
            // Some wheels have absolute paths for files of their own; uv reads them like this.
            let relative = path.trim_start_matches('/');
            // Most are spelled as the files are. A list can have millions of rows, for a wheel of one file.
            let normal = if is_normal(relative) { None } else { normalise(relative).ok() };
            let index = match files.get_mut(normal.as_ref().map_or(relative, |normal| normal.as_str())) {
                Some((index, listed @ false)) => {
                    *listed = true;
                    *index
                }
                Some(_) => {
                    record.faults.add("lists twice", relative);
                    continue;
                }
                None if relative.len() != path.len() => return Err(fail(&Refusal::Absolute.to_string())),
                None if leaves_prefix(relative) => return Err(fail(&Refusal::Parent.to_string())),
                None => {
                    record.faults.add("lists a file that is not there:", relative);
                    continue;
                }
            };
            let member = &members[index];
            let mut size = match &*size {
                "" => None,
                size => Some(size.parse().map_err(|_| fail("has a length that is not a number"))?),
            };
            let mut hash = Some(hash.into_owned()).filter(|hash| !hash.is_empty());
            if member.path.as_str() == unhashed[0] {
                (hash, size) = (None, None);
            }
            match &hash {
                Some(hash) if !is_known(hash) => {
                    record.faults.add("has a hash other than sha256, sha384 or sha512 of", relative)
                }
                None if !unhashed.iter().any(|name| name == member.path.as_str()) => {
                    record.faults.add("has no hash of", relative);
                }
                _ => {}
            }
            if size.is_some_and(|size| size != member.size) {
                record.faults.add("has a wrong size of", relative);
            }
            record.lines.push((index, Line { path: relative.into(), hash, size }));
        }
        for (path, (index, is_listed)) in files {
            if is_listed || unhashed.iter().any(|name| name == path) {
                continue;
            }
            record.faults.add("does not list", path);
            record.lines.push((index, Line { path: path.into(), hash: None, size: Some(members[index].size) }));
        }
        Ok(record)
    }
}

/// Whether a path is spelled in the only way that paths of files are.
fn is_normal(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Whether a path relative to `lib/pythonX.Y/site-packages` is outside of the prefix. Lists of wheels that were made of an
/// installed package name what was in `bin`.
fn leaves_prefix(path: &str) -> bool {
    let mut depth = 3_usize;
    path.split('/').any(|part| match part {
        "" | "." => false,
        ".." => {
            let outside = depth == 0;
            depth = depth.saturating_sub(1);
            outside
        }
        _ => {
            depth += 1;
            false
        }
    })
}

/// The text of a `RECORD` with these lines, as uv sorts and quotes them.
pub(crate) fn write(mut lines: Vec<Line>) -> String {
    lines.sort();
    let mut text = String::new();
    for Line { path, hash, size } in lines {
        if path.contains([',', '"', '\r', '\n']) {
            text.push_str(&format!("\"{}\"", path.replace('"', "\"\"")));
        } else {
            text.push_str(&path);
        }
        let size = size.map(|size| size.to_string()).unwrap_or_default();
        text.push_str(&format!(",{},{size}\n", hash.unwrap_or_default()));
    }
    text
}

/// The rows of comma-separated values (RFC 4180), which must have three fields each.
fn rows(text: &str) -> impl Iterator<Item = Result<[Cow<'_, str>; 3], String>> {
    let mut rest = text;
    let mut number = 0;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(['\r', '\n']);
        if rest.is_empty() {
            return None;
        }
        number += 1;
        let row = row(&mut rest);
        if row.is_err() {
            rest = "";
        }
        Some(row.map_err(|reason| format!("row {number} {reason}")))
    })
}

fn row<'a>(rest: &mut &'a str) -> Result<[Cow<'a, str>; 3], &'static str> {
    let mut fields = [const { Cow::Borrowed("") }; 3];
    let mut count = 0;
    loop {
        let slot = fields.get_mut(count).ok_or("has more than three fields")?;
        *slot = field(rest)?;
        count += 1;
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => break,
        }
    }
    if count < 3 {
        return Err("has fewer than three fields");
    }
    Ok(fields)
}

/// A field up to the comma or the end of its row.
fn field<'a>(rest: &mut &'a str) -> Result<Cow<'a, str>, &'static str> {
    let is_end = |byte: &u8| matches!(byte, b',' | b'\r' | b'\n');
    let end = |text: &str| text.as_bytes().iter().position(is_end).unwrap_or(text.len());
    let Some(mut quoted) = rest.strip_prefix('"') else {
        let (field, after) = rest.split_at(end(rest));
        *rest = after;
        return Ok(Cow::Borrowed(field));
    };
    let mut field = String::new();
    loop {
        let (text, after) = quoted.split_once('"').ok_or("has a quote without end")?;
        field.push_str(text);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                quoted = after;
            }
            None if end(after) == 0 => {
                *rest = after;
                return Ok(Cow::Owned(field));
            }
            None => return Err("has text after a quoted field"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_three_fields() {
        fn read(text: &str) -> Result<Vec<[Cow<'_, str>; 3]>, String> {
            rows(text).collect()
        }
        let row = |a, b, c| [Cow::Borrowed(a), Cow::Borrowed(b), Cow::Borrowed(c)];
        assert_eq!(read("a,b,1\r\n\r\nc,,\n").unwrap(), [row("a", "b", "1"), row("c", "", "")]);
        assert_eq!(read("\"a,\"\"b\"\"\",\"\",2").unwrap(), [row("a,\"b\"", "", "2")]);
        assert_eq!(read("").unwrap(), Vec::<[String; 3]>::new());
        for (text, reason) in [
            ("a,b", "row 1 has fewer"),
            ("a,b,1\na,b,1,d\n", "row 2 has more"),
            ("\"a,b,1", "quote without end"),
            ("\"a\"b,c,1", "after a quoted"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn lines_may_name_what_is_elsewhere_in_the_prefix() {
        for path in ["a", "../../../bin/a", "a/../b", "./a", "../x/../../../bin/a"] {
            assert!(!leaves_prefix(path), "{path}");
        }
        for path in ["../../../../a", "a/../../../../../etc/passwd"] {
            assert!(leaves_prefix(path), "{path}");
        }
    }

    #[test]
    fn lines_are_sorted_and_quoted() {
        let line = |path: &str, size| Line { path: path.into(), hash: Some("h".into()), size };
        let none = Line { path: "x/RECORD".into(), hash: None, size: None };
        let text = write(vec![none, line("b,c", Some(1)), line("a\"", None), line("../bin/z", Some(2))]);
        assert_eq!(text, "../bin/z,h,2\n\"a\"\"\",h,\n\"b,c\",h,1\nx/RECORD,,\n");
    }
}

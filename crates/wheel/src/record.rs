//! `RECORD`: the list of a wheel's files with their hashes, as it is read and as it is written.
//!
//! Comma-separated values with three columns: path, hash, length.

use std::collections::{HashMap, HashSet};

use pixi_oci_layer::TreePath;

use pixi_oci_package::{Error, Member, Refusal, normalise};

use crate::hash::Hash;

const FILE: &str = "RECORD";

/// The files that cannot have their own hash in `RECORD`.
const UNHASHED: [&str; 3] = ["RECORD", "RECORD.jws", "RECORD.p7s"];

/// The lines that name a file of the wheel. A line that names none is not kept, as uv does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// In the order of `RECORD`, with the index of the file.
    pub lines: Vec<(usize, Line)>,
    /// From files to lines.
    of_member: HashMap<usize, usize>,
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
    /// Parses `bytes` and checks that every file of the wheel is listed with a hash of a kind that is known.
    pub fn parse(wheel: &str, bytes: &[u8], members: &[Member], dist_info: &TreePath) -> Result<Self, Error> {
        let files: HashMap<&str, usize> = members
            .iter()
            .enumerate()
            .filter(|(_, member)| !member.is_directory)
            .map(|(index, member)| (member.path.as_str(), index))
            .collect();
        let unhashed: HashSet<String> = UNHASHED.iter().map(|name| format!("{dist_info}/{name}")).collect();
        let text = std::str::from_utf8(bytes).map_err(|error| Error::info(wheel, FILE, error))?;

        let mut record = Self { lines: Vec::new(), of_member: HashMap::new() };
        for fields in rows(text) {
            let [path, hash, size] = fields.map_err(|reason| Error::info(wheel, FILE, reason))?;
            let fail = |reason: &str| Error::info(wheel, FILE, format!("{path:?} {reason}"));
            // Some wheels have absolute paths for files of their own; uv reads them like this.
            let relative = path.trim_start_matches('/');
            let normal = normalise(relative).map_err(|refusal| fail(&refusal.to_string()))?;
            let Some(&index) = files.get(normal.as_str()) else {
                if relative != path {
                    return Err(fail(&Refusal::Absolute.to_string()));
                }
                continue;
            };
            let size = match &*size {
                "" => None,
                size => Some(size.parse().map_err(|_| fail("has a length that is not a number"))?),
            };
            let has_hash = !hash.is_empty();
            let mut line = Line { path: relative.into(), hash: has_hash.then_some(hash), size };
            if normal.as_str() == format!("{dist_info}/{FILE}") {
                (line.hash, line.size) = (None, None);
            }
            if size.is_some_and(|size| size != members[index].size) && line.size.is_some() {
                return Err(fail("has another length in RECORD than in the wheel"));
            }
            match record.of_member.get(&index) {
                Some(&at) if record.lines[at].1.hash == line.hash => continue,
                Some(_) => return Err(fail("is listed twice, with different hashes")),
                None => record.of_member.insert(index, record.lines.len()),
            };
            record.lines.push((index, line));
        }
        for (path, index) in files {
            let line = record.of_member.get(&index).map(|at| &record.lines[*at].1);
            match line.and_then(|line| line.hash.as_deref()) {
                _ if unhashed.contains(path) => {}
                Some(hash) if Hash::like(hash).is_some() => {}
                Some(_) => {
                    let reason = format!("{path:?} has a hash that is not sha256, sha384 or sha512");
                    return Err(Error::info(wheel, FILE, reason));
                }
                None => {
                    let reason = format!(
                        "{path:?} is in the wheel but not listed with its hash; the wheel was changed after it was \
                         built, or its builder is broken"
                    );
                    return Err(Error::info(wheel, FILE, reason));
                }
            }
        }
        Ok(record)
    }

    /// The hash that a file must have. `None` for the ones that have none.
    pub fn hash_of(&self, index: usize) -> Option<&str> {
        self.of_member.get(&index).and_then(|at| self.lines[*at].1.hash.as_deref())
    }

    /// Checks the bytes of a file.
    pub fn verify(&self, wheel: &str, members: &[Member], index: usize, bytes: &[u8]) -> Result<(), Error> {
        let Some(recorded) = self.hash_of(index) else { return Ok(()) };
        let Some(mut hash) = Hash::like(recorded) else { return Ok(()) };
        hash.update(bytes);
        check(wheel, &members[index].path, hash, recorded)
    }
}

/// Refuses a file whose bytes have another hash than `recorded`.
pub(crate) fn check(wheel: &str, path: &TreePath, hash: Hash, recorded: &str) -> Result<(), Error> {
    if hash.is(recorded) {
        return Ok(());
    }
    Err(Error::info(
        wheel,
        FILE,
        format!("{path:?} has another hash than its contents; the wheel is damaged or forged"),
    ))
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
fn rows(text: &str) -> impl Iterator<Item = Result<[String; 3], String>> + '_ {
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

fn row(rest: &mut &str) -> Result<[String; 3], &'static str> {
    let mut fields = [const { String::new() }; 3];
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
fn field(rest: &mut &str) -> Result<String, &'static str> {
    let end = |text: &str| text.find([',', '\r', '\n']).unwrap_or(text.len());
    let Some(mut quoted) = rest.strip_prefix('"') else {
        let (field, after) = rest.split_at(end(rest));
        *rest = after;
        return Ok(field.into());
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
                return Ok(field);
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
        let read = |text: &str| rows(text).collect::<Result<Vec<_>, _>>();
        let row = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
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
    fn lines_are_sorted_and_quoted() {
        let line = |path: &str, size| Line { path: path.into(), hash: Some("h".into()), size };
        let none = Line { path: "x/RECORD".into(), hash: None, size: None };
        let text = write(vec![none, line("b,c", Some(1)), line("a\"", None), line("../bin/z", Some(2))]);
        assert_eq!(text, "../bin/z,h,2\n\"a\"\"\",h,\n\"b,c\",h,1\nx/RECORD,,\n");
    }
}

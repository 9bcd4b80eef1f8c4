//! `.dockerignore`, with Docker's own grammar: patterns are of whole paths from the root, `**` and `!` are not git's, and the
//! last line that fits a path or a directory above it decides. It follows github.com/moby/patternmatcher, whose answers are
//! the table of the tests.

use regex::Regex;

#[derive(Debug)]
pub struct DockerIgnore(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    matcher: Matcher,
    /// It takes files back that earlier lines leave out.
    is_exception: bool,
}

#[derive(Debug)]
enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

/// What a pattern is as long as it needs no regular expression.
enum Simple {
    Exact,
    Prefix,
    Suffix,
}

impl DockerIgnore {
    /// Reads a file; an error is the number of a line and what it says.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let wrong = || (number + 1, line.to_owned());
            let (is_exception, pattern) = match line.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line.trim()),
            };
            if pattern.is_empty() {
                return Err(wrong());
            }
            let matcher = Matcher::new(&cleaned(pattern)).ok_or_else(wrong)?;
            patterns.push(Pattern { matcher, is_exception });
        }
        Ok(Self(patterns))
    }

    /// Whether a file of a directory that is left out may be wanted all the same.
    pub fn has_exceptions(&self) -> bool {
        self.0.iter().any(|pattern| pattern.is_exception)
    }

    /// Whether a path from the root is left out. What fits only its first `asked_for` parts does not count.
    pub fn leaves_out(&self, path: &str, asked_for: usize) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]).skip(asked_for);
        let paths: Vec<&str> = ends.map(|end| &path[..end]).collect();
        self.0.iter().fold(false, |left_out, pattern| {
            let fits = pattern.is_exception == left_out && paths.iter().any(|path| pattern.matcher.fits(path));
            if fits { !pattern.is_exception } else { left_out }
        })
    }
}

/// As Go's `filepath.Clean`, without the slash of the root.
fn cleaned(pattern: &str) -> String {
    let is_rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    match parts.as_slice() {
        [] if is_rooted => "/".into(),
        [] => ".".into(),
        parts => parts.join("/"),
    }
}

impl Matcher {
    /// `None` for what is no pattern.
    fn new(pattern: &str) -> Option<Self> {
        let mut chars = pattern.chars().peekable();
        let mut regex = String::from("^");
        let (mut is_regex, mut is_first) = (false, true);
        let mut simple = Simple::Exact;
        while let Some(char) = chars.next() {
            match char {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    let is_last = chars.peek().is_none();
                    regex.push_str(if is_last { ".*" } else { "(.*/)?" });
                    match (is_first, is_last, &simple) {
                        (true, _, _) => simple = Simple::Suffix,
                        (_, true, Simple::Exact) => simple = Simple::Prefix,
                        _ => is_regex = true,
                    }
                }
                '*' => (is_regex, ()) = (true, regex.push_str("[^/]*")),
                '?' => (is_regex, ()) = (true, regex.push_str("[^/]")),
                '[' => (is_regex, ()) = (true, regex.push_str(&class(&mut chars)?)),
                '\\' => (is_regex, ()) = (true, regex.push_str(&regex::escape(&chars.next()?.to_string()))),
                char => regex.push_str(&regex::escape(&char.to_string())),
            }
            is_first = false;
        }
        if is_regex {
            return Regex::new(&format!("(?s){regex}$")).ok().map(Self::Regex);
        }
        Some(match simple {
            Simple::Exact => Self::Exact(pattern.to_owned()),
            Simple::Prefix => Self::Prefix(pattern.trim_end_matches("**").to_owned()),
            Simple::Suffix => Self::Suffix(pattern.trim_start_matches("**").to_owned()),
        })
    }

    fn fits(&self, path: &str) -> bool {
        match self {
            Self::Exact(pattern) => path == pattern,
            Self::Prefix(start) => path.starts_with(start.as_str()),
            // `**/name` is also at the root.
            Self::Suffix(end) => path.ends_with(end.as_str()) || end.strip_prefix('/').is_some_and(|end| path == end),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// A class of characters after its `[`, as one of a regular expression.
fn class(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    let (mut class, mut is_empty) = (String::from("["), true);
    loop {
        match chars.next()? {
            ']' if !is_empty => return Some(class + "]"),
            '^' if class.len() == 1 => class.push('^'),
            '-' => (is_empty, ()) = (false, class.push('-')),
            char => {
                let char = if char == '\\' { chars.next()? } else { char };
                (is_empty, ()) = (false, class.push_str(&regex::escape(&char.to_string())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Docker says: `tests/real/dockerignore` writes it.
    const TABLE: &str = include_str!("dockerignore.table");

    #[test]
    fn as_docker_says() {
        let mut patterns = None;
        let mut answers = 0;
        for line in TABLE.lines() {
            let (word, rest) = line.split_once(' ').unwrap();
            match word {
                "file" => {
                    let text: String = serde_json::from_str(rest).unwrap();
                    patterns = Some((DockerIgnore::parse(&text), text));
                }
                "wrong" => {
                    assert!(patterns.as_ref().unwrap().0.is_err(), "{:?} is wrong", patterns.as_ref().unwrap().1)
                }
                answer => {
                    let (parsed, text) = patterns.as_ref().unwrap();
                    let parsed = parsed.as_ref().unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
                    assert_eq!(parsed.leaves_out(rest, 0), answer == "out", "{rest:?} by {text:?}");
                    answers += 1;
                }
            }
        }
        assert!(answers > 500, "{answers}");
    }

    #[test]
    fn what_was_asked_for_is_not_left_out_as_a_whole() {
        let patterns = DockerIgnore::parse("dist\n*/*.log\n").unwrap();
        assert!(patterns.leaves_out("dist/a", 0) && !patterns.leaves_out("dist/a", 1));
        assert!(patterns.leaves_out("dist/a.log", 1));
    }
}

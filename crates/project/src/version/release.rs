//! Which texts are releases, and which release is the greater one.

use std::{cmp::Ordering, fmt, str::FromStr};

/// How versions are written: which texts are releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionScheme {
    /// Anything that is dotted numbers is a release: `1.2.3`, `24.04`, `2026.2.0.1`.
    #[default]
    Dotted,
    /// semver.org: exactly three numbers without leading zeros, and build metadata, `1.2.3+build`.
    Semver,
    /// PEP 440: any number of numbers, an epoch, post-releases, a local label: `1!2.0.post1+local`.
    Pep440,
    /// Dates: any number of numbers, one included: `20260201`, `2026.02`.
    Calver,
}

impl VersionScheme {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Dotted, Self::Semver, Self::Pep440, Self::Calver];

    /// As it is configured; the default one has no name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dotted => "",
            Self::Semver => "semver",
            Self::Pep440 => "pep440",
            Self::Calver => "calver",
        }
    }

    /// What is to be told of a text that looks like a release and is none for this scheme: which scheme would take it.
    pub fn hint(self, text: &str) -> Option<String> {
        let text = bare(text);
        if Release::parse(text, self).is_some() {
            return None;
        }
        let other = Self::ALL.into_iter().find(|other| Release::parse(text, *other).is_some())?;
        let here = match self {
            Self::Dotted => "without `version-scheme`".to_owned(),
            named => format!("for version-scheme = \"{}\"", named.as_str()),
        };
        let with = match other {
            Self::Dotted => "without `version-scheme` it would be one".to_owned(),
            named => format!("with version-scheme = \"{}\" it would be one", named.as_str()),
        };
        Some(format!(
            "{text} looks like a release, but is none {here}: it is published as a development version; {with}"
        ))
    }
}

impl FromStr for VersionScheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|scheme| !text.is_empty() && scheme.as_str() == text);
        named.ok_or_else(|| format!("unknown `version-scheme` {text:?}; expected semver, pep440 or calver"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    text: String,
    epoch: u64,
    /// As they are written, leading zeros included.
    parts: Vec<String>,
    /// 0 for none, else one more than its number.
    post: u64,
}

impl Release {
    /// Reads a release, without a leading `v`.
    pub fn parse(text: &str, scheme: VersionScheme) -> Option<Self> {
        let mut release = Self { text: text.to_owned(), epoch: 0, parts: Vec::new(), post: 0 };
        let mut rest = text;
        if scheme == VersionScheme::Pep440 {
            if let Some((epoch, after)) = rest.split_once('!') {
                release.epoch = number(epoch)?;
                rest = after;
            }
            if let Some((public, local)) = rest.split_once('+') {
                label(local).then_some(())?;
                rest = public;
            }
            let lower = rest.to_ascii_lowercase();
            let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
            let end = lower[..end].trim_end_matches('.').len();
            release.post = post(&lower[end..])?;
            rest = &rest[..end];
        }
        if scheme == VersionScheme::Semver
            && let Some((core, build)) = rest.split_once('+')
        {
            label(build).then_some(())?;
            rest = core;
        }
        release.parts = rest.split('.').map(str::to_owned).collect();
        release.parts.iter().try_for_each(|part| number(part).map(drop))?;
        let plain = || release.parts.iter().all(|part| part == "0" || !part.starts_with('0'));
        let fits = match scheme {
            VersionScheme::Dotted => release.parts.len() > 1,
            VersionScheme::Semver => release.parts.len() == 3 && plain(),
            VersionScheme::Pep440 | VersionScheme::Calver => true,
        };
        fits.then_some(release)
    }

    /// The first, second, … number, as it is written.
    pub fn part(&self, index: usize) -> Option<&str> {
        self.parts.get(index).map(String::as_str)
    }

    /// How many there are, one at least.
    pub fn numbers(&self) -> usize {
        self.parts.len()
    }

    /// By epoch, numbers and post-release. What is left out counts as 0, so that two texts can be one release.
    pub fn order(&self, other: &Self) -> Ordering {
        let numbers = |release: &Self, index: usize| release.part(index).and_then(number).unwrap_or(0);
        let most = self.numbers().max(other.numbers());
        let by_numbers = || {
            let pairs = (0..most).map(|index| numbers(self, index).cmp(&numbers(other, index)));
            pairs.fold(Ordering::Equal, Ordering::then)
        };
        self.epoch.cmp(&other.epoch).then_with(by_numbers).then(self.post.cmp(&other.post))
    }

    /// Whether the first so many numbers are the same.
    pub fn is_of_line(&self, other: &Self, numbers: usize) -> bool {
        let value = |release: &Self, index: usize| release.part(index).map_or(Some(0), number);
        numbers == 0
            || (self.epoch == other.epoch && (0..numbers).all(|index| value(self, index) == value(other, index)))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text without a `v` before a digit.
pub fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(text)
}

/// `parse` takes "+1".
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Letters and digits between dots, as local labels and build metadata are.
fn label(text: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    text.split('.').all(part)
}

/// What PEP 440 has for a post-release: `.post1`, `-1`, `post`, `.rev2`; nothing is none.
fn post(text: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let one_more = |digits: &str| number(digits)?.checked_add(1);
    if let Some(digits) = text.strip_prefix('-').filter(|rest| rest.bytes().all(|b| b.is_ascii_digit())) {
        return one_more(digits);
    }
    let word = text.trim_start_matches(['.', '-', '_']);
    let rest = ["post", "rev", "r"].into_iter().find_map(|name| word.strip_prefix(name))?;
    match rest.trim_start_matches(['.', '-', '_']) {
        "" => Some(1),
        digits => one_more(digits),
    }
}

/// `1`, `1.2` and the like: what is a release or a part of one.
pub fn is_numbers(tag: &str) -> bool {
    tag.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

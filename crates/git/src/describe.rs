//! Which commit a working tree is of, and its place after a tag.

use crate::Git;

/// What `git describe` finds: the nearest tag, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub tag: String,
    /// Commits since then.
    pub distance: u64,
    /// The commit, in full.
    pub commit: String,
}

impl Description {
    /// As `git describe --tags --dirty` writes it.
    pub fn text(&self, dirty: bool) -> String {
        let Self { tag, distance, commit } = self;
        let mut text = tag.clone();
        if *distance > 0 {
            text.push_str(&format!("-{distance}-g{}", commit.get(..7).unwrap_or(commit)));
        }
        text.push_str(if dirty { "-dirty" } else { "" });
        text
    }
}

/// Whether the text is the whole name of a commit, and no abbreviation of it.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Git {
    /// The commit of the working tree, 40 or 64 hexadecimal digits.
    pub fn commit(&self) -> Option<String> {
        let commit = self.line(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?;
        is_commit(&commit).then_some(commit)
    }

    /// The branch that is checked out, if there is one.
    pub fn branch(&self) -> Option<String> {
        self.line(&["symbolic-ref", "--short", "--quiet", "HEAD"])
    }

    /// How many commits lead to `HEAD`; `None` in a shallow clone, which does not have them all.
    pub fn commits(&self) -> Option<u64> {
        let complete = self.line(&["rev-parse", "--is-shallow-repository"])? == "false";
        complete.then(|| self.line(&["rev-list", "--count", "HEAD"])?.parse().ok()).flatten()
    }

    /// The address of a remote, as it is configured.
    pub fn remote(&self, name: &str) -> Option<String> {
        self.line(&["config", "--get", &format!("remote.{name}.url")])
    }

    /// The nearest tag, annotated or not, among those that match one of the patterns.
    pub fn describe(&self, patterns: &[&str]) -> Option<Description> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("--match={pattern}")).collect();
        let mut arguments = vec!["describe", "--tags", "--long", "--abbrev=40"];
        arguments.extend(patterns.iter().map(String::as_str));
        let line = self.line(&arguments)?;
        let (rest, commit) = line.rsplit_once("-g")?;
        let (tag, distance) = rest.rsplit_once('-')?;
        Some(Description { tag: tag.to_owned(), distance: distance.parse().ok()?, commit: commit.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::Description;

    #[test]
    fn descriptions_are_written_as_git_does() {
        let described = |distance| Description { tag: "v1.2.0".into(), distance, commit: "0123456789".into() };
        assert_eq!(described(0).text(false), "v1.2.0");
        assert_eq!(described(0).text(true), "v1.2.0-dirty");
        assert_eq!(described(3).text(true), "v1.2.0-3-g0123456-dirty");
    }
}

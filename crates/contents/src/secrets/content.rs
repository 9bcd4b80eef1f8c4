//! Contents that are private keys or access tokens. Only forms that are not mistaken for anything else are looked for, because a
//! hit fails the build.

use std::{
    io::{self, Read},
    sync::LazyLock,
};

use aho_corasick::AhoCorasick;

/// Looked at together.
const PIECE: u64 = 1 << 18;
/// Looked at again with the next piece: the longest of them in UTF-16, and what may stand between a name and its value.
const OVERLAP: usize = 512;

/// What follows a fixed text.
enum Rest {
    /// Nothing.
    Any,
    /// At least so many letters, digits, `_` and `-`.
    Word(usize),
    /// Exactly so many letters and digits.
    Letters(usize),
    /// Exactly so many capitals and digits: base64 has longer runs.
    Capitals(usize),
    /// `=` or `:` and exactly so many letters of base64.
    Value(usize),
}

const RULES: [(&str, &str, Rest); 25] = [
    ("private key (PEM)", "-----BEGIN PRIVATE KEY-----", Rest::Any),
    ("private key (PEM, encrypted)", "-----BEGIN ENCRYPTED PRIVATE KEY-----", Rest::Any),
    ("private key (RSA)", "-----BEGIN RSA PRIVATE KEY-----", Rest::Any),
    ("private key (EC)", "-----BEGIN EC PRIVATE KEY-----", Rest::Any),
    ("private key (OpenSSH)", "-----BEGIN OPENSSH PRIVATE KEY-----", Rest::Any),
    ("private key (PGP)", "-----BEGIN PGP PRIVATE KEY BLOCK-----", Rest::Any),
    ("private key (PuTTY)", "PuTTY-User-Key-File-", Rest::Word(1)),
    ("GitHub token", "ghp_", Rest::Letters(36)),
    ("GitHub OAuth token", "gho_", Rest::Letters(36)),
    ("GitHub user token", "ghu_", Rest::Letters(36)),
    ("GitHub server token", "ghs_", Rest::Letters(36)),
    ("GitHub refresh token", "ghr_", Rest::Word(36)),
    ("GitHub fine-grained token", "github_pat_", Rest::Word(60)),
    ("GitLab token", "glpat-", Rest::Word(20)),
    ("PyPI token", "pypi-AgEIcHlwaS5vcmc", Rest::Word(50)),
    ("AWS access key id", "AKIA", Rest::Capitals(16)),
    ("AWS temporary access key id", "ASIA", Rest::Capitals(16)),
    ("AWS secret key", "aws_secret_access_key", Rest::Value(40)),
    ("AWS secret key", "AWS_SECRET_ACCESS_KEY", Rest::Value(40)),
    ("npm token", "npm_", Rest::Letters(36)),
    ("Hugging Face token", "hf_", Rest::Letters(34)),
    ("Slack token", "xoxb-", Rest::Word(40)),
    ("Slack user token", "xoxp-", Rest::Word(40)),
    ("Anthropic key", "sk-ant-", Rest::Word(40)),
    ("Docker Hub token", "dckr_pat_", Rest::Word(20)),
];

/// All fixed texts, and then all of them in UTF-16.
static PREFIXES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let plain = RULES.iter().map(|(_, prefix, _)| prefix.as_bytes().to_vec());
    // From the first letter to the last it makes no difference in which order the two bytes are.
    let wide = RULES.iter().map(|(_, prefix, _)| {
        let mut bytes: Vec<u8> = prefix.bytes().flat_map(|byte| [byte, 0]).collect();
        bytes.pop();
        bytes
    });
    AhoCorasick::new(plain.chain(wide)).ok()
});

/// The rule by which a text holds a private key or an access token, if any.
pub fn secret_content(bytes: &[u8]) -> Option<&'static str> {
    found(bytes, true, true)
}

/// The same of a file of any size.
pub fn secret_in(mut file: impl Read) -> io::Result<Option<&'static str>> {
    let (mut buffer, mut is_first) = (Vec::new(), true);
    loop {
        buffer.drain(..buffer.len().saturating_sub(OVERLAP));
        let read = file.by_ref().take(PIECE).read_to_end(&mut buffer)?;
        let is_last = (read as u64) < PIECE;
        let rule = found(&buffer, is_first, is_last);
        if rule.is_some() || is_last {
            return Ok(rule);
        }
        is_first = false;
    }
}

fn found(bytes: &[u8], is_first: bool, is_last: bool) -> Option<&'static str> {
    PREFIXES.as_ref()?.find_overlapping_iter(bytes).find_map(|hit| {
        let (pattern, start, end) = (hit.pattern().as_usize(), hit.start(), hit.end());
        let (name, _, rest) = &RULES[pattern % RULES.len()];
        let stride = if pattern < RULES.len() { 1 } else { 2 };
        // What stands at the very beginning was seen with the piece before.
        let before = start.checked_sub(stride).map(|at| bytes[at]);
        if before.is_none() && !is_first {
            return None;
        }
        let after = || bytes[end..].iter().skip(stride - 1).step_by(stride).copied();
        rest.matches(before, after, is_last).then_some(*name)
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl Rest {
    /// Whether it stands there. `before` is the letter before the fixed text, `after` those that follow.
    fn matches<I: Iterator<Item = u8>>(&self, before: Option<u8>, after: impl Fn() -> I, is_last: bool) -> bool {
        let run = |letter: fn(u8) -> bool, skip: usize| after().skip(skip).take_while(|byte| letter(*byte)).count();
        // Where the piece ends, its length is not known; the next piece has it whole.
        let exactly = |letter: fn(u8) -> bool, skip: usize, length: usize| {
            run(letter, skip) == length && (is_last || after().nth(skip + length).is_some())
        };
        let is_apart = !before.is_some_and(is_word);
        match self {
            Self::Any => true,
            Self::Word(least) => is_apart && run(is_word, 0) >= *least,
            Self::Letters(length) => {
                let is_apart = is_apart && !after().nth(*length).is_some_and(is_word);
                is_apart && exactly(|byte| byte.is_ascii_alphanumeric(), 0, *length)
            }
            Self::Capitals(length) => {
                let is_apart = is_apart && !after().nth(*length).is_some_and(is_word);
                is_apart && exactly(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit(), 0, *length)
            }
            Self::Value(length) => {
                let between = after().take(8).take_while(|byte| b" =:\t\"'".contains(byte)).count();
                let is_set = after().take(between).any(|byte| matches!(byte, b'=' | b':'));
                let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'=');
                is_set && exactly(letter, between, *length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here, so that no scanner takes this file for a leak.
    fn secrets() -> Vec<(String, &'static str)> {
        let letters = "a1".repeat(40);
        let of = |prefix: [&str; 2], length: usize| format!("{}{}", prefix.concat(), &letters[..length]);
        vec![
            (of(["gh", "p_"], 36), "GitHub token"),
            (of(["gh", "o_"], 36), "GitHub OAuth token"),
            (of(["np", "m_"], 36), "npm token"),
            (of(["h", "f_"], 34), "Hugging Face token"),
            (of(["xox", "p-"], 40), "Slack user token"),
            (of(["sk-", "ant-"], 60), "Anthropic key"),
            (format!("{}{}", "AKIA", "ABCDEFGH12345678"), "AWS access key id"),
            (format!("{}{}", "ASIA", "ABCDEFGH12345678"), "AWS temporary access key id"),
            (format!("{}_access_key = \"{}\"", "aws_secret", &letters[..40]), "AWS secret key"),
            (format!("-----BEGIN {} KEY-----", "PRIVATE"), "private key (PEM)"),
        ]
    }

    #[test]
    fn knows_contents_that_are_secrets() {
        for (secret, rule) in secrets() {
            for text in [secret.clone(), format!("x = '{secret}'\n")] {
                assert_eq!(secret_content(text.as_bytes()), Some(rule), "{text}");
                let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
                assert_eq!(secret_content(&little), Some(rule), "{text}");
                assert_eq!(secret_content(&big), Some(rule), "{text}");
            }
        }
        let [function, run] = [format!("{}_{}", "hf", "some_function_of_a_library_that_is_long"), "A".repeat(60)];
        for text in [
            "ghp_short",
            "-----BEGIN PUBLIC KEY-----",
            "AKIAabc",
            "",
            "the AKIA prefix",
            &function,
            &format!("AKIA{run}"),
        ] {
            assert_eq!(secret_content(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_file_is_looked_at_wherever_it_is_cut() {
        for (secret, rule) in secrets() {
            for at in (PIECE as usize - 250..PIECE as usize + 10).step_by(7) {
                let mut file = vec![b' '; at];
                file.extend(secret.bytes());
                file.resize(2 * PIECE as usize + 100, b' ');
                assert_eq!(secret_in(&*file).unwrap(), Some(rule), "{at}");
            }
        }
        // A longer run is none, wherever it is cut.
        for at in (PIECE as usize - 40..PIECE as usize + 10).step_by(3) {
            let mut file = vec![b' '; at];
            file.extend(format!("{}{}", "AKIA", "ABCDEFGH12345678XX").bytes());
            file.resize(2 * PIECE as usize, b' ');
            assert_eq!(secret_in(&*file).unwrap(), None, "{at}");
        }
    }
}

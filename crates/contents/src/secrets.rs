//! What must not get into an image by accident.

/// Whether a file or directory of this name means a secret, private state or a cache, and is left out unless it is
/// named explicitly. The answer says what it is.
pub fn secret_name(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| lower.ends_with(suffix));
    match lower.as_str() {
        ".env.example" | ".env.template" | ".env.sample" => None,
        ".git" | ".hg" | ".svn" => Some("version control data"),
        ".netrc" | "_netrc" | ".pypirc" | ".npmrc" | ".git-credentials" | ".pgpass" | ".condarc" => {
            Some("a file of credentials")
        }
        ".ssh" | ".gnupg" | ".aws" | ".docker" | ".kube" => Some("a directory of credentials"),
        "credentials.json" | "auth.json" | "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" => {
            Some("a key or credentials")
        }
        ".pixi" => Some("the environments of the build machine"),
        "__pycache__" | ".mypy_cache" | ".pytest_cache" | ".ruff_cache" => Some("a cache"),
        _ if lower == ".env" || lower.starts_with(".env.") || lower == ".envrc" => {
            Some("a file of environment variables")
        }
        _ if ends(&[".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", ".keystore"]) => Some("a key"),
        _ if ends(&[".token", ".secret"]) => Some("a token"),
        _ => None,
    }
}

/// The rule by which `bytes` hold a private key or an access token, if any. Only forms that are not mistaken for
/// anything else are looked for, because a hit fails the build.
pub fn secret_content(bytes: &[u8]) -> Option<&'static str> {
    PREFIXED.iter().find(|rule| rule.matches(bytes)).map(|rule| rule.name)
}

/// A token that begins with a fixed text and goes on with at least `len` letters of its alphabet.
struct Rule {
    name: &'static str,
    prefix: &'static [u8],
    len: usize,
}

const PREFIXED: [Rule; 14] = [
    Rule { name: "private key (PEM)", prefix: b"-----BEGIN PRIVATE KEY-----", len: 0 },
    Rule { name: "private key (PEM, encrypted)", prefix: b"-----BEGIN ENCRYPTED PRIVATE KEY-----", len: 0 },
    Rule { name: "private key (RSA)", prefix: b"-----BEGIN RSA PRIVATE KEY-----", len: 0 },
    Rule { name: "private key (EC)", prefix: b"-----BEGIN EC PRIVATE KEY-----", len: 0 },
    Rule { name: "private key (OpenSSH)", prefix: b"-----BEGIN OPENSSH PRIVATE KEY-----", len: 0 },
    Rule { name: "private key (PGP)", prefix: b"-----BEGIN PGP PRIVATE KEY BLOCK-----", len: 0 },
    Rule { name: "GitHub token", prefix: b"ghp_", len: 36 },
    Rule { name: "GitHub server token", prefix: b"ghs_", len: 36 },
    Rule { name: "GitHub fine-grained token", prefix: b"github_pat_", len: 60 },
    Rule { name: "GitLab token", prefix: b"glpat-", len: 20 },
    Rule { name: "PyPI token", prefix: b"pypi-AgEIcHlwaS5vcmc", len: 50 },
    Rule { name: "AWS access key id", prefix: b"AKIA", len: 16 },
    Rule { name: "Slack token", prefix: b"xoxb-", len: 40 },
    Rule { name: "Docker Hub token", prefix: b"dckr_pat_", len: 20 },
];

impl Rule {
    fn matches(&self, bytes: &[u8]) -> bool {
        let letter = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        memchr::memmem::find_iter(bytes, self.prefix).any(|at| {
            let rest = &bytes[at + self.prefix.len()..];
            let before = at.checked_sub(1).map(|i| bytes[i]);
            let run = rest.iter().take_while(|b| letter(b)).count();
            // An access key id has exactly its length: base64 text has longer runs.
            let long_enough = if self.prefix == b"AKIA" {
                run == self.len && rest[..run].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            } else {
                run >= self.len
            };
            long_enough && (self.len == 0 || !before.is_some_and(|b| letter(&b)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names_of_secrets() {
        for name in [".env", ".env.local", ".netrc", "server.key", "ca.PEM", ".git", ".ssh", "id_ed25519", ".pixi"] {
            assert!(secret_name(name).is_some(), "{name}");
        }
        for name in ["env", "main.py", ".env.example", "keys.py", "monkey", ".gitignore", "README.md"] {
            assert_eq!(secret_name(name), None, "{name}");
        }
    }

    #[test]
    fn knows_contents_that_are_secrets() {
        // Put together here, so that no scanner takes this file for a leak.
        let token = format!("x = '{}_{}'", "ghp", "a1".repeat(18));
        let key = format!("-----BEGIN {} KEY-----\nMII", "PRIVATE");
        let aws = format!("id={}{}\n", "AKIA", "ABCDEFGH12345678");
        assert_eq!(secret_content(token.as_bytes()), Some("GitHub token"));
        assert_eq!(secret_content(key.as_bytes()), Some("private key (PEM)"));
        assert_eq!(secret_content(aws.as_bytes()), Some("AWS access key id"));
        for text in ["ghp_short", "-----BEGIN PUBLIC KEY-----", "AKIAabc", "", "the AKIA prefix"] {
            assert_eq!(secret_content(text.as_bytes()), None, "{text}");
        }
    }
}

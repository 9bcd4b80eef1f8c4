//! What must not get into an image by accident.

mod content;

pub use content::secret_content;
pub(crate) use content::secret_in;

/// Whether a file or directory of this name means a secret, private state or a cache, and is left out unless it is
/// named explicitly. The answer says what it is.
pub fn secret_name(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    // A copy of a secret is one, too.
    let copies = [".bak", ".backup", ".old", ".orig", "~"];
    let name = copies.iter().find_map(|suffix| lower.strip_suffix(suffix)).unwrap_or(&lower);
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    match name {
        ".env.example" | ".env.template" | ".env.sample" | "example.env" | "template.env" | "sample.env" => None,
        ".git" | ".hg" | ".svn" => Some("version control data"),
        ".netrc" | "_netrc" | ".pypirc" | ".npmrc" | ".git-credentials" | ".pgpass" | ".condarc" | ".dockercfg"
        | ".vault-token" | "kubeconfig" => Some("a file of credentials"),
        ".ssh" | ".gnupg" | ".aws" | ".azure" | ".docker" | ".kube" | ".config" => Some("a directory of credentials"),
        "credentials.json" | "auth.json" | "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" | "id_ecdsa_sk"
        | "id_ed25519_sk" => Some("a key or credentials"),
        ".pixi" => Some("the environments of the build machine"),
        "__pycache__" | ".mypy_cache" | ".pytest_cache" | ".ruff_cache" => Some("a cache"),
        ".envrc" => Some("a file of environment variables"),
        _ if name.starts_with(".env.") || ends(&[".env"]) => Some("a file of environment variables"),
        _ if name.starts_with('.') && ends(&["_history"]) => Some("a history of commands"),
        _ if ends(&[".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", ".keystore", ".ppk"]) => Some("a key"),
        _ if ends(&[".tfstate"]) => Some("a state with secrets in it"),
        _ if ends(&[".token", ".secret"]) => Some("a token"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names_of_secrets() {
        let names = [
            ".env",
            ".env.local",
            ".netrc",
            "server.key",
            "ca.PEM",
            ".git",
            ".ssh",
            "id_ed25519",
            ".pixi",
            ".dockercfg",
            ".vault-token",
            "prod.env",
            "id_ecdsa_sk",
            "putty.ppk",
            ".bash_history",
            "kubeconfig",
            "terraform.tfstate",
            "terraform.tfstate.backup",
            ".config",
            "server.key.bak",
            ".netrc~",
        ];
        for name in names {
            assert!(secret_name(name).is_some(), "{name}");
        }
        let names = [
            "env",
            "main.py",
            ".env.example",
            "example.env",
            "keys.py",
            "monkey",
            ".gitignore",
            "README.md",
            "config",
            "browser_history",
            "main.py.bak",
            "environment.yml",
        ];
        for name in names {
            assert_eq!(secret_name(name), None, "{name}");
        }
    }
}

//! The names that images get at destinations.

use oci_spec::distribution::Reference;

use crate::Error;

/// The grammar of `org.opencontainers.image.ref.name` (OCI image-spec, annotations.md):
/// alphanumeric words, joined by one of `-._:@+/` or by `--`.
pub(crate) fn check_layout_name(name: &str) -> Result<(), Error> {
    let bad = |reason| Error::Name { name: name.chars().take(300).collect(), destination: "an OCI layout", reason };
    if name.contains("@sha256:") {
        return Err(bad("an image is written under a tag, and its digest is the result"));
    }
    let words = name.replace("--", "-");
    if !words.split(|c: char| "-._:@+/".contains(c)).all(is_word) {
        return Err(bad("a tag is letters and digits, with single - . _ : + / between them"));
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Checks `NAME[:TAG]` for a docker-archive and adds `:latest`, as docker does.
pub(crate) fn docker_name(name: &str) -> Result<String, Error> {
    let bad = |reason| Error::Name { name: name.chars().take(300).collect(), destination: "a docker-archive", reason };
    let reference: Reference =
        name.parse().map_err(|_| bad("it is not NAME:TAG, e.g. demo:1.0 or quay.io/me/demo:1.0"))?;
    if reference.digest().is_some() {
        return Err(bad("an image is written under a tag, and its digest is the result"));
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    Ok(if last.contains(':') { name.to_owned() } else { format!("{name}:latest") })
}

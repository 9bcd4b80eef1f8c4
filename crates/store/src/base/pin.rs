//! What a name of a base image means now, as a digest.

use pixi_oci_layer::Digest;

use super::{BaseError, BaseOptions, BaseRef, LayoutImage, Problem, Source, Store, local, registry::BaseRegistry};

/// The digest of what a base image's name means at present; `None` for `scratch`, which cannot change.
///
/// It is that of the image index where there is one, so that it holds for all architectures. A digest in the name does
/// not count where there is a tag as well: it is what the tag meant when it was pinned.
pub async fn present_digest(base: &BaseRef, options: &BaseOptions<'_>) -> Result<Option<Digest>, BaseError> {
    let not_pinnable = |reason: &str| BaseError::Reference { text: base.to_string(), reason: reason.to_owned() };
    let source = match base {
        BaseRef::Scratch => return Ok(None),
        BaseRef::Proxied(_) => {
            return Err(not_pinnable(
                "it cannot be named by a digest; copy it to a registry or to an OCI layout (oci:DIR)",
            ));
        }
        BaseRef::OciLayout { image: LayoutImage::Digest(digest), .. } => return Ok(Some(*digest)),
        BaseRef::OciLayout { dir, image } => {
            Source::Local(local::Local::layout(dir, image).map_err(|problem| problem.of(base))?)
        }
        BaseRef::Registry(reference) => {
            let name = reference.to_string();
            let tagged = match name.split_once('@') {
                Some((tagged, _)) if reference.tag().is_some() => tagged,
                _ => &name,
            };
            let BaseRef::Registry(tagged) = BaseRef::parse(tagged)? else { return Ok(None) };
            let registry = Store::open(options.cache)
                .map_err(Problem::from)
                .and_then(|store| BaseRegistry::new(&tagged, options, store));
            Source::Registry(Box::new(registry.map_err(|problem| problem.of(base))?))
        }
    };
    let roots = source.roots().await.map_err(|problem| problem.of(base))?;
    let [root] = &roots[..] else {
        return Err(not_pinnable(
            "it has an image for each platform and no index of them; make one, or name one image",
        ));
    };
    Ok(Some(super::checked(root).map_err(|problem| problem.of(base))?.digest))
}

/// The name as it is written, with this digest: `ubuntu:24.04@sha256:…`, and `oci:DIR@sha256:…` for `oci:DIR:TAG`, which
/// can have only one of them.
pub fn with_digest(text: &str, digest: Digest) -> String {
    format!("{}@{digest}", before_digest(text))
}

/// What comes before the `@` of a name with a digest; a name that only skopeo reads has no such form.
fn before_digest(text: &str) -> &str {
    match BaseRef::parse(text) {
        Ok(BaseRef::OciLayout { image: LayoutImage::Tag(tag), .. }) => {
            text.strip_suffix(&tag).map_or(text, |name| name.trim_end_matches(':'))
        }
        Ok(BaseRef::OciLayout { image: LayoutImage::Only, .. }) => text,
        _ => text.rsplit_once('@').map_or(text, |(name, _)| name),
    }
}

/// How a base image is pinned, in words.
pub fn how_to_pin(text: &str) -> String {
    match BaseRef::parse(text) {
        Ok(BaseRef::Proxied(_)) => "it cannot be named by a digest; copy it to a registry or to an OCI layout \
                                    (oci:DIR), and pin that"
            .into(),
        _ => format!("write its digest into `base` ({}@sha256:…), or run `pixi-oci lock --base`", before_digest(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_put_where_it_belongs() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        for (text, name) in [
            ("ubuntu:24.04".to_owned(), "ubuntu:24.04"),
            (format!("ubuntu:24.04@{old}"), "ubuntu:24.04"),
            (format!("docker://ghcr.io/a/b@{old}"), "docker://ghcr.io/a/b"),
            ("oci:base".to_owned(), "oci:base"),
            ("oci:a@b".to_owned(), "oci:a@b"),
            ("oci:dir/base:v1".to_owned(), "oci:dir/base"),
            (format!("oci:base@{old}"), "oci:base"),
        ] {
            let pinned = with_digest(&text, new);
            assert_eq!(pinned, format!("{name}@{new}"), "{text}");
            assert!(BaseRef::parse(&pinned).unwrap().is_pinned());
        }
    }
}

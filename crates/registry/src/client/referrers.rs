//! What says of itself that it belongs to an image, such as a SIF: registries with the referrers API find it by themselves,
//! the others have a list of it under a tag (OCI distribution-spec, "Referrers Tag Schema").

use oci_read::document::{Common, Descriptor as Named, Document, OCI_INDEX};
use pixi_oci_image::{Descriptor, MediaType, canonical};
use pixi_oci_layer::Digest;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    client::{Put, Registry},
    error::{Error, ErrorKind},
};

/// The list of a subject. What others have put in it stays as it is.
#[derive(Serialize, Deserialize)]
struct ReferrersList {
    manifests: Vec<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Whether it can be the tag of such a list.
pub fn is_referrers_tag(tag: &str) -> bool {
    tag.strip_prefix("sha256-").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Registry {
    /// After a manifest was put: sees that it is found by its subject, if it has one.
    pub async fn refer(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        let Some((subject, common)) = self.subject(bytes)? else { return Ok(()) };
        if self.finds_referrers(&subject).await? {
            return Ok(());
        }
        let (_, mut list) = self.list(&subject).await?;
        if list.position(&manifest.digest).is_none() {
            let mut entry = json!(Descriptor { annotations: common.annotations, ..manifest.clone() });
            entry["artifactType"] = common.artifact_type.into();
            list.manifests.push(entry);
            self.put_list(&subject, list).await?;
        }
        Ok(())
    }

    /// After a manifest was deleted: takes it from the list of its subject, and the list with it when it was the last.
    pub async fn unrefer(&self, manifest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let Some((subject, _)) = self.subject(bytes)? else { return Ok(()) };
        let (old, mut list) = self.list(&subject).await?;
        let (Some(old), Some(at)) = (old, list.position(manifest)) else { return Ok(()) };
        list.manifests.remove(at);
        if list.manifests.is_empty() {
            self.delete(&old.to_string()).await.map(drop)
        } else {
            self.put_list(&subject, list).await
        }
    }

    fn subject(&self, manifest: &[u8]) -> Result<Option<(Digest, Common)>, Error> {
        let Ok(document) = Document::parse("", manifest) else { return Ok(None) };
        let common = document.common().clone();
        let Some(Named { digest, .. }) = &common.subject else { return Ok(None) };
        let bad = |error: pixi_oci_layer::ParseDigestError| self.answer("the subject of a manifest", error.to_string());
        Ok(Some((digest.parse().map_err(bad)?, common)))
    }

    /// Whether there is the API. 404 is the usual answer where there is not.
    async fn finds_referrers(&self, subject: &Digest) -> Result<bool, Error> {
        let what = format!("what belongs to {subject}");
        let request = self.request(Method::GET, self.url(&format!("referrers/{subject}")).await?, &what);
        let reply = self.call(&request).await?;
        match reply.status.as_u16() {
            401 | 403 => Err(self.refusal(&what, &reply)),
            200 => Ok(reply.header("content-type").is_some_and(|said| said.starts_with(OCI_INDEX))),
            _ => Ok(false),
        }
    }

    /// The list, and its digest; an empty one where there is none.
    async fn list(&self, subject: &Digest) -> Result<(Option<Digest>, ReferrersList), Error> {
        let tag = tag(subject);
        let bad = |reason: String| self.answer(&format!("tag {tag}, a list of what belongs to {subject}"), reason);
        let (descriptor, bytes) = match self.manifest(&tag).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let rest = [("schemaVersion".to_owned(), json!(2)), ("mediaType".to_owned(), json!(OCI_INDEX))];
                return Ok((None, ReferrersList { manifests: Vec::new(), rest: rest.into_iter().collect() }));
            }
            read => read?,
        };
        Document::parse(OCI_INDEX, &bytes).map_err(|error| bad(error.to_string()))?;
        let list = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        Ok((Some(descriptor.digest), list))
    }

    async fn put_list(&self, subject: &Digest, mut list: ReferrersList) -> Result<(), Error> {
        let tag = tag(subject);
        for _ in 0..2 {
            let bytes = canonical(json!(list));
            if self.put(&tag, &Descriptor::of(MediaType::ImageIndex, &bytes), &bytes).await? == Put::Done {
                return Ok(());
            }
            // Others were deleted and stayed in the list.
            let mut there = Vec::new();
            for entry in std::mem::take(&mut list.manifests) {
                let digest = entry.get("digest").and_then(Value::as_str).unwrap_or_default();
                if self.head_manifest(digest).await?.is_some() {
                    there.push(entry);
                }
            }
            list.manifests = there;
        }
        Err(self.answer(&format!("tag {tag}"), "the registry says that what it lists is not there"))
    }
}

impl ReferrersList {
    fn position(&self, manifest: &Digest) -> Option<usize> {
        let digest = json!(manifest);
        self.manifests.iter().position(|entry| entry.get("digest") == Some(&digest))
    }
}

fn tag(subject: &Digest) -> String {
    subject.to_string().replace(':', "-")
}

#[cfg(test)]
mod tests {
    use pixi_oci_test_registry::{Profile, Registry as Fake};

    use super::*;
    use crate::{
        client::BlobSource,
        testing::{Setup, run},
    };

    /// An artifact that belongs to an image.
    fn artifact(client: &Registry, text: &str) -> (Descriptor, Vec<u8>) {
        let config = Descriptor::of(MediaType::EmptyJSON, b"{}");
        let subject = Descriptor::of(MediaType::ImageManifest, b"image");
        let bytes = canonical(json!({"schemaVersion": 2, "mediaType": MediaType::ImageManifest, "config": config,
            "layers": [], "subject": subject, "artifactType": "x/y", "annotations": {"a": text}}));
        let manifest = Descriptor::of(MediaType::ImageManifest, &bytes);
        run(client.put_blob(&config, BlobSource::Bytes(b"{}"), None)).unwrap();
        assert_eq!(run(client.put(&manifest.digest.to_string(), &manifest, &bytes)).unwrap(), Put::Done);
        (manifest, bytes)
    }

    #[test]
    fn a_tag_lists_what_the_registry_does_not_find() {
        let registry = Fake::start(Profile::plain());
        let client = Setup::default().connect(&registry.reference("a/b")).registry;
        let tag = tag(&Digest::of(b"image"));
        assert!(is_referrers_tag(&tag) && !is_referrers_tag("sha256-x") && !is_referrers_tag("1.0"));
        let listed = || {
            let (_, bytes) = run(client.manifest(&tag)).unwrap();
            serde_json::from_slice::<ReferrersList>(&bytes).unwrap().manifests
        };
        let [one, two, three] = ["one", "two", "three"].map(|text| artifact(&client, text));
        let expected = |(descriptor, _): &(Descriptor, Vec<u8>), text: &str| {
            json!({"mediaType": MediaType::ImageManifest, "digest": descriptor.digest, "size": descriptor.size,
                "artifactType": "x/y", "annotations": {"a": text}})
        };
        for (descriptor, bytes) in [&one, &two, &one] {
            run(client.refer(descriptor, bytes)).unwrap();
        }
        assert_eq!(listed(), [expected(&one, "one"), expected(&two, "two")]);
        // What was deleted by others does not stand in the way.
        run(client.delete(&one.0.digest.to_string())).unwrap();
        run(client.refer(&three.0, &three.1)).unwrap();
        assert_eq!(listed(), [expected(&two, "two"), expected(&three, "three")]);
        for (descriptor, bytes) in [&two, &three] {
            run(client.delete(&descriptor.digest.to_string())).unwrap();
            run(client.unrefer(&descriptor.digest, bytes)).unwrap();
        }
        assert_eq!(run(client.head_manifest(&tag)).unwrap(), None);
        // What has no subject is not asked about.
        let requests = client.requests();
        run(client.refer(&one.0, br#"{"config":{"digest":"x","size":1}}"#)).unwrap();
        assert_eq!(client.requests(), requests);
    }

    #[test]
    fn a_registry_that_finds_them_needs_no_tag() {
        let registry = Fake::start(Profile { referrers: true, ..Profile::plain() });
        let client = Setup::default().connect(&registry.reference("a/b")).registry;
        let (descriptor, bytes) = artifact(&client, "one");
        run(client.refer(&descriptor, &bytes)).unwrap();
        assert_eq!(run(client.tags()).unwrap(), [""; 0]);
    }
}

//! Manifests, indexes, tags and referrers.

use serde_json::{Value, json};

use super::{
    answer::{Asked, flip, not_found},
    blobs::is_digest,
    fault::Lie,
    route::Kind,
    world::World,
};
use crate::{
    checker::digest,
    http::Response,
    sample::{INDEX, MANIFEST},
};

const TYPES: [&str; 4] = [
    INDEX,
    MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

impl World {
    fn tag(&self, text: &str) -> String {
        if self.profile.folds_tags { text.to_lowercase() } else { text.to_owned() }
    }

    pub(super) fn give_manifest(&self, asked: &Asked<'_>) -> Response {
        let (name, route) = (&asked.route.name, asked.route);
        let by_digest = is_digest(name);
        let found = self.repositories.get(&route.repository).and_then(|repository| {
            let digest = if by_digest { name } else { repository.tags.get(&self.tag(name))? };
            repository.manifests.get(digest).map(|(media_type, bytes)| (digest, media_type, bytes))
        });
        let Some((digest, media_type, bytes)) = found else {
            let detail =
                if by_digest { json!({"Name": route.repository, "Revision": name}) } else { json!({"Tag": name}) };
            return self.error_with(404, "MANIFEST_UNKNOWN", "manifest unknown", detail);
        };
        let accepted: Vec<&str> =
            asked.head.headers.0.iter().filter(|(name, _)| name == "accept").map(|(_, v)| v.as_str()).collect();
        if self.profile.needs_accept
            && media_type != MANIFEST
            && !accepted.iter().any(|accept| accept.contains(media_type))
        {
            return self.error_with(
                404,
                "MANIFEST_UNKNOWN",
                "OCI index found, but accept header does not support OCI indexes",
                Value::Null,
            );
        }
        let response =
            Response::new(200).header("Docker-Content-Digest", digest).header("Etag", format!("\"{digest}\""));
        if route.kind == Kind::ManifestHead {
            return response.header("Content-Length", bytes.len()).body(media_type, "");
        }
        response.body(media_type, bytes.clone())
    }

    pub(super) fn put_manifest(&mut self, asked: Asked<'_>) -> Response {
        let name = asked.route.name.clone();
        let repository = asked.route.repository.clone();
        if self.profile.must_exist && !self.repositories.contains_key(&repository) {
            return self.error_with(
                404,
                "NAME_UNKNOWN",
                "repository name not known to registry",
                json!({"name": repository}),
            );
        }
        if asked.body.len() > self.profile.manifest_limit {
            return self.error(413, "MANIFEST_INVALID", "manifest is too large");
        }
        let media_type = asked.head.headers.get("content-type").unwrap_or_default().to_owned();
        if let Some(refusal) = self.invalid(&repository, &media_type, &asked.body) {
            return refusal;
        }
        let (digest, tag) = (digest(&asked.body), self.tag(&name));
        if is_digest(&name) {
            if name != digest {
                return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
            }
        } else if !is_tag(&name) {
            return not_found();
        } else if self.profile.immutable_tags {
            let known = self.repositories.get(&repository).and_then(|known| known.tags.get(&tag));
            if known.is_some_and(|known| *known != digest) {
                return self.error(412, "PRECONDITION", "configured as immutable");
            }
        }
        let mut bytes = asked.body;
        if asked.lie == Some(Lie::OtherBytes) {
            flip(&mut bytes);
        }
        if asked.lie != Some(Lie::StoreNothing) {
            let known = self.repositories.entry(repository.clone()).or_default();
            known.manifests.insert(digest.clone(), (media_type, bytes));
            if !is_digest(&name) && asked.lie != Some(Lie::TagStays) {
                self.set_tag(&repository, &tag, &digest, asked.number);
            }
        }
        let response = Response::new(201).header("Docker-Content-Digest", &digest);
        if self.profile.manifest_location {
            let location = format!("http://{}/v2/{repository}/manifests/{digest}", self.address);
            return response.header("Location", location);
        }
        response
    }

    /// Why the bytes are no manifest that can be stored here, if they are none.
    fn invalid(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Option<Response> {
        let refuse = |detail| Some(self.error_with(400, "MANIFEST_INVALID", "manifest invalid", detail));
        let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return refuse(json!({"Offset": 1})) };
        let said = document["mediaType"].as_str();
        if !TYPES.contains(&media_type) || said.is_some_and(|said| said != media_type) {
            return refuse(json!({}));
        }
        if said.is_none() && self.profile.needs_media_type {
            return refuse(json!("mediaType is missing"));
        }
        let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let config = document["config"].as_object().map(|_| document["config"].clone());
        let known = self.repositories.get(repository);
        let mut missing = Vec::new();
        for blob in list("layers").into_iter().chain(config) {
            let digest = blob["digest"].as_str().unwrap_or_default().to_owned();
            if self.blob(repository, &digest).is_none() {
                missing.push(digest);
            }
        }
        for child in list("manifests") {
            if child["mediaType"] != TYPES[1] && child["mediaType"] != TYPES[3] && !self.profile.nested_index {
                return refuse(json!("nested index"));
            }
            let digest = child["digest"].as_str().unwrap_or_default().to_owned();
            let found = known.and_then(|known| known.manifests.get(&digest));
            if self.checks_children() && found.is_none() {
                missing.push(digest);
            } else if found.is_some_and(|(_, bytes)| child["size"] != bytes.len() as u64) {
                return refuse(json!("size of a child"));
            }
        }
        let error = |digest: String| json!({"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": digest});
        let errors: Vec<Value> = missing.into_iter().map(error).collect();
        (!errors.is_empty()).then(|| Response::new(400).json(&json!({"errors": errors})))
    }

    pub(super) fn delete_manifest(&mut self, asked: &Asked<'_>) -> Response {
        let name = &asked.route.name;
        if !self.profile.deletes {
            return self.error(405, "UNSUPPORTED", "The operation is unsupported.");
        }
        if !is_digest(name) {
            return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        if let Some(repository) = self.repositories.get_mut(&asked.route.repository)
            && repository.manifests.remove(name).is_some()
        {
            repository.tags.retain(|_, digest| digest != name);
            return Response::new(202);
        }
        self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    }

    pub(super) fn tags(&self, asked: &Asked<'_>) -> Response {
        let name = &asked.route.repository;
        let Some(repository) =
            self.repositories.get(name).filter(|known| !known.manifests.is_empty() || !known.tags.is_empty())
        else {
            return self.error_with(
                404,
                "NAME_UNKNOWN",
                "repository name not known to registry",
                json!({"name": name}),
            );
        };
        let mut tags: Vec<&String> = repository.tags.keys().collect();
        let mut response = Response::new(200);
        let number = asked.head.query("n").and_then(|n| n.parse::<usize>().ok());
        if let Some(number) = number.filter(|_| self.profile.pages_tags) {
            let last = asked.head.query("last").unwrap_or_default();
            tags.retain(|tag| **tag > last);
            if tags.len() > number && number > 0 {
                tags.truncate(number);
                let next = format!("</v2/{name}/tags/list?last={}&n={number}>; rel=\"next\"", tags[number - 1]);
                response = response.header("Link", next);
            }
        }
        let tags = if tags.is_empty() && !self.profile.pages_tags { Value::Null } else { json!(tags) };
        response.json(&json!({"name": name, "tags": tags}))
    }

    pub(super) fn referrers(&self, asked: &Asked<'_>) -> Response {
        if !self.profile.referrers {
            return not_found();
        }
        let known = self.repositories.get(&asked.route.repository);
        let manifests = known.into_iter().flat_map(|known| known.manifests.iter());
        let pointing = manifests.filter_map(|(digest, (media_type, bytes))| {
            let document: Value = serde_json::from_slice(bytes).ok()?;
            let subject = document["subject"]["digest"].as_str()?;
            (subject == asked.route.name).then(|| {
                json!({"mediaType": media_type, "digest": digest, "size": bytes.len(), "artifactType": document["artifactType"]})
            })
        });
        let list: Vec<Value> = pointing.collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list});
        Response::new(200).body(INDEX, index.to_string())
    }
}

fn is_tag(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text.len() <= 128 && text.bytes().all(allowed) && !text.starts_with(['.', '-']) && !text.is_empty()
}

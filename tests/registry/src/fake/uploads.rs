//! Upload sessions. Their addresses carry, as docker-registry's do, how much had come when the address was given.

use serde_json::json;

use super::{
    answer::{Asked, flip},
    fault::Lie,
    profile::{Location, Patch, Resume},
    route::SESSIONS,
    world::{Upload, World},
};
use crate::{checker::digest, http::Response};

impl World {
    pub(super) fn start_upload(&mut self, asked: &Asked<'_>) -> Response {
        let repository = asked.route.repository.clone();
        if self.profile.must_exist && !self.repositories.contains_key(&repository) {
            return self.error_with(
                404,
                "NAME_UNKNOWN",
                "repository name not known to registry",
                json!({"name": repository}),
            );
        }
        let session = self.fresh();
        self.uploads.insert(session.clone(), Upload { repository, bytes: Vec::new(), patches: 0 });
        self.session_answer(202, &session)
    }

    /// What sessions answer: where to go on, and how much has come.
    fn session_answer(&self, status: u16, session: &str) -> Response {
        let upload = &self.uploads[session];
        let (repository, length) = (&upload.repository, upload.bytes.len());
        let [specified, artifacts, storage] = SESSIONS;
        let rest = format!("{session}?_state={length}-{session}");
        let location = match self.profile.location {
            Location::Absolute => format!("http://{}/v2/{repository}{specified}{rest}", self.address),
            Location::Relative => format!("/v2/{repository}{specified}{rest}"),
            // What was asked is either the session or the place of sessions: both end in the same directory.
            Location::NoSlash => rest,
            Location::OtherPath => format!("http://{}/{repository}{artifacts}{rest}", self.address),
            Location::OtherHost => format!("http://{}/{repository}{storage}{rest}", self.elsewhere),
        };
        let response = Response::new(status).header("Docker-Upload-Uuid", session).header("Location", location);
        response.header("Range", format!("0-{}", length.saturating_sub(1)))
    }

    /// The session that a request names, or why it cannot go on.
    fn session(&mut self, asked: &Asked<'_>) -> Result<String, Response> {
        let session = asked.route.name.clone();
        let Some(upload) = self.uploads.get(&session) else {
            return Err(self.error_with(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", json!({})));
        };
        let state = asked.head.query("_state").unwrap_or_default();
        let old = state != format!("{}-{session}", upload.bytes.len());
        if self.profile.resume == Resume::StateIsChecked && old {
            return Err(self.error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid"));
        }
        Ok(session)
    }

    /// The request ended early, after these bytes.
    pub(super) fn cut_patch(&mut self, session: &str, bytes: &[u8]) {
        match self.profile.resume {
            Resume::Never => drop(self.uploads.remove(session)),
            _ => {
                self.uploads
                    .entry(session.to_owned())
                    .and_modify(|upload| upload.bytes.extend_from_slice(bytes))
                    .or_insert_with(|| unreachable!("cut sessions exist"))
                    .patches += 1
            }
        }
    }

    pub(super) fn patch_upload(&mut self, asked: Asked<'_>) -> Response {
        let session = match self.session(&asked) {
            Ok(session) => session,
            Err(refusal) => return refusal,
        };
        let upload = &self.uploads[&session];
        let start = asked.head.headers.get("content-range").map(|range| range.trim_start_matches("bytes "));
        let continues = start.and_then(|range| range.split('-').next()) == Some(&upload.bytes.len().to_string());
        let refused = match self.profile.patch {
            Patch::Never => return self.error(405, "UNSUPPORTED", "The operation is unsupported."),
            Patch::AtMost(most) => asked.body.len() > most,
            Patch::Required => (upload.patches > 0 || start.is_some()) && !continues,
            Patch::Checked => start.is_some() && !continues,
            Patch::Any | Patch::KeepsOnlyFirst => false,
        };
        if refused {
            let refusal = self.error(416, "BLOB_UPLOAD_INVALID", "blob upload invalid");
            let range = self.session_answer(416, &session);
            return Response { headers: [range.headers, refusal.headers].concat(), ..refusal };
        }
        let keeps_first = self.profile.patch == Patch::KeepsOnlyFirst;
        let upload = self.uploads.get_mut(&session).unwrap();
        if !(keeps_first && upload.patches > 0) {
            upload.bytes.extend_from_slice(&asked.body);
        }
        upload.patches += 1;
        self.session_answer(if keeps_first { 201 } else { 202 }, &session)
    }

    pub(super) fn finish_upload(&mut self, asked: Asked<'_>) -> Response {
        let session = match self.session(&asked) {
            Ok(session) => session,
            Err(refusal) => return refusal,
        };
        let message = "provided digest did not match uploaded content";
        let Some(claimed) = asked.head.query("digest") else {
            return self.error_with(400, "DIGEST_INVALID", message, json!("digest missing"));
        };
        let upload = self.uploads.get_mut(&session).unwrap();
        upload.bytes.extend_from_slice(&asked.body);
        if digest(&upload.bytes) != claimed {
            return self.error_with(400, "DIGEST_INVALID", message, json!({"Digest": claimed, "Reason": {}}));
        }
        let mut upload = self.uploads.remove(&session).unwrap();
        match asked.lie {
            Some(Lie::StoreNothing) => {}
            lie => {
                if lie == Some(Lie::OtherBytes) {
                    flip(&mut upload.bytes);
                }
                self.store_blob(&upload.repository, &claimed, upload.bytes);
            }
        }
        self.stored(201, &upload.repository, &claimed)
    }

    pub(super) fn upload_status(&mut self, asked: &Asked<'_>) -> Response {
        let session = match self.session(asked) {
            Ok(session) => session,
            Err(refusal) => return refusal,
        };
        let mut response = self.session_answer(204, &session);
        if self.profile.resume == Resume::OffByOne {
            response.headers.retain(|(name, _)| name == "Docker-Upload-Uuid");
            response = response.header("Range", format!("0-{}", self.uploads[&session].bytes.len()));
        }
        response
    }

    pub(super) fn cancel_upload(&mut self, asked: &Asked<'_>) -> Response {
        match self.session(asked) {
            Ok(session) => {
                self.uploads.remove(&session);
                Response::new(204).header("Docker-Upload-Uuid", session)
            }
            Err(refusal) => refusal,
        }
    }
}

//! From a request to its answer, when nothing goes wrong on the way.

use serde_json::{Value, json};

use super::{
    fault::Lie,
    profile::Errors,
    route::{Kind, Route},
    world::World,
};
use crate::http::{Head, Response};

/// A request with its body.
pub(super) struct Asked<'a> {
    pub head: &'a Head,
    pub route: &'a Route,
    pub body: Vec<u8>,
    /// Its number in the log.
    pub number: usize,
    pub elsewhere: bool,
    pub lie: Option<Lie>,
}

pub(super) fn answer(world: &mut World, asked: Asked<'_>) -> Response {
    if asked.lie == Some(Lie::YesToEverything) {
        return Response::new(200);
    }
    let kind = asked.route.kind;
    if kind == Kind::Token {
        return world.give_token(asked.head, &asked.body);
    }
    if let Some(refusal) = world.refuse(&asked) {
        return refusal;
    }
    let lie = asked.lie;
    let mut response = match kind {
        Kind::Ping => Response::new(200).json(&json!({})),
        Kind::Catalog => world.catalog(),
        Kind::BlobHead | Kind::BlobGet => world.give_blob(&asked),
        Kind::BlobDelete => world.delete_blob(&asked),
        Kind::UploadStart => world.start_upload(&asked),
        Kind::Mount => world.mount(&asked),
        Kind::UploadPatch => world.patch_upload(asked),
        Kind::UploadPut => world.finish_upload(asked),
        Kind::UploadStatus => world.upload_status(&asked),
        Kind::UploadCancel => world.cancel_upload(&asked),
        Kind::ManifestHead | Kind::ManifestGet => world.give_manifest(&asked),
        Kind::ManifestPut => world.put_manifest(asked),
        Kind::ManifestDelete => world.delete_manifest(&asked),
        Kind::Tags => world.tags(&asked),
        Kind::Referrers => world.referrers(&asked),
        Kind::Other | Kind::Token => not_found(),
    };
    if lie == Some(Lie::WrongDigest) {
        response.headers.retain(|(name, _)| name != "Docker-Content-Digest");
        response = response.header("Docker-Content-Digest", format!("sha256:{}", "ab".repeat(32)));
    }
    if lie == Some(Lie::OtherBytes) && matches!(kind, Kind::BlobGet | Kind::ManifestGet | Kind::Tags) {
        flip(&mut response.body);
    }
    if response.headers.iter().any(|(name, _)| name == "Docker-Distribution-Api-Version") {
        return response;
    }
    response.header("Docker-Distribution-Api-Version", "registry/2.0")
}

/// Makes one byte another.
pub(super) fn flip(bytes: &mut [u8]) {
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
}

/// As of a path that a registry does not know.
pub(super) fn not_found() -> Response {
    Response::new(404)
        .header("X-Content-Type-Options", "nosniff")
        .body("text/plain; charset=utf-8", "404 page not found\n")
}

impl World {
    /// A refusal in the form of the profile.
    pub fn error(&self, status: u16, code: &str, message: &str) -> Response {
        self.error_with(status, code, message, Value::Null)
    }

    pub fn error_with(&self, status: u16, code: &str, message: &str, detail: Value) -> Response {
        let response = Response::new(status);
        match self.profile.errors {
            Errors::Json => {
                let mut error = json!({"code": code, "message": message});
                if !detail.is_null() {
                    error["detail"] = detail;
                }
                response.json(&json!({"errors": [error]}))
            }
            Errors::Plain => response.body("text/plain", format!("{code}: {message}\n")),
            Errors::Html => response.body("text/html", format!("<html><h1>{status}</h1><p>{message}</p></html>\n")),
            Errors::Empty => response,
        }
    }

    fn catalog(&self) -> Response {
        let known = self
            .repositories
            .iter()
            .filter(|(_, repository)| !(repository.blobs.is_empty() && repository.manifests.is_empty()));
        let names: Vec<&String> = known.map(|(name, _)| name).collect();
        Response::new(200).json(&json!({"repositories": names}))
    }
}

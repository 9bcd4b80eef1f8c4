//! What a request asks for.

use crate::http::Head;

/// The kinds of requests that faults and tests tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Ping,
    Token,
    BlobHead,
    BlobGet,
    BlobDelete,
    UploadStart,
    /// A POST that asks for a blob of another repository.
    Mount,
    UploadPatch,
    UploadPut,
    UploadStatus,
    UploadCancel,
    ManifestHead,
    ManifestGet,
    ManifestPut,
    ManifestDelete,
    Tags,
    Referrers,
    Catalog,
    Other,
}

impl Kind {
    /// Whether it changes what the registry has, or would if it succeeded.
    pub fn mutates(self) -> bool {
        use Kind::{BlobDelete, ManifestDelete, ManifestPut, Mount, UploadCancel, UploadPatch, UploadPut, UploadStart};
        matches!(
            self,
            BlobDelete | ManifestDelete | ManifestPut | Mount | UploadCancel | UploadPatch | UploadPut | UploadStart
        )
    }
}

/// A request's kind, the repository, and the digest, tag or upload session that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub kind: Kind,
    pub repository: String,
    pub name: String,
}

/// Where upload sessions are: the specification's place and the places that some registries give instead.
pub const SESSIONS: [&str; 3] = ["/blobs/uploads/", "/artifacts-uploads/", "/storage-uploads/"];

pub fn route(head: &Head) -> Route {
    let (method, path) = (head.method.as_str(), head.path());
    let of = |kind, repository: &str, name: &str| Route { kind, repository: repository.into(), name: name.into() };
    match path {
        "/v2/" | "/v2" => return of(Kind::Ping, "", ""),
        "/token" => return of(Kind::Token, "", ""),
        "/v2/_catalog" => return of(Kind::Catalog, "", ""),
        _ => {}
    }
    for place in SESSIONS {
        let Some((before, session)) = path.split_once(place) else { continue };
        let repository = before.trim_start_matches("/v2").trim_start_matches('/');
        let kind = match (method, session.is_empty()) {
            ("POST", true) if head.query("mount").is_some() => Kind::Mount,
            ("POST", true) => Kind::UploadStart,
            ("PATCH", false) => Kind::UploadPatch,
            ("PUT", false) => Kind::UploadPut,
            ("GET", false) => Kind::UploadStatus,
            ("DELETE", false) => Kind::UploadCancel,
            _ => Kind::Other,
        };
        return of(kind, repository, session);
    }
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    if let Some((repository, name)) = rest.rsplit_once("/blobs/") {
        let kind = match method {
            "HEAD" => Kind::BlobHead,
            "GET" => Kind::BlobGet,
            "DELETE" => Kind::BlobDelete,
            _ => Kind::Other,
        };
        return of(kind, repository, name);
    }
    if let Some((repository, name)) = rest.rsplit_once("/manifests/") {
        let kind = match method {
            "HEAD" => Kind::ManifestHead,
            "GET" => Kind::ManifestGet,
            "PUT" => Kind::ManifestPut,
            "DELETE" => Kind::ManifestDelete,
            _ => Kind::Other,
        };
        return of(kind, repository, name);
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return of(Kind::Tags, repository, "");
    }
    if let Some((repository, name)) = rest.rsplit_once("/referrers/") {
        return of(Kind::Referrers, repository, name);
    }
    of(Kind::Other, "", path)
}

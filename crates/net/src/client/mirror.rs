//! Mirrors: other hosts that are asked for the same files.
//!
//! rattler's middleware chooses the mirror with the fewest failures so far, so a retry asks the next one. Records keep the
//! URL that was asked for; nobody but the HTTP client sees a mirror's.

use std::collections::BTreeMap;

use rattler_networking::{MirrorMiddleware, mirror_middleware::Mirror};
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next};
use url::Url;

use crate::redact::without_credentials;

pub(super) fn middleware(mirrors: &BTreeMap<Url, Vec<Url>>) -> MirrorMiddleware {
    let mirror = |url: &Url| Mirror { url: url.clone(), no_zstd: false, no_bz2: false, max_failures: None };
    MirrorMiddleware::from_map(
        mirrors.iter().map(|(origin, targets)| (origin.clone(), targets.iter().map(mirror).collect())).collect(),
    )
}

/// Takes the credentials out of URLs that a mirror will be asked for: they are for the origin. Comes before the mirrors.
pub(super) struct KeepCredentials(pub(super) Vec<Url>);

#[async_trait::async_trait]
impl Middleware for KeepCredentials {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let plain = without_credentials(request.url());
        if self.0.iter().any(|origin| plain.as_str().starts_with(origin.as_str())) {
            *request.url_mut() = plain;
        }
        next.run(request, extensions).await
    }
}

//! `s3://BUCKET/KEY`: rewritten to a request that carries its signature in the URL.
//!
//! A bucket of `s3-options` is asked with the login that pixi has for it; any other with what the `AWS_*` variables say. A
//! bucket for which there is neither is asked without a signature. AWS's other sources of keys (profiles, single sign-on,
//! the metadata of a machine in its cloud) would need its whole software kit; see docs/channels.md for the way around.

use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;
use rattler_networking::{Authentication, AuthenticationStorage};
use reqwest::{Method, Request, Response};
use reqwest_middleware::{Middleware, Next};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

use crate::{S3Bucket, S3Settings};

/// How long a signed URL is good for: long enough for the biggest package on a slow line.
const VALID: Duration = Duration::from_secs(6 * 60 * 60);

pub(super) struct S3 {
    pub(super) settings: S3Settings,
    pub(super) storage: AuthenticationStorage,
    pub(super) now: fn() -> SystemTime,
}

/// Why an `s3:` URL cannot be asked for. The URL is not repeated: whoever asked knows it.
#[derive(Debug, thiserror::Error)]
enum S3Error {
    #[error("an s3: URL is s3://BUCKET/KEY")]
    Url,
    #[error("the address of the S3 service for bucket `{bucket}` cannot be used: {message}; see `s3-options`")]
    Endpoint { bucket: String, message: String },
    #[error("S3 is asked with GET and HEAD only")]
    Method,
    #[error("the clock of this machine cannot be right")]
    Clock,
}

impl S3 {
    fn signed(&self, url: &Url, method: &Method) -> Result<Url, S3Error> {
        let name = url.host_str().ok_or(S3Error::Url)?.to_owned();
        let key = percent_decode_str(url.path().trim_start_matches('/')).decode_utf8().map_err(|_| S3Error::Url)?;
        let environment = &self.settings.environment;
        let login = self.login(url);
        let (options, credentials) = match self.settings.buckets.get(&name) {
            Some(options) => (options.clone(), login),
            None => {
                let keys = environment.access_key_id.clone().zip(environment.secret_access_key.clone());
                let from_environment =
                    keys.map(|(id, secret)| credentials(id, secret, environment.session_token.clone()));
                (self.default_bucket()?, login.or(from_environment))
            }
        };
        let wrong = |message: String| S3Error::Endpoint { bucket: name.clone(), message };
        let style = if options.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(options.endpoint_url, style, name.clone(), options.region)
            .map_err(|error| wrong(error.to_string()))?;
        let now = jiff::Timestamp::try_from((self.now)()).map_err(|_| S3Error::Clock)?;
        match *method {
            Method::GET => Ok(bucket.get_object(credentials.as_ref(), &key).sign_with_time(VALID, &now)),
            Method::HEAD => Ok(bucket.head_object(credentials.as_ref(), &key).sign_with_time(VALID, &now)),
            _ => Err(S3Error::Method),
        }
    }

    fn login(&self, url: &Url) -> Option<Credentials> {
        let found: Result<_, reqwest::Error> = self.storage.get_by_url(url.clone());
        match found.ok()?.1? {
            Authentication::S3Credentials { access_key_id, secret_access_key, session_token } => {
                Some(credentials(access_key_id, secret_access_key, session_token))
            }
            _ => None,
        }
    }

    fn default_bucket(&self) -> Result<S3Bucket, S3Error> {
        let environment = &self.settings.environment;
        let region = environment.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        if let Some(endpoint_url) = environment.endpoint_url.clone() {
            // Services other than Amazon's rarely have a host name for each bucket.
            return Ok(S3Bucket { endpoint_url, region, path_style: true });
        }
        let endpoint_url = Url::parse(&format!("https://s3.{region}.amazonaws.com/"))
            .map_err(|_| S3Error::Endpoint { bucket: String::new(), message: format!("{region:?} is no region") })?;
        Ok(S3Bucket { endpoint_url, region, path_style: false })
    }
}

fn credentials(id: String, secret: String, token: Option<String>) -> Credentials {
    match token {
        Some(token) => Credentials::new_with_token(id, secret, token),
        None => Credentials::new(id, secret),
    }
}

#[async_trait::async_trait]
impl Middleware for S3 {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        if request.url().scheme() == "s3" {
            let signed = self.signed(request.url(), request.method());
            *request.url_mut() = signed.map_err(|error| reqwest_middleware::Error::Middleware(error.into()))?;
        }
        next.run(request, extensions).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::S3Environment;

    fn s3(settings: S3Settings) -> S3 {
        S3 {
            settings,
            storage: AuthenticationStorage::empty(),
            now: || SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600),
        }
    }

    /// The example of Amazon's documentation, "Authenticating Requests: Using Query Parameters", but for the host name
    /// and the time for which it is valid, which go into the signature.
    #[test]
    fn signs_in_the_url() {
        let environment = S3Environment {
            access_key_id: Some("AKIAIOSFODNN7EXAMPLE".into()),
            secret_access_key: Some("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into()),
            ..S3Environment::default()
        };
        let s3 = s3(S3Settings { environment, ..S3Settings::default() });
        let url = s3.signed(&Url::parse("s3://examplebucket/test.txt").unwrap(), &Method::GET).unwrap();
        assert_eq!(url.host_str(), Some("examplebucket.s3.us-east-1.amazonaws.com"));
        assert_eq!(url.path(), "/test.txt");
        let query: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(query["X-Amz-Credential"], "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request");
        assert_eq!(query["X-Amz-Date"], "20130524T000000Z");
        assert_eq!(query["X-Amz-Signature"].len(), 64);
        assert!(!url.as_str().contains("wJalr"));
    }

    #[test]
    fn buckets_of_the_configuration_do_not_see_the_keys_of_the_environment() {
        let bucket = S3Bucket {
            endpoint_url: Url::parse("https://minio.example:9000/").unwrap(),
            region: "eu".into(),
            path_style: true,
        };
        let environment = S3Environment {
            access_key_id: Some("ID".into()),
            secret_access_key: Some("SECRET".into()),
            ..S3Environment::default()
        };
        let settings = S3Settings { buckets: [("b".to_owned(), bucket)].into(), environment };
        let url = s3(settings).signed(&Url::parse("s3://b/noarch/a%2Bb.conda").unwrap(), &Method::GET).unwrap();
        assert_eq!(url.as_str(), "https://minio.example:9000/b/noarch/a%2Bb.conda");
    }
}

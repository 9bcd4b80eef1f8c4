//! oci-client as a second reader: what a program that shares no line with ours gets from a registry.

use std::collections::BTreeMap;

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use serde::Deserialize;

use crate::sample::{INDEX, MANIFEST};

/// An index or an image.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<OciDescriptor>,
    config: Option<OciDescriptor>,
    #[serde(default)]
    layers: Vec<OciDescriptor>,
}

/// Everything below a tag or digest of a repository, `HOST:PORT/REPOSITORY:TAG`, by digest; over plain HTTP.
///
/// # Errors
///
/// As oci-client says it.
pub fn read(reference: &str) -> Result<BTreeMap<String, Vec<u8>>, OciDistributionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
        let mut found = BTreeMap::new();
        let root: Reference = reference.parse().unwrap();
        let mut next = vec![root.clone()];
        while let Some(reference) = next.pop() {
            let (bytes, digest) =
                client.pull_manifest_raw(&reference, &RegistryAuth::Anonymous, &[INDEX, MANIFEST]).await?;
            let document: Document = serde_json::from_slice(&bytes).unwrap();
            for blob in document.config.iter().chain(&document.layers) {
                let mut content = Vec::new();
                client.pull_blob(&reference, blob, &mut content).await?;
                found.insert(blob.digest.clone(), content);
            }
            let below = document.manifests.iter();
            next.extend(below.map(|manifest| root.clone_with_digest(manifest.digest.clone())));
            found.insert(digest, bytes.to_vec());
        }
        Ok(found)
    })
}

//! Roots of trust.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder};

use crate::{Error, Tls, TlsRootCerts};

/// A bundle of all the roots there are has a quarter of a megabyte.
const MAX_BUNDLE: u64 = 16 << 20;

pub(super) fn with_trust(builder: ClientBuilder, tls: &Tls) -> Result<ClientBuilder, Error> {
    let builder = builder.tls_danger_accept_invalid_certs(tls.no_verify);
    if !tls.files.is_empty() {
        return Ok(builder.tls_certs_only(from_files(&tls.files)?));
    }
    match tls.roots {
        TlsRootCerts::System => Ok(builder),
        TlsRootCerts::Webpki => {
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|root| Certificate::from_der(root));
            let roots: Vec<Certificate> = roots.collect::<Result<_, _>>().map_err(|error| Error::Client {
                message: format!("Mozilla's certificates cannot be used: {error}"),
            })?;
            Ok(builder.tls_certs_only(roots))
        }
    }
}

fn from_files(paths: &[PathBuf]) -> Result<Vec<Certificate>, Error> {
    let mut certificates = Vec::new();
    for path in paths {
        let unreadable = |source| Error::Io { action: "read the certificates in", path: path.clone(), source };
        if path.is_dir() {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                files.push(entry.map_err(unreadable)?.path());
            }
            files.sort();
            // A directory of certificates has other files, too, and links to nowhere.
            certificates.extend(files.iter().filter_map(|file| bundle(file).ok()).flatten());
        } else {
            certificates.extend(bundle(path).map_err(unreadable)?);
        }
    }
    if certificates.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::Client {
            message: format!(
                "there is no certificate in PEM form in {}; see SSL_CERT_FILE and SSL_CERT_DIR",
                names.join(", ")
            ),
        });
    }
    Ok(certificates)
}

fn bundle(path: &Path) -> std::io::Result<Vec<Certificate>> {
    let pem = pixi_oci_platform::read(path, pixi_oci_platform::Links::Follow, MAX_BUNDLE)?;
    Certificate::from_pem_bundle(&pem).map_err(std::io::Error::other)
}

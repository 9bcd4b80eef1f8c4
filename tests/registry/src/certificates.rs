//! Certificates and signatures of authorities that exist for one test.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SigningKey};

/// PEM texts.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

/// A certificate authority and the certificate of a server on `localhost` and 127.0.0.1 that it signed.
pub fn server() -> (String, Signed) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = named("pixi-oci test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);

    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    (authority_pem, Signed { certificate, key: key.serialize_pem() })
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Who signs tokens: a P-256 key with a certificate of its own.
pub struct TokenSigner {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl TokenSigner {
    pub fn generate() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = named("pixi-oci test issuer").self_signed(&key).unwrap();
        Self { key, certificate }
    }

    /// For `auth.token.rootcertbundle`.
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// A JSON web token, ES256, with the certificate in its head.
    pub fn sign(&self, claims: &serde_json::Value) -> String {
        let chain = base64::engine::general_purpose::STANDARD.encode(self.certificate.der());
        let head = serde_json::json!({"typ": "JWT", "alg": "ES256", "x5c": [chain]});
        let text = [&head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = fixed_length(&self.key.sign(text.as_bytes()).unwrap());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token has the two numbers of a P-256 signature in 32 bytes each; the signer gives them as DER integers.
fn fixed_length(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut signature = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let digits = &number[number.len().saturating_sub(32)..];
        signature.extend(std::iter::repeat_n(0, 32 - digits.len()).chain(digits.iter().copied()));
        rest = after;
    }
    signature
}

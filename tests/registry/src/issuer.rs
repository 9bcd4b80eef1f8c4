//! A token service that docker-registry trusts.

use std::{
    io::BufReader,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    certificates::TokenSigner,
    http::{self, Response},
};

/// Who the tokens are for and who signs them, as in the registry's configuration.
pub const SERVICE: &str = "pixi-oci test registry";
pub const ISSUER: &str = "pixi-oci test issuer";

/// A token service on a port of its own. It answers until the tests end.
pub struct TokenIssuer {
    /// Its address, `http://127.0.0.1:PORT/token`.
    pub realm: String,
    /// The certificate of its key, PEM.
    pub certificate: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TokenIssuer {
    /// Gives `user` with `password` what they ask for, for `lifetime` seconds, and everybody else nothing.
    pub fn start(user: &str, password: &str, lifetime: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let signer = Arc::new(TokenSigner::generate());
        let certificate = signer.certificate();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let (log, user) = (requests.clone(), user.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (signer, log) = (signer.clone(), log.clone());
                let (expected, user) = (expected.clone(), user.clone());
                std::thread::spawn(move || {
                    serve(&stream, &log, |head| answer(head, &expected, &user, &signer, lifetime))
                });
            }
        });
        Self { realm, certificate, requests }
    }

    /// The targets of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Errors are the client's: it has gone.
fn serve(stream: &TcpStream, log: &Mutex<Vec<String>>, answer: impl Fn(&http::Head) -> Response) -> Option<()> {
    let mut reader = BufReader::new(stream);
    while let Some(head) = http::read_head(&mut reader).ok()? {
        http::read_body(&mut reader, http::framing(&head.headers), 1 << 20, &mut Vec::new()).ok()?;
        log.lock().unwrap().push(head.target.clone());
        answer(&head).write(&mut &*stream, head.method == "HEAD").ok()?;
    }
    Some(())
}

fn answer(head: &http::Head, expected: &str, user: &str, signer: &TokenSigner, lifetime: u64) -> Response {
    if head.method != "GET" {
        return Response::new(405);
    }
    if head.headers.get("authorization") != Some(expected) {
        return Response::new(401).json(&json!({"errors": [{"code": "UNAUTHORIZED"}]}));
    }
    // A token is good for the time that docker-registry's clock shows.
    #[allow(clippy::disallowed_methods)]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let access: Vec<Value> = head.query_all("scope").iter().flat_map(|scope| grants(scope)).collect();
    let token = signer.sign(&json!({
        "iss": ISSUER,
        "sub": user,
        "aud": head.query("service"),
        "exp": now + lifetime,
        "nbf": now.saturating_sub(10),
        "iat": now,
        "jti": now.to_string(),
        "access": access,
    }));
    Response::new(200).json(&json!({"token": token, "access_token": token, "expires_in": lifetime}))
}

/// `repository:NAME:pull,push`, several of them with spaces between.
fn grants(scopes: &str) -> Vec<Value> {
    let grant = |scope: &str| {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
    };
    scopes.split(' ').filter_map(grant).collect()
}

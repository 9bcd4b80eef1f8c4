//! Who is let in.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    answer::Asked,
    profile::Auth,
    route::Kind,
    world::{Token, World},
};
use crate::{
    docker::{PASSWORD, USER},
    http::{Head, Response},
};

/// What a client may trade for tokens where the profile has it (`docker login` calls it an identity token).
pub const REFRESH_TOKEN: &str = "canary-refresh-token";

impl World {
    /// Why the request may not be done, if it may not.
    pub(super) fn refuse(&mut self, asked: &Asked<'_>) -> Option<Response> {
        let given = asked.head.headers.get("authorization");
        match self.profile.auth {
            _ if asked.elsewhere => {
                // Uploads and blobs elsewhere have their permission in the address, as signed addresses of stores do.
                given.map(|_| self.error(400, "UNSUPPORTED", "credentials do not belong here"))
            }
            Auth::Open => None,
            Auth::Basic => {
                let right = given == Some(&format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}"))));
                (!right).then(|| {
                    let response = self.error(401, "UNAUTHORIZED", "authentication required");
                    response.header("Www-Authenticate", "Basic realm=\"test\"")
                })
            }
            Auth::Bearer { elsewhere, .. } => {
                let needed = needs(asked);
                if given.and_then(|given| given.strip_prefix("Bearer ")).is_some_and(|token| self.spend(token, &needed))
                {
                    return None;
                }
                let host = if elsewhere { &self.elsewhere } else { &self.address };
                let mut challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
                if let Some(action) = needed.iter().next_back() {
                    let actions = if action.ends_with(":push") { "pull,push" } else { "pull" };
                    challenge += &format!(",scope=\"repository:{}:{actions}\"", asked.route.repository);
                }
                let response = self.error(401, "UNAUTHORIZED", "authentication required");
                Some(response.header("Www-Authenticate", challenge))
            }
        }
    }

    fn spend(&mut self, token: &str, needed: &BTreeSet<String>) -> bool {
        let Some(known) = self.tokens.get_mut(token) else { return false };
        if let Some(left) = &mut known.uses_left {
            if *left == 0 {
                return false;
            }
            *left -= 1;
        }
        needed.is_subset(&known.grants)
    }

    /// The token service: GET with a password, POST with a refresh token.
    pub(super) fn give_token(&mut self, head: &Head, body: &[u8]) -> Response {
        let Auth::Bearer { expires_in, uses, post, .. } = self.profile.auth else {
            return self.error(404, "UNSUPPORTED", "no tokens here");
        };
        let form = Head { target: format!("?{}", String::from_utf8_lossy(body)), ..head.clone() };
        let (known, scopes) = if head.method == "POST" {
            if !post {
                return self.error(404, "UNSUPPORTED", "no such path");
            }
            (form.query("refresh_token").as_deref() == Some(REFRESH_TOKEN), form.query_all("scope"))
        } else {
            let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
            (head.headers.get("authorization") == Some(&basic), head.query_all("scope"))
        };
        let reads = self.profile.public && head.headers.get("authorization").is_none() && head.method == "GET";
        if !known && !reads {
            return self.error(401, "UNAUTHORIZED", "wrong user or password");
        }
        let mut grants = BTreeSet::new();
        for scope in scopes.iter().flat_map(|scopes| scopes.split(' ')) {
            let Some((name, actions)) = scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')) else {
                continue;
            };
            // As Quay does: who asks for too much gets nothing.
            if actions.contains("delete") && !self.profile.deletes {
                return self.error(401, "UNAUTHORIZED", "nobody may delete");
            }
            let given = actions.split(',').filter(|action| known || *action == "pull");
            grants.extend(given.map(|action| format!("{name}:{action}")));
        }
        let token = format!("canary-token-{}", self.fresh());
        self.tokens.insert(token.clone(), Token { grants, uses_left: uses });
        let mut answer = json!({"token": token, "access_token": token});
        if let Some(seconds) = expires_in {
            answer["expires_in"] = seconds.into();
        }
        Response::new(200).json(&answer)
    }
}

/// The grants that a request needs, `NAME:ACTION`.
fn needs(asked: &Asked<'_>) -> BTreeSet<String> {
    let name = &asked.route.repository;
    let mut needed = BTreeSet::new();
    match asked.route.kind {
        Kind::Ping | Kind::Catalog | Kind::Other => return needed,
        Kind::BlobDelete | Kind::ManifestDelete => drop(needed.insert(format!("{name}:delete"))),
        kind if kind.mutates() => needed.extend([format!("{name}:pull"), format!("{name}:push")]),
        _ => drop(needed.insert(format!("{name}:pull"))),
    }
    needed
}

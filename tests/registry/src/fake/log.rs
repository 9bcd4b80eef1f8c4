//! What was asked.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::route::{Kind, route};
use crate::http::Head;

/// A request and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1, in the order in which their heads arrived.
    pub number: usize,
    pub kind: Kind,
    pub method: String,
    pub target: String,
    /// It came to the other port, where a registry keeps tokens or uploads of some profiles.
    pub elsewhere: bool,
    /// With the secret in `Authorization` left out.
    pub headers: Vec<(String, String)>,
    /// Whose credentials it brought: `USER` by password, `Bearer` with a token; empty without.
    pub who: String,
    /// The connection, from 1.
    pub connection: usize,
    /// Of the body.
    pub received: usize,
    /// Of the answer; `None` if there was none.
    pub status: Option<u16>,
    /// What was done to it.
    pub faulty: bool,
}

impl Entry {
    pub(super) fn new(number: usize, connection: usize, elsewhere: bool, head: &Head) -> Self {
        let hide = |(name, value): &(String, String)| {
            let hidden = name == "authorization";
            (name.clone(), if hidden { value.split(' ').next().unwrap_or_default().to_owned() } else { value.clone() })
        };
        Self {
            number,
            kind: route(head).kind,
            method: head.method.clone(),
            target: head.target.clone(),
            elsewhere,
            headers: head.headers.0.iter().map(hide).collect(),
            who: who(head.headers.get("authorization").unwrap_or_default()),
            connection,
            received: 0,
            status: None,
            faulty: false,
        }
    }

    /// A header's value by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `METHOD TARGET`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

fn who(authorization: &str) -> String {
    match authorization.split_once(' ') {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("basic") => {
            let text = STANDARD.decode(text).unwrap_or_default();
            String::from_utf8_lossy(&text).split(':').next().unwrap_or_default().to_owned()
        }
        Some((scheme, _)) => scheme.to_owned(),
        None => String::new(),
    }
}

//! A client of one request a connection, for the checker and for comparing registries. It has nothing in common with
//! the client under test.

use std::{
    io::{BufReader, Write},
    net::TcpStream,
};

use crate::http::{self, Headers};

/// What a registry answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// # Panics
    ///
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", text()))
    }
}

/// Sends one request to `address`, `HOST:PORT`, over plain HTTP.
///
/// # Panics
///
/// When there is no answer.
pub fn request(address: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !matches!(method, "GET" | "HEAD") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    // A registry may answer and close before it has read everything.
    let _ = (&stream).write_all(&bytes);
    let (status, headers, body) = http::read_response(&mut BufReader::new(&stream), method)
        .unwrap_or_else(|error| panic!("{method} http://{address}{target}: {error}"));
    Answer { status, headers, body }
}

/// Asks for `target`.
pub fn get(address: &str, target: &str) -> Answer {
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                  application/vnd.docker.distribution.manifest.list.v2+json, \
                  application/vnd.docker.distribution.manifest.v2+json";
    request(address, "GET", target, &[("Accept", accept)], b"")
}

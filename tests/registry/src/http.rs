//! As much of HTTP/1.1 as registries need, on blocking sockets: a fault can cut, stall or corrupt at any byte.

use std::{
    fmt::Write as _,
    io::{self, BufRead, Read, Write},
};

/// Larger bodies are a mistake of the test.
const BODY: u64 = 256 << 20;

/// The first lines of a request or an answer; names are lower-case.
#[derive(Debug, Clone, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name`, which is lower-case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub headers: Headers,
}

impl Head {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The values of a query parameter, decoded.
    pub fn query_all(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).collect()
    }

    pub fn query(&self, name: &str) -> Option<String> {
        self.query_all(name).into_iter().next()
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                u8::from_str_radix(digits, 16).unwrap_or(b'?')
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The lines up to the empty one; `None` when the other side is done.
fn read_lines(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    loop {
        let before = text.len();
        if reader.by_ref().take(1 << 16).read_until(b'\n', &mut text)? == 0 {
            return if text.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if matches!(&text[before..], b"\r\n" | b"\n") {
            return Ok(Some(text));
        }
    }
}

fn invalid(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

fn headers(parsed: &[httparse::Header<'_>]) -> Headers {
    let pair = |h: &httparse::Header<'_>| (h.name.to_lowercase(), String::from_utf8_lossy(h.value).into_owned());
    Headers(parsed.iter().map(pair).collect())
}

/// The next request on a connection; `None` when the client is done.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let Some(text) = read_lines(reader)? else { return Ok(None) };
    let mut space = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut space);
    request.parse(&text).map_err(invalid)?;
    Ok(Some(Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers: headers(request.headers),
    }))
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// Until the connection ends; of answers only.
    ToTheEnd,
}

/// How the body after these headers of a request is framed.
pub fn framing(headers: &Headers) -> Framing {
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    if chunked { Framing::Chunked } else { Framing::Length(length.unwrap_or(0)) }
}

/// Reads a body into `body`, at most `limit` bytes of it; what has come is there even after an error. Whether it is
/// whole.
pub fn read_body(reader: &mut impl BufRead, framing: Framing, limit: u64, body: &mut Vec<u8>) -> io::Result<bool> {
    match framing {
        Framing::Length(length) => {
            reader.take(length.min(limit).min(BODY)).read_to_end(body)?;
            if body.len() as u64 == length {
                return Ok(true);
            }
            if body.len() as u64 == limit { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        }
        Framing::ToTheEnd => reader.take(limit.min(BODY)).read_to_end(body).map(|_| true),
        Framing::Chunked => loop {
            let mut line = String::new();
            reader.by_ref().take(64).read_line(&mut line)?;
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(invalid)?;
            if size == 0 {
                while reader.by_ref().take(1 << 16).read_line(&mut line)? > 2 {}
                return Ok(true);
            }
            let room = limit - body.len() as u64;
            if reader.take(size.min(room)).read_to_end(body)? as u64 != size {
                return if size > room { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            reader.take(2).read_to_end(&mut Vec::new())?;
        },
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Without `Content-Length`, which the body has, unless it is said here (for a HEAD).
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self.header("Content-Type", media_type) }
    }

    pub fn json(self, document: &serde_json::Value) -> Self {
        self.body("application/json; charset=utf-8", document.to_string())
    }

    /// What is sent before the body.
    pub fn head(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) && self.status != 204 {
            write!(text, "Content-Length: {}\r\n", self.body.len()).unwrap();
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Sends it, without a body if it answers a HEAD.
    pub fn write(&self, to: &mut impl Write, to_head: bool) -> io::Result<()> {
        let mut bytes = self.head();
        if !to_head {
            bytes.extend_from_slice(&self.body);
        }
        to.write_all(&bytes)?;
        to.flush()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200..300 => "OK",
        300..400 => "Elsewhere",
        400..500 => "Refused",
        _ => "Failed",
    }
}

/// Reads an answer to a request with `method`.
pub fn read_response(reader: &mut impl BufRead, method: &str) -> io::Result<(u16, Headers, Vec<u8>)> {
    loop {
        let text = read_lines(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut space = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut space);
        response.parse(&text).map_err(invalid)?;
        let (status, headers) = (response.code.unwrap_or(0), headers(response.headers));
        if status == 100 {
            continue;
        }
        let framing = match framing(&headers) {
            _ if method == "HEAD" || status == 204 || status == 304 => Framing::Length(0),
            Framing::Length(_) if headers.get("content-length").is_none() => Framing::ToTheEnd,
            framing => framing,
        };
        let mut body = Vec::new();
        read_body(reader, framing, u64::MAX, &mut body)?;
        return Ok((status, headers, body));
    }
}

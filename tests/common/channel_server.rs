//! A web server for a channel that can be told to misbehave, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

use super::{front::hand_on, tls::Identity};

/// What is done with one request in place of serving the file.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A status with headers, and no body.
    Status(u16, Vec<(&'static str, String)>),
    /// The right head, then so many bytes of the file, then the connection is closed.
    Cut(usize),
    /// The right head, then so many bytes of the file, then nothing, and the connection stays.
    Stall(usize),
    /// Other bytes in place of the file's.
    Bytes(Vec<u8>),
    /// The file with a `Content-Encoding` that it does not have.
    Encoding(&'static str),
    /// Nothing until the lock is free, then what comes next.
    Wait(Arc<Mutex<()>>),
    /// No end: zeros without a length.
    Endless,
}

/// Who may read.
#[derive(Debug, Clone)]
pub enum Login {
    Everybody,
    /// The `Authorization` header.
    Header(String),
    /// `/t/TOKEN/…`
    CondaToken(String),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// As asked: with query, and for a proxy with scheme and host.
    pub target: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What the threads share.
struct State {
    root: PathBuf,
    login: Login,
    /// By end of the path: what is done with the first request, the second, ….
    faults: Mutex<BTreeMap<String, Vec<Fault>>>,
    /// By end of the path: what parts are of, in place of the file.
    lies: Mutex<BTreeMap<String, Vec<u8>>>,
    requests: Mutex<Vec<Request>>,
    /// Bytes of files.
    sent: Mutex<usize>,
    stalled: (Mutex<usize>, Condvar),
}

/// Serves a directory until the tests end.
#[derive(Clone)]
pub struct ChannelServer {
    /// `http://127.0.0.1:PORT`, or with `https`, without a slash at the end.
    pub address: String,
    state: Arc<State>,
}

impl ChannelServer {
    pub fn new(root: &Path) -> Self {
        Self::start(root, Login::Everybody, None)
    }

    pub fn start(root: &Path, login: Login, identity: Option<&Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if identity.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            root: root.to_owned(),
            login,
            faults: Mutex::default(),
            lies: Mutex::default(),
            sent: Mutex::default(),
            requests: Mutex::default(),
            stalled: Default::default(),
        });
        let identity = identity.map(Identity::server);
        let shared = state.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (state, identity) = (shared.clone(), identity.clone());
                std::thread::spawn(move || match identity {
                    None => state.serve(socket),
                    Some(identity) => {
                        let connection = rustls::ServerConnection::new(identity).unwrap();
                        state.serve(rustls::StreamOwned::new(connection, socket))
                    }
                });
            }
        });
        Self { address, state }
    }

    /// From now on, requests for paths that end so meet these faults, one each, and then none.
    pub fn faults(&self, path: &str, faults: impl IntoIterator<Item = Fault>) -> &Self {
        self.state.faults.lock().unwrap().insert(path.into(), faults.into_iter().collect());
        self
    }

    /// From now on, parts of files whose paths end so are parts of other bytes.
    pub fn lie(&self, path: &str, bytes: Vec<u8>) {
        self.state.lies.lock().unwrap().insert(path.into(), bytes);
    }

    /// How many bytes of files were sent.
    pub fn sent(&self) -> usize {
        *self.state.sent.lock().unwrap()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// `METHOD TARGET` of all requests, sorted.
    pub fn asked(&self) -> Vec<String> {
        let mut asked: Vec<_> = self.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect();
        asked.sort();
        asked
    }

    /// Returns when a request has met [`Fault::Stall`].
    pub fn wait_for_stall(&self) {
        let (stalled, changed) = &self.state.stalled;
        let patience = std::time::Duration::from_secs(120);
        let (guard, waited) =
            changed.wait_timeout_while(stalled.lock().unwrap(), patience, |count| *count == 0).unwrap();
        drop(guard);
        assert!(!waited.timed_out(), "nobody asked for what stalls: {:?}", self.asked());
    }
}

impl State {
    fn serve(&self, mut stream: impl Read + Write) {
        let Some(request) = read_request(&mut stream) else { return };
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        self.requests.lock().unwrap().push(request.clone());
        // Errors are the client's: it has gone.
        let _ = self.answer(&mut stream, &request, &path);
        let _ = stream.flush();
    }

    fn answer(&self, stream: &mut impl Write, request: &Request, path: &str) -> std::io::Result<()> {
        let path = match &self.login {
            Login::Everybody => path,
            Login::Header(value) if request.headers.get("authorization") == Some(value) => path,
            Login::CondaToken(token) if path.starts_with(&format!("/t/{token}/")) => &path[token.len() + 3..],
            _ => return head(stream, 401, &[("WWW-Authenticate", "Basic realm=\"x\"".into())], Some(0)),
        };
        let Ok(file) = fs::read(self.root.join(path.trim_start_matches('/'))) else {
            return head(stream, 404, &[], Some(0));
        };
        let tag = ("ETag", format!("\"{}\"", super::sandbox::sha256(&file)));
        let lie =
            self.lies.lock().unwrap().iter().find(|(end, _)| path.ends_with(end.as_str())).map(|(_, lie)| lie.clone());
        let file = lie.filter(|_| request.headers.contains_key("range")).unwrap_or(file);
        let part = range(request, &tag.1, file.len());
        let mut fault = self.fault(path);
        if let Some(Fault::Wait(gate)) = fault {
            drop(gate.lock());
            fault = self.fault(path);
        }
        match fault {
            Some(Fault::Status(status, headers)) => head(stream, status, &headers, Some(0)),
            Some(Fault::Cut(length)) => {
                head(stream, 200, &[tag], Some(file.len()))?;
                stream.write_all(&file[..length])
            }
            Some(Fault::Stall(length)) => {
                head(stream, 200, &[tag], Some(file.len()))?;
                stream.write_all(&file[..length])?;
                stream.flush()?;
                let (stalled, changed) = &self.stalled;
                *stalled.lock().unwrap() += 1;
                changed.notify_all();
                loop {
                    std::thread::park();
                }
            }
            Some(Fault::Bytes(bytes)) => {
                head(stream, 200, &[], Some(bytes.len()))?;
                stream.write_all(&bytes)
            }
            Some(Fault::Encoding(encoding)) => {
                head(stream, 200, &[("Content-Encoding", encoding.into())], Some(file.len() / 2))?;
                stream.write_all(&file[..file.len() / 2])
            }
            Some(Fault::Endless) => {
                head(stream, 200, &[], None)?;
                loop {
                    stream.write_all(&[0; 4096])?;
                }
            }
            None | Some(Fault::Wait(_))
                if part != (0..file.len())
                    || request.headers.get("range").is_some_and(|range| range.contains("=-")) =>
            {
                let range = format!("bytes {}-{}/{}", part.start, part.end - 1, file.len());
                head(stream, 206, &[tag, ("Content-Range", range)], Some(part.len()))?;
                *self.sent.lock().unwrap() += part.len();
                stream.write_all(&file[part])
            }
            None | Some(Fault::Wait(_)) => {
                head(stream, 200, &[tag], Some(file.len()))?;
                if request.method == "HEAD" {
                    return Ok(());
                }
                *self.sent.lock().unwrap() += file.len();
                stream.write_all(&file)
            }
        }
    }

    fn fault(&self, path: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let (_, plan) = faults.iter_mut().find(|(end, plan)| path.ends_with(end.as_str()) && !plan.is_empty())?;
        Some(plan.remove(0))
    }
}

/// What is asked for of a file of that length; all of it, if the request does not say, or `If-Range` names another version.
fn range(request: &Request, tag: &str, length: usize) -> std::ops::Range<usize> {
    let wanted = request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let same = request.headers.get("if-range").is_none_or(|condition| condition == tag);
    let range =
        wanted.filter(|_| same).and_then(|(first, last)| match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => Some(first..length.min(last + 1)),
            (Ok(first), Err(_)) => Some(first..length),
            (Err(_), Ok(count)) => Some(length.saturating_sub(count)..length),
            _ => None,
        });
    range.filter(|range| range.start < range.end).unwrap_or(0..length)
}

fn head(
    stream: &mut impl Write,
    status: u16,
    headers: &[(&str, String)],
    length: Option<usize>,
) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\n");
    text.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    text.extend(length.map(|length| format!("Content-Length: {length}\r\n")));
    stream.write_all(format!("{text}\r\n").as_bytes())
}

/// The head of a request; a body is still to be read.
pub fn read_request(stream: &mut impl Read) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 65536 || stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some(Request { method, target, headers })
}

/// A proxy that knows one host: whatever is asked of it comes from one server.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    /// Tunnels (CONNECT) lead to `upstream`, and so do plain requests.
    pub fn new(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (log, upstream) = (requests.clone(), upstream.split_once("://").unwrap().1.to_owned());
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (log, upstream) = (log.clone(), upstream.clone());
                std::thread::spawn(move || relay(socket, &log, &upstream));
            }
        });
        Self { address, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn relay(mut client: TcpStream, log: &Mutex<Vec<Request>>, upstream: &str) -> Option<()> {
    let request = read_request(&mut client)?;
    log.lock().unwrap().push(request.clone());
    if request.method == "CONNECT" {
        let mut server = TcpStream::connect(upstream).ok()?;
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
        let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut server, &mut client);
    } else {
        let path = request.target.splitn(4, '/').nth(3)?;
        hand_on(&mut client, &request, &format!("/{path}"), upstream, &[])?;
    }
    let _ = client.shutdown(Shutdown::Write);
    Some(())
}

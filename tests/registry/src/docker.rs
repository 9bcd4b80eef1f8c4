//! Debian's docker-registry 2.8.2 on a free loopback port: the registry that we did not write.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    certificates,
    issuer::{ISSUER, SERVICE, TokenIssuer},
};

/// Whom it lets in, where it asks.
pub const USER: &str = "robot";
pub const PASSWORD: &str = "canary-password";
/// bcrypt of [`PASSWORD`].
const HTPASSWD: &str = "robot:$2b$05$abcdefghijklmnopqrstuuTvmw3qcMpAvEgQGhbFMhqjD3R/evDDW\n";

/// How it is reached and whom it lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `http`, everybody.
    Plain,
    /// `https` with an authority that only [`Docker::ca_file`] knows, everybody.
    Tls,
    /// `http`, basic authentication.
    Htpasswd,
    /// `http`, tokens of [`Docker::issuer`].
    Token,
}

impl Mode {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Tls, Self::Htpasswd, Self::Token];
}

/// The requests so far, and a bell for the next.
type AccessLog = (Mutex<Vec<String>>, Condvar);

/// A running docker-registry; dropping it stops it and removes what it stored.
pub struct Docker {
    /// `127.0.0.1:PORT`.
    pub address: String,
    pub mode: Mode,
    /// The authority of its certificate, PEM, in mode [`Mode::Tls`].
    pub ca_file: Option<PathBuf>,
    /// Who gives tokens, in mode [`Mode::Token`].
    pub issuer: Option<TokenIssuer>,
    process: Child,
    access: Arc<AccessLog>,
    directory: Arc<TempDir>,
}

impl Docker {
    /// `None`, counted, when it is not installed.
    pub fn start(mode: Mode) -> Option<Self> {
        let found = pixi_oci_test_need::program("docker-registry", pixi_oci_test_need::From::Debian);
        found.then(|| Self::start_on(mode, Arc::new(TempDir::new().unwrap()), "127.0.0.1:0"))
    }

    /// A second server of the same content, for everybody: what was stored can be checked without what was tested.
    pub fn open_view(&self) -> Self {
        Self::start_on(Mode::Plain, self.directory.clone(), "127.0.0.1:0")
    }

    fn start_on(mode: Mode, directory: Arc<TempDir>, listen: &str) -> Self {
        let root = directory.path();
        let issuer = (mode == Mode::Token).then(|| TokenIssuer::start(USER, PASSWORD, 300));
        let mut ca_file = None;
        let access_rules = match mode {
            Mode::Plain => String::new(),
            Mode::Tls => {
                let (authority, server) = certificates::server();
                let ca = write(root, "ca.pem", &authority);
                let certificate = write(root, "server.pem", &server.certificate);
                let key = write(root, "server.key", &server.key);
                ca_file = Some(ca);
                format!("  tls: {{certificate: {certificate:?}, key: {key:?}}}\n")
            }
            Mode::Htpasswd => {
                format!("auth: {{htpasswd: {{realm: test, path: {:?}}}}}\n", write(root, "passwords", HTPASSWD))
            }
            Mode::Token => {
                let issuer = issuer.as_ref().unwrap();
                let bundle = write(root, "issuer.pem", &issuer.certificate);
                format!(
                    "auth: {{token: {{realm: {:?}, service: {SERVICE:?}, issuer: {ISSUER:?}, rootcertbundle: {bundle:?}}}}}\n",
                    issuer.realm
                )
            }
        };
        let storage = root.join("storage");
        let configuration = format!(
            "version: 0.1\nlog: {{level: info}}\n\
             storage: {{filesystem: {{rootdirectory: {storage:?}}}, delete: {{enabled: true}}}}\n\
             http:\n  addr: {listen:?}\n  secret: test\n{access_rules}"
        );
        let configuration = write(root, &format!("{mode:?}.yml"), &configuration);
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(configuration)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");

        let access = Arc::<AccessLog>::default();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let log = access.clone();
        std::thread::spawn(move || {
            for request in lines.map_while(Result::ok).filter_map(|line| request(&line)) {
                log.0.lock().unwrap().push(request);
                log.1.notify_all();
            }
        });
        let mut messages = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            assert_ne!(messages.read_line(&mut said).unwrap(), 0, "docker-registry ended:\n{said}");
            if let Some((_, rest)) = said[start..].split_once("listening on ") {
                break rest.split(['"', ',', '\n']).next().unwrap().to_owned();
            }
        };
        // It stops when nobody reads what it says.
        std::thread::spawn(move || messages.read_to_end(&mut Vec::new()));
        Self { address, mode, ca_file, issuer, process, access, directory }
    }

    /// `docker://127.0.0.1:PORT/REPOSITORY`.
    pub fn reference(&self, repository: &str) -> String {
        format!("docker://{}/{repository}", self.address)
    }

    /// `METHOD TARGET STATUS` of each request so far, in the order of their ends. Over TLS a request is in the log shortly
    /// after it was answered: ask with [`Docker::requests_until`] where the last one matters.
    pub fn requests(&self) -> Vec<String> {
        self.settle();
        self.access.0.lock().unwrap().clone()
    }

    /// Waits until the requests that ended are in the log: a request of ours comes after them, and is taken out again.
    fn settle(&self) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if self.mode == Mode::Tls {
            return;
        }
        let mark = format!("/v2/mark-{}-of-the-tests", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {mark} HTTP/1.0\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        self.requests_until(&mark);
        self.access.0.lock().unwrap().retain(|line| !line.contains(&mark));
    }

    /// Waits for the log to have a line with `last`, and gives all lines.
    pub fn requests_until(&self, last: &str) -> Vec<String> {
        let (lines, more) = &*self.access;
        let missing = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(last));
        let waited = more.wait_timeout_while(lines.lock().unwrap(), Duration::from_secs(60), missing).unwrap();
        assert!(!waited.1.timed_out(), "docker-registry has no request {last:?}: {:#?}", *waited.0);
        waited.0.clone()
    }

    /// Stops it as a power failure would, and starts it again on the same port and content.
    pub fn kill_and_restart(&mut self) {
        self.stop();
        let again = Self::start_on(self.mode, self.directory.clone(), &self.address);
        *self = again;
    }

    fn stop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Of a line of the combined log format: `ADDRESS - - [TIME] "METHOD TARGET HTTP/1.1" STATUS BYTES "" "AGENT"`.
fn request(line: &str) -> Option<String> {
    let mut parts = line.split('"').skip(1);
    let mut request = parts.next()?.split(' ');
    let (method, target) = (request.next()?, request.next()?);
    let status = parts.next()?.trim().split(' ').next()?;
    Some(format!("{method} {target} {status}"))
}

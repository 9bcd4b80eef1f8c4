//! A web server for one directory: enough of HTTP for a channel.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
};

/// Serves `root` on the loopback interface until the tests end, and gives the address, `http://127.0.0.1:PORT`.
pub fn serve(root: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let root = root.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || answer(stream, root));
        }
    });
    address
}

/// Errors are the client's: it has gone.
fn answer(mut stream: TcpStream, root: PathBuf) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let path = request.split(' ').nth(1)?.split('?').next()?;
    let file = root.join(path.trim_start_matches('/'));
    // A directory is what its page says; who looks for Python packages wants to know that it is a page.
    let (found, kind) = match file.is_dir() {
        true => (fs::read(file.join("index.html")), "Content-Type: text/html\r\n"),
        false => (fs::read(file), ""),
    };
    let (status, body) = match found {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\n{kind}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).ok()?;
    stream.write_all(&body).ok()
}

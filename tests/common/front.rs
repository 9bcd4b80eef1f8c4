//! Requests that are handed on to a server with their bodies, one a connection: what proxies and load balancers do.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
};

use super::{
    channel_server::{Request, read_request},
    tls::Identity,
};

/// TLS in front of a server, `HOST:PORT`, that has none; gives the front's own.
pub fn tls_front(identity: &Identity, server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (config, server) = (identity.server(), server.to_owned());
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (config, server) = (config.clone(), server.clone());
            std::thread::spawn(move || {
                let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), socket);
                let request = read_request(&mut stream)?;
                hand_on(&mut stream, &request, &request.target, &server, &[("X-Forwarded-Proto", "https")])?;
                stream.conn.send_close_notify();
                stream.flush().ok()
            });
        }
    });
    address
}

/// Sends a request, whose body is still to be read from `client`, to `server` as one for `target`, and the answer back.
pub fn hand_on(
    client: &mut (impl Read + Write),
    request: &Request,
    target: &str,
    server: &str,
    headers: &[(&str, &str)],
) -> Option<()> {
    let mut server = TcpStream::connect(server).ok()?;
    write!(server, "{} {target} HTTP/1.1\r\nConnection: close\r\n", request.method).ok()?;
    let own = ["connection", "proxy-authorization", "proxy-connection"];
    let kept = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in kept.filter(|(name, _)| !own.contains(name)).chain(headers.iter().copied()) {
        write!(server, "{name}: {value}\r\n").ok()?;
    }
    write!(server, "\r\n").ok()?;
    let length = request.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    io::copy(&mut client.take(length), &mut server).ok()?;
    // Errors are the client's: it has gone.
    io::copy(&mut server, client).ok().map(|_| ())
}

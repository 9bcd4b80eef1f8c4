//! One connection: requests are read, meet their faults, and are answered.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use socket2::SockRef;

use super::{
    answer::{Asked, answer},
    fault::Fault,
    log::Entry,
    route::{Kind, Route, route},
    server::{Point, Shared},
};
use crate::http::{self, Framing, Head, Response};

/// Serves requests until either side ends the connection. Errors are the client's: it has gone.
pub(super) fn serve(shared: &Arc<Shared>, stream: TcpStream, elsewhere: bool) {
    let _ = stream.set_nodelay(true);
    let stream = Arc::new(stream);
    shared.streams.lock().unwrap().push(Arc::downgrade(&stream));
    let stream = &*stream;
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
    let mut reader = BufReader::new(stream);
    while let Ok(Some(head)) = http::read_head(&mut reader) {
        let uploads = matches!(route(&head).kind, Kind::UploadPut | Kind::UploadPatch);
        if uploads {
            let now = shared.uploading.fetch_add(1, Ordering::SeqCst) + 1;
            shared.uploading_at_most.fetch_max(now, Ordering::SeqCst);
        }
        let served = serve_one(shared, &mut reader, stream, &head, connection, elsewhere);
        if uploads {
            shared.uploading.fetch_sub(1, Ordering::SeqCst);
        }
        if !matches!(served, Ok(true)) || head.headers.get("connection").is_some_and(|c| c.contains("close")) {
            break;
        }
    }
}

/// Whether the connection goes on.
fn serve_one(
    shared: &Arc<Shared>,
    reader: &mut impl BufRead,
    stream: &TcpStream,
    head: &Head,
    connection: usize,
    elsewhere: bool,
) -> io::Result<bool> {
    let route = route(head);
    let (entry, fault) = enter(shared, connection, elsewhere, head);
    let number = entry.number;
    let to_head = head.method == "HEAD";
    let framing = http::framing(&head.headers);
    match &fault {
        Some(Fault::AnswerEarly(early)) => {
            note(shared, number, 0, Some(early.status));
            early.write(&mut &*stream, to_head)?;
            return linger(reader, stream);
        }
        Some(Fault::ResetBefore) => return reset(stream),
        Some(Fault::Refuse) => {
            shared.refuse();
            return reset(stream);
        }
        Some(Fault::CutUpload(length)) => return cut_upload(shared, reader, stream, &route, framing, *length),
        _ => {}
    }
    if head.headers.get("expect").is_some() {
        (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if let Err(error) = http::read_body(reader, framing, u64::MAX, &mut body) {
        note(shared, number, body.len(), None);
        if route.kind == Kind::UploadPatch {
            shared.world().cut_patch(&route.name, &body);
        }
        return Err(error);
    }
    let received = body.len();
    note(shared, number, received, None);
    if call(shared, &entry, Point::Before) {
        return reset(stream);
    }
    if fault == Some(Fault::Stall) {
        return wait_for_the_end(reader);
    }
    let lie = match &fault {
        Some(Fault::Lie(lie)) => Some(*lie),
        _ => None,
    };
    let response = match &fault {
        Some(Fault::Answer(response)) => response.clone(),
        _ => answer(&mut shared.world(), Asked { head, route: &route, body, number, elsewhere, lie }),
    };
    call(shared, &entry, Point::After);
    let response = match fault.clone() {
        Some(Fault::ResetAfter) => return reset(stream),
        Some(Fault::DoneBut(instead)) => instead,
        _ => response,
    };
    note(shared, number, received, Some(response.status));
    match fault {
        Some(Fault::CutAnswer(length)) => {
            let body = &response.body[..length.min(response.body.len())];
            (&*stream).write_all(&[&response.head(), body].concat())?;
            reset(stream)
        }
        Some(Fault::StallAnswer) => {
            // A HEAD has no body to wait for: the head stalls in its middle.
            let head = response.head();
            let sent = if to_head || response.body.is_empty() { &head[..head.len() / 2] } else { &head[..] };
            (&*stream).write_all(sent)?;
            wait_for_the_end(reader)
        }
        Some(Fault::Trickle) => {
            let mut bytes = Vec::new();
            response.write(&mut bytes, to_head)?;
            for byte in bytes {
                (&*stream).write_all(&[byte])?;
            }
            Ok(true)
        }
        _ => response.write(&mut &*stream, to_head).map(|()| true),
    }
}

/// Logs a request and finds the fault that it meets.
fn enter(shared: &Shared, connection: usize, elsewhere: bool, head: &Head) -> (Entry, Option<Fault>) {
    let mut world = shared.world();
    let number = world.log.last().map_or(0, |last| last.number) + 1;
    let mut entry = Entry::new(number, connection, elsewhere, head);
    let mut rules = std::mem::take(&mut world.rules);
    let mut met = None;
    for rule in &mut rules {
        if rule.meets(&entry, || world.next_random()) {
            met = Some(rule.fault.clone());
            break;
        }
    }
    world.rules = rules;
    let fault = match met {
        Some(Fault::OneOf(choices)) => {
            let choice = world.next_random() as usize % choices.len();
            Some(choices[choice].clone())
        }
        other => other,
    };
    entry.faulty = fault.is_some();
    world.log.push(entry.clone());
    (entry, fault)
}

/// Completes an entry of the log.
fn note(shared: &Shared, number: usize, received: usize, status: Option<u16>) {
    if let Some(entry) = shared.world().log.iter_mut().rev().find(|entry| entry.number == number) {
        entry.received = received;
        entry.status = status;
    }
}

/// Calls what waits for this request; whether there was any.
fn call(shared: &Shared, entry: &Entry, point: Point) -> bool {
    let mut calls = shared.calls.lock().unwrap();
    let Some(place) = calls.iter().position(|(number, at, _)| (*number, *at) == (entry.number, point)) else {
        return false;
    };
    let (_, _, call) = calls.remove(place);
    drop(calls);
    call(entry);
    true
}

fn cut_upload(
    shared: &Shared,
    reader: &mut impl BufRead,
    stream: &TcpStream,
    route: &Route,
    framing: Framing,
    length: u64,
) -> io::Result<bool> {
    let mut body = Vec::new();
    // Fewer may come.
    let _ = http::read_body(reader, framing, length, &mut body);
    if route.kind == Kind::UploadPatch {
        shared.world().cut_patch(&route.name, &body);
    }
    reset(stream)
}

/// Ends the connection with RST.
fn reset(stream: &TcpStream) -> io::Result<bool> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Err(io::ErrorKind::ConnectionReset.into())
}

/// Says nothing until the client, or the test, ends the connection.
fn wait_for_the_end(reader: &mut impl BufRead) -> io::Result<bool> {
    io::copy(reader, &mut io::sink())?;
    Ok(false)
}

/// Ends the connection in an orderly way while the client may still send: what it sends is read, or the system would
/// answer with RST and the client might lose the answer.
fn linger(reader: &mut impl BufRead, stream: &TcpStream) -> io::Result<bool> {
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut reader.take(64 << 20), &mut io::sink())?;
    Ok(false)
}

/// The answers of faults are made with this.
impl Response {
    /// A refusal in the form of the specification.
    pub fn error(status: u16, code: &str) -> Self {
        Self::new(status).json(&serde_json::json!({"errors": [{"code": code, "message": "as the test wants"}]}))
    }
}

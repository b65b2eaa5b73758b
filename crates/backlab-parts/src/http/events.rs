//! A client of server-sent events, as the HTML standard's `EventSource` is one (section 9.2), except that it leaves it
//! to its caller when to connect again.

use super::{NoAnswer, Why, fate};
use crate::Lab;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the head of an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes that one event may have.
const LARGEST_EVENT: usize = 1 << 20;

/// One event as a page's script gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSent {
    /// `message`, unless the server named it otherwise.
    pub kind: String,
    pub data: String,
    /// The last id that came with this event or before it.
    pub id: String,
}

/// A stream of events, and what is needed to go on after it breaks.
#[derive(Debug)]
pub struct EventSource {
    lab: Lab,
    name: String,
    addr: SocketAddr,
    target: String,
    body: Option<Incoming>,
    parser: Parser,
}

impl Lab {
    /// A source of events under a name that the trace shows; it is connected by [`EventSource::connect`].
    pub fn event_source(&self, name: &str, to: impl Into<SocketAddr>, target: &str) -> EventSource {
        EventSource {
            lab: self.clone(),
            name: name.to_owned(),
            addr: to.into(),
            target: target.to_owned(),
            body: None,
            parser: Parser::default(),
        }
    }
}

impl EventSource {
    /// Connects, for the first time or again. It then says by `Last-Event-ID` what it has seen last, if events had ids.
    ///
    /// # Errors
    /// No answer comes, or one that isn't 200 with `text/event-stream`, after which a browser wouldn't try again.
    pub async fn connect(&mut self) -> anyhow::Result<()> {
        self.parser.begin();
        let peer = self.lab.wire().peer(self.addr);
        let mut request = Request::get(&self.target)
            .header(header::HOST, self.addr.to_string())
            .header(header::ACCEPT, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-store");
        let mut words = format!("GET {}", self.target);
        if !self.parser.last_id.is_empty() {
            request = request.header("last-event-id", HeaderValue::from_str(&self.parser.last_id)?);
            words += &format!(" (Last-Event-ID: {})", self.parser.last_id);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        if !peer.traces {
            self.lab.trace().message(&self.name, &peer.name, &words);
        }
        let answer = timeout(DEADLINE, exchange(self.addr, request)).await;
        let answer = answer.unwrap_or(Err(Why::Deadline(DEADLINE))).map_err(|why| NoAnswer {
            client: self.name.clone(),
            server: peer.name.to_string(),
            request: format!("GET {}", self.target),
            why,
        })?;
        if !peer.traces {
            let words = self.lab.wire().answer_words(answer.status(), answer.headers());
            self.lab.trace().say(&peer.name, &self.name, words, fate(answer.status()));
        }
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("");
        let is_stream = kind.split(';').next().is_some_and(|it| it.trim() == "text/event-stream");
        anyhow::ensure!(
            answer.status() == StatusCode::OK && is_stream,
            "no stream of events, but {} with the type `{kind}`",
            answer.status()
        );
        self.body = Some(answer.into_body());
        Ok(())
    }

    /// The next event; `None` once the stream has ended or broken, or isn't connected. Giving up the wait loses none.
    pub async fn next(&mut self) -> Option<ServerSent> {
        loop {
            if let Some(event) = self.parser.next() {
                let peer = self.lab.wire().peer(self.addr);
                self.lab.trace().message(&peer.name, &self.name, format_args!("event: {}", event.data));
                return Some(event);
            }
            if self.parser.buffer.len() > LARGEST_EVENT {
                self.body = None;
            }
            match self.body.as_mut()?.frame().await {
                Some(Ok(frame)) => self.parser.buffer.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(_)) | None => {
                    self.lab.trace().trouble(&self.name, "the stream of events has ended");
                    self.body = None;
                }
            }
        }
    }

    /// The last id that came; sent along by the next [`EventSource::connect`].
    pub fn last_id(&self) -> &str {
        &self.parser.last_id
    }
}

async fn exchange(addr: SocketAddr, request: Request<Empty<Bytes>>) -> Result<http::Response<Incoming>, Why> {
    let stream = TcpStream::connect(addr).await.map_err(|_| Why::Unreachable)?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Why::Closed)?;
    // It ends when the body is dropped.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.send_request(request).await.map_err(|_| Why::Closed)
}

/// Reads the lines of an event stream (HTML, section 9.2.6).
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    begun: bool,
    last_id: String,
    id: String,
    kind: String,
    data: String,
}

impl Parser {
    /// Forgets all but the last id.
    fn begin(&mut self) {
        let last_id = std::mem::take(&mut self.last_id);
        *self = Self { id: last_id.clone(), last_id, ..Self::default() };
    }

    fn next(&mut self) -> Option<ServerSent> {
        if !self.begun {
            const BOM: &[u8] = b"\xef\xbb\xbf";
            if self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
                return None;
            }
            self.begun = true;
            if self.buffer.starts_with(BOM) {
                self.buffer.drain(..BOM.len());
            }
        }
        while let Some(line) = self.line() {
            if let Some(event) = self.read(&line) {
                return Some(event);
            }
        }
        None
    }

    /// The next whole line. A CR at the end of what has come may be half of a CRLF, and waits.
    fn line(&mut self) -> Option<String> {
        let end = self.buffer.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        let width = match self.buffer[end..] {
            [b'\r'] => return None,
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + width);
        Some(line)
    }

    fn read(&mut self, line: &str) -> Option<ServerSent> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            // Comments (an empty name), `retry` (the caller decides when), and what nobody knows.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<ServerSent> {
        self.id.clone_into(&mut self.last_id);
        let (kind, mut data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        // Each line of data has left a line feed behind; without one there is no event.
        data.pop()?;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(ServerSent { kind, data, id: self.last_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8]) -> Vec<(String, String, String)> {
        let mut parser = Parser { buffer: stream.to_vec(), ..Parser::default() };
        std::iter::from_fn(|| parser.next()).map(|it| (it.kind, it.data, it.id)).collect()
    }

    fn event(kind: &str, data: &str, id: &str) -> (String, String, String) {
        (kind.to_owned(), data.to_owned(), id.to_owned())
    }

    #[test]
    fn streams_are_read_as_the_html_standard_shows() {
        // The examples of section 9.2.6.
        assert_eq!(
            read(b"data: YHOO\ndata: +2\ndata: 10\n\n"),
            [event("message", "YHOO\n+2\n10", "")],
            "lines of data"
        );
        assert_eq!(
            read(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
            [event("message", "first event", "1"), event("message", "second event", ""), event("message", " third event", "")]
        );
        assert_eq!(
            read(b"data\n\ndata\ndata\n\ndata:"),
            [event("message", "", ""), event("message", "\n", "")]
        );
        assert_eq!(
            read(b"data:test\n\ndata: test\n\n"),
            [event("message", "test", ""), event("message", "test", "")]
        );
    }

    #[test]
    fn line_ends_names_ids_and_the_byte_order_mark() {
        assert_eq!(
            read(b"\xef\xbb\xbfevent: add\rdata: 1\r\rid: 7\r\ndata: 2\r\n\r\ndata: 3\n\n"),
            [event("add", "1", ""), event("message", "2", "7"), event("message", "3", "7")]
        );
        assert_eq!(read(b"id: a\0b\ndata: x\n\n"), [event("message", "x", "")], "an id with NUL is ignored");
        assert_eq!(read(b"data: unfinished\n"), [], "an event that isn't ended is dropped");
        assert_eq!(read(b"id: 9\n\ndata: x\n\n"), [event("message", "x", "9")], "an id without data counts");
    }
}

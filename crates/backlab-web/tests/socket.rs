//! What needs a real connection: a run watched to its end, and an end in good order.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use backlab_store::Store;
use backlab_web::Config;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Generous, for a busy machine.
const SOON: Duration = Duration::from_secs(30);

struct Served {
    at: SocketAddr,
    store: Store,
    shutdown: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
}

async fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("backlab.db")).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let config =
        Config { bind: at, store: store.clone(), allowed_hosts: Vec::new(), shutdown: shutdown.clone() };
    let server = tokio::spawn(backlab_web::serve(listener, config));
    Served { at, store, shutdown, server, _dir: dir }
}

impl Served {
    /// Sends a request on a connection of its own and reads until the server closes it.
    async fn all(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut text)).await.expect("an end").unwrap();
        text
    }

    fn get(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.at)
    }

    async fn start(&self) -> String {
        let head = format!("POST /q/7/run HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n", self.at);
        let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let answer = self.all(&(head + form)).await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        body["events"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_step_by_step_and_ends_with_its_report() {
    let site = served().await;
    let events = site.start().await;
    let told = site.all(&site.get(&events)).await;
    assert!(told.contains("content-type: text/event-stream"), "{told}");
    let report = told.split("event: report").nth(1).expect("a report at the end");
    assert!(report.contains("claims hold") && report.contains("backlab run http-methods"), "{report}");
    assert_eq!(site.store.runs(7, 9).await.unwrap().len(), 1, "it was kept before it was told");

    let again = site.all(&site.get(&events)).await;
    assert!(again.contains("event: report"), "who comes late hears the end");
    let none = site.all(&site.get("/runs/99/events")).await;
    assert!(none.starts_with("HTTP/1.1 404 "), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_held_is_the_same_and_as_well_guarded() {
    let site = served().await;
    let page = |method: &str, host: &str, more: &str| {
        format!("{method} /q/8-http-status-codes HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")
    };
    let ours = site.at.to_string();
    let undated = |answer: &str| {
        answer.lines().filter(|it| !it.starts_with("date: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let rendered = undated(&site.all(&page("GET", &ours, "")).await);
    let held = undated(&site.all(&page("GET", &ours, "")).await);
    assert_eq!(held, rendered);
    assert!(held.iter().any(|it| it.starts_with("content-security-policy: ")), "{held:?}");

    let elsewhere = site.all(&page("GET", "rebound.example", "")).await;
    assert!(elsewhere.starts_with("HTTP/1.1 421 "), "{elsewhere}");
    let tag = held.iter().find_map(|it| it.strip_prefix("etag: ")).expect("a tag");
    let known = site.all(&page("GET", &ours, &format!("If-None-Match: {tag}\r\n"))).await;
    assert!(known.starts_with("HTTP/1.1 304 ") && known.ends_with("\r\n\r\n"), "{known}");
    assert!(!known.contains("content-type: "), "{known}");
    let head = site.all(&page("HEAD", &ours, "")).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let metrics = site.all(&site.get("/metrics")).await;
    for counted in ["status=\"200\"} 3", "status=\"304\"} 1", "status=\"421\"} 1"] {
        let line = format!("backlab_requests_total{{route=\"/q/{{question}}\",{counted}");
        assert!(metrics.contains(&line), "no `{line}` in:\n{metrics}");
    }

    site.store.mark_read(8).await.unwrap();
    assert!(site.all(&page("GET", &ours, "")).await.contains("<span>read</span>"), "an old page is sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shutdown_closes_idle_connections_and_returns() {
    let site = served().await;
    let mut idle = TcpStream::connect(site.at).await.unwrap();
    idle.write_all(format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", site.at).as_bytes()).await.unwrap();
    let mut some = [0; 16];
    idle.read_exact(&mut some).await.unwrap();
    assert_eq!(&some[..15], b"HTTP/1.1 200 OK");

    site.shutdown.cancel();
    tokio::time::timeout(SOON, site.server).await.expect("it returns").unwrap().unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(site.at).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_wire_is_refused_and_others_are_served() {
    let site = served().await;
    for nonsense in ["\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}"] {
        let mut stream = TcpStream::connect(site.at).await.unwrap();
        stream.write_all(nonsense.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an end");
        assert!(read.is_err() || answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{nonsense:?}");
    }
    let mut huge = TcpStream::connect(site.at).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nX: {}", site.at, "x".repeat(2_000_000));
    // The server may close before it has read all of it.
    let _ = tokio::time::timeout(SOON, huge.write_all(head.as_bytes())).await.expect("no end of reading");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, huge.read_to_end(&mut answer)).await.expect("an end");
    assert!(read.is_err() || answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    assert!(site.all(&site.get("/livez")).await.ends_with("ok\n"));
}

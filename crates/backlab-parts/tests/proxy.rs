//! The proxy breaks what it was told to break, as often as it was told, and says so.

use axum::Router;
use axum::routing::post;
use backlab_parts::http::Why;
use backlab_parts::proxy::{Fault, Way};
use backlab_parts::trace::Count;
use backlab_parts::{Event, Fate, Lab, Trace};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn router() -> Router {
    Router::new().route("/orders", post(async || (axum::http::StatusCode::CREATED, "7")).get(async || "all"))
}

fn fates(lab: &Lab) -> Vec<(String, Fate)> {
    let fate = |event| match event {
        Event::Message { what, fate, .. } => Some((what, fate)),
        _ => None,
    };
    lab.trace().events(0).into_iter().filter_map(fate).collect()
}

#[tokio::test]
async fn a_cut_answer_is_lost_after_the_server_has_done_its_work() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let server = lab.serve("orders", router()).unwrap();
    let fault = Fault::cut(Way::Answer).matching("POST /orders").times(2);
    let proxy = lab.proxy("client", "orders", &server, fault).unwrap();
    let client = lab.client("client", &proxy);

    assert_eq!(client.get("/orders").await.unwrap().text(), "all", "it doesn't match");
    for lost in 1..=2 {
        assert_eq!(client.post("/orders").await.unwrap_err().why, Why::Closed);
        assert_eq!((proxy.struck(), server.executed_of("POST /orders")), (lost, lost));
    }
    assert_eq!(client.post("/orders").await.unwrap().text(), "7");
    assert_eq!(proxy.struck(), 2);
    let count = lab.trace().counts()[&("orders".to_owned(), "client".to_owned())];
    assert_eq!(count, Count { messages: 4, lost: 2 });
    let said = fates(&lab);
    assert_eq!(said[2], ("POST /orders".into(), Fate::Arrived));
    assert_eq!(said[3], ("201 Created".into(), Fate::Lost));
    assert_eq!(said.len(), 8, "the client leaves it to the proxy: {said:?}");
}

#[tokio::test]
async fn a_cut_or_swallowed_request_never_reaches_the_server() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let server = lab.serve("orders", router()).unwrap();
    let proxy = lab.proxy("client", "orders", &server, Fault::cut(Way::Request).times(1)).unwrap();
    let client = lab.client("client", &proxy).deadline(Duration::from_millis(200));
    assert_eq!(client.post("/orders").await.unwrap_err().why, Why::Closed);
    proxy.set(Fault::swallow(Way::Request));
    assert!(matches!(client.post("/orders").await.unwrap_err().why, Why::Deadline(_)));
    assert_eq!((proxy.struck(), server.executed().len()), (2, 0));
    assert!(fates(&lab).iter().all(|(what, fate)| what == "POST /orders" && *fate == Fate::Lost));
    proxy.set(Fault::none());
    assert_eq!(client.deadline(Duration::from_secs(10)).post("/orders").await.unwrap().text(), "7");
}

#[tokio::test]
async fn what_is_held_waits_for_its_release() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let server = lab.serve("orders", router()).unwrap();
    let proxy = lab.proxy("client", "orders", &server, Fault::hold(Way::Answer).times(1)).unwrap();
    let client = lab.client("client", &proxy);
    let held = tokio::spawn(client.post("/orders").into_future());
    proxy.until_held(1).await.unwrap();
    assert_eq!(client.get("/orders").await.unwrap().text(), "all", "another connection passes");
    assert!(!held.is_finished());
    assert_eq!(server.executed_of("POST /orders"), 1);
    proxy.release();
    assert_eq!(held.await.unwrap().unwrap().text(), "7");
    assert_eq!(proxy.held(), 0);
}

#[tokio::test]
async fn any_protocol_goes_through_and_its_bytes_are_counted() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = echo.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = echo.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    let mut proxy = lab.proxy("client", "echo", addr, Fault::none()).unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let (sent, mut got) = (vec![7; 100_000], Vec::new());
    let (mut from, mut to) = stream.split();
    let say = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(say, from.read_to_end(&mut got));
    assert_eq!((read.unwrap(), got == sent), (100_000, true), "an end of one way leaves the other open");
    assert_eq!((proxy.bytes(Way::Request), proxy.bytes(Way::Answer)), (100_000, 100_000));
    assert_eq!((proxy.connections(), lab.trace().total()), (1, 0));
    proxy.end().await.unwrap();
    assert!(TcpStream::connect(proxy.addr()).await.is_err());
}

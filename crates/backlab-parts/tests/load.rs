//! What a load generator must get right: how many, how fast, measured from when, and what went wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Method, StatusCode};
use axum::routing::get;
use backlab_parts::gate::Gate;
use backlab_parts::load::{Failure, Load};
use backlab_parts::{Lab, Trace};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

fn lab() -> Lab {
    Lab::open(1, Trace::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_sends_as_many_as_it_was_told_over_one_connection_a_worker() {
    let lab = lab();
    let calls = Arc::new(AtomicU64::new(0));
    let router = Router::new().route(
        "/",
        get(move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                if call.is_multiple_of(4) {
                    (StatusCode::NOT_FOUND, [("x-call", "no")])
                } else {
                    (StatusCode::OK, [("x-call", "yes")])
                }
            }
        }),
    );
    let server = lab.serve("shop", router).unwrap();
    let load = Load::closed(5)
        .get("/")
        .at_most(400)
        .during(Duration::from_secs(30))
        .keeping(HeaderName::from_static("x-call"));
    let loaded = lab.load("crowd", &server, &load).await.unwrap();
    assert_eq!(loaded.statuses(), BTreeMap::from([(200, 300), (404, 100)]));
    assert_eq!((server.executed_of("GET /"), server.connections()), (400, 5));
    assert!(loaded.shots.iter().all(|it| (it.outcome == Ok(200)) == (it.kept.as_deref() == Some("yes"))));
    assert!(loaded.shots.is_sorted_by_key(|it| it.intended_ns));
    assert!(loaded.held_rate() && loaded.failures().is_empty());
    assert_eq!(loaded.latency_us().len(), 400);
    assert_eq!(lab.trace().events(0).len(), 3, "the requests, and the answers by status");
    assert_eq!(lab.trace().total(), 800, "all of them are counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_ways_to_end_an_answer_are_read_to_the_end() {
    let lab = lab();
    let big = || vec![7_u8; 100_000];
    let chunked = || {
        Body::from_stream(futures::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b'\n'; 1000]))))
    };
    let router = Router::new()
        .route("/big", get(async move || big()))
        .route("/chunked", get(async move || chunked()))
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/echo", get(async || "").post(async |body: String| body))
        .route("/last", get(async || ([("connection", "close")], "bye")));
    let server = lab.serve("shop", router).unwrap();
    let load = Load::closed(1)
        .request(Method::GET, "/big")
        .request(Method::HEAD, "/big")
        .get("/chunked")
        .request(Method::POST, "/echo")
        .get("/none")
        .get("/last")
        .body("hello")
        .at_most(24)
        .during(Duration::from_secs(30));
    let loaded = lab.load("crowd", &server, &load).await.unwrap();
    assert_eq!(loaded.statuses(), BTreeMap::from([(200, 20), (204, 4)]), "{:?}", loaded.failures());
    assert_eq!(server.connections(), 4, "one for each `Connection: close`");
}

/// One request stalls the only connection: those behind it wait too, and that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_measures_from_the_intended_start() {
    let lab = lab();
    let (gate, first) = (Gate::closed(), Arc::new(AtomicU64::new(0)));
    let held = gate.clone();
    let router = Router::new().route(
        "/",
        get(async move || {
            if first.fetch_add(1, Ordering::Relaxed) == 0 {
                held.pass().await.map_err(|_| StatusCode::GATEWAY_TIMEOUT)?;
            }
            Ok::<_, StatusCode>("")
        }),
    );
    let server = lab.serve("shop", router).unwrap();
    let load = Load::open(100, 1).get("/").during(Duration::from_millis(500));
    let stall = async {
        gate.arrivals(1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.open();
    };
    let (loaded, ()) = tokio::join!(lab.load("crowd", &server, &load), stall);
    let loaded = loaded.unwrap();
    assert_eq!((loaded.answered(200), loaded.unsent), (50, 0));
    assert!(!loaded.held_rate() && loaded.worst_lag >= Duration::from_millis(250), "{:?}", loaded.worst_lag);
    let intended: Vec<_> = loaded.shots.iter().map(|it| it.intended_ns / 1_000_000).collect();
    assert_eq!(intended, (0..50).map(|it| it * 10).collect::<Vec<_>>());
    // The 15th should have started at 150 ms, and couldn't before 300 ms: from when it was sent it would seem fast.
    let fifteenth = &loaded.shots[15];
    assert!(fifteenth.end_ns - fifteenth.intended_ns >= 150_000_000);
    assert!(loaded.latency_us().value_at_quantile(0.5) > 20_000, "half of them waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_counted_by_its_kind() {
    let lab = lab();
    let never = Gate::closed();
    let router = Router::new().route("/", get(async move || never.pass().await.map_or("late", |()| "")));
    let mut server = lab.serve("shop", router).unwrap();
    let load = Load::closed(2)
        .get("/")
        .at_most(4)
        .deadline(Duration::from_millis(50))
        .during(Duration::from_secs(20));
    let loaded = lab.load("crowd", &server, &load).await.unwrap();
    assert_eq!(loaded.failures(), BTreeMap::from([(Failure::Deadline, 4)]));
    server.kill().await.unwrap();
    let loaded = lab.load("crowd", &server, &load.deadline(Duration::from_secs(10))).await.unwrap();
    assert_eq!(loaded.failures(), BTreeMap::from([(Failure::Unreachable, 4)]));
    assert!(loaded.latency_us().is_empty());

    let odd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = odd.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in [
            "SMTP\r\n\r\n",
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\n\r\nall",
        ] {
            let (mut stream, _) = odd.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let load = Load::closed(1).get("/").at_most(4).during(Duration::from_secs(20));
    let loaded = lab.load("crowd", addr, &load).await.unwrap();
    let outcomes: Vec<_> = loaded.shots.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [Err(Failure::Unreadable), Err(Failure::Closed), Err(Failure::Closed), Ok(200)]);
}

/// A server that is being asked notices that its clients are gone: they don't live on in threads of their own.
#[tokio::test]
async fn a_load_that_is_abandoned_hangs_up() {
    let lab = lab();
    let gate = Gate::closed();
    let held = gate.clone();
    let router = Router::new().route("/", get(async move || held.pass().await.map_or("late", |()| "")));
    let server = lab.serve("shop", router).unwrap();
    let load = Load::closed(3).get("/").during(Duration::from_secs(20));
    let running = lab.load("crowd", &server, &load);
    tokio::select! {
        _ = running => panic!("nobody was answered yet"),
        arrived = gate.arrivals(3) => arrived.unwrap(),
    }
    let gone = async {
        while gate.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("all three connections are closed");
}

#[tokio::test]
async fn a_load_outside_its_limits_is_refused() {
    let lab = lab();
    let addr = "127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap();
    for load in [
        Load::closed(1),
        Load::closed(0).get("/"),
        Load::closed(1001).get("/"),
        Load::open(0, 1).get("/"),
        Load::open(100_001, 1).get("/"),
        Load::closed(1).get("/").during(Duration::from_secs(61)),
        Load::closed(1).get("/").at_most(0),
    ] {
        assert!(lab.load("crowd", addr, &load).await.is_err(), "{load:?}");
    }
}

#[tokio::test]
async fn a_load_ends_when_it_is_told_to_and_counts_nothing_after_that_as_unsent() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let server = lab.serve("server", Router::new().route("/", get(|| async { "ok" }))).unwrap();
    let end = tokio_util::sync::CancellationToken::new();
    let load = Load::open(200, 4).get("/").during(Duration::from_secs(30)).until(end.clone());
    let watch = async {
        while server.executed_of("GET /") < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        end.cancel();
    };
    let (loaded, ()) = tokio::join!(lab.load("crowd", &server, &load), watch);
    let loaded = loaded.unwrap();
    assert!(loaded.shots.len() >= 20 && loaded.shots.len() < 6000, "{}", loaded.shots.len());
    assert!(loaded.unsent <= 1, "{}", loaded.unsent);
    lab.close().await;
}

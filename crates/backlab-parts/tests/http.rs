//! Servers and clients of a run: what they say, what the trace keeps of it, and how each of them ends.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use backlab_parts::gate::Gate;
use backlab_parts::http::Why;
use backlab_parts::{Event, Fate, Lab, Trace};
use serde_json::{Value, json};
use std::time::Duration;

fn lab() -> Lab {
    Lab::open(1, Trace::default()).unwrap()
}

/// "from -> to: what", with a mark for what was refused or lost.
fn messages(lab: &Lab) -> Vec<String> {
    let line = |event| match event {
        Event::Message { from, to, what, fate, .. } => {
            let mark = match fate {
                Fate::Arrived => "",
                Fate::Refused => " (refused)",
                Fate::Lost => " (lost)",
            };
            Some(format!("{from} -> {to}: {what}{mark}"))
        }
        Event::Note { at, what, .. } => Some(format!("{at}: {what}")),
        _ => None,
    };
    lab.trace().events(0).into_iter().filter_map(line).collect()
}

#[tokio::test]
async fn a_request_and_its_answer_are_in_the_trace_under_the_names_of_both_ends() {
    let lab = lab();
    lab.show_headers(["ETag", "If-None-Match"]);
    let router = Router::new()
        .route(
            "/orders",
            post(async |Json(body): Json<Value>| (StatusCode::CREATED, [("ETag", "\"a\"")], Json(body))),
        )
        .route("/orders/{id}", get(async |Path(id): Path<u64>| id.to_string()));
    let server = lab.serve("orders", router).unwrap();
    let client = lab.client("reader", &server);

    let created = client.post("/orders").json(&json!({"item": "tea"})).await.unwrap();
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.json::<Value>().unwrap(), json!({"item": "tea"}));
    assert_eq!(created.header("etag"), Some("\"a\""));
    assert_eq!(client.get("/orders/7").header("If-None-Match", "\"b\"").await.unwrap().text(), "7");
    assert_eq!(client.request(Method::PATCH, "/orders").await.unwrap().header("allow"), Some("POST"));
    assert_eq!(client.get("/nothing?x=1").await.unwrap().status, StatusCode::NOT_FOUND);

    assert_eq!(
        messages(&lab),
        [
            "reader -> orders: POST /orders",
            "orders -> reader: 201 Created (ETag: \"a\")",
            "reader -> orders: GET /orders/7 (If-None-Match: \"b\")",
            "orders -> reader: 200 OK",
            "reader -> orders: PATCH /orders",
            "orders -> reader: 405 Method Not Allowed (refused)",
            "reader -> orders: GET /nothing?x=1",
            "orders -> reader: 404 Not Found (refused)",
        ]
    );
    assert_eq!(server.executed_of("POST /orders"), 1);
    assert_eq!(server.executed_of("GET /orders/{id}"), 1);
    assert_eq!(server.executed_of("GET (no route)"), 1);
    assert_eq!(server.connections(), 1, "the connection was kept alive");
}

#[tokio::test]
async fn a_request_without_an_answer_says_why() {
    let lab = lab();
    let never = Gate::closed();
    let hangs = never.clone();
    let router = Router::new()
        .route("/", get(async move || hangs.pass().await.map_err(|_| StatusCode::GATEWAY_TIMEOUT)));
    let mut server = lab.serve("orders", router).unwrap();
    let client = lab.client("reader", &server);

    let late = client.get("/").deadline(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(late.why, Why::Deadline(Duration::from_millis(50)));
    assert_eq!(late.to_string(), "orders gave reader no answer to GET /: nothing came within 50ms");

    let cut = tokio::spawn(client.get("/").into_future());
    never.arrivals(2).await.unwrap();
    server.kill().await.unwrap();
    assert_eq!(cut.await.unwrap().unwrap_err().why, Why::Closed);
    assert_eq!(client.get("/").await.unwrap_err().why, Why::Unreachable);
    assert!(matches!(client.get("no slash").await.unwrap_err().why, Why::Unreachable));
    assert_eq!(server.executed_of("GET /"), 0, "no handler came to its end");
    assert_eq!(
        messages(&lab)[0..2],
        ["reader -> orders: GET /", "reader: no answer: nothing came within 50ms"]
    );
    assert!(messages(&lab).contains(&"reader -> orders: GET / (lost)".to_owned()));
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_progress_and_accepts_nothing_new() {
    let lab = lab();
    let gate = Gate::closed();
    let held = gate.clone();
    let router = Router::new().route("/", get(async move || held.pass().await.map_or("late", |()| "done")));
    let mut server = lab.serve("orders", router).unwrap();
    let client = lab.client("reader", &server);
    let late = lab.client("late", &server);
    let slow = tokio::spawn(client.get("/").into_future());
    gate.arrivals(1).await.unwrap();
    let stopped = tokio::spawn(async move { server.stop().await });
    let refused = || async { late.get("/").deadline(Duration::from_millis(100)).await.unwrap_err().why };
    while refused().await != Why::Unreachable {}
    gate.open();
    assert_eq!(slow.await.unwrap().unwrap().text(), "done");
    stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_with_cookies_sends_back_what_was_set() {
    let lab = lab();
    let router = Router::new()
        .route("/login", post(async || [("Set-Cookie", "id=7; Path=/; HttpOnly")]))
        .route("/who", get(async |headers: axum::http::HeaderMap| format!("{:?}", headers.get("cookie"))));
    let server = lab.serve("shop", router).unwrap();
    let (keeps, forgets) = (lab.client("a", &server).with_cookies(), lab.client("b", &server));
    for client in [&keeps, &forgets] {
        client.post("/login").await.unwrap();
    }
    assert_eq!(keeps.get("/who").await.unwrap().text(), "Some(\"id=7\")");
    assert_eq!(keeps.cookie("id").as_deref(), Some("7"));
    assert_eq!(forgets.get("/who").await.unwrap().text(), "None");
}

#[tokio::test]
async fn a_handler_that_panics_closes_its_connection_and_no_other() {
    let lab = lab();
    let router = Router::new()
        .route("/", get(async || -> &'static str { panic!("on purpose") }))
        .route("/ok", get(async || "ok"));
    let server = lab.serve("orders", router).unwrap();
    let client = lab.client("reader", &server);
    assert_eq!(client.get("/").await.unwrap_err().why, Why::Closed);
    assert_eq!(client.get("/ok").await.unwrap().text(), "ok");
}

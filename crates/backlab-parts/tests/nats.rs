//! A real NATS server with JetStream: what it stores, counts and tells, and what outlives a kill.

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use backlab_parts::{Event, Exit, Fate, Lab, Trace};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);
const BRIEFLY: Duration = Duration::from_millis(100);

fn lab() -> anyhow::Result<Lab> {
    Lab::open(1, Trace::default())
}

/// Messages of the trace as `from > to: what`, with a mark for those that say that something went wrong.
fn messages(lab: &Lab) -> Vec<String> {
    let line = |event| match event {
        Event::Message { from, to, what, fate, .. } => {
            let mark = if fate == Fate::Arrived { "" } else { "! " };
            Some(format!("{mark}{from} > {to}: {what}"))
        }
        _ => None,
    };
    lab.trace().events(0).into_iter().filter_map(line).collect()
}

fn named(name: &str) -> pull::Config {
    pull::Config { durable_name: Some(name.into()), ..Default::default() }
}

#[tokio::test]
async fn messages_are_stored_delivered_counted_and_in_the_trace() {
    let lab = lab().unwrap();
    let nats = lab.nats("nats").await.unwrap();
    let publisher = nats.client("publisher").await.unwrap();
    publisher.stream("orders", &["orders.>"]).await.unwrap();
    assert_eq!(publisher.publish("orders.new", "first").await.unwrap(), 1);
    assert!(publisher.publish("nowhere", "lost").await.is_err());

    let worker = nats.client("worker").await.unwrap();
    let consumer = worker.consumer("orders", named("pick")).await.unwrap();
    let first = consumer.next(SOON).await.unwrap().unwrap();
    assert_eq!(
        (first.count, first.sequence, first.subject(), &first.body()[..]),
        (1, 1, "orders.new", &b"first"[..])
    );
    first.nak(None).await.unwrap();
    let again = consumer.next(SOON).await.unwrap().unwrap();
    assert_eq!((again.count, again.sequence), (2, 1));
    again.ack().await.unwrap();
    assert!(consumer.next(BRIEFLY).await.unwrap().is_none());

    let expected = [
        "publisher > nats: stream orders on orders.>",
        "publisher > nats: publish orders.new first",
        "nats > publisher: stored, #1 of orders",
        "publisher > nats: publish nowhere lost",
        "! nats > publisher: no stream found for given subject",
        "worker > nats: consumer pick of orders",
        "nats > worker: orders.new #1 first",
        "worker > nats: nak #1",
        "nats > worker: orders.new #1, delivery 2 first",
        "worker > nats: ack #1",
    ];
    assert_eq!(messages(&lab), expected);
    assert_eq!(lab.parts()[0].0, "nats");
    lab.close().await;
}

#[tokio::test]
async fn a_message_with_an_id_is_stored_once() {
    let lab = lab().unwrap();
    let nats = lab.nats("nats").await.unwrap();
    let publisher = nats.client("publisher").await.unwrap();
    publisher.stream("orders", &["orders"]).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "order-1");
    for expected in [false, true] {
        let ack = publisher.publish_with("orders", headers.clone(), "one").await.unwrap();
        assert_eq!((ack.sequence, ack.duplicate), (1, expected));
    }
    lab.close().await;
}

#[tokio::test]
async fn after_its_last_delivery_a_message_is_announced_and_stays() {
    let lab = lab().unwrap();
    let nats = lab.nats("nats").await.unwrap();
    let worker = nats.client("worker").await.unwrap();
    let mut advisories = worker.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>").await.unwrap();
    let mut stream = worker.stream("orders", &["orders"]).await.unwrap();
    worker.publish("orders", "poison").await.unwrap();
    let limit = pull::Config { max_deliver: 2, ..named("pick") };
    let consumer = worker.consumer("orders", limit).await.unwrap();
    for count in [1, 2] {
        let delivery = consumer.next(SOON).await.unwrap().unwrap();
        assert_eq!(delivery.count, count);
        delivery.nak(None).await.unwrap();
    }
    assert!(consumer.next(BRIEFLY).await.unwrap().is_none());
    let advisory = advisories.next(SOON).await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&advisory.payload).unwrap();
    assert_eq!((told["stream_seq"].as_u64(), told["deliveries"].as_u64()), (Some(1), Some(2)));
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    lab.close().await;
}

#[tokio::test]
async fn streams_outlive_a_kill_and_clients_come_back() {
    let lab = lab().unwrap();
    let mut nats = lab.nats("nats").await.unwrap();
    let client = nats.client("client").await.unwrap();
    client.stream("orders", &["orders"]).await.unwrap();
    client.publish("orders", "kept").await.unwrap();
    assert!(nats.restart().await.unwrap_err().to_string().contains("still runs"));
    let url = nats.url();
    assert_eq!(nats.kill().await.unwrap(), Exit::Signal(9));
    nats.restart().await.unwrap();
    assert_eq!(nats.url(), url);
    let consumer = client.consumer("orders", named("pick")).await.unwrap();
    assert_eq!(&consumer.next(SOON).await.unwrap().unwrap().body()[..], b"kept");
    lab.close().await;
}

#[tokio::test]
async fn nothing_is_left_of_it() {
    let lab = lab().unwrap();
    let nats = lab.nats("nats").await.unwrap();
    let (pid, dir) = (nats.process().pid(), lab.dir().to_owned());
    let alive = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(alive() && dir.join("nats/nats.conf").exists());
    lab.close().await;
    drop(nats);
    assert!(!alive());
    assert!(!dir.exists());
}

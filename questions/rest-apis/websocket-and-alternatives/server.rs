//! The server: a feed of numbered prices, which is carried in four ways.
//!
//! Whoever listens has a place in the feed, and is sent what comes after it. So there is no gap between what is read
//! from the past and what is heard live.

use super::Build;
use super::clients::DEADLINE;
use crate::prelude::*;
use axum::response::sse::{Event, Sse};
use backlab_parts::websocket::{Handshake, Message, Socket};
use futures::stream;
use std::convert::Infallible;
use tokio::sync::watch;

/// Bytes of one price in words: the number, and as many fillers as it takes.
pub const PRICE_BYTES: usize = 60;
/// How many prices a client may be behind before it is cut off.
pub const MOST_BEHIND: usize = 100;

/// What was published, and who listens. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    build: Build,
    /// The prices, from number 1 on.
    pub prices: watch::Sender<Vec<String>>,
    /// Rings for the next heartbeat.
    pub beats: watch::Sender<u64>,
    /// What it notes of its clients.
    pub seen: watch::Sender<Seen>,
}

#[derive(Clone, Default)]
pub struct Seen {
    /// Requests by the way they ask.
    pub requests: BTreeMap<&'static str, u64>,
    /// The places after which long polls wait for news.
    pub waiting_after: Vec<usize>,
    pub pongs: u64,
    /// The most that any client was behind, and how many were cut off for it.
    pub most_behind: usize,
    pub cut_off: u64,
}

#[derive(Deserialize)]
struct Since {
    /// The number of the last price that the client has.
    since: Option<usize>,
}

impl Feed {
    pub fn new(build: Build) -> Self {
        let (prices, beats, seen) =
            (watch::Sender::default(), watch::Sender::default(), watch::Sender::default());
        Self { build, prices, beats, seen }
    }

    /// Publishes so many prices in one moment, each of so many bytes.
    pub fn publish(&self, count: usize, bytes: usize) {
        self.prices.send_modify(|prices| {
            for _ in 0..count {
                let number = prices.len() + 1;
                prices.push(format!("{number:05} {:.>width$}", "", width = bytes - 6));
            }
        });
    }

    /// Waits until its notes are as wanted.
    pub async fn until(&self, what: &str, wanted: impl FnMut(&Seen) -> bool) -> Result<()> {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(DEADLINE, seen.wait_for(wanted)).await;
        waited.with_context(|| format!("{what}: not within {DEADLINE:?}"))?.context("the feed is gone")?;
        Ok(())
    }

    pub fn published(&self) -> usize {
        self.prices.borrow().len()
    }

    pub fn pings(&self) -> bool {
        self.build != Build::NoPings
    }

    pub fn api(&self) -> Router {
        Router::new()
            .route("/poll", get(poll))
            .route("/long-poll", get(long_poll))
            .route("/events", get(events))
            .route("/socket", get(socket))
            .with_state(self.clone())
    }

    fn asked(&self, route: &'static str) {
        self.seen.send_modify(|seen| *seen.requests.entry(route).or_default() += 1);
    }

    fn after(&self, place: usize) -> Vec<String> {
        self.prices.borrow().get(place..).unwrap_or_default().to_vec()
    }

    /// Waits until there is a price after this place.
    async fn news(&self, place: usize) {
        // The feed outlives whoever listens to it.
        let _ = self.prices.subscribe().wait_for(|prices| prices.len() > place).await;
    }
}

async fn poll(State(feed): State<Feed>, Query(Since { since }): Query<Since>) -> Json<Vec<String>> {
    feed.asked("polling");
    Json(feed.after(since.unwrap_or(0)))
}

/// Answers when there is something to answer.
async fn long_poll(State(feed): State<Feed>, Query(Since { since }): Query<Since>) -> Json<Vec<String>> {
    feed.asked("long polling");
    let place = since.unwrap_or(0);
    let _waits = Waiting::begin(&feed, place);
    feed.news(place).await;
    Json(feed.after(place))
}

/// A long poll that waits; also when its client goes away it no longer does.
struct Waiting<'a>(&'a Feed, usize);

impl<'a> Waiting<'a> {
    fn begin(feed: &'a Feed, place: usize) -> Self {
        feed.seen.send_modify(|seen| seen.waiting_after.push(place));
        Self(feed, place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| {
            let at = seen.waiting_after.iter().position(|place| *place == self.1);
            at.map(|at| seen.waiting_after.swap_remove(at));
        });
    }
}

/// Goes on after `Last-Event-ID`, or from now on.
async fn events(State(feed): State<Feed>, headers: HeaderMap) -> impl IntoResponse {
    feed.asked("server-sent events");
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let place = last.unwrap_or_else(|| feed.published());
    Sse::new(stream::unfold((feed, place), |(feed, place)| async move {
        feed.news(place).await;
        let price = feed.after(place).into_iter().next()?;
        let event = Event::default().data(price);
        let event = if feed.build == Build::NoIds { event } else { event.id((place + 1).to_string()) };
        Some((Ok::<_, Infallible>(event), (feed, place + 1)))
    }))
}

/// Goes on after `since`, or from now on.
async fn socket(State(feed): State<Feed>, Query(Since { since }): Query<Since>, it: Handshake) -> Response {
    feed.asked("WebSocket");
    let since = since.filter(|_| feed.build != Build::ForgetsPlace);
    let place = since.unwrap_or_else(|| feed.published());
    // Whoever has been answered misses no beat.
    let beats = feed.beats.subscribe();
    it.largest_message(4096).accept(move |socket| talk(feed, place, beats, socket))
}

/// Sends prices, sends back what it is told, and pings.
async fn talk(feed: Feed, mut place: usize, mut beats: watch::Receiver<u64>, mut socket: Socket) {
    loop {
        tokio::select! {
            () = feed.news(place) => {
                for price in feed.after(place) {
                    if !send(&feed, &mut place, &mut socket, price).await {
                        return;
                    }
                }
            }
            _ = beats.changed(), if feed.pings() => {
                if socket.ping().await.is_err() {
                    return;
                }
            }
            told = socket.receive() => match told {
                Some(Message::Text(text)) => if socket.send(text).await.is_err() { return },
                Some(Message::Pong) => feed.seen.send_modify(|seen| seen.pongs += 1),
                Some(Message::Binary(_)) => {}
                None => return,
            }
        }
    }
}

/// Sends one price; false once the client is gone, or so far behind that it is cut off.
async fn send(feed: &Feed, place: &mut usize, socket: &mut Socket, price: String) -> bool {
    let at = *place;
    let too_far = async {
        let mut prices = feed.prices.subscribe();
        let limit = if feed.build == Build::NoLimit { usize::MAX } else { MOST_BEHIND };
        loop {
            let behind = prices.borrow_and_update().len() - at;
            feed.seen.send_modify(|seen| {
                seen.most_behind = seen.most_behind.max(behind);
                seen.cut_off += u64::from(behind > limit);
            });
            if behind > limit || prices.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        sent = socket.send(price) => {
            *place += 1;
            sent.is_ok()
        }
        () = too_far => false,
    }
}

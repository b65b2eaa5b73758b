//! One value says how far closing has come: open, closing (`/ready` fails), draining (the port is closed, streams say
//! bye). One counter says how many requests are in flight, and both ways out, the last answer and the deadline, lead
//! through the same last step, which writes the lines. After the last answer, connections get 200 ms to take its bytes;
//! whoever sent nothing, or half a request, isn't waited for.
//!
//! The fixed pause is a guess at how fast the balancer looks: a Kubernetes `preStop` hook with a `sleep` does the same
//! before SIGTERM is sent, for programs that can't. Node.js closes idle connections in `server.close()` since version 19,
//! but leaves streams and busy keep-alive clients to you. A line that was answered with 202 is lost by a SIGKILL or a loss
//! of power; what must not be lost is written, with fsync, before the answer.

use super::Bug;
use crate::prelude::*;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use futures::stream;
use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::process::exit;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

/// How long new connections are served after SIGTERM.
const PAUSE: Duration = Duration::from_millis(500);
/// What the deadline leaves of the grace period, to write the lines in.
const MARGIN: Duration = Duration::from_millis(300);
/// How long connections may take to send the last bytes of an answer.
const LAST_BYTES: Duration = Duration::from_millis(200);
/// Lines that are kept in memory.
const MOST_LINES: usize = 1000;

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Phase {
    Open,
    Closing,
    Draining,
}

struct Shop {
    bug: Option<Bug>,
    phase: watch::Sender<Phase>,
    guests: watch::Sender<usize>,
    lines: Mutex<Vec<String>>,
    file: PathBuf,
    ids: AtomicU64,
}

type Shared = State<Arc<Shop>>;

/// A request in flight, until it is dropped.
struct Guest(Arc<Shop>);

pub async fn run(bug: Option<Bug>) -> Result<()> {
    let grace: u64 = crate::reference::env("GRACE_MS")?;
    let shop = Arc::new(Shop {
        bug,
        phase: watch::Sender::new(Phase::Open),
        guests: watch::Sender::new(0),
        lines: Mutex::default(),
        file: crate::reference::env("AUDIT_FILE")?,
        ids: AtomicU64::new(1),
    });
    if bug == Some(Bug::DefaultAction) {
        return crate::reference::serve(router(&shop)).await;
    }
    // Before the port is open, so that no signal finds us unprepared.
    let mut terms = signal(SignalKind::terminate())?;
    let drains = shop.clone().drains();
    let serve =
        axum::serve(crate::reference::listener().await?, router(&shop)).with_graceful_shutdown(drains);
    let server = tokio::spawn(serve.into_future());
    terms.recv().await;
    let deadline = match bug {
        Some(Bug::NoDeadline) => Duration::MAX,
        _ => Duration::from_millis(grace).saturating_sub(MARGIN),
    };
    let second = async {
        terms.recv().await;
        if bug == Some(Bug::IgnoresSecondSignal) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = second => exit(i32::from(bug != Some(Bug::SecondIsSuccess))),
        () = shop.close(server) => {}
        () = sleep(deadline) => match bug {
            Some(Bug::DeadlineForgetsLines) => exit(0),
            Some(Bug::DeadlineIsFailure) => exit(1),
            _ => {}
        }
    }
    if !matches!(bug, Some(Bug::NeverFlushes | Bug::FlushesFirst)) {
        shop.flush()?;
    }
    exit(0)
}

fn router(shop: &Arc<Shop>) -> Router {
    Router::new()
        .route("/work", get(work))
        .route("/ready", get(ready))
        .route("/events", get(events))
        .route("/audit", post(audit))
        .layer(from_fn_with_state(shop.clone(), counted))
        .with_state(shop.clone())
}

impl Shop {
    /// Closes in order; is done when nothing is in flight.
    async fn close(&self, mut server: JoinHandle<std::io::Result<()>>) {
        match self.bug {
            Some(Bug::ExitsInHandler) => return,
            Some(Bug::FlushesFirst) => drop(self.flush()),
            _ => {}
        }
        self.phase.send_replace(Phase::Closing);
        if self.bug != Some(Bug::ClosesFirst) {
            sleep(PAUSE).await;
        }
        match self.bug {
            Some(Bug::ExitsAfterPause) => return,
            Some(Bug::TimerKeepsItAlive) => std::future::pending().await,
            // Without its acceptor the port is closed, and connections go on as they are.
            Some(Bug::KeepsAlive) => server.abort(),
            Some(Bug::KeepsAccepting) => {}
            _ => drop(self.phase.send_replace(Phase::Draining)),
        }
        if self.bug == Some(Bug::WaitsForConnections) {
            let _ = server.await;
            return;
        }
        let mut guests = self.guests.subscribe();
        loop {
            let _ = guests.wait_for(|guests| *guests == 0).await;
            let gone = async {
                if self.bug == Some(Bug::KeepsAlive) {
                    std::future::pending::<()>().await;
                }
                (&mut server).await
            };
            if timeout(LAST_BYTES, gone).await.is_ok() || !guests.has_changed().unwrap_or(false) {
                return;
            }
        }
    }

    async fn drains(self: Arc<Self>) {
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Appends the lines to the file.
    fn flush(&self) -> Result<()> {
        let mut lines = locked(&self.lines);
        let mut file = std::fs::File::options().create(true).append(true).open(&self.file)?;
        file.write_all(lines.concat().as_bytes())?;
        lines.clear();
        Ok(())
    }
}

impl Guest {
    fn of(shop: &Arc<Shop>) -> Self {
        shop.guests.send_modify(|guests| *guests += 1);
        Self(shop.clone())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.guests.send_modify(|guests| *guests -= 1);
    }
}

async fn counted(State(shop): Shared, request: Request, next: Next) -> Response {
    let _guest = Guest::of(&shop);
    let mut response = next.run(request).await;
    if *shop.phase.borrow() > Phase::Open && shop.bug != Some(Bug::KeepsAlive) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[derive(Deserialize)]
struct Work {
    ms: u64,
}

async fn work(State(shop): Shared, Query(Work { ms }): Query<Work>) -> Json<Value> {
    sleep(Duration::from_millis(ms)).await;
    Json(json!({ "id": shop.ids.fetch_add(1, Ordering::Relaxed) }))
}

async fn ready(State(shop): Shared) -> StatusCode {
    if *shop.phase.borrow() == Phase::Open || shop.bug == Some(Bug::StaysReady) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn events(State(shop): Shared) -> impl IntoResponse {
    let guest = (shop.bug != Some(Bug::CutsStreams)).then(|| Guest::of(&shop));
    let told = !matches!(shop.bug, Some(Bug::CutsStreams | Bug::WaitsForStreams));
    let begin = (interval(Duration::from_millis(200)), Box::pin(shop.drains()), guest);
    let events = stream::unfold(Some(begin), move |state| async move {
        let (mut ticks, mut drains, guest) = state?;
        tokio::select! {
            () = &mut drains, if told => Some((Ok::<_, Infallible>("event: bye\ndata: we are closing\n\n"), None)),
            _ = ticks.tick() => Some((Ok("data: we are open\n\n"), Some((ticks, drains, guest)))),
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
}

#[derive(Deserialize)]
struct Entry {
    line: String,
}

async fn audit(State(shop): Shared, Json(Entry { line }): Json<Entry>) -> Result<StatusCode, Failed> {
    locked(&shop.lines).push(line + "\n");
    let many = locked(&shop.lines).len() >= MOST_LINES;
    if many {
        shop.flush()?;
    }
    Ok(StatusCode::ACCEPTED)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

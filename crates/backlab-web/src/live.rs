//! A run as it happens, over server-sent events.
//!
//! `waiting` tells the place in the line, `step` what the experiment does and how much has been said (JSON),
//! `sequence` draws the messages so far (HTML), `report` shows the outcome (HTML) and is the last.

use crate::Site;
use crate::handlers::run_named;
use crate::pages::outcome;
use crate::refusal::Refusal;
use crate::runs::{Phase, Run};
use axum::extract::{Path, Query, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use backlab_engine::Event as Said;
use futures::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The shortest time between two drawings of one sequence.
const PACE: Duration = Duration::from_millis(120);
/// How often the seconds and the place in the line are told when nothing else happens.
const TICK: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
pub(crate) struct Screen {
    /// The width in CSS pixels for which the sequence is drawn.
    #[serde(default = "wide")]
    width: u32,
}

fn wide() -> u32 {
    outcome::WIDE
}

pub(crate) async fn events(
    State(site): State<Arc<Site>>,
    Path(run): Path<String>,
    Query(screen): Query<Screen>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let run = run_named(&site, &run)?;
    let watcher = Watcher {
        phase: run.phase.clone(),
        said: run.trace.changes(),
        drawn: None,
        next: Instant::now(),
        ready: VecDeque::new(),
        reported: false,
        width: screen.width,
        run,
        site,
    };
    let events = stream::unfold(watcher, |mut watcher| async {
        let event = watcher.event().await?;
        Some((Ok(event), watcher))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Watcher {
    site: Arc<Site>,
    run: Arc<Run>,
    phase: watch::Receiver<Phase>,
    said: watch::Receiver<usize>,
    /// How many events the last drawing showed.
    drawn: Option<usize>,
    /// When the next drawing may be made.
    next: Instant,
    ready: VecDeque<Event>,
    reported: bool,
    width: u32,
}

impl Watcher {
    /// The next event; `None` after the report, and when the server ends.
    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.reported || self.site.shutdown.is_cancelled() {
                return None;
            }
            self.look();
            if self.ready.is_empty() {
                self.something().await?;
            }
        }
    }

    /// Queues what there is to tell now.
    fn look(&mut self) {
        let phase = self.phase.borrow_and_update().clone();
        match phase {
            Phase::Waiting if self.drawn.is_none() => {
                let ahead = self.site.runs.ahead_of(self.run.id);
                self.ready.push_back(Event::default().event("waiting").data(ahead.to_string()));
                self.drawn = Some(0);
            }
            Phase::Running if Instant::now() >= self.next => {
                let length = *self.said.borrow_and_update();
                if self.drawn != Some(length) {
                    self.drawn = Some(length);
                    self.sequence();
                }
                self.step();
                self.next = Instant::now() + PACE;
            }
            Phase::Ended(ended) => {
                let html = outcome::ended(self.run.question, &ended).into_string();
                self.ready.push_back(Event::default().event("report").data(html));
                self.reported = true;
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        let step = self.run.trace.events(0).into_iter().rev().find_map(|event| match event {
            Said::Step { what } => Some(what),
            _ => None,
        });
        let state = json!({
            "step": step, "messages": self.run.trace.total(), "seconds": self.run.seconds(),
        });
        self.ready.push_back(Event::default().event("step").data(state.to_string()));
    }

    fn sequence(&mut self) {
        if let Some(figure) = backlab_engine::sequence(&self.run.trace) {
            self.ready.push_back(
                Event::default().event("sequence").data(outcome::layout(&figure, self.width).into_string()),
            );
        }
    }

    /// Waits until there may be something to tell; `None` where the run's task is gone.
    async fn something(&mut self) -> Option<()> {
        let pace = self.next;
        let said = async {
            // A trace that can't change any more leaves the word to the phase.
            if self.said.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(pace).await;
        };
        tokio::select! {
            changed = self.phase.changed() => changed.ok(),
            () = said => Some(()),
            () = tokio::time::sleep(TICK) => Some(()),
            () = self.site.shutdown.cancelled() => None,
        }
    }
}

//! The router before the two sides. It logs which side it chose for each request, and how often it had been switched
//! by then.

use super::Deploy;
use crate::prelude::*;
use axum::extract::{ConnectInfo, Request};
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Blue,
    Green,
}

impl Colour {
    pub fn name(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    /// Blue is the old version and green the new one, in every deploy here.
    fn version(self) -> &'static str {
        match self {
            Self::Blue => "v1",
            Self::Green => "v2",
        }
    }
}

/// What the router decides about at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Each request goes where the router stands now.
    PerRequest,
    /// Each client connection stays with the side that it met first, as with a router that forwards TCP.
    PerConnection,
}

pub struct Router {
    server: Server,
    shared: Shared,
}

type Shared = Arc<watch::Sender<Ledger>>;

/// What the router knows.
pub struct Ledger {
    lab: Lab,
    policy: Policy,
    stands_at: Colour,
    switches: u64,
    sides: [Option<Client>; 2],
    bound: HashMap<SocketAddr, Colour>,
    log: Vec<Entry>,
    in_flight_at_switch: Vec<u64>,
    database_changed: Option<Instant>,
    marks: Vec<(Instant, String)>,
}

struct Entry {
    arrived: Instant,
    chosen: Colour,
    stood_at: Colour,
    switches: u64,
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Answered { status: StatusCode, version: String },
    NoAnswer,
}

impl Router {
    pub fn open(lab: &Lab, policy: Policy) -> Result<Self> {
        let shared: Shared = Arc::new(watch::Sender::new(Ledger {
            lab: lab.clone(),
            policy,
            stands_at: Colour::Blue,
            switches: 0,
            sides: [None, None],
            bound: HashMap::new(),
            log: Vec::new(),
            in_flight_at_switch: Vec::new(),
            database_changed: None,
            marks: Vec::new(),
        }));
        let server = lab.serve("router", axum::Router::new().fallback(forward).with_state(shared.clone()))?;
        Ok(Self { server, shared })
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Tells the router where a side listens; no request goes there before the switch.
    pub fn point(&self, side: Colour, addr: SocketAddr) {
        self.shared.send_modify(|it| it.sides[side as usize] = Some(it.lab.client("router", addr)));
    }

    /// Switches: every later choice falls on this side.
    pub fn to(&self, side: Colour) {
        self.shared.send_modify(|it| {
            if it.stands_at != side {
                it.in_flight_at_switch.push(it.in_flight(it.stands_at));
                it.switches += 1;
                it.stands_at = side;
                it.lab.trace().note("router", format_args!("switches to {}", side.name()));
                it.marks.push((Instant::now(), "switched".to_owned()));
            }
        });
    }

    pub fn changed_database(&self) {
        self.shared.send_modify(|it| it.database_changed = Some(Instant::now()));
        self.mark("database changed");
    }

    /// Remembers a moment for the figures.
    pub fn mark(&self, what: impl Display) {
        self.shared.send_modify(|it| it.marks.push((Instant::now(), what.to_string())));
    }

    /// Waits until the ledger says so.
    pub async fn until(&self, says: impl FnMut(&Ledger) -> bool) -> Result<()> {
        let came = self.within(super::SOON, says).await?;
        ensure!(came, "what this deploy waits for didn't happen at the router within ten seconds");
        Ok(())
    }

    /// Waits until the ledger says so; `false` if it doesn't in time.
    pub async fn within(&self, time: Duration, mut says: impl FnMut(&Ledger) -> bool) -> Result<bool> {
        let mut changes = self.shared.subscribe();
        match tokio::time::timeout(time, changes.wait_for(|ledger| says(ledger))).await {
            Ok(changed) => changed.map(|_| true).context("the router is gone"),
            Err(_) => Ok(false),
        }
    }

    pub fn ledger(&self) -> watch::Ref<'_, Ledger> {
        self.shared.borrow()
    }
}

impl Ledger {
    /// Good answers from a side so far.
    pub fn answered(&self, side: Colour) -> u64 {
        self.count(|it| it.chosen == side && it.answered_well())
    }

    pub fn in_flight(&self, side: Colour) -> u64 {
        self.count(|it| it.chosen == side && it.outcome.is_none())
    }

    pub fn failed(&self) -> u64 {
        self.count(Entry::failed)
    }

    /// Requests that came after the latest switch and have had their end, whichever side it was that had them.
    pub fn ended_since_switch(&self) -> u64 {
        self.count(|it| it.switches == self.switches && it.outcome.is_some())
    }

    pub fn to_old_after_switch(&self) -> u64 {
        self.count(|it| it.switches > 0 && it.chosen != it.stood_at)
    }

    /// What a side answered, well or not, of requests that came after the database had been changed.
    pub fn after_change(&self, side: Colour) -> u64 {
        self.count(|it| self.is_after_change(it, side) && it.outcome.is_some())
    }

    /// What the router's own log says of a deploy.
    pub fn deploy(&self) -> Deploy {
        let errors_after_change =
            |side| self.count(|it| self.is_after_change(it, side) && it.answered_badly());
        Deploy {
            switches: self.switches,
            after_switch: self.count(|it| it.switches > 0 && it.outcome.is_some()),
            in_flight_at_switch: self.in_flight_at_switch.iter().copied().min().unwrap_or(0),
            failed_sent_before_switch: self.count(|it| it.failed() && it.switches < self.switches),
            to_old_after_switch: self.to_old_after_switch(),
            wrong_version: self.count(Entry::wrong_version),
            old_after_change: self.after_change(Colour::Blue),
            old_errors_after_change: errors_after_change(Colour::Blue),
            new_after_change: self.after_change(Colour::Green),
            new_errors_after_change: errors_after_change(Colour::Green),
            ..Deploy::default()
        }
    }

    /// The marks in milliseconds after the first request came.
    pub fn marks_ms(&self) -> Vec<(f64, String)> {
        let Some(first) = self.log.first() else { return Vec::new() };
        let ms = |at: &Instant| at.saturating_duration_since(first.arrived).as_secs_f64() * 1000.0;
        self.marks.iter().map(|(at, what)| (ms(at), what.clone())).collect()
    }

    fn is_after_change(&self, entry: &Entry, side: Colour) -> bool {
        entry.chosen == side && self.database_changed.is_some_and(|at| entry.arrived > at)
    }

    fn count(&self, counts: impl Fn(&Entry) -> bool) -> u64 {
        self.log.iter().filter(|it| counts(it)).count() as u64
    }
}

impl Entry {
    fn answered_well(&self) -> bool {
        matches!(&self.outcome, Some(Outcome::Answered { status, .. }) if status.is_success())
    }

    fn answered_badly(&self) -> bool {
        matches!(&self.outcome, Some(Outcome::Answered { status, .. }) if !status.is_success())
    }

    fn failed(&self) -> bool {
        self.outcome.is_some() && !self.answered_well()
    }

    fn wrong_version(&self) -> bool {
        matches!(&self.outcome, Some(Outcome::Answered { version, .. }) if version != self.stood_at.version())
    }
}

async fn forward(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (number, side) = choose(&shared, peer);
    let answer = match &side {
        Some(side) => side.request(request.method().clone(), request.uri().path()).await.ok(),
        None => None,
    };
    let outcome = answer.map_or(Outcome::NoAnswer, |reply| Outcome::Answered {
        status: reply.status,
        version: reply.header("x-served").unwrap_or_default().to_owned(),
    });
    let (status, served) = match &outcome {
        Outcome::Answered { status, version } => (*status, version.clone()),
        Outcome::NoAnswer => (StatusCode::BAD_GATEWAY, "nobody".to_owned()),
    };
    shared.send_modify(|it| it.log[number].outcome = Some(outcome));
    (status, [("x-served", served)]).into_response()
}

/// Enters a request into the log; returns its place there, and the side that shall have it.
fn choose(shared: &Shared, peer: SocketAddr) -> (usize, Option<Client>) {
    let mut chosen = (0, None);
    shared.send_modify(|it| {
        let side = match it.policy {
            Policy::PerRequest => it.stands_at,
            Policy::PerConnection => *it.bound.entry(peer).or_insert(it.stands_at),
        };
        chosen = (it.log.len(), it.sides[side as usize].clone());
        it.log.push(Entry {
            arrived: Instant::now(),
            chosen: side,
            stood_at: it.stands_at,
            switches: it.switches,
            outcome: None,
        });
    });
    chosen
}

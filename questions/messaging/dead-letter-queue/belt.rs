//! One consumer at work: what it gets delivered, what it gets done, and when nothing moves any more.

use super::orders::{Kind, Published, STREAM, Shop};
use super::worker::{Outcome, Policy, Worker};
use super::{InFlight, Observed, Params, Twice};
use crate::prelude::*;
use backlab_parts::nats::{Nats, Subscription};

/// Failed deliveries, for each poison message that can be in flight, after which nothing moves any more.
const STALLED: u64 = 20;
/// How long a request waits for a message.
const PATIENCE: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(5);
/// Requests in a row without a message, and still the server isn't done, after which something is wrong.
const MOST_IDLE: u64 = 100;
/// Stretches of the belt that the figure keeps.
const DRAWN: usize = 60;

/// What one consumer made of the orders.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Belt {
    pub deliveries: u64,
    /// Orders that can be processed, and those that were.
    pub good: u64,
    pub done: u64,
    /// Of those, the ones behind as many poison messages as can be in flight.
    pub behind: u64,
    pub behind_done: u64,
    /// Deliveries of each poison message, by its place.
    pub poison: BTreeMap<u64, u64>,
    /// Poison messages that the server announced exactly once as given up, and those that are still in the stream.
    pub told: u64,
    pub stored: u64,
    /// Messages that turned up in other streams.
    pub moved: u64,
    /// The deliveries in their order: how many of a kind came in a row.
    pub runs: Vec<(Kind, u64)>,
}

pub async fn run(lab: &Lab, nats: &Nats, p: &Params, orders: &[Published], policy: Policy) -> Result<Belt> {
    run_with(lab, nats, p, orders, policy, &Shop::new(Twice::Once)).await
}

/// Runs a policy's consumer over the orders until all is done or nothing moves.
pub async fn run_with(
    lab: &Lab,
    nats: &Nats,
    p: &Params,
    orders: &[Published],
    policy: Policy,
    shop: &Shop,
) -> Result<Belt> {
    lab.step(match policy {
        Policy::Forever => "No limit: a failed order is delivered again, for ever".to_owned(),
        Policy::MaxDeliver => format!("MaxDeliver {}, and no further provision", p.max_deliveries),
        Policy::DeadLetter => format!("At delivery {} the worker publishes a dead letter", p.max_deliveries),
    });
    let watcher = nats.client("watcher").await?;
    let told = format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{STREAM}.{}", policy.name());
    let mut advisories = watcher.subscribe(&told).await?;
    let worker = worker(nats, p, policy, shop).await?;
    let mut belt = work(&worker, p, orders).await?;
    if policy == Policy::MaxDeliver {
        belt.told = told_once(&mut advisories, p.poison).await?;
    }

    let jetstream = watcher.context();
    let stream = jetstream.get_stream(STREAM).await?;
    for order in orders.iter().filter(|it| it.kind == Kind::Poison) {
        belt.stored += u64::from(stream.get_raw_message(order.sequence).await.is_ok());
    }
    let mut streams = jetstream.streams();
    while let Some(info) = futures::StreamExt::next(&mut streams).await {
        let info = info?;
        belt.moved += if info.config.name == STREAM { 0 } else { info.state.messages };
    }
    Ok(belt)
}

pub async fn worker<'a>(nats: &Nats, p: &Params, policy: Policy, shop: &'a Shop) -> Result<Worker<'a>> {
    let client = nats.client(policy.name()).await?;
    let config = policy.consumer(p.consumer.slots(), p.max_deliveries);
    Ok(Worker {
        consumer: client.consumer(STREAM, config).await?,
        client,
        shop,
        limit: (policy == Policy::DeadLetter).then_some(p.max_deliveries),
        order: p.order,
        counted_by: p.counted_by,
        tries: Mutex::default(),
        process: None,
    })
}

/// Takes as many messages as may be in flight, handles them side by side, and asks again, until the server has nothing
/// more or nothing moves.
pub async fn work(worker: &Worker<'_>, p: &Params, orders: &[Published]) -> Result<Belt> {
    let slots = p.consumer.slots();
    let mut belt = Belt::of(orders, slots);
    let (mut failed, mut idle) = (0, 0);
    while failed < STALLED * slots.min(p.poison) {
        let info = worker.consumer.info().await?;
        let there = info.num_pending + info.num_ack_pending as u64;
        if there == 0 {
            break;
        }
        // Not more than there are, or the request would wait for what can't come.
        let deliveries = worker.consumer.next_many(slots.min(there) as usize, PATIENCE).await?;
        idle = if deliveries.is_empty() { idle + 1 } else { 0 };
        ensure!(idle < MOST_IDLE, "the server holds {there} messages back");
        let outcomes = try_join_all(deliveries.iter().map(|delivery| worker.handle(delivery))).await?;
        for (delivery, outcome) in std::iter::zip(&deliveries, outcomes) {
            belt.note(orders, slots, delivery.sequence, outcome);
            failed = if outcome == Outcome::Failed { failed + 1 } else { 0 };
        }
    }
    Ok(belt)
}

/// How many messages the server announced exactly once.
async fn told_once(advisories: &mut Subscription, expected: u64) -> Result<u64> {
    #[derive(Deserialize)]
    struct Advisory {
        stream_seq: u64,
    }
    let mut told = BTreeMap::<u64, u64>::new();
    let mut patience = SOON;
    while let Some(message) = advisories.next(patience).await {
        let advisory: Advisory = serde_json::from_slice(&message.payload)?;
        *told.entry(advisory.stream_seq).or_default() += 1;
        if told.len() as u64 >= expected {
            patience = PATIENCE;
        }
    }
    Ok(told.values().filter(|&&times| times == 1).count() as u64)
}

impl Belt {
    fn of(orders: &[Published], slots: u64) -> Self {
        let good = |orders: &[Published]| orders.iter().filter(|it| it.kind != Kind::Poison).count() as u64;
        let behind = behind(orders, slots).map_or(0, |first| good(&orders[first..]));
        Self { good: good(orders), behind, ..Self::default() }
    }

    fn note(&mut self, orders: &[Published], slots: u64, sequence: u64, outcome: Outcome) {
        self.deliveries += 1;
        let Some(place) = orders.iter().position(|it| it.sequence == sequence) else { return };
        let kind = orders[place].kind;
        if kind == Kind::Poison {
            *self.poison.entry(place as u64 + 1).or_default() += 1;
        }
        if outcome == Outcome::Done {
            self.done += 1;
            self.behind_done += u64::from(behind(orders, slots).is_some_and(|first| place >= first));
        }
        let drawn = self.runs.len();
        match self.runs.last_mut() {
            Some((last, times)) if *last == kind => *times += 1,
            _ if drawn < DRAWN => self.runs.push((kind, 1)),
            _ => {}
        }
    }

    /// Which of the prediction's options became true.
    pub fn fate_of_poison(&self) -> usize {
        let most = self.poison.values().max().copied().unwrap_or_default();
        match (self.stored, self.moved) {
            (0, _) => 0,
            (_, 1..) => 1,
            _ if most < STALLED => 2,
            _ => 3,
        }
    }

    fn most_delivered(&self) -> (u64, u64) {
        self.poison.iter().map(|(&place, &times)| (times, place)).max().unwrap_or_default()
    }
}

/// The place after the `slots`th poison message, counted from 0.
fn behind(orders: &[Published], slots: u64) -> Option<usize> {
    let mut poison = orders.iter().enumerate().filter(|(_, it)| it.kind == Kind::Poison);
    Some(poison.nth(slots as usize - 1)?.0 + 1)
}

pub fn claims(p: &Params, Observed { forever, limited, letters, .. }: &Observed) -> Vec<Claim> {
    let (times, place) = forever.most_delivered();
    let growing = format!("order {place} was delivered {times} times, and would be again");
    let slots = p.consumer.slots();
    let blocks = match p.poison >= slots {
        true => claim(
            "forever-blocks",
            "Without a limit, as many poison messages as may be in flight stop everything behind them",
            "a message that fails is not delivered again",
        )
        .witness(times >= STALLED, growing)
        .equal(words(forever.behind_done, forever.behind), words(0, forever.behind)),
        false => claim(
            "forever-blocks",
            "Without a limit, fewer poison messages than may be in flight let all others pass, and are delivered for ever",
            "a slot is not given back between two deliveries",
        )
        .witness(times >= STALLED, growing)
        .equal(words(forever.done, forever.good), words(forever.good, forever.good)),
    };
    let failed: u64 = limited.poison.values().sum();
    let exact = limited.poison.values().filter(|&&times| times == p.max_deliveries).count() as u64;
    let fate = |exact, told, stored| {
        format!("{exact} delivered {} times, {told} told of once, {stored} still stored", p.max_deliveries)
    };
    vec![
        blocks,
        claim(
            "limit-strands",
            "MaxDeliver stops after so many deliveries, publishes one advisory, and leaves the message where it is",
            "the server moves or deletes it",
        )
        .witness(failed > 0, format!("{failed} deliveries of poison failed"))
        .equal(fate(exact, limited.told, limited.stored), fate(p.poison, p.poison, p.poison)),
        claim(
            "limit-passes",
            "With MaxDeliver all other messages are processed",
            "a given-up message keeps its slot",
        )
        .witness(failed > 0, format!("{failed} deliveries of poison failed"))
        .equal(words(limited.done, limited.good), words(limited.good, limited.good)),
        claim(
            "letters-pass",
            "With dead letters all other messages are processed, those that failed once as well",
            "the first failure counts as the last",
        )
        .witness(letters.poison.len() as u64 == p.poison, format!("{} poison messages came", letters.poison.len()))
        .equal(words(letters.done, letters.good), words(letters.good, letters.good)),
    ]
}

fn words(done: u64, all: u64) -> String {
    format!("{done} of {all} processed")
}

pub fn figure_belts(seen: &Observed) -> Figure {
    let belts = [("no limit", &seen.forever), ("MaxDeliver", &seen.limited), ("dead letters", &seen.letters)];
    let lane = |(name, belt): (&str, &Belt)| {
        let mut at = 0;
        let spans = belt.runs.iter().map(|&(kind, times)| {
            let from = at as f64;
            at += times;
            let (label, tone) = match kind {
                Kind::Good => ("good", Tone::Plain),
                Kind::Slow => ("slow", Tone::Accent),
                Kind::Poison | Kind::Explosive => ("poison", Tone::Refuted),
            };
            Span { from, to: at as f64, label: format!("{label} x{times}"), tone }
        });
        Lane { name: name.into(), spans: spans.collect(), moments: Vec::new() }
    };
    let timeline = Timeline {
        unit: "deliveries".into(),
        lanes: belts.into_iter().map(lane).collect(),
        marks: Vec::new(),
    };
    let caption = format!(
        "Each consumer's deliveries in their order. Without a limit poison comes again and again (the run stopped \
         looking after {} deliveries). With a limit it comes a few times, and the good orders behind it get through.",
        seen.forever.deliveries
    );
    Figure::new("belts", caption, timeline)
}

pub fn figure_deliveries(seen: &Observed) -> Figure {
    let belts = [&seen.forever, &seen.limited, &seen.letters];
    let places: BTreeSet<_> = belts.iter().flat_map(|it| it.poison.keys()).collect();
    let bar = |belt: &Belt, place| {
        let times = belt.poison.get(place).copied().unwrap_or_default();
        Bar { value: times as f64, tone: if times >= STALLED { Tone::Refuted } else { Tone::Plain } }
    };
    let rows = places.into_iter().map(|place| BarRow {
        label: format!("poison order {place}"),
        bars: belts.iter().map(|belt| bar(belt, place)).collect(),
    });
    let bars = Bars {
        unit: "deliveries".into(),
        series: ["no limit", "MaxDeliver", "dead letters"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
        limit: None,
    };
    let caption = "How often each poison order was delivered. Without a limit one that blocks the consumer takes all \
                   deliveries, and those behind it get none.";
    Figure::new("deliveries", caption, bars)
}

impl Belt {
    /// Nothing behind the first poison messages is processed.
    pub fn blocked(p: &Params) -> Self {
        let good = p.messages - p.poison;
        let done = if p.consumer == InFlight::One { 3 } else { good };
        Self { good, done, behind: good - 3, poison: [(4, STALLED)].into(), ..Self::default() }
    }

    /// Each poison message is delivered so often as allowed, and everything else is processed.
    pub fn limited(p: &Params) -> Self {
        let good = p.messages - p.poison;
        let poison = (0..p.poison).map(|n| (4 + n * 3 / 2, p.max_deliveries)).collect();
        Self { good, done: good, poison, told: p.poison, stored: p.poison, ..Self::default() }
    }
}

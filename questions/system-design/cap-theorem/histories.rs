//! What happens to the register: random histories with a split in the middle, one directed schedule, one calm day.

use super::register::{PATIENCE_US, Replica, Timer};
use super::{Protocol, Split};
use crate::prelude::*;
use backlab_parts::linearizability::{Access, Operation, Register, Verdict, check, smallest_unexplained};
use backlab_parts::net::Net;
use rand::RngExt;
use rand::rngs::StdRng;

pub const NODES: usize = 5;
/// One way through the network takes this long at the most, in virtual µs.
const DELAY_US: u64 = 100_000;
const PERIOD_US: u64 = 1_500_000;
const CALLS_PER_CLIENT: u64 = 20;
pub const SPLIT_US: u64 = 10_000_000;
pub const HEAL_US: u64 = 20_000_000;
const END_US: u64 = 32_000_000;
/// States that the checker may visit for one history; it needs some hundreds.
const STATES: usize = 200_000;

pub type History = Vec<Operation<Register>>;

pub fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

/// A random history: what the clients called and were answered, and how many messages the split cut.
pub struct Random {
    pub history: History,
    pub cut: u64,
}

/// Each client calls every 1.5 s, a read or a write of a value that nobody else writes. From second 10 to 20 the
/// network is split. The generator decides what is called when, and how long each message takes.
pub fn random(protocol: Protocol, split: Split, mut rng: StdRng, shown_to: Option<&Lab>) -> Result<Random> {
    let mut calls = Vec::new();
    for node in 0..NODES {
        let first_us = rng.random_range(0..PERIOD_US);
        for number in 0..CALLS_PER_CLIENT {
            let value = 100 * (node as u64 + 1) + number + 1;
            let access = if rng.random() { Access::Read } else { Access::Write(value) };
            calls.push((first_us + number * PERIOD_US, node, access));
        }
    }
    let mut net = replicas(protocol, 1_000..=DELAY_US, rng);
    for (at_us, node, access) in calls {
        net.ask_at(at_us, node, Timer::Call(access));
    }
    net.run_until(SPLIT_US)?;
    announce(
        shown_to,
        &mut net,
        format_args!("Second 10 of a random history: the split begins ({})", split.word()),
    );
    net.split(split.sides());
    net.run_until(HEAL_US)?;
    net.heal();
    net.run_until(END_US)?;
    let cut = net.counts().cut;
    Ok(Random { history: history_of(net), cut })
}

/// What came of the directed schedule.
#[derive(Debug, Clone, Serialize)]
pub struct Directed {
    /// What the two reads were answered.
    pub first: Option<u64>,
    pub second: Option<u64>,
    /// Messages that were being held back when the second read was over.
    pub held: usize,
    pub history: History,
}

/// n1 writes; of all that it tells the others to store, only what it tells n2 passes. Then n2 reads and doesn't reach
/// n4 and n5. When that is over, n5 reads and doesn't reach n1 and n2. Then all is let through.
pub fn directed(protocol: Protocol, shown_to: Option<&Lab>) -> Result<Directed> {
    use super::register::Message;
    let rng = rand::SeedableRng::seed_from_u64(0); // Decides nothing: all delays are equal.
    let mut net = replicas(protocol, 10_000..=10_000, rng);
    net.hold(|from, to, message| match (from, message) {
        (0, Message::Store { .. }) => to != 1,
        (1, Message::Ask { .. } | Message::Store { .. }) => to >= 3,
        (4, Message::Ask { .. } | Message::Store { .. }) => to <= 1,
        _ => false,
    });
    let steps = [
        (0, 0, Access::Write(101), "n1 writes 101: of its orders to store it, only the one to n2 passes"),
        (60_000, 1, Access::Read, "n2, which has 101, reads without reaching n4 and n5"),
        (120_000, 4, Access::Read, "When that is over, n5 reads without reaching n1 and n2"),
    ];
    for (at_us, node, access, what) in steps {
        announce(shown_to, &mut net, what);
        net.ask_at(at_us, node, Timer::Call(access));
        net.run_until(at_us + 59_999)?;
    }
    let held = net.held();
    announce(shown_to, &mut net, "What was held back is let through");
    net.release();
    net.run_until(PATIENCE_US)?;
    let history = history_of(net);
    let answer = |client| history.iter().find(|it| it.client == client)?.answered.map(|(_, value)| value);
    Ok(Directed { first: answer(1), second: answer(4), held, history })
}

/// How long operations take, in round trips, while the network is whole and nobody else calls: one read and one write
/// at each node.
pub fn calm(protocol: Protocol) -> Result<(Vec<f64>, Vec<f64>)> {
    let round_trip_us = 2 * DELAY_US;
    let rng = rand::SeedableRng::seed_from_u64(0); // Decides nothing: all delays are equal.
    let mut net = replicas(protocol, DELAY_US..=DELAY_US, rng);
    for node in 0..NODES {
        let at_us = 2 * PERIOD_US * node as u64;
        net.ask_at(at_us, node, Timer::Call(Access::Write(101 + node as u64)));
        net.ask_at(at_us + PERIOD_US, node, Timer::Call(Access::Read));
    }
    net.run_until(END_US)?;
    let history = history_of(net);
    let round_trips = |reads: bool| {
        let wanted = history.iter().filter(|it| (it.op == Access::Read) == reads);
        let took = wanted.map(|it| {
            let (answered_us, _) = it.answered.context("an operation in calm weather had no answer")?;
            Ok((answered_us - it.called_us) as f64 / round_trip_us as f64)
        });
        took.collect::<Result<Vec<_>>>()
    };
    Ok((round_trips(true)?, round_trips(false)?))
}

/// How the checker judged a number of histories.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdicts {
    pub explained: u64,
    pub rejected: u64,
    /// The checker gave up: that is not "explained".
    pub unknown: u64,
    /// Of the first rejected history, the operations that no order explains.
    pub contradiction: History,
}

impl Verdicts {
    pub fn judge(&mut self, history: &History) {
        let start = Register(0);
        match check(&start, history, STATES) {
            Verdict::Explained(_) => self.explained += 1,
            Verdict::Unknown => self.unknown += 1,
            Verdict::Rejected => {
                self.rejected += 1;
                if self.contradiction.is_empty() {
                    let smallest = smallest_unexplained(&start, history, STATES);
                    self.contradiction = smallest.into_iter().map(|i| history[i].clone()).collect();
                }
            }
        }
    }

    pub fn all(&self) -> u64 {
        self.explained + self.rejected + self.unknown
    }
}

fn replicas(protocol: Protocol, delay_us: std::ops::RangeInclusive<u64>, rng: StdRng) -> Net<Replica> {
    Net::new((0..NODES).map(|node| (name(node), Replica::new(protocol))), delay_us, rng)
}

/// Announces what comes, and shows what the nodes say from now on, where the history is one that is shown.
fn announce(shown_to: Option<&Lab>, net: &mut Net<Replica>, what: impl std::fmt::Display) {
    if let Some(lab) = shown_to {
        lab.step(what);
        net.show(lab.trace());
    }
}

fn history_of(net: Net<Replica>) -> History {
    net.into_nodes().into_iter().flat_map(|it| it.history).collect()
}

/// Pairs of calls of different clients so close to each other that no message of the one can have reached the other.
pub fn racing(history: &History) -> u64 {
    let mut calls: Vec<_> = history.iter().map(|it| (it.called_us, it.client)).collect();
    calls.sort_unstable();
    calls.windows(2).filter(|pair| pair[0].1 != pair[1].1 && pair[1].0 - pair[0].0 < DELAY_US).count() as u64
}

/// Whether an operation starts and falls due while the network is split.
pub fn is_within_split(operation: &Operation<Register>) -> bool {
    operation.called_us >= SPLIT_US && operation.called_us + PATIENCE_US <= HEAL_US
}

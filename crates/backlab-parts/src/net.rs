//! A simulated network with a virtual clock: nodes, messages that take their time, splits, messages held back,
//! crashes. One seed, one history.
//!
//! Five hosts, a split between them and half a minute of traffic, a thousand times over: that can't be had on one
//! machine in real time, so here it is simulated. A [`Node`] is a state machine that only ever does something when a
//! message or a timer reaches it; the [`Net`] takes the next of both off a queue ordered by virtual time and, at equal
//! times, by the order in which they were put there. Nothing reads a real clock and nothing runs beside it, so whatever
//! happens is decided by the nodes, by the calls of the experiment and by the seed of the delays.
//!
//! Why not a library: those for Rust (turmoil, madsim) simulate sockets under async code, which is what a program needs
//! that shall be tested as it is. Here the protocol is the lesson. As a state machine it reads like the paper, and six
//! hundred histories of half a virtual minute fit into a run of a few seconds without optimisation.

use crate::{Fate, Trace};
use rand::RngExt;
use rand::rngs::StdRng;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Messages and timers that one network delivers at the most.
pub const LIMIT: u64 = 10_000_000;

/// One participant. Nodes share nothing: all that one learns of another comes in a message.
pub trait Node: Sized {
    /// What nodes say to each other; its text is what the trace shows.
    type Message: Display;
    /// What a node reminds itself of, or what somebody outside the network asks of it ([`Net::ask_at`]).
    type Timer;

    /// A message has arrived.
    fn on_message(&mut self, from: usize, message: Self::Message, turn: &mut Turn<'_, Self>);

    /// A timer has run out. One that has become pointless is not taken back: let it carry what it was set for, and
    /// ignore it.
    fn on_timer(&mut self, timer: Self::Timer, turn: &mut Turn<'_, Self>);

    /// The node starts again after a crash. Its timers are gone; forget here whatever wasn't on its disk.
    fn on_restart(&mut self, _turn: &mut Turn<'_, Self>) {}
}

/// The simulated network, its nodes numbered from 0, and its clock, in microseconds from 0.
pub struct Net<N: Node> {
    nodes: Vec<N>,
    core: Core<N::Message, N::Timer>,
}

/// What became of the messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub arrived: u64,
    /// Lost because sender and receiver were on different sides of a split.
    pub cut: u64,
    /// Lost because the receiver had crashed.
    pub unheard: u64,
}

/// A network that delivered [`LIMIT`] messages and timers: a protocol that talks without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the simulated network gave up after {LIMIT} deliveries, at {at_us} virtual µs: its nodes never fall silent"
)]
pub struct Flood {
    pub at_us: u64,
}

impl<N: Node> Net<N> {
    /// A whole network in which each message takes a delay drawn evenly from `delay_us`.
    pub fn new(
        nodes: impl IntoIterator<Item = (String, N)>,
        delay_us: RangeInclusive<u64>,
        rng: StdRng,
    ) -> Self {
        let (names, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        let core = Core {
            now_us: 0,
            taken: 0,
            placed: 0,
            queue: BinaryHeap::new(),
            delay_us,
            rng,
            side: vec![0; names.len()],
            lives: vec![Life { up: true, number: 0 }; names.len()],
            hold: None,
            held: Vec::new(),
            counts: Counts::default(),
            shown: None,
            names,
        };
        Self { nodes, core }
    }

    pub fn now_us(&self) -> u64 {
        self.core.now_us
    }

    pub fn nodes(&self) -> &[N] {
        &self.nodes
    }

    pub fn into_nodes(self) -> Vec<N> {
        self.nodes
    }

    pub fn counts(&self) -> Counts {
        self.core.counts
    }

    /// Puts a timer before a node from outside, such as the request of a client. It comes to nothing if the node has
    /// crashed by then. A time in the past counts as now.
    pub fn ask_at(&mut self, at_us: u64, node: usize, timer: N::Timer) {
        self.core.ring(at_us, node, timer);
    }

    /// Lets everything happen that is due up to and with `until_us`, which is then the time.
    ///
    /// # Errors
    /// [`Flood`], if there is no end to it.
    pub fn run_until(&mut self, until_us: u64) -> Result<(), Flood> {
        while let Some(due) = self.core.next(until_us)? {
            match due {
                What::Arrival(flight) => {
                    let mut turn = Turn { me: flight.to, core: &mut self.core };
                    self.nodes[flight.to].on_message(flight.from, flight.message, &mut turn);
                }
                What::Timer { node, timer, .. } => {
                    self.nodes[node].on_timer(timer, &mut Turn { me: node, core: &mut self.core });
                }
            }
        }
        self.core.now_us = self.core.now_us.max(until_us);
        Ok(())
    }

    /// Splits the network. Nodes hear only those on their own side; a node that isn't named is alone. Messages between
    /// sides are lost if the split is there when they leave or when they would arrive.
    pub fn split(&mut self, sides: &[&[usize]]) {
        let alone = sides.len()..;
        self.core.side = alone.take(self.nodes.len()).collect();
        for (number, side) in sides.iter().enumerate() {
            for &node in *side {
                self.core.side[node] = number;
            }
        }
    }

    /// Ends the split. What was lost stays lost.
    pub fn heal(&mut self) {
        self.core.side.fill(0);
    }

    /// From now on, holds back the messages of which `rule(from, to, message)` is true, until [`release`](Self::release).
    pub fn hold(&mut self, rule: impl Fn(usize, usize, &N::Message) -> bool + Send + 'static) {
        self.core.hold = Some(Box::new(rule));
    }

    /// Ends the hold, and sends what was held back on its way.
    pub fn release(&mut self) {
        self.core.hold = None;
        for flight in std::mem::take(&mut self.core.held) {
            self.core.send(flight);
        }
    }

    /// The number of messages that are being held back.
    pub fn held(&self) -> usize {
        self.core.held.len()
    }

    /// Stops a node at once: it neither hears nor does anything until it is restarted.
    pub fn crash(&mut self, node: usize) {
        self.core.lives[node].up = false;
        self.core.note(node, "crashes", Fate::Refused);
    }

    /// Starts a crashed node again. Messages that arrive from now on reach it, also those sent while it was down.
    pub fn restart(&mut self, node: usize) {
        let life = &mut self.core.lives[node];
        if !life.up {
            *life = Life { up: true, number: life.number + 1 };
            self.core.note(node, "starts again", Fate::Arrived);
            self.nodes[node].on_restart(&mut Turn { me: node, core: &mut self.core });
        }
    }

    /// From now on, writes to the trace, in virtual time: each message when it arrives or is lost, and the notes of nodes.
    pub fn show(&mut self, trace: &Trace) {
        self.core.shown = Some(trace.clone());
    }
}

/// What a node can do when it is its turn.
pub struct Turn<'a, N: Node> {
    me: usize,
    core: &'a mut Core<N::Message, N::Timer>,
}

impl<N: Node> Turn<'_, N> {
    /// The virtual time.
    pub fn now_us(&self) -> u64 {
        self.core.now_us
    }

    /// The node's own number.
    pub fn me(&self) -> usize {
        self.me
    }

    /// The number of nodes in the network, up or not.
    pub fn nodes(&self) -> usize {
        self.core.names.len()
    }

    pub fn send(&mut self, to: usize, message: N::Message) {
        self.core.send(Flight { from: self.me, to, message });
    }

    /// Sends to every node but itself.
    pub fn send_to_others(&mut self, message: &N::Message)
    where
        N::Message: Clone,
    {
        for to in (0..self.nodes()).filter(|&to| to != self.me) {
            self.core.send(Flight { from: self.me, to, message: message.clone() });
        }
    }

    /// Sets a timer that runs out `after_us` from now.
    pub fn set_timer(&mut self, after_us: u64, timer: N::Timer) {
        self.core.ring(self.core.now_us.saturating_add(after_us), self.me, timer);
    }

    /// Tells the trace what the node does on its own.
    pub fn note(&self, what: impl Display) {
        self.core.note(self.me, what, Fate::Arrived);
    }

    /// Tells the trace of something bad.
    pub fn trouble(&self, what: impl Display) {
        self.core.note(self.me, what, Fate::Refused);
    }
}

/// All of the network but its nodes, so that a node can use it while it has its turn.
struct Core<M, T> {
    now_us: u64,
    taken: u64,
    placed: u64,
    queue: BinaryHeap<Due<M, T>>,
    delay_us: RangeInclusive<u64>,
    rng: StdRng,
    /// For each node the side it is on; all equal without a split.
    side: Vec<usize>,
    lives: Vec<Life>,
    hold: Option<Hold<M>>,
    held: Vec<Flight<M>>,
    counts: Counts,
    shown: Option<Trace>,
    names: Vec<String>,
}

type Hold<M> = Box<dyn Fn(usize, usize, &M) -> bool + Send>;

/// A node's life from a start to a crash; timers of an earlier life no longer ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    up: bool,
    number: u32,
}

struct Flight<M> {
    from: usize,
    to: usize,
    message: M,
}

enum What<M, T> {
    Arrival(Flight<M>),
    Timer { node: usize, life: u32, timer: T },
}

struct Due<M, T> {
    at_us: u64,
    placed: u64,
    what: What<M, T>,
}

impl<M: Display, T> Core<M, T> {
    /// The next message or timer that reaches a node, if one is due by then.
    fn next(&mut self, until_us: u64) -> Result<Option<What<M, T>>, Flood> {
        while self.queue.peek().is_some_and(|due| due.at_us <= until_us) {
            let Some(due) = self.queue.pop() else { break };
            self.now_us = due.at_us;
            self.taken += 1;
            if self.taken > LIMIT {
                return Err(Flood { at_us: self.now_us });
            }
            match &due.what {
                What::Arrival(flight) if self.arrives(flight) => return Ok(Some(due.what)),
                What::Timer { node, life, .. } if self.lives[*node] == (Life { up: true, number: *life }) => {
                    return Ok(Some(due.what));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn send(&mut self, flight: Flight<M>) {
        if self.is_cut(&flight) {
            self.counts.cut += 1;
            self.show(&flight, Fate::Lost);
        } else if self.hold.as_ref().is_some_and(|rule| rule(flight.from, flight.to, &flight.message)) {
            let what = format_args!("{} to {} is held back", flight.message, self.names[flight.to]);
            self.note(flight.from, what, Fate::Arrived);
            self.held.push(flight);
        } else {
            let at_us = self.now_us.saturating_add(self.rng.random_range(self.delay_us.clone()));
            self.place(at_us, What::Arrival(flight));
        }
    }

    fn arrives(&mut self, flight: &Flight<M>) -> bool {
        let lost = if self.is_cut(flight) {
            &mut self.counts.cut
        } else if !self.lives[flight.to].up {
            &mut self.counts.unheard
        } else {
            self.counts.arrived += 1;
            self.show(flight, Fate::Arrived);
            return true;
        };
        *lost += 1;
        self.show(flight, Fate::Lost);
        false
    }

    fn is_cut(&self, flight: &Flight<M>) -> bool {
        self.side[flight.from] != self.side[flight.to]
    }

    fn ring(&mut self, at_us: u64, node: usize, timer: T) {
        let life = self.lives[node].number;
        self.place(at_us.max(self.now_us), What::Timer { node, life, timer });
    }

    fn place(&mut self, at_us: u64, what: What<M, T>) {
        self.placed += 1;
        self.queue.push(Due { at_us, placed: self.placed, what });
    }

    fn show(&self, flight: &Flight<M>, fate: Fate) {
        if let Some(trace) = &self.shown {
            let (from, to) = (&self.names[flight.from], &self.names[flight.to]);
            trace.message_at(self.now_us, from, to, &flight.message, fate);
        }
    }

    fn note(&self, node: usize, what: impl Display, fate: Fate) {
        if let Some(trace) = &self.shown {
            trace.note_at(self.now_us, &self.names[node], what, fate);
        }
    }
}

/// The greatest is the one that is due first, since the heap gives the greatest.
impl<M, T> Ord for Due<M, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.placed).cmp(&(self.at_us, self.placed))
    }
}

impl<M, T> PartialOrd for Due<M, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<M, T> PartialEq for Due<M, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<M, T> Eq for Due<M, T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Passes a ball on to the next node while it bounces, and writes down all that reaches it.
    #[derive(Default)]
    struct Player {
        log: Vec<(u64, String)>,
        restarts: u32,
    }

    impl Node for Player {
        type Message = u32;
        type Timer = &'static str;

        fn on_message(&mut self, from: usize, bounces: u32, turn: &mut Turn<'_, Self>) {
            self.log.push((turn.now_us(), format!("{bounces} from {from}")));
            if bounces > 0 {
                turn.send((turn.me() + 1) % turn.nodes(), bounces - 1);
            }
        }

        fn on_timer(&mut self, timer: &'static str, turn: &mut Turn<'_, Self>) {
            self.log.push((turn.now_us(), timer.to_owned()));
            match timer {
                "serve" => turn.send_to_others(&20),
                "drop" => turn.send_to_others(&0),
                "chatter" => turn.set_timer(0, "chatter"),
                _ => {}
            }
        }

        fn on_restart(&mut self, _: &mut Turn<'_, Self>) {
            self.restarts += 1;
        }
    }

    fn players(count: usize, seed: u64) -> Net<Player> {
        let nodes = (0..count).map(|i| (format!("n{i}"), Player::default()));
        Net::new(nodes, 1..=100_000, StdRng::seed_from_u64(seed))
    }

    /// Everything that happened to everybody in a history with a split, a hold and a crash, and what the trace says.
    fn history(seed: u64) -> (Vec<Vec<(u64, String)>>, Vec<crate::Event>) {
        let trace = Trace::default();
        let mut net = players(4, seed);
        net.show(&trace);
        net.ask_at(0, 0, "serve");
        net.run_until(200_000).unwrap();
        net.split(&[&[0, 1], &[2, 3]]);
        net.ask_at(0, 2, "serve");
        net.run_until(400_000).unwrap();
        net.heal();
        net.hold(|_, to, _| to == 3);
        net.ask_at(0, 1, "serve");
        net.crash(0);
        net.run_until(900_000).unwrap();
        net.restart(0);
        net.release();
        net.run_until(5_000_000).unwrap();
        (net.into_nodes().into_iter().map(|node| node.log).collect(), trace.events(0))
    }

    #[test]
    fn one_seed_one_history() {
        for seed in 0..20 {
            assert_eq!(history(seed), history(seed));
        }
        assert_ne!(history(1).0, history(2).0);
    }

    #[test]
    fn time_never_runs_backwards_and_equal_times_keep_their_order() {
        let (logs, _) = history(3);
        assert!(logs.iter().all(|log| log.is_sorted_by_key(|(at_us, _)| *at_us)));

        let mut net = players(1, 0);
        for timer in ["a", "b", "c"] {
            net.ask_at(7, 0, timer);
        }
        net.run_until(6).unwrap();
        assert_eq!(net.nodes()[0].log, []);
        net.run_until(7).unwrap();
        let order: Vec<_> = net.nodes()[0].log.iter().map(|(at_us, what)| (*at_us, what.as_str())).collect();
        assert_eq!(order, [(7, "a"), (7, "b"), (7, "c")]);
    }

    #[test]
    fn a_split_loses_what_crosses_it_at_either_end_of_the_flight() {
        let mut net = players(4, 5);
        net.ask_at(0, 0, "drop");
        net.run_until(0).unwrap();
        net.split(&[&[0, 1], &[2]]);
        net.run_until(200_000).unwrap();
        assert_eq!(net.counts(), Counts { arrived: 1, cut: 2, unheard: 0 }, "in flight when the split came");
        net.ask_at(0, 3, "drop");
        net.run_until(200_000).unwrap();
        net.heal();
        net.run_until(900_000).unwrap();
        assert_eq!(
            net.counts(),
            Counts { arrived: 1, cut: 5, unheard: 0 },
            "sent while it lasted; 3 is alone"
        );
        net.ask_at(0, 3, "drop");
        net.run_until(2_000_000).unwrap();
        assert_eq!(net.counts(), Counts { arrived: 4, cut: 5, unheard: 0 });
    }

    #[test]
    fn a_held_message_arrives_after_its_release_only() {
        let mut net = players(3, 5);
        net.hold(|from, to, bounces| (from, to, *bounces) == (0, 1, 0));
        net.ask_at(0, 0, "drop");
        net.run_until(1_000_000).unwrap();
        assert_eq!((net.held(), net.nodes()[1].log.len(), net.nodes()[2].log.len()), (1, 0, 1));
        net.release();
        net.run_until(2_000_000).unwrap();
        assert_eq!((net.held(), net.nodes()[1].log.len()), (0, 1));
        assert!(net.nodes()[1].log[0].0 > 1_000_000);
    }

    #[test]
    fn a_crash_ends_timers_and_loses_messages_until_the_restart() {
        let mut net = players(2, 5);
        net.ask_at(500_000, 1, "of the first life");
        net.ask_at(0, 0, "drop");
        net.run_until(0).unwrap();
        net.crash(1);
        net.run_until(400_000).unwrap();
        assert_eq!(net.counts().unheard, 1);
        net.restart(1);
        net.ask_at(600_000, 1, "of the second life");
        net.run_until(1_000_000).unwrap();
        assert_eq!(net.nodes()[1].log, [(600_000, "of the second life".to_owned())]);
        assert_eq!(net.nodes()[1].restarts, 1);
    }

    #[test]
    fn endless_talk_is_an_error() {
        let mut net = players(1, 0);
        net.ask_at(3, 0, "chatter");
        net.core.taken = LIMIT - 1000;
        assert_eq!(net.run_until(10), Err(Flood { at_us: 3 }));
    }
}

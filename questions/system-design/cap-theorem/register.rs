//! One register on five replicas, under each of three protocols, as a state machine: this is all of the protocols.
//!
//! Each replica has a client beside it, whose calls it carries out. Under the majority protocols (Attiya, Bar-Noy and
//! Dolev; for several writers) an operation asks all replicas for their copies and, once a majority has told, stores the
//! newest copy, or a newer one, with a majority. Under last writer wins a replica answers from its own copy and tells
//! the others later.

use super::Protocol;
use backlab_parts::linearizability::{Access, Operation, Register};
use backlab_parts::net::{Node, Turn};
use std::collections::BTreeSet;
use std::fmt;

/// A client that has no answer after this time takes the register for unavailable.
pub const PATIENCE_US: u64 = 1_000_000;
/// Messages without an answer are sent again after this time.
const REPEAT_US: u64 = 250_000;

/// A replica's copy: a value, with the stamp that decides which of two is the newer one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// None before the first write, which is thereby newer whatever its stamp.
    stamp: Option<Stamp>,
    value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    /// Under the majority protocols a count, under last writer wins the time of the write in µs.
    version: u64,
    /// Tells two writers apart that chose the same version.
    writer: usize,
}

impl Held {
    fn or_newer(self, other: Self) -> Self {
        if other.stamp > self.stamp { other } else { self }
    }
}

/// What replicas say to each other, with the number of the sender's operation that it is about.
#[derive(Debug, Clone)]
pub enum Message {
    Ask { op: usize },
    Tell { op: usize, held: Held },
    Store { op: usize, held: Held },
    Stored { op: usize },
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { .. } => write!(f, "what do you hold?"),
            Self::Tell { held, .. } => write!(f, "I hold {}", held.value),
            Self::Store { held, .. } => write!(f, "store {}", held.value),
            Self::Stored { .. } => write!(f, "stored"),
        }
    }
}

#[derive(Debug)]
pub enum Timer {
    /// The client beside the replica wants something.
    Call(Access),
    Repeat {
        op: usize,
    },
    GiveUp {
        op: usize,
    },
}

pub struct Replica {
    protocol: Protocol,
    held: Held,
    running: Option<Running>,
    /// Last writer wins: the newest write of this replica, and who hasn't got it yet.
    spreading: Option<Running>,
    /// What its client called, and what it was answered.
    pub history: Vec<Operation<Register>>,
}

/// An operation that waits for other replicas.
#[derive(Debug, Clone)]
struct Running {
    /// Its place in the history.
    op: usize,
    access: Access,
    storing: bool,
    /// While it asks: the newest copy told so far. While it stores: what it stores.
    held: Held,
    /// Who has answered in this phase, the replica itself among them.
    heard: BTreeSet<usize>,
}

impl Replica {
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, held: Held::default(), running: None, spreading: None, history: Vec::new() }
    }

    fn call(&mut self, access: Access, turn: &mut Turn<'_, Self>) {
        let op = self.history.len();
        let called_us = turn.now_us();
        self.history.push(Operation { client: turn.me(), op: access, called_us, answered: None });
        turn.note(match access {
            Access::Read => "read?".to_owned(),
            Access::Write(value) => format!("write {value}?"),
        });
        if self.protocol == Protocol::LastWriterWins {
            return self.answer_alone(op, access, turn);
        }
        self.running =
            Some(Running { op, access, storing: false, held: self.held, heard: BTreeSet::from([turn.me()]) });
        turn.send_to_others(&Message::Ask { op });
        turn.set_timer(REPEAT_US, Timer::Repeat { op });
        turn.set_timer(PATIENCE_US, Timer::GiveUp { op });
    }

    /// Last writer wins: answer from the own copy, and tell the others afterwards.
    fn answer_alone(&mut self, op: usize, access: Access, turn: &mut Turn<'_, Self>) {
        if let Access::Write(value) = access {
            let stamp = Some(Stamp { version: turn.now_us(), writer: turn.me() });
            self.held = self.held.or_newer(Held { stamp, value });
            let heard = BTreeSet::from([turn.me()]);
            self.spreading = Some(Running { op, access, storing: true, held: self.held, heard });
            turn.send_to_others(&Message::Store { op, held: self.held });
            turn.set_timer(REPEAT_US, Timer::Repeat { op });
        }
        self.answer(op, self.held.value, turn);
    }

    /// Majority: one more replica has answered the running operation. A majority of them ends its phase.
    fn answered_by(&mut self, from: usize, turn: &mut Turn<'_, Self>) {
        let Some(running) = &mut self.running else { return };
        running.heard.insert(from);
        if running.heard.len() <= turn.nodes() / 2 {
            return;
        }
        let Running { op, access, held, .. } = *running;
        let reads_only = access == Access::Read && self.protocol == Protocol::WithoutWriteBack;
        if running.storing || reads_only {
            self.running = None;
            return self.answer(op, held.value, turn);
        }
        running.storing = true;
        running.heard = BTreeSet::from([turn.me()]);
        if let Access::Write(value) = access {
            let version = held.stamp.map_or(0, |it| it.version) + 1;
            let stamp = Some(Stamp { version, writer: turn.me() });
            running.held = Held { stamp, value };
        }
        let held = running.held;
        self.held = self.held.or_newer(held);
        turn.send_to_others(&Message::Store { op, held });
    }

    fn answer(&mut self, op: usize, value: u64, turn: &Turn<'_, Self>) {
        self.history[op].answered = Some((turn.now_us(), value));
        turn.note(match self.history[op].op {
            Access::Read => format!("read: {value}"),
            Access::Write(_) => format!("{value} is written"),
        });
    }

    /// Whether an operation is the one that runs and is in this phase: answers to an earlier one come too late.
    fn is_running(&self, op: usize, storing: bool) -> bool {
        self.running.as_ref().is_some_and(|it| it.op == op && it.storing == storing)
    }
}

impl Node for Replica {
    type Message = Message;
    type Timer = Timer;

    fn on_message(&mut self, from: usize, message: Message, turn: &mut Turn<'_, Self>) {
        match message {
            Message::Ask { op } => turn.send(from, Message::Tell { op, held: self.held }),
            Message::Store { op, held } => {
                self.held = self.held.or_newer(held);
                turn.send(from, Message::Stored { op });
            }
            Message::Tell { op, held } if self.is_running(op, false) => {
                if let Some(running) = &mut self.running {
                    running.held = running.held.or_newer(held);
                }
                self.answered_by(from, turn);
            }
            Message::Stored { op } if self.is_running(op, true) => self.answered_by(from, turn),
            Message::Stored { op } => {
                if let Some(spreading) = self.spreading.as_mut().filter(|it| it.op == op) {
                    spreading.heard.insert(from);
                }
            }
            Message::Tell { .. } => {}
        }
    }

    fn on_timer(&mut self, timer: Timer, turn: &mut Turn<'_, Self>) {
        match timer {
            Timer::Call(access) => self.call(access, turn),
            Timer::Repeat { op } => {
                let waiting = [&self.running, &self.spreading].into_iter().flatten().find(|it| it.op == op);
                let Some(Running { storing, held, heard, .. }) = waiting.cloned() else { return };
                let silent: Vec<_> = (0..turn.nodes()).filter(|node| !heard.contains(node)).collect();
                for &to in &silent {
                    turn.send(to, if storing { Message::Store { op, held } } else { Message::Ask { op } });
                }
                if !silent.is_empty() {
                    turn.set_timer(REPEAT_US, Timer::Repeat { op });
                }
            }
            Timer::GiveUp { op } => {
                if self.running.take_if(|it| it.op == op).is_some() {
                    turn.trouble("no answer: unavailable");
                }
            }
        }
    }
}

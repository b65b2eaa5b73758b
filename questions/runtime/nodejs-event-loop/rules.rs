//! The event loop as four rules, for programs that log, and that schedule bodies in four ways.
//!
//! 1. A callback runs to its end.
//! 2. After each callback the ticks are run until there are none, then the microtasks likewise; if those left new
//!    ticks, again.
//! 3. Check comes after poll and runs the immediates that are there by then; newer ones wait for the next turn.
//! 4. Timers come after check, in the order in which they are due. Whether the millisecond of a young one has passed
//!    by then is a matter of speed: so both may happen.

use crate::prelude::*;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;

/// A step of a program. As JSON: `{"log":"a"}`, `{"tick":[{"log":"b"}]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Log(char),
    Tick(Vec<Step>),
    Micro(Vec<Step>),
    Immediate(Vec<Step>),
    /// After 0 ms, which Node.js reads as 1.
    Timeout(Vec<Step>),
}

/// Every order in which a program may log when it is begun in an I/O callback.
pub fn orders(program: &[Step]) -> BTreeSet<String> {
    let mut process = Process::default();
    process.call(program);
    let mut found = BTreeSet::new();
    process.check(&mut found);
    found
}

/// The queues of a process, and what it has logged.
#[derive(Clone, Default)]
struct Process<'a> {
    ticks: VecDeque<&'a [Step]>,
    micros: VecDeque<&'a [Step]>,
    immediates: VecDeque<&'a [Step]>,
    timers: VecDeque<&'a [Step]>,
    log: String,
}

impl<'a> Process<'a> {
    /// A callback, to its end, and what must run before the next one may.
    fn call(&mut self, body: &'a [Step]) {
        self.run(body);
        while !self.ticks.is_empty() || !self.micros.is_empty() {
            while let Some(body) = self.ticks.pop_front() {
                self.run(body);
            }
            while let Some(body) = self.micros.pop_front() {
                self.run(body);
            }
        }
    }

    fn run(&mut self, body: &'a [Step]) {
        for step in body {
            match step {
                Step::Log(label) => self.log.push(*label),
                Step::Tick(body) => self.ticks.push_back(body),
                Step::Micro(body) => self.micros.push_back(body),
                Step::Immediate(body) => self.immediates.push_back(body),
                Step::Timeout(body) => self.timers.push_back(body),
            }
        }
    }

    fn check(mut self, found: &mut BTreeSet<String>) {
        for body in std::mem::take(&mut self.immediates) {
            self.call(body);
        }
        self.timers(found);
    }

    /// Any number of the timers may be due. With no immediate left, poll waits until the first one is.
    fn timers(mut self, found: &mut BTreeSet<String>) {
        loop {
            if !self.immediates.is_empty() {
                self.clone().check(found);
            }
            let Some(body) = self.timers.pop_front() else { break };
            self.call(body);
        }
        if self.immediates.is_empty() {
            found.insert(self.log);
        }
    }
}

/// A program of at most eight labels, in bodies within bodies.
pub fn random(rng: &mut StdRng) -> Vec<Step> {
    let mut labels = 'a'..='h';
    (0..4).filter_map(|_| deferred(rng, &mut labels, 0..=2)).collect()
}

/// A body of its own that logs, and that schedules so many more.
fn deferred(
    rng: &mut StdRng,
    labels: &mut impl Iterator<Item = char>,
    inner: RangeInclusive<usize>,
) -> Option<Step> {
    let mut body = vec![Step::Log(labels.next()?)];
    let inner = rng.random_range(inner);
    body.extend((0..inner).filter_map(|_| deferred(rng, labels, 0..=0)));
    let kind = [Step::Tick, Step::Micro, Step::Immediate, Step::Timeout][rng.random_range(0..4)];
    Some(kind(body))
}

/// A program as one line: `tick(a micro(b)) timeout(c)`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(label) => write!(f, "{label}"),
            Self::Tick(body) => write!(f, "tick({})", line(body)),
            Self::Micro(body) => write!(f, "micro({})", line(body)),
            Self::Immediate(body) => write!(f, "immediate({})", line(body)),
            Self::Timeout(body) => write!(f, "timeout({})", line(body)),
        }
    }
}

/// Steps side by side.
pub fn line(steps: &[Step]) -> String {
    steps.iter().map(Step::to_string).collect::<Vec<_>>().join(" ")
}

//! The trace of a run: which part said what to which, in the order in which it happened.
//!
//! Parts write here, experiments only announce steps. A trace stays small however much is said: each step keeps its
//! first messages as a sample, what parts did on their own, and what was said just after that; every pair of parts
//! keeps exact counts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Messages that a step keeps from its beginning.
pub const KEPT_PER_STEP: usize = 32;
/// Notes that a step keeps, wherever they stand in it.
pub const NOTES_PER_STEP: usize = 16;
/// Messages that a step keeps after each note, since they show what came of it.
pub const KEPT_AFTER_NOTE: usize = 4;
/// Events that a whole trace keeps.
pub const KEPT: usize = 480;
/// Characters that the text of one event keeps.
const TEXT: usize = 160;

/// One thing that happened, as the page and the terminal show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The experiment begins something new.
    Step { what: String },
    /// `from` said `what` to `to`; `at_us` is in microseconds since the run began (virtual ones in a simulation).
    Message { from: String, to: String, what: String, fate: Fate, at_us: u64 },
    /// A part did something on its own: a crash, a lock taken, a clock turned.
    Note { at: String, what: String, fate: Fate, at_us: u64 },
    /// How many messages of the step before were counted but not kept.
    Gap { count: u64 },
}

impl Event {
    /// The parts that it is about.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Message { from, to, .. } => vec![from, to],
            Self::Note { at, .. } => vec![at],
            Self::Step { .. } | Self::Gap { .. } => Vec::new(),
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Arrived,
    /// It arrived, and it says that something went wrong.
    Refused,
    /// It never arrived.
    Lost,
}

/// Exact counts of one direction between two parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub messages: u64,
    pub lost: u64,
}

/// Shared by all parts of a run; cheap to clone.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    kept: Mutex<Kept>,
    length: watch::Sender<usize>,
    /// Takes what happens instead of this trace; see [`Trace::elsewhere`].
    elsewhere: Option<fn(Event)>,
}

#[derive(Debug, Default)]
struct Kept {
    cast: Vec<String>,
    events: Vec<Event>,
    counts: BTreeMap<(String, String), Count>,
    /// What the step under way may still keep: messages from its beginning, notes, messages after a note.
    budget: Budget,
    skipped: u64,
}

#[derive(Debug)]
struct Budget {
    messages: usize,
    notes: usize,
    after_note: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { messages: KEPT_PER_STEP, notes: NOTES_PER_STEP, after_note: 0 }
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Trace {
    fn new(elsewhere: Option<fn(Event)>) -> Self {
        let (length, _) = watch::channel(0);
        Self(Arc::new(Shared { began: Instant::now(), kept: Mutex::default(), length, elsewhere }))
    }

    /// A trace that keeps nothing, and hands each message and note on: for the processes of a
    /// [`Role`](crate::Role), whose trace is the starter's.
    pub(crate) fn elsewhere(take: fn(Event)) -> Self {
        Self::new(Some(take))
    }

    /// A message or a note of another process, at the time of its arrival.
    pub(crate) fn add(&self, event: Event) {
        match event {
            Event::Message { from, to, what, fate, .. } => {
                self.message_at(self.now_us(), &from, &to, what, fate);
            }
            Event::Note { at, what, fate, .. } => self.note_at(self.now_us(), &at, what, fate),
            Event::Step { .. } | Event::Gap { .. } => {}
        }
    }

    /// The experiment begins something new.
    pub fn step(&self, what: impl Display) {
        self.push(|kept| {
            kept.close_step();
            kept.events.push(Event::Step { what: short(what) });
        });
    }

    /// Names parts in the order in which a figure of the messages shall stand them; others follow as they appear.
    pub fn cast<'a>(&self, parts: impl IntoIterator<Item = &'a str>) {
        self.kept().cast = parts.into_iter().map(str::to_owned).collect();
    }

    /// The parts that said something or did something, in the order of their figure.
    pub fn parts(&self) -> Vec<String> {
        let kept = self.kept();
        let mut parts: Vec<String> = Vec::new();
        let seen = |name: &String| kept.events.iter().any(|event| event.names().contains(&name.as_str()));
        let appeared = kept.events.iter().flat_map(Event::names).map(str::to_owned);
        for name in kept.cast.iter().filter(|name| seen(name)).cloned().chain(appeared) {
            if !parts.contains(&name) {
                parts.push(name);
            }
        }
        parts
    }

    /// A message that arrived.
    pub fn message(&self, from: &str, to: &str, what: impl Display) {
        self.message_at(self.now_us(), from, to, what, Fate::Arrived);
    }

    /// A message that arrived and says that something went wrong.
    pub fn refused(&self, from: &str, to: &str, what: impl Display) {
        self.message_at(self.now_us(), from, to, what, Fate::Refused);
    }

    /// A message that was sent and never arrived.
    pub fn lost(&self, from: &str, to: &str, what: impl Display) {
        self.message_at(self.now_us(), from, to, what, Fate::Lost);
    }

    /// A message of which the caller says what became of it.
    pub fn say(&self, from: &str, to: &str, what: impl Display, fate: Fate) {
        self.message_at(self.now_us(), from, to, what, fate);
    }

    /// Counts further messages that are like one that was written, and are not written themselves.
    pub fn counted(&self, from: &str, to: &str, further: u64) {
        self.kept().counts.entry((from.to_owned(), to.to_owned())).or_default().messages += further;
    }

    /// A message at a time of the caller's, in microseconds: for simulations with a clock of their own.
    pub fn message_at(&self, at_us: u64, from: &str, to: &str, what: impl Display, fate: Fate) {
        let event = || Event::Message { from: from.into(), to: to.into(), what: short(what), fate, at_us };
        if let Some(take) = self.0.elsewhere {
            return take(event());
        }
        self.push(|kept| {
            let count = kept.counts.entry((from.to_owned(), to.to_owned())).or_default();
            count.messages += 1;
            count.lost += u64::from(fate == Fate::Lost);
            kept.message(event);
        });
    }

    /// Something that a part did on its own.
    pub fn note(&self, at: &str, what: impl Display) {
        self.note_at(self.now_us(), at, what, Fate::Arrived);
    }

    /// Something bad that happened to a part: a crash, a kill, a limit hit.
    pub fn trouble(&self, at: &str, what: impl Display) {
        self.note_at(self.now_us(), at, what, Fate::Refused);
    }

    /// A note at a time of the caller's, in microseconds.
    pub fn note_at(&self, at_us: u64, at: &str, what: impl Display, fate: Fate) {
        let event = || Event::Note { at: at.into(), what: short(what), fate, at_us };
        match self.0.elsewhere {
            Some(take) => take(event()),
            None => self.push(|kept| kept.note(event)),
        }
    }

    /// The kept events from the `from`th on, for a reader who has seen those before.
    pub fn events(&self, from: usize) -> Vec<Event> {
        self.kept().events.get(from..).unwrap_or_default().to_vec()
    }

    /// All kept events; the messages that the last step counted without keeping stand at the end as a gap.
    pub fn whole(&self) -> Vec<Event> {
        let kept = self.kept();
        let gap = (kept.skipped > 0).then_some(Event::Gap { count: kept.skipped });
        kept.events.iter().cloned().chain(gap).collect()
    }

    /// The exact counts by direction.
    pub fn counts(&self) -> BTreeMap<(String, String), Count> {
        self.kept().counts.clone()
    }

    /// All messages, kept or not.
    pub fn total(&self) -> u64 {
        self.kept().counts.values().map(|count| count.messages).sum()
    }

    /// Tells of each change of the number of kept events.
    pub fn changes(&self) -> watch::Receiver<usize> {
        self.0.length.subscribe()
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn push(&self, change: impl FnOnce(&mut Kept)) {
        let length = {
            let mut kept = self.kept();
            change(&mut kept);
            kept.events.len()
        };
        self.0.length.send_if_modified(|seen| std::mem::replace(seen, length) != length);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn message(&mut self, event: impl FnOnce() -> Event) {
        let Budget { messages, after_note, .. } = &mut self.budget;
        let room = if *messages > 0 { messages } else { after_note };
        if *room > 0 && self.events.len() < KEPT {
            *room -= 1;
            self.close_gap();
            self.events.push(event());
        } else {
            self.skipped += 1;
        }
    }

    fn note(&mut self, event: impl FnOnce() -> Event) {
        if self.budget.notes > 0 && self.events.len() < KEPT {
            self.budget.notes -= 1;
            self.budget.after_note = KEPT_AFTER_NOTE;
            self.close_gap();
            self.events.push(event());
        }
    }

    fn close_step(&mut self) {
        self.budget = Budget::default();
        self.close_gap();
    }

    fn close_gap(&mut self) {
        if self.skipped > 0 {
            self.events.push(Event::Gap { count: std::mem::take(&mut self.skipped) });
        }
    }
}

fn short(what: impl Display) -> String {
    let mut text = what.to_string();
    if let Some((cut, _)) = text.char_indices().nth(TEXT) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_exact_when_the_sample_is_full() {
        let trace = Trace::default();
        trace.step("flood");
        for i in 0..1000 {
            trace.message("a", "b", i);
        }
        trace.lost("a", "b", "gone");
        trace.note("b", "falls over");
        trace.message("a", "b", "after the note");
        trace.step("calm");
        trace.message("b", "a", "hello");

        let count = trace.counts()[&("a".to_owned(), "b".to_owned())];
        assert_eq!(count, Count { messages: 1002, lost: 1 });
        assert_eq!(trace.total(), 1003);
        let events = trace.events(0);
        assert_eq!(
            events.len(),
            1 + KEPT_PER_STEP + 3 + 2,
            "step, sample, gap, note, message after it, step, message"
        );
        assert_eq!(events[1 + KEPT_PER_STEP], Event::Gap { count: 1001 - KEPT_PER_STEP as u64 });
        assert_eq!(trace.events(events.len() - 1).len(), 1);
        assert_eq!(trace.whole(), events, "the last step has no gap");
    }

    #[test]
    fn the_cast_stands_first_and_only_who_appears() {
        let trace = Trace::default();
        trace.cast(["client", "server", "nobody"]);
        trace.note("late", "hello");
        trace.message("server", "client", "hi");
        assert_eq!(trace.parts(), ["client", "server", "late"]);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(short("é".repeat(500)).chars().count(), TEXT + 1);
    }
}

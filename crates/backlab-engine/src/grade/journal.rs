//! All that was done to a program in one stage, so that its author can do it again.

use super::call::Exchange;
use super::shell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Entries that are kept from the beginning, and from the end.
const FIRST: usize = 40;
const LAST: usize = 200;
/// Lines that are looked at for being repeated together.
const LONGEST_PERIOD: usize = 4;
/// Lines that are shown from the beginning, and from the end.
const SHOWN: [usize; 2] = [8, 6];

#[derive(Debug, Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    first: Vec<Entry>,
    last: VecDeque<Entry>,
    dropped: usize,
}

#[derive(Debug, Clone)]
enum Entry {
    /// A line of a shell, and when it was typed.
    Line(String, Instant),
    Sent(Arc<Exchange>),
}

impl Journal {
    pub fn line(&self, line: impl Into<String>) {
        self.add(Entry::Line(line.into(), Instant::now()));
    }

    /// This line, and nothing of what was before.
    pub fn only_line(&self, line: impl Into<String>) {
        *self.kept() = Kept { first: vec![Entry::Line(line.into(), Instant::now())], ..Kept::default() };
    }

    pub fn sent(&self, exchange: Arc<Exchange>) {
        self.add(Entry::Sent(exchange));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, entry: Entry) {
        let mut kept = self.kept();
        if kept.first.len() < FIRST {
            kept.first.push(entry);
            return;
        }
        if kept.last.len() == LAST {
            kept.last.pop_front();
            kept.dropped += 1;
        }
        kept.last.push_back(entry);
    }

    /// Everything as lines to type, up to the exchange that showed the fault, or to the end. What was repeated is a
    /// loop, and a long middle is left out.
    pub fn script(&self, until: Option<&Arc<Exchange>>) -> Vec<String> {
        let kept = self.kept();
        let mut entries: Vec<&Entry> = kept.first.iter().chain(&kept.last).collect();
        let is_it = |entry: &&Entry| matches!((entry, until), (Entry::Sent(it), Some(until)) if Arc::ptr_eq(it, until));
        // Whatever was under way at the same time belongs to it.
        if let (Some(at), Some(until)) = (entries.iter().position(is_it), until) {
            let after = entries[at + 1..].iter();
            let beside =
                after.take_while(|it| matches!(it, Entry::Sent(other) if other.overlaps(until))).count();
            entries.truncate(at + 1 + beside);
        }
        shorten(folded(&entries), kept.dropped)
    }

    /// The exchange that is the last line.
    pub fn last_sent(&self) -> Option<Arc<Exchange>> {
        let kept = self.kept();
        match kept.last.back().or(kept.first.last())? {
            Entry::Sent(exchange) => Some(exchange.clone()),
            Entry::Line(..) => None,
        }
    }
}

/// The entries as lines; what is repeated is a loop.
fn folded(entries: &[&Entry]) -> Vec<String> {
    let shown: Vec<String> = entries.iter().map(|it| it.shown()).collect();
    let (mut lines, mut at, mut was_beside) = (Vec::new(), 0, false);
    while at < entries.len() {
        let (period, times) = repetition(&shown[at..]);
        let at_once = times > 1 && entries[at].overlaps(entries[at + 1]);
        let next = at + period * times;
        let beside =
            !at_once && times == 1 && entries.get(next).is_some_and(|next| entries[at].overlaps(next));
        let mut line = shell::repeated(&shown[at..at + period], times, at_once);
        // What was done to the program while it was at work.
        let typed = |entry: &&Entry| matches!(entry, Entry::Line(_, typed) if entries[at].spans(*typed));
        let meanwhile = period == 1 && entries[next..].iter().any(typed);
        if meanwhile {
            line = shell::meanwhile(&shown[at], times);
        } else if beside {
            line.push_str(" &");
        } else if was_beside {
            line.push_str(" & wait");
        }
        was_beside = beside;
        lines.push(line);
        at = next;
    }
    lines
}

/// The shortest run of lines at the beginning that is repeated at once, and how often it stands there; a line alone
/// stands there once.
fn repetition(lines: &[String]) -> (usize, usize) {
    for period in 1..=LONGEST_PERIOD.min(lines.len() / 2) {
        let times = lines.chunks(period).take_while(|it| *it == &lines[..period]).count();
        if times > 1 {
            return (period, times);
        }
    }
    (1, 1)
}

impl Entry {
    fn shown(&self) -> String {
        match self {
            Self::Line(line, _) => line.clone(),
            Self::Sent(exchange) => exchange.shown(),
        }
    }

    /// Whether it is a request that was under way at that moment.
    fn spans(&self, at: Instant) -> bool {
        matches!(self, Self::Sent(exchange) if exchange.spans(at))
    }

    fn overlaps(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Sent(one), Self::Sent(other)) if one.overlaps(other))
    }
}

fn shorten(mut lines: Vec<String>, dropped: usize) -> Vec<String> {
    let [first, last] = SHOWN;
    let over = lines.len().saturating_sub(first + last);
    if over + dropped > 0 && lines.len() > first {
        let gap = format!("# … {} lines like these", over + dropped);
        lines.splice(first..first + over, [gap]);
    }
    lines
}

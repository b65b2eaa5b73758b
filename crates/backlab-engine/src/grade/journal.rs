//! All that was done to a program in one stage, so that its author can do it again.

use super::call::Exchange;
use super::shell;
use std::collections::{HashSet, VecDeque};
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

    /// What the grader did that no line does: a comment.
    pub fn note(&self, what: impl std::fmt::Display) {
        self.line(format!("# {what}"));
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
            match kept.last.pop_front() {
                // What later lines build on: a program that was killed or started.
                Some(done) if done.is_done() && kept.first.len() < LAST => kept.first.push(done),
                _ => kept.dropped += 1,
            }
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
        shorten(&folded(&entries), kept.dropped)
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

/// The entries as lines, and whether a line does something beside requests; what is repeated is a loop.
fn folded(entries: &[&Entry]) -> Vec<(String, bool)> {
    let shown: Vec<String> = entries.iter().map(|it| it.shown()).collect();
    let answered = with_what_was_answered(entries, &shown);
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
        if answered[at] {
            line.push_str("  # with what your program answered");
        }
        lines.push((line, entries[at].is_done()));
        at = next;
    }
    lines
}

/// Of each line whether it repeats something that the program made up in an answer before, such as a name or a tag:
/// typed again, it makes up something else.
fn with_what_was_answered(entries: &[&Entry], shown: &[String]) -> Vec<bool> {
    let (mut asked, mut made_up) = (HashSet::new(), HashSet::new());
    let mut of = Vec::new();
    for (entry, line) in entries.iter().zip(shown) {
        of.push(made_up_words(line).any(|word| made_up.contains(word)));
        asked.extend(made_up_words(line).map(str::to_owned));
        if let Entry::Sent(exchange) = entry {
            let came = exchange.came().unwrap_or_default();
            let new = made_up_words(&came).filter(|word| !asked.contains(*word));
            made_up.extend(new.map(str::to_owned));
        }
    }
    of
}

/// Words that no person would choose: of letters and digits, or of both cases. A few random ones look like a person's.
fn made_up_words(text: &str) -> impl Iterator<Item = &str> {
    let of_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.split(move |c| !of_word(c)).filter(|word| {
        let has = |of: fn(&u8) -> bool| word.as_bytes().iter().any(of);
        let (lower, upper, digit) =
            (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase), has(u8::is_ascii_digit));
        word.len() >= 4 && (lower && upper || digit && (lower || upper))
    })
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

    /// Whether it does something beside requests.
    fn is_done(&self) -> bool {
        matches!(self, Self::Line(line, _) if !line.starts_with('#'))
    }

    /// Whether it is a request that was under way at that moment.
    fn spans(&self, at: Instant) -> bool {
        matches!(self, Self::Sent(exchange) if exchange.spans(at))
    }

    fn overlaps(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Sent(one), Self::Sent(other)) if one.overlaps(other))
    }
}

/// Leaves out requests and notes of a long middle; what was done beside them, such as a kill, is kept.
fn shorten(lines: &[(String, bool)], dropped: usize) -> Vec<String> {
    let [first, last] = SHOWN;
    let middle = first..lines.len().saturating_sub(last).max(first);
    let (mut shown, mut left_out) = (Vec::new(), dropped);
    for (at, (line, is_done)) in lines.iter().enumerate() {
        if middle.contains(&at) && !is_done {
            left_out += 1;
            continue;
        }
        if left_out > 0 && at >= first {
            shown.push(format!("# … {left_out} lines like these"));
            left_out = 0;
        }
        shown.push(line.clone());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::made_up_words;

    #[test]
    fn a_code_and_a_tag_are_made_up_and_what_people_write_is_not() {
        let line = "curl -i -X DELETE http://127.0.0.1:$PORT/links/YBfyyB -H 'if-match: \"9811afb337718a06\"' \
                    --data-binary '{\"amount\":94904,\"account\":\"iubvpdol\"}'";
        assert_eq!(made_up_words(line).collect::<Vec<_>>(), ["YBfyyB", "9811afb337718a06"]);
    }
}

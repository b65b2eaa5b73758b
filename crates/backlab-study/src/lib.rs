//! The rules of learning: how far a reader has come with a question, and what moves it. Pure.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How far a reader has come with one question; later ones include the earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    #[default]
    New,
    /// The answer was read.
    Read,
    /// A prediction was committed to before the outcome was seen.
    Predicted,
    /// A run on the reader's own machine upheld every claim that it put to the test.
    Verified,
    /// A program of the reader's own passed every stage of the challenge.
    Built,
}

/// What a reader did with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Read,
    Predicted,
    /// A run came to its end; whether all that it tested holds.
    Ran {
        upheld: bool,
    },
    /// A program passed every stage.
    Built,
}

impl Status {
    /// From the first to the last that a reader reaches.
    pub const ALL: [Self; 5] = [Self::New, Self::Read, Self::Predicted, Self::Verified, Self::Built];

    /// The status after an event; it never falls. A run that refutes a claim says nothing about the reader, who may
    /// have broken the mechanism on purpose.
    pub fn after(self, event: Event) -> Self {
        let reached = match event {
            Event::Read => Self::Read,
            Event::Predicted => Self::Predicted,
            Event::Ran { upheld: true } => Self::Verified,
            Event::Ran { upheld: false } => Self::New,
            Event::Built => Self::Built,
        };
        self.max(reached)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Read => "read",
            Self::Predicted => "predicted",
            Self::Verified => "verified",
            Self::Built => "built",
        }
    }
}

/// A word that is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no status: take one of new, read, predicted, verified, built")]
pub struct UnknownStatus(pub String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|it| it.word() == word).ok_or_else(|| UnknownStatus(word.to_owned()))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(self.word())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// A reader's status per question; one that isn't in it is new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress(BTreeMap<u16, Status>);

/// How many of some questions stand at each status; every question is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub all: usize,
    pub new: usize,
    pub read: usize,
    pub predicted: usize,
    pub verified: usize,
    pub built: usize,
}

impl Progress {
    pub fn of(&self, question: u16) -> Status {
        self.0.get(&question).copied().unwrap_or_default()
    }

    /// Counts the given questions: all of them, or those of a track or a level.
    pub fn counts(&self, questions: impl IntoIterator<Item = u16>) -> Counts {
        let mut counts = Counts::default();
        for question in questions {
            counts.all += 1;
            *match self.of(question) {
                Status::New => &mut counts.new,
                Status::Read => &mut counts.read,
                Status::Predicted => &mut counts.predicted,
                Status::Verified => &mut counts.verified,
                Status::Built => &mut counts.built,
            } += 1;
        }
        counts
    }
}

impl FromIterator<(u16, Status)> for Progress {
    fn from_iter<I: IntoIterator<Item = (u16, Status)>>(statuses: I) -> Self {
        Self(statuses.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 5] = [
        Event::Read,
        Event::Predicted,
        Event::Ran { upheld: true },
        Event::Ran { upheld: false },
        Event::Built,
    ];

    #[test]
    fn nothing_moves_a_status_back() {
        for status in Status::ALL {
            assert!(EVENTS.into_iter().all(|event| status.after(event) >= status), "from {status}");
        }
    }

    #[test]
    fn each_event_moves_a_new_question_to_its_own_status() {
        let reached = EVENTS.map(|event| Status::New.after(event));
        assert_eq!(reached, [Status::Read, Status::Predicted, Status::Verified, Status::New, Status::Built]);
    }

    #[test]
    fn every_question_is_counted_once() {
        let progress: Progress =
            [(7, Status::Verified), (21, Status::Read), (99, Status::Read)].into_iter().collect();
        let counts = progress.counts([7, 21, 22]);
        assert_eq!(counts, Counts { all: 3, new: 1, read: 1, predicted: 0, verified: 1, built: 0 });
    }

    #[test]
    fn every_word_is_read_back() {
        assert!(Status::ALL.into_iter().all(|it| it.word().parse() == Ok(it)));
        assert!("done".parse::<Status>().unwrap_err().to_string().contains("new, read, predicted, verified"));
    }
}

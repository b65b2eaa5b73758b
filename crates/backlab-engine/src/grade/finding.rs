//! What a stage finds: nothing to fault, something wrong, or that it can't tell.

use super::call::Exchange;
use std::fmt::Display;
use std::sync::Arc;

/// What a stage returns, and each look on the way.
pub type Graded<T = ()> = Result<T, Finding>;

/// Why a stage isn't passed.
#[derive(Debug)]
pub enum Finding {
    /// The program doesn't keep the contract.
    Wrong(Box<Wrong>),
    /// The grader itself couldn't do what the stage needs, so nothing is known of the program.
    Unsure(anyhow::Error),
    /// The program can't be started at all: no such file, no right to run it.
    CannotStart(anyhow::Error),
}

/// What a program did, and what it should have done.
#[derive(Debug)]
pub struct Wrong {
    /// What was looked at: "the status of PUT /docs/a".
    pub what: String,
    pub expected: String,
    pub found: String,
    /// Whatever is known of the cause, in place of the bugs that the stage catches.
    pub cause: Option<String>,
    /// What the program printed, where it is gone by now.
    pub(super) said: Vec<String>,
    /// The request whose answer showed it.
    pub(super) exchange: Option<Arc<Exchange>>,
}

/// A look that names the cause of the fault it finds.
pub trait Because {
    /// Says what the cause is of whatever was found, as [`Finding::because`].
    #[must_use]
    fn because(self, cause: impl Into<String>) -> Self;
}

impl<T> Because for Graded<T> {
    fn because(self, cause: impl Into<String>) -> Self {
        self.map_err(|finding| finding.because(cause))
    }
}

impl Finding {
    pub fn wrong(what: impl Into<String>, expected: impl Display, found: impl Display) -> Self {
        Self::Wrong(Box::new(Wrong {
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
            cause: None,
            said: Vec::new(),
            exchange: None,
        }))
    }

    /// A status that isn't one of those expected; a 501 is taken at its word.
    pub fn wrong_status(what: impl Into<String>, expected: &[u16], code: u16, found: impl Display) -> Self {
        let words: Vec<_> = expected.iter().map(u16::to_string).collect();
        let wrong = Self::wrong(what, words.join(" or "), found);
        if code == 501 { wrong.because("This isn't written yet: 501 says so.") } else { wrong }
    }

    /// Says what was looked at, in other words.
    pub(super) fn what(mut self, what: impl Into<String>) -> Self {
        if let Self::Wrong(wrong) = &mut self {
            wrong.what = what.into();
        }
        self
    }

    /// Says what the cause is, where the stage knows better than "one of the bugs that I catch".
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        if let Self::Wrong(wrong) = &mut self {
            wrong.cause = Some(cause.into());
        }
        self
    }

    pub(super) fn of(mut self, exchange: &Arc<Exchange>) -> Self {
        if let Self::Wrong(wrong) = &mut self {
            wrong.exchange = Some(exchange.clone());
        }
        self
    }

    pub(super) fn said(mut self, lines: Vec<String>) -> Self {
        if let Self::Wrong(wrong) = &mut self {
            wrong.said = lines;
        }
        self
    }
}

/// What fails around the program (a part of ours, the machine) says nothing about the program.
impl From<anyhow::Error> for Finding {
    fn from(error: anyhow::Error) -> Self {
        Self::Unsure(error)
    }
}

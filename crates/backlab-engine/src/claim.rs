//! Claims: sentences of the answer that a run can refute.

use serde::{Deserialize, Serialize};
use std::fmt::{Debug, Display};

/// A sentence of the answer, with what a run measured about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Cited in the answer as `[^id]`.
    pub id: String,
    /// The sentence, in present tense: "PUT repeated leaves one row per order".
    pub says: String,
    pub state: State,
    /// The figure that stands in the answer's sentence, short: "5 rows".
    pub measured: String,
    pub expected: String,
    /// The case in which the claim breaks: "PUT inserts instead of setting".
    pub breaks_when: String,
    /// The fault or the contention that took place: "5 answers cut".
    pub witness: String,
}

/// What a run says about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Holds,
    Refuted,
    /// Its fault or contention never took place, so that nothing can be said.
    Untried,
}

impl Claim {
    pub fn holds(&self) -> bool {
        self.state == State::Holds
    }
}

/// Begins a claim. `breaks_when` names the case in which it is false; what witnesses it must follow:
///
/// ```
/// # use backlab_engine::claim;
/// # let (cut, rows, requests) = (5, 5, 5);
/// claim("put-once", "PUT repeated leaves one row per order", "PUT inserts instead of setting")
///     .witness(cut > 0, format!("{cut} answers cut"))
///     .equal(rows, requests);
/// ```
pub fn claim(id: &'static str, says: impl Into<String>, breaks_when: impl Into<String>) -> Unwitnessed {
    Unwitnessed { id, says: says.into(), breaks_when: breaks_when.into() }
}

/// A claim whose fault has not been shown to have taken place.
#[must_use]
#[derive(Debug)]
pub struct Unwitnessed {
    id: &'static str,
    says: String,
    breaks_when: String,
}

/// A claim that is ready to be measured.
#[must_use]
#[derive(Debug)]
pub struct Witnessed {
    of: Unwitnessed,
    took_place: bool,
    witness: String,
}

impl Unwitnessed {
    /// Whether that which puts the claim to the test took place, as the run observed it (never as it was told to),
    /// and in what words.
    pub fn witness(self, took_place: bool, what: impl Into<String>) -> Witnessed {
        Witnessed { of: self, took_place, witness: what.into() }
    }
}

impl Witnessed {
    pub fn equal<T: PartialEq + Debug>(self, measured: T, expected: T) -> Claim {
        self.that(measured == expected, plain(&measured), plain(&expected))
    }

    pub fn at_most<T: PartialOrd + Display>(self, measured: T, bound: T) -> Claim {
        self.that(measured <= bound, &measured, format_args!("at most {bound}"))
    }

    pub fn at_least<T: PartialOrd + Display>(self, measured: T, bound: T) -> Claim {
        self.that(measured >= bound, &measured, format_args!("at least {bound}"))
    }

    pub fn less<T: PartialOrd + Display>(self, measured: T, bound: T) -> Claim {
        self.that(measured < bound, &measured, format_args!("less than {bound}"))
    }

    pub fn more<T: PartialOrd + Display>(self, measured: T, bound: T) -> Claim {
        self.that(measured > bound, &measured, format_args!("more than {bound}"))
    }

    /// Any other predicate, with both sides in words.
    pub fn that(self, holds: bool, measured: impl Display, expected: impl Display) -> Claim {
        let state = match (self.took_place, holds) {
            (false, _) => State::Untried,
            (true, true) => State::Holds,
            (true, false) => State::Refuted,
        };
        Claim {
            id: self.of.id.to_owned(),
            says: self.of.says,
            state,
            measured: measured.to_string(),
            expected: expected.to_string(),
            breaks_when: self.of.breaks_when,
            witness: self.witness,
        }
    }
}

/// A value as a reader would write it: text without its quotes.
fn plain(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => inner.to_owned(),
        _ => text,
    }
}

//! What a run has to say, with all types forgotten: it can be kept, sent and shown.

use crate::{Asked, Claim, State};
use backlab_figures::Figure;
use backlab_parts::Missing;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The outcome of one run. Verdicts are never confused: a part that isn't here is no failure, a run that broke
/// refutes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every claim that was put to the test holds.
    Holds,
    /// At least one claim is false of what was observed.
    Refuted,
    /// A part that the run needs isn't on this machine.
    Unavailable,
    /// The run itself broke, or ran out of time, or was cancelled, or tried nothing.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Refuted => "refuted",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartUsed {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub seed: u64,
    pub params: BTreeMap<String, Value>,
    pub prediction: Option<Asked>,
    /// `null` unless the run came to its end.
    pub observed: Value,
    pub claims: Vec<Claim>,
    /// The experiment's own figures; the sequence of messages comes first where there is one.
    pub figures: Vec<Figure>,
    pub verdict: Verdict,
    /// Wall time in seconds.
    pub seconds: f64,
    pub parts: Vec<PartUsed>,
    /// Why the run is unavailable or failed, with the cure.
    pub error: Option<String>,
}

impl Report {
    /// Of a run that has nothing to say yet: failed, until something better is known.
    pub fn unrun(seed: u64, params: BTreeMap<&'static str, Value>) -> Self {
        Self {
            seed,
            params: params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            prediction: None,
            observed: Value::Null,
            claims: Vec::new(),
            figures: Vec::new(),
            verdict: Verdict::Failed,
            seconds: 0.0,
            parts: Vec::new(),
            error: None,
        }
    }

    /// Whether it says anything about its question: not if the run never came to be, or was cancelled before its end.
    pub fn is_worth_keeping(&self, cancelled: bool) -> bool {
        match self.verdict {
            Verdict::Holds | Verdict::Refuted => true,
            Verdict::Failed => !cancelled,
            Verdict::Unavailable => false,
        }
    }

    pub(crate) fn judge(claims: &[Claim]) -> (Verdict, Option<String>) {
        if claims.iter().any(|claim| claim.state == State::Refuted) {
            return (Verdict::Refuted, None);
        }
        if claims.iter().any(Claim::holds) {
            return (Verdict::Holds, None);
        }
        let witnesses: Vec<_> =
            claims.iter().map(|claim| format!("{}: {}", claim.id, claim.witness)).collect();
        let error = format!("no claim was put to the test with these knobs ({})", witnesses.join("; "));
        (Verdict::Failed, Some(error))
    }

    pub(crate) fn missing(&mut self, missing: &Missing) {
        self.verdict = Verdict::Unavailable;
        self.error = Some(missing.to_string());
    }
}

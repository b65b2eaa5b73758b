//! Predictions: what a reader says before the run, and what the run says to that.

use serde::{Deserialize, Serialize};

/// Asked before the run, graded against what the run observed.
pub struct Prediction<O> {
    ask: String,
    grade: Grade<O>,
    tempting: Option<(u64, String)>,
}

enum Grade<O> {
    Number { unit: &'static str, truth: fn(&O) -> u64 },
    Choice { options: &'static [&'static str], truth: fn(&O) -> usize },
}

impl<O> Prediction<O> {
    /// A whole number, with the unit that stands behind the field ("rows").
    pub fn number(ask: impl Into<String>, unit: &'static str, truth: fn(&O) -> u64) -> Self {
        Self { ask: ask.into(), grade: Grade::Number { unit, truth }, tempting: None }
    }

    /// One of several options; `truth` gives the index of the right one.
    pub fn choice(ask: impl Into<String>, options: &'static [&'static str], truth: fn(&O) -> usize) -> Self {
        Self { ask: ask.into(), grade: Grade::Choice { options, truth }, tempting: None }
    }

    /// The wrong answer that many give (a number, or the index of an option), and why they do; shown after the run.
    pub fn tempting(mut self, wrong: u64, because: impl Into<String>) -> Self {
        self.tempting = Some((wrong, because.into()));
        self
    }

    /// What is asked, without the answer.
    pub(crate) fn ask(&self) -> Ask {
        let kind = match &self.grade {
            Grade::Number { unit, .. } => AskKind::Number { unit: (*unit).to_owned() },
            Grade::Choice { options, .. } => {
                AskKind::Choice { options: options.iter().map(|&it| it.to_owned()).collect() }
            }
        };
        Ask { ask: self.ask.clone(), kind }
    }

    pub(crate) fn grade(&self, predicted: Option<u64>, seen: &O) -> Asked {
        let truth = match &self.grade {
            Grade::Number { truth, .. } => truth(seen),
            Grade::Choice { truth, .. } => truth(seen) as u64,
        };
        let Ask { ask, kind } = self.ask();
        Asked {
            right: predicted.map(|it| it == truth),
            predicted: predicted.map(|it| kind.words(it)),
            truth: kind.words(truth),
            tempting: self.tempting.as_ref().map(|(wrong, because)| (kind.words(*wrong), because.clone())),
            ask,
        }
    }
}

/// A prediction's question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ask {
    pub ask: String,
    #[serde(flatten)]
    pub kind: AskKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AskKind {
    Number { unit: String },
    Choice { options: Vec<String> },
}

impl AskKind {
    /// Reads a reader's answer: a number, or an option by its words or by its place counted from 1.
    ///
    /// # Errors
    /// The text is neither; the message says what is.
    pub fn parse(&self, text: &str) -> Result<u64, String> {
        match self {
            Self::Number { .. } => text
                .trim()
                .parse()
                .map_err(|_| format!("`{text}` isn't a whole number from 0 to {}", u64::MAX)),
            Self::Choice { options } => {
                let by_words = options.iter().position(|it| it.eq_ignore_ascii_case(text.trim()));
                let by_place =
                    || text.trim().parse::<usize>().ok()?.checked_sub(1).filter(|&i| i < options.len());
                by_words.or_else(by_place).map(|i| i as u64).ok_or_else(|| {
                    let offered: Vec<_> =
                        options.iter().enumerate().map(|(i, it)| format!("{} ({it})", i + 1)).collect();
                    format!("`{text}` isn't one of {}", offered.join(", "))
                })
            }
        }
    }

    /// A graded value in words.
    fn words(&self, value: u64) -> String {
        match self {
            Self::Number { .. } => value.to_string(),
            Self::Choice { options } => {
                options.get(value as usize).cloned().unwrap_or_else(|| "none of these".to_owned())
            }
        }
    }
}

/// A prediction after the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub ask: String,
    /// `None` where the reader ran without predicting.
    pub predicted: Option<String>,
    pub truth: String,
    pub right: Option<bool>,
    /// The wrong answer that many give, and why.
    pub tempting: Option<(String, String)>,
}

//! The JSON that others script against. Its keys are a promise: add some, never change one.

use backlab_engine::{Asked, Claim, Failure, Grade, Mark, PartUsed, Report, StageGrade, Verdict};
use backlab_questions::{Challenge, Question};
use backlab_study::Status;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One row of `list --json`.
#[derive(Debug, Serialize)]
pub struct Row {
    number: u16,
    slug: &'static str,
    title: &'static str,
    track: &'static str,
    level: &'static str,
    status: Status,
    answer: bool,
    experiment: bool,
    challenge: bool,
}

impl Row {
    pub fn new(question: &Question, status: Status) -> Self {
        let page = &question.page;
        Self {
            number: page.number,
            slug: page.slug,
            title: page.title,
            track: page.track.slug(),
            level: page.level.slug(),
            status,
            answer: page.answer.is_some(),
            experiment: question.experiment.is_some(),
            challenge: question.challenge.is_some(),
        }
    }
}

/// `run --json`, and each question of `verify --json`.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    number: u16,
    slug: &'static str,
    seed: u64,
    params: &'a BTreeMap<String, Value>,
    prediction: Option<Prediction<'a>>,
    observed: &'a Value,
    claims: Vec<ClaimRow<'a>>,
    verdict: Verdict,
    seconds: f64,
    parts: &'a [PartUsed],
    /// Why the run is unavailable or failed, with the cure.
    error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Prediction<'a> {
    ask: &'a str,
    predicted: Option<&'a str>,
    truth: &'a str,
    right: Option<bool>,
}

#[derive(Debug, Serialize)]
struct ClaimRow<'a> {
    id: &'a str,
    says: &'a str,
    holds: bool,
    measured: &'a str,
    expected: &'a str,
    /// Whether that which puts the claim to the test took place; where it didn't, `holds` says nothing.
    witnessed: bool,
    witness: &'a str,
}

impl<'a> Run<'a> {
    pub fn new(question: &Question, report: &'a Report) -> Self {
        Self {
            number: question.page.number,
            slug: question.page.slug,
            seed: report.seed,
            params: &report.params,
            prediction: report.prediction.as_ref().map(Prediction::new),
            observed: &report.observed,
            claims: report.claims.iter().map(ClaimRow::new).collect(),
            verdict: report.verdict,
            seconds: report.seconds,
            parts: &report.parts,
            error: report.error.as_deref(),
        }
    }
}

impl<'a> Prediction<'a> {
    fn new(asked: &'a Asked) -> Self {
        Self {
            ask: &asked.ask,
            predicted: asked.predicted.as_deref(),
            truth: &asked.truth,
            right: asked.right,
        }
    }
}

impl<'a> ClaimRow<'a> {
    fn new(claim: &'a Claim) -> Self {
        Self {
            id: &claim.id,
            says: &claim.says,
            holds: claim.holds(),
            measured: &claim.measured,
            expected: &claim.expected,
            witnessed: claim.state != backlab_engine::State::Untried,
            witness: &claim.witness,
        }
    }
}

/// `check --json`.
#[derive(Debug, Serialize)]
pub struct Check<'a> {
    number: u16,
    slug: &'static str,
    title: &'static str,
    version: u16,
    seed: u64,
    command: &'a str,
    verdict: Mark,
    seconds: f64,
    stages: Vec<StageRow<'a>>,
}

#[derive(Debug, Serialize)]
struct StageRow<'a> {
    number: usize,
    says: &'a str,
    verdict: Mark,
    seconds: f64,
    failure: Option<&'a Failure>,
    /// Why the grader couldn't tell.
    unsure: Option<&'a str>,
}

impl<'a> Check<'a> {
    pub fn new(question: &Question, challenge: &Challenge, grade: &'a Grade) -> Self {
        let row = |(number, stage): (usize, &'a StageGrade)| StageRow {
            number,
            says: &stage.says,
            verdict: stage.mark,
            seconds: stage.seconds,
            failure: stage.failure.as_ref(),
            unsure: stage.unsure.as_deref(),
        };
        Self {
            number: question.page.number,
            slug: question.page.slug,
            title: challenge.title,
            version: grade.version,
            seed: grade.seed,
            command: &grade.command,
            verdict: grade.verdict,
            seconds: grade.seconds,
            stages: (1..).zip(&grade.stages).map(row).collect(),
        }
    }
}

/// `verify --json`.
#[derive(Debug, Serialize)]
pub struct Verified<'a> {
    pub verdict: Verdict,
    pub seconds: f64,
    pub questions: Vec<Run<'a>>,
}

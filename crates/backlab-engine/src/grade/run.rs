//! One grading, from the order to the marks.

use super::failure::Failure;
use super::finding::Finding;
use super::grader::Grader;
use crate::challenge::{Command, ErasedChallenge, ErasedStage};
use anyhow::{Result, ensure};
use backlab_parts::{Lab, Trace};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long one stage may take.
const STAGE: Duration = Duration::from_secs(60);

/// What is to be graded, and how.
pub struct Assignment<'a> {
    pub command: Command,
    /// Decides the random values.
    pub seed: u64,
    /// Only the stage with this number.
    pub only: Option<usize>,
    /// Go on after a stage that isn't passed.
    pub keep_going: bool,
    /// How long the program may take until it listens.
    pub patience: Duration,
    /// Cancel it to end early; everything that was started is then ended too.
    pub cancel: CancellationToken,
    /// Is told each stage as it ends.
    pub told: &'a mut (dyn FnMut(usize, &StageGrade) + Send),
    /// Where it is set: told that a stage failed while the program still runs, at these addresses; it is ended when this
    /// returns.
    pub hold: Option<fn(Vec<SocketAddr>) -> BoxFuture<'static, ()>>,
}

/// What became of a stage. They are never confused: what the grader couldn't do says nothing about the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Passed,
    Failed,
    /// The grader couldn't tell.
    Unsure,
    /// An earlier stage isn't passed, or another one was asked for.
    NotRun,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unsure => "couldn't tell",
            Self::NotRun => "not run",
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageGrade {
    pub says: String,
    pub mark: Mark,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Where it failed.
    pub failure: Option<Failure>,
    /// Where the grader couldn't tell: why.
    pub unsure: Option<String>,
}

/// The marks of a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grade {
    /// The challenge's version.
    pub version: u16,
    pub seed: u64,
    /// As one types it.
    pub command: String,
    /// All stages, in order.
    pub stages: Vec<StageGrade>,
    pub verdict: Mark,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl Grade {
    pub fn passed(&self) -> usize {
        self.stages.iter().filter(|stage| stage.mark == Mark::Passed).count()
    }

    /// Whether every stage is passed, none left out.
    pub fn is_complete(&self) -> bool {
        self.passed() == self.stages.len()
    }
}

impl ErasedChallenge {
    /// Grades a program. However it ends, all that was started has ended when this returns.
    ///
    /// # Errors
    /// There is no such stage, or the program can't be started at all.
    pub async fn grade(&self, mut assignment: Assignment<'_>) -> Result<Grade> {
        let began = Instant::now();
        let stages = (self.stages)();
        let last = stages.len();
        if let Some(only) = assignment.only {
            ensure!(
                (1..=last).contains(&only),
                "there is no stage {only}: this challenge has stages 1 to {last}"
            );
        }
        let mut grades = Vec::new();
        let mut stopped = false;
        for (number, stage) in (1..).zip(&stages) {
            let wanted = assignment.only.is_none_or(|only| only == number) && !stopped;
            let grade =
                if wanted { grade_stage(number, stage, &mut assignment).await? } else { not_run(stage) };
            stopped |= wanted && grade.mark != Mark::Passed && !assignment.keep_going;
            stopped |= assignment.cancel.is_cancelled();
            grades.push(grade);
        }
        let any = |mark| grades.iter().any(|it| it.mark == mark);
        let verdict =
            [Mark::Failed, Mark::Unsure].into_iter().find(|mark| any(*mark)).unwrap_or(Mark::Passed);
        Ok(Grade {
            version: self.version,
            seed: assignment.seed,
            command: assignment.command.shown,
            stages: grades,
            verdict,
            seconds: rounded(began),
        })
    }
}

async fn grade_stage(
    number: usize,
    stage: &ErasedStage,
    assignment: &mut Assignment<'_>,
) -> Result<StageGrade> {
    let began = Instant::now();
    let lab = Lab::open(assignment.seed, Trace::default())?;
    let grader = Grader::new(lab.clone(), assignment.command.clone(), assignment.patience);
    let finding = within_limits(stage, &grader, &lab, assignment).await.err();
    let seconds = rounded(began);
    let mut grade = StageGrade { seconds, mark: Mark::Passed, ..not_run(stage) };
    let mut cannot = None;
    match finding {
        None => {}
        Some(Finding::Wrong(wrong)) => {
            grade.mark = Mark::Failed;
            grade.failure = Some(Failure::new(*wrong, stage, &grader));
        }
        Some(Finding::Unsure(error)) => {
            grade.mark = Mark::Unsure;
            grade.unsure = Some(format!("{error:#}"));
        }
        Some(Finding::CannotStart(error)) => cannot = Some(error),
    }
    if cannot.is_none() {
        (assignment.told)(number, &grade);
    }
    if let (Mark::Failed, Some(hold)) = (grade.mark, assignment.hold) {
        hold(grader.addresses()).await;
    }
    drop(grader);
    lab.close().await;
    cannot.map_or(Ok(grade), Err)
}

async fn within_limits(
    stage: &ErasedStage,
    grader: &Grader,
    lab: &Lab,
    assignment: &Assignment<'_>,
) -> Result<(), Finding> {
    let patience = STAGE + assignment.patience;
    let check = AssertUnwindSafe((stage.check)(grader)).catch_unwind();
    tokio::select! {
        biased;
        () = assignment.cancel.cancelled() => Err(Finding::Unsure(anyhow::anyhow!("you stopped it"))),
        too_much = lab.overgrown() => {
            let found = format!("{too_much}; all of them were ended");
            Err(Finding::wrong("what your program takes of this machine", "less", found)
                .because("Your program starts processes, or keeps memory, without a bound."))
        }
        ended = tokio::time::timeout(patience, check) => match ended {
            Ok(Ok(graded)) => graded,
            Ok(Err(panic)) => {
                let why = panic.downcast_ref::<String>().map(String::as_str);
                let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                Err(Finding::Unsure(anyhow::anyhow!("the stage panicked: {why}")))
            }
            Err(_) => Err(Finding::Unsure(anyhow::anyhow!("the stage had no end after {patience:?}"))),
        },
    }
}

fn not_run(stage: &ErasedStage) -> StageGrade {
    StageGrade { says: stage.says.to_owned(), mark: Mark::NotRun, seconds: 0.0, failure: None, unsure: None }
}

/// Seconds since then, to the millisecond.
fn rounded(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

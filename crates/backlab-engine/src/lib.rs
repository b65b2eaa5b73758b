//! How a question is tried: an experiment with its knobs, its prediction, its claims and what would refute them.
//!
//! An experiment is one type with a few functions; see [`Experiment`]. [`erase`] forgets its types, so that all of them
//! fit one list, and [`Erased::run`] runs it and judges what it showed.

mod challenge;
mod claim;
mod experiment;
mod grade;
#[doc(hidden)]
pub mod params;
mod prediction;
mod report;
mod run;

pub use anyhow::Result;
pub use backlab_parts::role::set_program;
pub use backlab_parts::room::{base as rooms, sweep};
pub use backlab_parts::{Event, Fate, Trace, inventory};
pub use challenge::{
    Bug, Challenge, Command, Door, ErasedChallenge, ErasedStage, Stage, StageFn, challenge, stage,
};
pub use claim::{Claim, State, claim};
pub use experiment::{Erased, Experiment, Fault, each_broken, erase};
pub use grade::{
    Answer, Assignment, Because, Call, Failure, Finding, Grade, Graded, Grader, Mark, Received, Said,
    StageGrade, Subject, Upstream, quoted,
};
pub use params::{Choice, Knob, ParamKind, ParamSpec, Params, Values, flag, knob};
pub use prediction::{Ask, AskKind, Asked, Prediction};
pub use report::{PartUsed, Report, Verdict};
pub use run::{Order, sequence};

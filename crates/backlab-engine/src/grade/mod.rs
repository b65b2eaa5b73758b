//! The grader: a program as a black box, stage by stage, and what its author is told.
//!
//! [`ErasedChallenge::grade`] gives each stage a [`Grader`], with which it starts the program afresh, speaks to it, kills
//! it, and holds what comes against what the contract says. A stage that finds fault returns a [`Finding`], from which
//! the [`Failure`] is made: what was sent, as lines to type; what came; what was expected; the likely cause.

mod call;
mod failure;
mod finding;
mod grader;
mod journal;
mod run;
mod shell;
mod upstream;

pub use call::{Answer, Call};
pub use failure::Failure;
pub use finding::{Because, Finding, Graded};
pub use grader::{Grader, Said, Subject};
pub use run::{Assignment, Grade, Mark, StageGrade};
pub use shell::quoted;
pub use upstream::{Received, Upstream};

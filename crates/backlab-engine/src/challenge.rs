//! What a challenge is: a contract, stages in order, and our own program that keeps it, with a switch for each bug.

use crate::grade::{Graded, Grader};
use anyhow::{Context, Result};
use backlab_parts::Spec;
use futures::future::{BoxFuture, LocalBoxFuture};
use std::fmt::Debug;
use std::future::Future;

/// Something to build, in any language. The contract stands in the head (`//!`) of the file that implements this: its
/// first line is the title, and what follows is what the page and a starter show.
pub trait Challenge: 'static {
    /// The ways in which people get it wrong.
    type Bug: Copy + PartialEq + Debug + Send + Sync + 'static;

    /// How the grader speaks to a program.
    const DOOR: Door = Door::Listens;

    /// Grows when a stage begins to refuse what passed before, so that an earlier pass still says what it was for.
    const VERSION: u16 = 1;

    /// What is checked, in this order.
    fn stages() -> Vec<Stage<Self::Bug>>;

    /// Our own program: right without a bug, and wrong in just one way with one. It is started as the reader's is, and
    /// knows what the contract names: its environment, its standard input.
    ///
    /// # Errors
    /// It can't run.
    fn reference(bug: Option<Self::Bug>) -> impl Future<Output = Result<()>>;
}

/// How the grader speaks to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// It listens on `PORT` for HTTP, until it is ended.
    Listens,
    /// It reads its standard input, prints its answer, and ends.
    Reads,
}

type Check = Box<dyn for<'a> Fn(&'a Grader) -> BoxFuture<'a, Graded> + Send + Sync>;

/// One thing that the contract says, and the bugs that break it.
pub struct Stage<B> {
    says: &'static str,
    check: Check,
    bugs: Vec<(B, &'static str)>,
    hint: &'static str,
}

/// Begins a stage. `says` is what a right program does, in present tense: "one order, sent twice, is charged once".
pub fn stage<B, F>(says: &'static str, check: F) -> Stage<B>
where
    F: for<'a> StageFn<'a> + Send + Sync + Copy + 'static,
{
    Stage { says, check: Box::new(move |grader| check.call(grader)), bugs: Vec::new(), hint: "" }
}

/// An `async fn` over a [`Grader`].
pub trait StageFn<'a> {
    fn call(self, grader: &'a Grader) -> BoxFuture<'a, Graded>;
}

impl<'a, F, R> StageFn<'a> for F
where
    F: FnOnce(&'a Grader) -> R,
    R: Future<Output = Graded> + Send + 'a,
{
    fn call(self, grader: &'a Grader) -> BoxFuture<'a, Graded> {
        Box::pin(self(grader))
    }
}

impl<B> Stage<B> {
    /// Names a bug that this stage catches, and says of a program that fails here what it probably does: "each retry
    /// makes an answer of its own". Each bug has one stage; a stage has at least one.
    pub fn catches(mut self, bug: B, probably: &'static str) -> Self {
        self.bugs.push((bug, probably));
        self
    }

    /// The way out, for those who ask.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }
}

/// A challenge with its types forgotten.
#[derive(Debug)]
pub struct ErasedChallenge {
    pub version: u16,
    pub door: Door,
    /// Is our own program, with the bug of this name or without.
    pub reference: fn(Option<String>) -> LocalBoxFuture<'static, Result<()>>,
    pub stages: fn() -> Vec<ErasedStage>,
}

/// A stage with its types forgotten.
pub struct ErasedStage {
    pub says: &'static str,
    pub bugs: Vec<Bug>,
    pub hint: &'static str,
    pub(crate) check: Check,
}

/// A way to get it wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bug {
    /// Such as `checks-then-writes`.
    pub name: String,
    /// What a program with it does.
    pub probably: &'static str,
}

/// Forgets the types of a challenge.
pub const fn challenge<C: Challenge>() -> ErasedChallenge {
    ErasedChallenge { version: C::VERSION, door: C::DOOR, reference: reference::<C>, stages: stages::<C> }
}

fn stages<C: Challenge>() -> Vec<ErasedStage> {
    let erased = |stage: Stage<C::Bug>| ErasedStage {
        says: stage.says,
        bugs: stage.bugs.iter().map(|(bug, probably)| Bug { name: kebab(bug), probably }).collect(),
        hint: stage.hint,
        check: stage.check,
    };
    C::stages().into_iter().map(erased).collect()
}

fn reference<C: Challenge>(bug: Option<String>) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let named = |name: String| {
            let bugs: Vec<_> = C::stages().into_iter().flat_map(|it| it.bugs).map(|(bug, _)| bug).collect();
            bugs.iter().find(|bug| kebab(bug) == name).copied().with_context(|| {
                let names: Vec<_> = bugs.iter().map(kebab).collect();
                format!("`{name}` is no bug of this challenge; it has {}", names.join(", "))
            })
        };
        C::reference(bug.map(named).transpose()?).await
    })
}

/// `ChecksThenWrites` as `checks-then-writes`.
fn kebab(name: &impl Debug) -> String {
    let mut kebab = String::new();
    for c in format!("{name:?}").chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

/// What is under test: how to start it, and how its author would.
#[derive(Debug, Clone)]
pub struct Command {
    pub(crate) spec: Spec,
    /// As one types it in a shell.
    pub shown: String,
}

impl Command {
    /// A program with its arguments, run in the current directory.
    ///
    /// # Errors
    /// There is no word, or the current directory is gone.
    pub fn of_words(words: &[String]) -> Result<Self> {
        let (program, args) = words.split_first().context("no program is named after `--`")?;
        let here = std::env::current_dir().context("find the current directory")?;
        let shown: Vec<_> = words.iter().map(|word| crate::grade::quoted(word)).collect();
        Ok(Self { spec: Spec::new(program).args(args).dir(here), shown: shown.join(" ") })
    }
}

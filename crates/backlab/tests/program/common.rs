//! What the tests of the program share.

use backlab_engine::{Erased, Order, Report, Values};
use backlab_questions::{ALL, Question};
use std::path::Path;
use std::process::{Command, Output};

/// The program under test.
pub const BACKLAB: &str = env!("CARGO_BIN_EXE_backlab");

/// All questions that run, with their experiments; while one is written, `EXPERIMENT=slug` is that one alone.
pub fn experiments() -> impl Iterator<Item = (&'static Question, &'static Erased)> {
    let only = std::env::var("EXPERIMENT").ok();
    let wanted = move |it: &&Question| only.as_ref().is_none_or(|slug| it.page.slug == slug);
    ALL.iter().filter(wanted).filter_map(|question| Some((question, question.experiment?)))
}

/// Runs an experiment in this process; its roles are played by the real program.
pub async fn run(experiment: &Erased, values: &[(&str, &str)], seed: u64) -> Report {
    backlab_engine::set_program(BACKLAB);
    let values: Values =
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    experiment.run(Order { values, seed, ..Order::default() }).await.unwrap()
}

/// Runs the program with a data directory of its own.
pub fn backlab(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().unwrap()
}

pub fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(BACKLAB);
    command.args(args).env("BACKLAB_DATA", home).env("NO_COLOR", "1").env_remove("RUST_BACKTRACE");
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

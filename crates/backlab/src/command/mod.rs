//! What each command does, one file a command.

mod check;
mod doctor;
mod junit;
mod list;
mod new;
mod reference;
mod run;
mod serve;
mod show;
mod verify;

use crate::args::{Cli, Command, Serve};
use anyhow::{Context, Result};
use backlab_questions::{ALL, Challenge, Question};
use backlab_store::Store;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How like a slug a name must be to be taken for a slip of the keyboard; 1 is the same.
const ALIKE: f64 = 0.9;

/// Runs the command and says how it ended. An error is one of usage or of the environment.
pub fn dispatch(cli: Cli) -> Result<ExitCode> {
    let home = Home(cli.data);
    let command = cli.command.unwrap_or_else(|| Command::Serve(Serve::default()));
    match command {
        Command::List(args) => on_one_thread(list::list(&args, &home)),
        Command::Show(args) => on_one_thread(show::show(&args, &home)),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::New(args) => new::new(&args),
        Command::Reference(args) => on_one_thread(reference::reference(args)),
        Command::Check(args) => on_all_threads(check::check(args, home)),
        Command::Run(args) => on_all_threads(run::run(args, home)),
        Command::Verify(args) => on_all_threads(verify::verify(args)),
        Command::Serve(args) => on_all_threads(serve::serve(args, home)),
    }
}

fn on_one_thread(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn on_all_threads(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Where progress is kept.
pub struct Home(Option<PathBuf>);

impl Home {
    /// Opens the store, and creates it on the first use.
    async fn open(&self) -> Result<Store> {
        let dir = match &self.0 {
            Some(dir) => dir.clone(),
            None => platform_dir()?,
        };
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("create {} (or choose another with --data)", dir.display()))?;
        Ok(Store::open(&dir.join("backlab.sqlite")).await?)
    }

    /// What is known of a reader's progress; nothing where the store can't be opened, as reading must go on.
    async fn open_or_warn(&self) -> Option<Store> {
        self.open().await.inspect_err(|error| eprintln!("backlab: progress isn't shown: {error:#}")).ok()
    }
}

fn platform_dir() -> Result<PathBuf> {
    use etcetera::BaseStrategy;
    let base =
        etcetera::choose_base_strategy().context("there is no home directory; choose one with --data")?;
    Ok(base.data_dir().join("backlab"))
}

/// The question that a reader named by number or slug.
fn question(named: &str) -> Result<&'static Question> {
    backlab_questions::find(named).with_context(|| {
        let cure = match nearest(named) {
            Some(slug) => format!("did you mean `{slug}`?"),
            None => "name one by its number (1 to 150) or its slug; `backlab list` has them".to_owned(),
        };
        format!("there is no question `{named}`: {cure}")
    })
}

/// The slug that was probably meant.
fn nearest(named: &str) -> Option<&'static str> {
    let alike = |slug: &str| strsim::jaro_winkler(named, slug);
    let slugs = ALL.iter().map(|it| it.page.slug);
    slugs.max_by(|one, other| alike(one).total_cmp(&alike(other))).filter(|slug| alike(slug) > ALIKE)
}

/// The challenge of the question that a reader named.
fn challenge(named: &str) -> Result<(&'static Question, &'static Challenge)> {
    let question = question(named)?;
    let challenge = question.challenge.as_ref().with_context(|| {
        let with: Vec<_> = ALL.iter().filter(|it| it.challenge.is_some()).map(|it| it.page.slug).collect();
        format!("question {} has no challenge yet; these have: {}", question.page.number, with.join(", "))
    })?;
    Ok((question, challenge))
}

/// Writes a file and names it when that fails.
fn write_file(path: &Path, content: &str) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

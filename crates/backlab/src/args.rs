//! The command line. The knobs of the question at hand are flags of `run`, with their help and their bounds.

use backlab_catalogue::{Level, Track};
use backlab_engine::{Erased, Fault, ParamKind, ParamSpec, Values, flag};
use backlab_questions::Question;
use backlab_study::Status;
use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where the page is unless said otherwise: this machine alone can reach it.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8150);

/// 150 backend interview questions, each answered by a system that runs.
#[derive(Debug, Parser)]
#[command(name = "backlab", version, max_term_width = 110, subcommand_negates_reqs = true)]
pub struct Cli {
    /// Where progress is kept [default: the platform's data directory]
    #[arg(long, global = true, value_name = "DIR", env = "BACKLAB_DATA")]
    pub data: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the page and print its address (the default)
    Serve(Serve),
    /// List the questions
    List(List),
    /// Read the answer to a question, with the figures of your last run
    Show(Show),
    /// Predict, run real parts, and see the claims checked
    Run(Run),
    /// Run experiments at their defaults; exits with 1 if a claim is refuted
    Verify(Verify),
    /// Grade a program of yours, in any language, stage by stage; exits with 1 if a stage fails
    #[command(after_help = CHECKED)]
    Check(Check),
    /// Begin a program for a challenge: a small project that starts, and fails the first stage
    New(New),
    /// Be our own program for a challenge, right or with a bug, to see what `check` says of it
    Reference(Reference),
    /// Which parts are here, which experiments lack one, and the line that installs it
    Doctor(Doctor),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value_t = HERE)]
    pub bind: SocketAddr,
    /// A host name under which the page may be asked for, beside the loopback names (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
}

impl Default for Serve {
    fn default() -> Self {
        Self { bind: HERE, host: Vec::new() }
    }
}

#[derive(Debug, Args)]
pub struct List {
    /// Only this track (`caching`, `rest-apis`, …)
    #[arg(long)]
    pub track: Option<Track>,
    /// Only this level: easy, medium or hard
    #[arg(long)]
    pub level: Option<Level>,
    /// Only this status: new, read, predicted, verified or built
    #[arg(long)]
    pub status: Option<Status>,
    /// Only questions with all these words in number, title, question or experiment, or with this slug
    #[arg(long, value_name = "WORDS")]
    pub search: Option<String>,
    /// Only questions whose experiment runs
    #[arg(long)]
    pub runs: bool,
    /// Only questions with something to build
    #[arg(long)]
    pub build: bool,
    /// As a JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Number or slug
    #[arg(value_name = "QUESTION")]
    pub question: String,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Number or slug
    #[arg(value_name = "QUESTION")]
    pub question: String,
    /// What you expect: a number, or an option by its words or its place
    #[arg(long, value_name = "VALUE")]
    pub predict: Option<String>,
    /// Seed of what is random; printed by each run
    #[arg(long, value_name = "NUMBER", value_parser = seed)]
    pub seed: Option<u64>,
    /// As a JSON object
    #[arg(long)]
    pub json: bool,
    /// Write each figure as an SVG file into this directory
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// What the knobs were set to; filled from the question's own flags.
    #[arg(skip)]
    pub values: Values,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Numbers or slugs; all that run where none is named
    #[arg(value_name = "QUESTION")]
    pub questions: Vec<String>,
    /// Only this track
    #[arg(long)]
    pub track: Option<Track>,
    /// How many run at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// Seed of what is random; each question derives its own
    #[arg(long, value_name = "NUMBER", value_parser = seed)]
    pub seed: Option<u64>,
    /// As a JSON object
    #[arg(long)]
    pub json: bool,
    /// Also write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// How one calls `check`.
const CHECKED: &str = "For example:\n  backlab check http-methods -- python3 main.py\n  backlab check 7 -- cargo run --quiet\n\n\
Exit codes: 0 passed, 1 a stage failed, 2 it can't be run or the grader couldn't tell.";

#[derive(Debug, Args)]
pub struct Check {
    /// Number or slug
    #[arg(value_name = "QUESTION")]
    pub question: String,
    /// Only this stage; its result isn't kept
    #[arg(long, value_name = "N")]
    pub stage: Option<usize>,
    /// Go on after a stage that failed
    #[arg(long)]
    pub keep_going: bool,
    /// Seed of the random values; printed by each check
    #[arg(long, value_name = "NUMBER", value_parser = seed)]
    pub seed: Option<u64>,
    /// Say the way out of the stage that failed
    #[arg(long)]
    pub hint: bool,
    /// Leave the program running when a stage has failed, until Enter is pressed
    #[arg(long, conflicts_with = "json")]
    pub hold: bool,
    /// How long the program may take until it listens, in seconds (it may have to be compiled first)
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub patience: u64,
    /// As a JSON object
    #[arg(long)]
    pub json: bool,
    /// Also write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// What starts your program, run in the current directory
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

#[derive(Debug, Args)]
pub struct New {
    /// Number or slug
    #[arg(value_name = "QUESTION")]
    pub question: String,
    #[arg(long, value_enum)]
    pub language: Language,
    /// Where to; a directory named after the question unless said otherwise
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A language that there is a starter in; a challenge can be solved in any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    Node,
    Python,
}

#[derive(Debug, Args)]
pub struct Reference {
    /// Number or slug
    #[arg(value_name = "QUESTION")]
    pub question: String,
    /// Get it wrong in this way
    #[arg(long, value_name = "NAME")]
    pub bug: Option<String>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// As a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Parses the process's arguments; prints and exits where clap would.
pub fn parse() -> Cli {
    let argv: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    parse_from(&argv).unwrap_or_else(|error| error.exit())
}

fn parse_from(argv: &[String]) -> Result<Cli, clap::Error> {
    let experiment = question_of_run(argv).and_then(|question| question.experiment);
    let specs = experiment.map(|it| (it.specs)()).unwrap_or_default();
    let command = Cli::command().mut_subcommand("run", |run| with_knobs(run, experiment, &specs));
    let matches = command.try_get_matches_from(argv)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Some(Command::Run(run)), Some(matches)) = (&mut cli.command, matches.subcommand_matches("run")) {
        run.values = values(matches, &specs);
    }
    Ok(cli)
}

/// The question that `backlab run … QUESTION …` names, found before the rest can be parsed, as its knobs are flags.
fn question_of_run(argv: &[String]) -> Option<&'static Question> {
    let after = argv.iter().position(|arg| arg == "run")? + 1;
    let words = argv.get(after..)?;
    let takes_value = |arg: &str| arg.starts_with("--") && !arg.contains('=') && arg != "--json";
    let is_value = |i: usize| i > 0 && takes_value(&words[i - 1]);
    (0..words.len())
        .filter(|&i| !words[i].starts_with('-') && !is_value(i))
        .find_map(|i| backlab_questions::find(&words[i]))
}

fn with_knobs(run: clap::Command, experiment: Option<&Erased>, specs: &[ParamSpec]) -> clap::Command {
    let Some(experiment) = experiment else { return run };
    let knobs = specs.iter().map(|spec| {
        let arg =
            Arg::new(spec.name).long(spec.name.replace('_', "-")).help_heading("Knobs of this question");
        let arg = arg.alias(spec.name);
        match &spec.kind {
            ParamKind::Number { min, max, default } => {
                arg.value_name("NUMBER").help(format!("{} [{min} to {max}; default {default}]", spec.help))
            }
            ParamKind::Choice { options, default } => {
                let options: Vec<_> = options.iter().map(|it| format!("\"{it}\"")).collect();
                arg.value_name("CHOICE").help(format!(
                    "{} [{}; default \"{default}\"]",
                    spec.help,
                    options.join(", ")
                ))
            }
        }
    });
    let faults = (experiment.faults)();
    let breaks: Vec<_> =
        faults.iter().map(|fault| format!("  {}: {}", fault.label, settings(fault))).collect();
    run.args(knobs).after_help(format!("To break it:\n{}", breaks.join("\n")))
}

/// What breaks it, as one types it.
fn settings(fault: &Fault) -> String {
    fault.set.iter().map(|(name, value)| flag(name, value)).collect::<Vec<_>>().join(" ")
}

fn values(matches: &ArgMatches, specs: &[ParamSpec]) -> Values {
    specs
        .iter()
        .filter_map(|spec| Some((spec.name.to_owned(), matches.get_one::<String>(spec.name)?.clone())))
        .collect()
}

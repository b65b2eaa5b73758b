//! `backlab run`: the reader's loop in a terminal. Predict, watch the parts talk, see the claims checked.

use super::{Home, question, write_file};
use crate::args::Run;
use crate::paper::Paper;
use crate::{CANNOT, REFUTED, json};
use anyhow::{Context, Result, anyhow};
use backlab_engine::{Ask, AskKind, Claim, Erased, Event, Fate, Order, Report, State, Values, Verdict};
use backlab_questions::Question;
use backlab_store::Store;
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

pub async fn run(args: Run, home: Home) -> Result<ExitCode> {
    let question = question(&args.question)?;
    let page = &question.page;
    let experiment = question.experiment.with_context(|| {
        format!(
            "question {} ({}) has no experiment yet; `backlab list --runs` shows those that have",
            page.number, page.slug
        )
    })?;
    let ask = (experiment.ask)(&args.values)?;
    let paper = Paper::of_stdout();
    let quiet = args.json;
    let given =
        args.predict.as_deref().map(|text| ask.kind.parse(text).map_err(|why| anyhow!("--predict: {why}")));
    let given = given.transpose()?;
    if !quiet {
        let title = format!("{} {}", paper.soft(format!("{} ·", page.number)), paper.strong(page.title));
        writeln!(std::io::stdout(), "{title}\n")?;
    }
    let predicted = match given {
        None if !quiet && paper.live && std::io::stdin().is_terminal() => ask_reader(&paper, &ask)?,
        given => given,
    };
    backlab_engine::sweep();
    let order = Order {
        values: args.values.clone(),
        predicted,
        seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        ..Order::default()
    };
    let cancel = order.cancel.clone();
    let kept = begin_keeping(&home, question, &args.values, predicted).await;
    let report = watch(experiment, order, (!quiet).then_some(&paper)).await?;
    if let Some((store, prediction)) = kept
        && report.is_worth_keeping(cancel.is_cancelled())
        && let Err(error) = store.record_run(question.page.number, &report, prediction).await
    {
        eprintln!("backlab: the run isn't kept: {error}");
    }
    if let Some(dir) = &args.svg {
        write_figures(dir, &report)?;
    }
    if quiet {
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&json::Run::new(question, &report))?)?;
    } else {
        std::io::stdout().lock().write_all(tell(&paper, question, &report).as_bytes())?;
    }
    Ok(exit_code(report.verdict))
}

pub fn exit_code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Holds => ExitCode::SUCCESS,
        Verdict::Refuted => ExitCode::from(REFUTED),
        Verdict::Unavailable | Verdict::Failed => ExitCode::from(CANNOT),
    }
}

/// Asks for a prediction; an empty line goes on without one.
fn ask_reader(paper: &Paper, ask: &Ask) -> Result<Option<u64>> {
    println!("{}", paper.wrapped(&ask.ask, 0));
    if let AskKind::Choice { options } = &ask.kind {
        for (i, option) in options.iter().enumerate() {
            println!("  {} {option}", paper.accent(i + 1));
        }
    }
    loop {
        print!("{} ", paper.soft("your prediction (Enter to go on without one):"));
        std::io::stdout().flush()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(None);
        }
        match ask.kind.parse(&line) {
            Ok(value) => return Ok(Some(value)),
            Err(why) => println!("{}", paper.refuted(why)),
        }
    }
}

/// Runs it, and prints its messages as they happen. Ctrl-C ends the run and all that it started.
async fn watch(experiment: &Erased, order: Order, paper: Option<&Paper>) -> Result<Report> {
    let (trace, cancel) = (order.trace.clone(), order.cancel.clone());
    let interrupted = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
    });
    let mut changes = trace.changes();
    let mut shown = 0;
    let mut run = std::pin::pin!(experiment.run(order));
    let report = loop {
        tokio::select! {
            report = &mut run => break report,
            changed = changes.changed(), if paper.is_some() => {
                if changed.is_ok() && let Some(paper) = paper {
                    shown += print_events(paper, &trace.events(shown))?;
                }
            }
        }
    };
    interrupted.abort();
    if let Some(paper) = paper {
        print_events(paper, trace.whole().get(shown..).unwrap_or_default())?;
        writeln!(std::io::stdout())?;
    }
    report
}

/// Prints events a line each; returns how many those were.
fn print_events(paper: &Paper, events: &[Event]) -> Result<usize> {
    let mut out = std::io::stdout().lock();
    for event in events {
        writeln!(out, "{}", event_line(paper, event))?;
    }
    out.flush()?;
    Ok(events.len())
}

fn event_line(paper: &Paper, event: &Event) -> String {
    let time = |at_us: u64| paper.soft(format!("{:>9.1} ms", at_us as f64 / 1000.0));
    match event {
        Event::Step { what } => format!("\n{}", paper.strong(what)),
        Event::Gap { count } => paper.soft(format!("{:>12}  … {count} more messages, counted", "")),
        Event::Note { at, what, fate: Fate::Arrived, at_us } => {
            format!("{}  {at}: {}", time(*at_us), paper.soft(what))
        }
        Event::Note { at, what, at_us, .. } => format!("{}  {at}: {}", time(*at_us), paper.refuted(what)),
        Event::Message { from, to, what, fate, at_us } => {
            let (arrow, what) = match fate {
                Fate::Arrived => ("→", what.clone()),
                Fate::Refused => ("→", paper.refuted(what)),
                Fate::Lost => ("⇥", paper.refuted(format!("✗ {what} (lost)"))),
            };
            format!("{}  {from} {arrow} {to}  {what}", time(*at_us))
        }
    }
}

/// What the run says: figures, the verdict on the prediction, the claims, and the answer in 30 seconds.
fn tell(paper: &Paper, question: &Question, report: &Report) -> String {
    let mut out = String::new();
    let figures = report.figures.iter().filter(|figure| figure.title != "messages");
    for figure in figures {
        let _ = writeln!(out, "{}\n", figure.terminal(paper.look));
    }
    if let Some(asked) = &report.prediction {
        let truth =
            if asked.right == Some(false) { paper.refuted(&asked.truth) } else { paper.accent(&asked.truth) };
        let _ = writeln!(out, "{}", paper.wrapped(&asked.ask, 0));
        let _ = match &asked.predicted {
            Some(predicted) => writeln!(out, "You said {}. It was {truth}.", paper.strong(predicted)),
            None => writeln!(out, "It was {truth}."),
        };
        if let Some((wrong, because)) = &asked.tempting {
            let _ =
                writeln!(out, "{}", paper.soft(paper.wrapped(&format!("Many say {wrong}: {because}"), 0)));
        }
        out.push('\n');
    }
    for claim in &report.claims {
        out.push_str(&claim_lines(paper, claim));
    }
    out.push_str(&verdict_line(paper, report));
    if report.verdict == Verdict::Holds || report.verdict == Verdict::Refuted {
        let _ = write!(out, "\n{}", thirty_seconds(paper, question, report));
    }
    out
}

fn thirty_seconds(paper: &Paper, question: &Question, report: &Report) -> String {
    let tried = report.claims.iter().filter(|claim| claim.state != State::Untried);
    let measured = tried.map(|claim| (claim.id.clone(), claim.measured.clone())).collect();
    super::show::thirty_seconds(paper, question, &measured)
}

fn claim_lines(paper: &Paper, claim: &Claim) -> String {
    let (mark, measured) = match claim.state {
        State::Holds => (paper.accent("✓"), paper.accent(&claim.measured)),
        State::Refuted => {
            (paper.refuted("✗"), paper.refuted(format!("{}, expected {}", claim.measured, claim.expected)))
        }
        State::Untried => (paper.soft("–"), paper.soft(format!("not put to the test: {}", claim.witness))),
    };
    let says = paper.wrapped(&claim.says, 2);
    let mut lines = format!("{mark} {}\n    {measured}\n", says.trim_start());
    if claim.state == State::Refuted {
        let _ = writeln!(
            lines,
            "{}",
            paper.soft(paper.wrapped(&format!("It breaks when {}.", claim.breaks_when), 4))
        );
    }
    lines
}

fn verdict_line(paper: &Paper, report: &Report) -> String {
    let parts: Vec<_> = report.parts.iter().map(|part| format!("{} {}", part.name, part.version)).collect();
    let with = format!("{:.1} s, seed {}, {}", report.seconds, report.seed, parts.join(", "));
    let verdict = match report.verdict {
        Verdict::Holds => paper.accent(report.verdict),
        _ => paper.refuted(report.verdict),
    };
    let mut line = format!("\n{verdict}  {}\n", paper.soft(with.trim_end_matches(", ")));
    if let Some(error) = &report.error {
        let _ = writeln!(line, "{}", paper.wrapped(error, 2));
    }
    line
}

/// Opens the store and keeps the prediction, before the run: one that is killed then leaves it. What goes wrong here is
/// told, and takes nothing from the run itself.
async fn begin_keeping(
    home: &Home,
    question: &Question,
    values: &Values,
    predicted: Option<u64>,
) -> Option<(Store, Option<i64>)> {
    let begun = async {
        let store = home.open().await?;
        let prediction = match predicted {
            Some(value) => Some(store.record_prediction(question.page.number, values, value).await?),
            None => None,
        };
        anyhow::Ok((store, prediction))
    };
    begun.await.inspect_err(|error| eprintln!("backlab: this run won't be kept: {error:#}")).ok()
}

fn write_figures(dir: &Path, report: &Report) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    for figure in &report.figures {
        let name: String =
            figure.title.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        write_file(&dir.join(format!("{name}.svg")), &figure.svg_file(760))?;
    }
    Ok(())
}

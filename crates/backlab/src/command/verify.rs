//! `backlab verify`: every experiment at its defaults. This is what makes an answer more than a text.

use super::junit::escape;
use super::{question, write_file};
use crate::args::Verify;
use crate::json::{self, Verified};
use crate::paper::Paper;
use anyhow::{Result, ensure};
use backlab_engine::{Order, Report, State, Values, Verdict};
use backlab_questions::{ALL, Question};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

pub async fn verify(args: Verify) -> Result<ExitCode> {
    let chosen = choose(&args)?;
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let began = Instant::now();
    backlab_engine::sweep();
    let bar = progress_bar(chosen.len());
    let mut reports: Vec<_> = futures::stream::iter(chosen)
        .map(|question| verify_one(question, seed, &bar))
        .buffer_unordered(usize::from(args.jobs))
        .collect::<Vec<Result<_>>>()
        .await
        .into_iter()
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    reports.sort_by_key(|(question, _)| question.page.number);
    let seconds = began.elapsed().as_secs_f64();
    let verdict = overall(reports.iter().map(|(_, report)| report.verdict));
    if let Some(file) = &args.junit {
        write_file(file, &junit(&reports, seconds))?;
    }
    if args.json {
        let questions = reports.iter().map(|(question, report)| json::Run::new(question, report)).collect();
        let verified = Verified { verdict, seconds: (seconds * 1000.0).round() / 1000.0, questions };
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&verified)?)?;
    } else {
        write!(std::io::stdout(), "{}", lines(&Paper::of_stdout(), &reports, verdict, seconds))?;
    }
    Ok(super::run::exit_code(verdict))
}

fn choose(args: &Verify) -> Result<Vec<&'static Question>> {
    let named: Vec<_> = args.questions.iter().map(|named| question(named)).collect::<Result<_>>()?;
    for question in &named {
        let page = &question.page;
        ensure!(
            question.experiment.is_some(),
            "question {} ({}) has no experiment yet",
            page.number,
            page.slug
        );
    }
    let all: Vec<_> = if named.is_empty() { ALL.iter().collect() } else { named };
    let runs = |question: &&Question| question.experiment.is_some();
    let on_track = |question: &&Question| args.track.is_none_or(|track| track == question.page.track);
    let chosen: Vec<_> = all.into_iter().filter(runs).filter(on_track).collect();
    ensure!(!chosen.is_empty(), "none of these questions has an experiment yet");
    Ok(chosen)
}

/// At its defaults every claim must be put to the test, but those that a machine may not allow: one that wasn't makes the
/// run a failed one.
async fn verify_one(
    question: &'static Question,
    seed: u64,
    bar: &ProgressBar,
) -> Result<(&'static Question, Report)> {
    let Some(experiment) = question.experiment else {
        anyhow::bail!("{} has no experiment", question.page.slug)
    };
    bar.set_message(question.page.slug);
    let seed = seed.wrapping_add(u64::from(question.page.number));
    let mut report = experiment.run(Order { values: Values::new(), seed, ..Order::default() }).await?;
    let untried = experiment.left_untried(&report).into_iter();
    let untried: Vec<_> = untried.map(|claim| format!("`{}` ({})", claim.id, claim.witness)).collect();
    if report.verdict == Verdict::Holds && !untried.is_empty() {
        report.verdict = Verdict::Failed;
        report.error = Some(format!("not put to the test: {}", untried.join(", ")));
    }
    bar.println(format!("{:>3} {:36} {}", question.page.number, question.page.slug, report.verdict));
    bar.inc(1);
    Ok((question, report))
}

fn progress_bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// The worst of all: one refuted claim outweighs everything.
fn overall(verdicts: impl Iterator<Item = Verdict> + Clone) -> Verdict {
    let worst_first = [Verdict::Refuted, Verdict::Failed, Verdict::Unavailable];
    worst_first.into_iter().find(|wanted| verdicts.clone().any(|it| it == *wanted)).unwrap_or(Verdict::Holds)
}

fn lines(paper: &Paper, reports: &[(&Question, Report)], verdict: Verdict, seconds: f64) -> String {
    let mut out = String::new();
    for (question, report) in reports {
        let holding = report.claims.iter().filter(|claim| claim.holds()).count();
        let word = if report.verdict == Verdict::Holds {
            paper.accent(format!("{:11}", report.verdict.to_string()))
        } else {
            paper.refuted(format!("{:11}", report.verdict.to_string()))
        };
        let page = &question.page;
        let counts = format!(
            "{holding}/{} claims  {:5.1} s  seed {}",
            report.claims.len(),
            report.seconds,
            report.seed
        );
        let _ = writeln!(out, "{:>3} {:36} {word} {}", page.number, page.slug, paper.soft(counts));
        for claim in report.claims.iter().filter(|claim| claim.state == State::Refuted) {
            let _ = writeln!(
                out,
                "      {} {}: {}, expected {}",
                paper.refuted("✗"),
                claim.says,
                claim.measured,
                claim.expected
            );
        }
        if let Some(error) = &report.error {
            let _ = writeln!(out, "      {error}");
        }
    }
    let _ = writeln!(out, "{} in {seconds:.1} s", paper.strong(verdict));
    out
}

/// One test suite, one test case a question, as CI systems read it.
fn junit(reports: &[(&Question, Report)], seconds: f64) -> String {
    let count = |wanted: Verdict| reports.iter().filter(|(_, report)| report.verdict == wanted).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"backlab verify\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">\n",
        reports.len(),
        count(Verdict::Refuted),
        count(Verdict::Failed),
        count(Verdict::Unavailable),
    );
    for (question, report) in reports {
        let page = &question.page;
        let _ = write!(
            xml,
            "<testcase classname=\"{}\" name=\"{} {}\" time=\"{:.3}\">",
            page.track.slug(),
            page.number,
            page.slug,
            report.seconds
        );
        let error = escape(report.error.as_deref().unwrap_or_default());
        let _ = match report.verdict {
            Verdict::Holds => Ok(()),
            Verdict::Refuted => {
                write!(xml, "<failure message=\"a claim is refuted\">{}</failure>", refuted(report))
            }
            Verdict::Failed => write!(xml, "<error message=\"{error}\"/>"),
            Verdict::Unavailable => write!(xml, "<skipped message=\"{error}\"/>"),
        };
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn refuted(report: &Report) -> String {
    let claims = report.claims.iter().filter(|claim| claim.state == State::Refuted);
    claims
        .map(|it| {
            escape(&format!(
                "{}: {}: {}, expected {} (seed {})\n",
                it.id, it.says, it.measured, it.expected, report.seed
            ))
        })
        .collect()
}

//! `backlab check`: a program as a black box, graded stage by stage.

use super::junit::escape;
use super::{Home, challenge, write_file};
use crate::args::Check;
use crate::json;
use crate::paper::Paper;
use anyhow::Result;
use backlab_engine::{Assignment, Command, Grade, Mark, StageGrade};
use backlab_questions::Question;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Seconds from which on a stage's time is worth a word.
const LONG_S: f64 = 2.0;

pub async fn check(args: Check, home: Home) -> Result<ExitCode> {
    let (question, challenge) = challenge(&args.question)?;
    backlab_engine::sweep();
    let paper = Paper::of_stdout();
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    if !args.json {
        let head = format!("{} · {}", question.page.number, challenge.title);
        writeln!(std::io::stdout(), "{}  {}\n", paper.strong(head), paper.soft(format!("seed {seed}")))?;
    }
    let (quiet, hint) = (args.json, args.hint);
    let again = Again { number: question.page.number, seed, args: &args };
    let mut told = |number: usize, stage: &StageGrade| {
        if !quiet {
            // A reader who has closed the pipe misses it.
            let _ = write!(std::io::stdout(), "{}", told(&paper, number, stage, hint));
        }
    };
    let grade = challenge
        .graded
        .grade(Assignment {
            command: Command::of_words(&args.command)?,
            seed,
            only: args.stage,
            keep_going: args.keep_going,
            patience: Duration::from_secs(args.patience),
            cancel: cancelled_by_interrupt(),
            told: &mut told,
            hold: args.hold.then_some(hold),
        })
        .await?;
    if args.stage.is_none() {
        keep(&home, question, &grade).await;
    }
    if let Some(file) = &args.junit {
        write_file(file, &junit(question, &grade))?;
    }
    if args.json {
        writeln!(
            std::io::stdout(),
            "{}",
            serde_json::to_string_pretty(&json::Check::new(question, challenge, &grade))?
        )?;
    } else {
        write!(std::io::stdout(), "{}", end(&paper, question, &grade, &again))?;
    }
    Ok(ExitCode::from(match grade.verdict {
        Mark::Passed | Mark::NotRun => 0,
        Mark::Failed => crate::REFUTED,
        Mark::Unsure => crate::CANNOT,
    }))
}

/// What was found is told even where it can't be kept.
async fn keep(home: &Home, question: &Question, grade: &Grade) {
    let kept = async { anyhow::Ok(home.open().await?.record_grade(question.page.number, grade).await?) };
    if let Err(error) = kept.await {
        eprintln!("backlab: this grade isn't kept: {error:#}");
    }
}

/// Ctrl-C ends the check; the program and all that it started are ended first.
fn cancelled_by_interrupt() -> CancellationToken {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            token.cancel();
        }
    });
    cancel
}

/// Leaves the program as it is until the reader has seen enough.
fn hold(at: Vec<SocketAddr>) -> BoxFuture<'static, ()> {
    async move {
        if at.is_empty() {
            eprintln!("Nothing to hold: your program has ended.");
            return;
        }
        let at: Vec<_> = at.iter().map(|addr| format!("http://{addr}")).collect();
        eprintln!("Your program still runs, at {}. Press Enter to end it.", at.join(" and "));
        let (pressed, ended) = tokio::sync::oneshot::channel();
        // A thread of its own, for which nothing waits when it is Ctrl-C that ends it.
        std::thread::spawn(move || pressed.send(std::io::stdin().read_line(&mut String::new()).unwrap_or(0)));
        tokio::select! {
            pressed = ended => if pressed == Ok(0) {
                eprintln!("Standard input is closed, so nothing can be pressed: it is ended.");
            },
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    .boxed()
}

/// The line of a stage with its mark.
pub fn marked(paper: &Paper, mark: Mark, line: String) -> String {
    match mark {
        Mark::Passed => format!("{} {line}", paper.accent("✓")),
        Mark::Failed => format!("{} {}", paper.refuted("✗"), paper.strong(line)),
        Mark::Unsure => format!("{} {line}: couldn't tell", paper.refuted("?")),
        Mark::NotRun => format!("· {}", paper.soft(line)),
    }
}

/// A stage as it ended.
fn told(paper: &Paper, number: usize, stage: &StageGrade, hint: bool) -> String {
    let mut line = format!("{number}. {}", stage.says);
    if stage.seconds >= LONG_S {
        let _ = write!(line, "  ({:.1} s)", stage.seconds);
    }
    let mut out = String::new();
    let _ = writeln!(out, "{}", marked(paper, stage.mark, line));
    if let Some(failure) = &stage.failure {
        let mut text = failure.to_string();
        if hint {
            let _ = writeln!(text, "A hint:\n  {}", failure.hint);
        }
        let _ = writeln!(out);
        for line in text.lines() {
            let _ = writeln!(out, "    {line}");
        }
        let _ = writeln!(out);
    }
    if let Some(why) = &stage.unsure {
        let _ = writeln!(out, "\n{}\n", paper.wrapped(why, 4));
    }
    out
}

/// What comes after the last stage.
fn end(paper: &Paper, question: &Question, grade: &Grade, again: &Again<'_>) -> String {
    let mut out = String::new();
    let page = &question.page;
    let _ = writeln!(out, "\n{}", paper.strong(summary(grade, again.args.stage)));
    let failed = grade.stages.iter().position(|it| it.mark == Mark::Failed);
    if grade.is_complete() {
        let _ =
            writeln!(out, "All of it. How we did it, and what it trades away: backlab show {}", page.number);
    } else if let Some(failed) = failed {
        let _ = writeln!(out, "Why it matters: backlab show {}  ({})", page.number, page.title);
        let _ = writeln!(
            out,
            "This stage again, with the same values: {}",
            again.line(Some(failed + 1), again.args.hint)
        );
        if !again.args.hint {
            let _ = writeln!(out, "With a hint: {}", again.line(Some(failed + 1), true));
        }
    } else if grade.verdict == Mark::Passed {
        let _ = writeln!(out, "All stages: {}", again.line(None, again.args.hint));
    }
    out
}

/// Of a stage alone how it ended, else how many passed.
fn summary(grade: &Grade, only: Option<usize>) -> String {
    let seconds = grade.seconds;
    match only {
        Some(number) => format!("Stage {number} alone: {}, in {seconds:.1} s", grade.verdict),
        None => format!("{} of {} stages passed in {seconds:.1} s", grade.passed(), grade.stages.len()),
    }
}

/// How the same check is called again.
struct Again<'a> {
    number: u16,
    seed: u64,
    args: &'a Check,
}

impl Again<'_> {
    fn line(&self, stage: Option<usize>, hint: bool) -> String {
        let words: Vec<_> = self.args.command.iter().map(|word| backlab_engine::quoted(word)).collect();
        let stage = stage.map(|it| format!(" --stage {it} --seed {}", self.seed)).unwrap_or_default();
        let hint = if hint { " --hint" } else { "" };
        format!("backlab check {}{stage}{hint} -- {}", self.number, words.join(" "))
    }
}

/// One test suite, one test case a stage.
fn junit(question: &Question, grade: &Grade) -> String {
    let count = |mark| grade.stages.iter().filter(|it| it.mark == mark).count();
    let slug = question.page.slug;
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"backlab check {slug}\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n",
        grade.stages.len(),
        count(Mark::Failed),
        count(Mark::Unsure),
        count(Mark::NotRun),
        grade.seconds,
    );
    for (number, stage) in (1..).zip(&grade.stages) {
        let name = escape(&format!("{number}. {}", stage.says));
        let _ = write!(xml, "<testcase classname=\"{slug}\" name=\"{name}\" time=\"{:.3}\">", stage.seconds);
        match (stage.mark, &stage.failure) {
            (Mark::Failed, Some(failure)) => {
                let text = format!("{failure}A hint:\n  {}\nseed {}\n", failure.hint, grade.seed);
                let _ =
                    write!(xml, "<failure message=\"{}\">{}</failure>", escape(&failure.what), escape(&text));
            }
            (Mark::Unsure, _) => {
                let why = escape(stage.unsure.as_deref().unwrap_or_default());
                let _ = write!(xml, "<error message=\"{why}\"/>");
            }
            (Mark::NotRun, _) => xml.push_str("<skipped/>"),
            _ => {}
        }
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

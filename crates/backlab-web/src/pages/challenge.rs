//! What a question gives one to build: its contract, its stages, how to begin, what the last check found, and, once all
//! of it is passed, our own program.

use super::question::Reading;
use super::{moment, visible};
use backlab_engine::{Failure, Mark, StageGrade};
use backlab_questions::{Challenge, Question};
use backlab_store::Grade;
use maud::{Markup, PreEscaped, html};

/// A language that there is a starter in: its name, what `backlab new` calls it, and what starts the program.
const STARTERS: [(&str, &str, &str); 3] = [
    ("Python", "python", "python3 main.py"),
    ("Node.js", "node", "node main.mjs"),
    ("Rust", "rust", "cargo run --quiet"),
];

/// A check of the reader's program, with its report.
pub(crate) struct Checked {
    pub grade: Grade,
    pub report: backlab_engine::Grade,
}

impl Checked {
    /// Nothing where the report is of a Backlab that wrote it otherwise.
    pub(crate) fn read(grade: Grade) -> Option<Self> {
        let report = serde_json::from_str(&grade.report).ok()?;
        Some(Self { grade, report })
    }
}

pub(crate) fn build(reading: &Reading) -> Markup {
    let Some(challenge) = &reading.question.challenge else { return html! {} };
    let slug = reading.question.page.slug;
    html! {
        section #build aria-labelledby="build-title" {
            h2 #build-title { "Build it" }
            h3 { (challenge.title) }
            (earlier_pass(reading, challenge))
            div.contract { (PreEscaped(challenge.contract_html)) }
            h4 { "Stages" }
            (stages(reading, challenge))
            @match &reading.checked {
                Some(checked) => {
                    (last_check(reading.question, challenge, checked))
                    (ours(reading, challenge))
                    details.more { summary { "Begin anew, or in another language" } (begin(slug)) }
                },
                None => { h4 { "To begin" } (begin(slug)) (ours(reading, challenge)) },
            }
        }
    }
}

/// A pass that the last check didn't repeat.
fn earlier_pass(reading: &Reading, challenge: &Challenge) -> Markup {
    let repeated = |pass: &Grade| reading.checked.as_ref().is_some_and(|it| it.grade.id == pass.id);
    let Some(pass) = reading.passed.as_ref().filter(|pass| !repeated(pass)) else { return html! {} };
    html! {
        p.verdict-line {
            span aria-hidden="true" { "◆ " }
            "Passed all " (pass.stages) " stages of version " (pass.version) " on " (moment(pass.at))
            ", seed " (pass.seed) "."
        }
        (outgrown(challenge, pass))
    }
}

/// Says so where the stages have changed since a check.
fn outgrown(challenge: &Challenge, grade: &Grade) -> Markup {
    let now = challenge.graded.version;
    html! {
        @if now != grade.version {
            p.outgrown { "That was version " (grade.version) " of the stages. They are at version " (now) " now: check again." }
        }
    }
}

/// Each stage with what became of it in the last check, if that was of these stages.
fn stages(reading: &Reading, challenge: &Challenge) -> Markup {
    let checked = reading.checked.as_ref().filter(|it| it.report.version == challenge.graded.version);
    let mark = |says: &str| {
        let stages = checked.into_iter().flat_map(|it| &it.report.stages);
        stages.into_iter().find(|it| it.says == says).map(|it| it.mark)
    };
    html! {
        ol.stages role="list" {
            @for (number, stage) in (1..).zip((challenge.graded.stages)()) {
                @let mark = mark(stage.says);
                li data-mark=[mark] .failed[mark == Some(Mark::Failed)] {
                    span.n aria-hidden="true" { (number) }
                    span { (stage.says) }
                    @if let Some(mark) = mark {
                        span.mark { i aria-hidden="true" { (sign(mark)) } " " span { (mark) } }
                    }
                }
            }
        }
    }
}

fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Passed => "✓",
        Mark::Failed => "✗",
        Mark::Unsure => "?",
        Mark::NotRun => "·",
    }
}

fn last_check(question: &Question, challenge: &Challenge, checked: &Checked) -> Markup {
    let Checked { grade, report } = checked;
    let broken = (1..).zip(&report.stages).filter(|(_, it)| it.mark != Mark::Passed);
    html! {
        h4 { "Your last check" }
        p.verdict-line .no[report.verdict == Mark::Failed] .unsure[report.verdict == Mark::Unsure] {
            @if grade.is_complete() {
                span aria-hidden="true" { "◆ " } "All " (grade.stages) " stages passed."
            } @else {
                span aria-hidden="true" { (sign(report.verdict)) " " }
                (grade.passed) " of " (grade.stages) " stages passed."
            }
        }
        @for (number, stage) in broken { (fault(number, stage)) }
        p.provenance {
            (format!("{:.1} s", grade.seconds)) " · seed " (grade.seed) " · stages of version " (grade.version)
            " · " (moment(grade.at))
        }
        (lines(&[again(question, grade)]))
        (outgrown(challenge, grade))
    }
}

/// The command that checks again, with the same values.
fn again(question: &Question, grade: &Grade) -> String {
    format!("backlab check {} --seed {} -- {}", question.page.slug, grade.seed, grade.command)
}

/// A stage that wasn't passed, if there is more to say of it than that.
fn fault(number: usize, stage: &StageGrade) -> Markup {
    if stage.failure.is_none() && stage.unsure.is_none() {
        return html! {};
    }
    html! {
        div.fault {
            p.stage { b { "Stage " (number) } " " (stage.says) }
            @if let Some(failure) = &stage.failure { (failed(failure)) }
            @if let Some(why) = &stage.unsure {
                p { "The grader couldn’t tell, which says nothing about your program: " (visible(why)) "." }
            }
        }
    }
}

/// The parts of a [`Failure`] as its text has them, but for the cause, which comes first.
fn failed(failure: &Failure) -> Markup {
    let (expected, found, differs) = failure.compared();
    let came: Vec<_> = failure.came.iter().flat_map(|it| it.lines()).collect();
    html! {
        @for (i, cause) in failure.causes.iter().enumerate() {
            p.cause { span { @if i == 0 { "The likely cause: " } @else { "Or: " } } (visible(cause)) }
        }
        p.what { (visible(&failure.what)) }
        dl.compared {
            div { dt { "expected" } dd { (value(&expected, differs)) } }
            div.no { dt { "found" } dd { (value(&found, differs)) } }
        }
        @if !failure.script.is_empty() { p.label { "To see it yourself, type:" } (lines(&failure.script)) }
        (block("The answer to the last line:", &came))
        (block("Your program printed:", &failure.output))
        @if !failure.hint.is_empty() { details.more { summary { "A hint" } p { (failure.hint) } } }
    }
}

/// A value, with what it has in common with the other set apart from the rest, and the first difference marked.
fn value(text: &str, differs: Option<usize>) -> Markup {
    let text = visible(text);
    let Some((at, first)) = differs.and_then(|at| text.char_indices().nth(at)) else {
        return html! { (text) };
    };
    let rest = &text[at + first.len_utf8()..];
    html! { span.common { (text[..at]) } mark { (first) } (rest) }
}

fn block<S: AsRef<str>>(label: &str, lines: &[S]) -> Markup {
    html! {
        @if !lines.is_empty() {
            p.label { (label) }
            pre.came tabindex="0" { @for line in lines { (visible(line.as_ref())) "\n" } }
        }
    }
}

/// Lines for a shell; a script adds a button that copies them.
fn lines<S: AsRef<str>>(lines: &[S]) -> Markup {
    html! { pre.shell tabindex="0" { code { @for line in lines { span { (visible(line.as_ref())) } } } } }
}

fn begin(slug: &str) -> Markup {
    html! {
        p { "Any language will do. A starter is a small project that starts, and fails the first stage:" }
        @for (i, (name, language, command)) in STARTERS.iter().enumerate() {
            details.more name="starter" open[i == 0] {
                summary { (name) }
                (lines(&[
                    format!("backlab new {slug} --language {language}"),
                    format!("cd {slug}"),
                    format!("backlab check {slug} -- {command}"),
                ]))
            }
        }
        p.elsewhere { "In another language, begin with an empty file, and put what starts your program behind the " code { "--" } "." }
    }
}

/// Our own program, for who has passed.
fn ours(reading: &Reading, challenge: &Challenge) -> Markup {
    html! {
        @if reading.passed.is_some() {
            h4 { "How we did it" }
            div.notes { (PreEscaped(challenge.notes_html)) }
            details.more {
                summary { "Our program, line by line" }
                pre.code tabindex="0" { code.language-rust { (PreEscaped(challenge.reference_source)) } }
            }
        }
    }
}

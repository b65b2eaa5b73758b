//! What a run showed: its verdict, figures and claims, and the line that repeats it.

use super::{moment, plain};
use crate::runs::Ended;
use backlab_engine::{Asked, Claim, Report, State, Verdict};
use backlab_figures::{Drawing, Figure, Sequence};
use backlab_questions::Question;
use maud::{Markup, PreEscaped, html};

/// The two widths, in CSS pixels, for which each figure is laid out; the style sheet shows one of them.
pub(crate) const WIDE: u32 = 680;
const NARROW: u32 = 340;

/// A run that has just ended.
pub(crate) fn ended(question: &Question, ended: &Ended) -> Markup {
    html! {
        @if ended.cancelled {
            p.verdict { "Cancelled. Everything that the run had started has ended." }
        } @else {
            (report(question, &ended.report, None))
        }
        @if let Some(why) = &ended.not_kept { p.absent { "This run couldn’t be kept. " (why) } }
    }
}

/// A run of before.
pub(crate) fn kept(question: &Question, of: &Report, at_ms: i64) -> Markup {
    report(question, of, Some(at_ms))
}

fn report(question: &Question, report: &Report, at_ms: Option<i64>) -> Markup {
    let (messages, figures): (Vec<_>, Vec<_>) = report
        .figures
        .iter()
        .partition(|it| matches!(it.drawing, Drawing::Sequence(_)) && it.title == "messages");
    html! {
        (verdict(question, report))
        @for it in messages { (figure(it)) }
        @for it in figures { (figure(it)) }
        (claims(&report.claims))
        (provenance(question, report, at_ms))
    }
}

fn verdict(question: &Question, report: &Report) -> Markup {
    let changed = changed(question, report);
    let with = if changed.is_empty() { String::new() } else { format!(", with {}", words(&changed)) };
    let (held, tried) = (
        report.claims.iter().filter(|it| it.holds()).count(),
        report.claims.iter().filter(|it| it.state != State::Untried).count(),
    );
    let why = report.error.as_deref().unwrap_or("no reason was given");
    html! {
        @if let Some(asked) = &report.prediction { (truth(asked)) }
        p.verdict-line .no[report.verdict != Verdict::Holds] {
            @match report.verdict {
                Verdict::Holds => { "✓ " (held) " of " (tried) " claims hold" (with) "." },
                Verdict::Refuted => { "✗ " (tried - held) " of " (tried) " claims refuted" (with) "." },
                Verdict::Unavailable => { "– Not run: " (why) "." },
                Verdict::Failed => { "– The run broke, so it says nothing about the claims: " (why) "." },
            }
        }
    }
}

/// "You said 1. It was 50."
fn truth(asked: &Asked) -> Markup {
    let wrong = asked.right == Some(false);
    html! {
        p.verdict {
            @if let Some(predicted) = &asked.predicted { "You said " b { (predicted) } ". " }
            "It was " b.truth .no[wrong] { (asked.truth) } "."
            @if asked.right == Some(true) { " You were right." }
            @if let Some((tempting, because)) = &asked.tempting {
                span.tempting {
                    @if asked.predicted.as_ref() == Some(tempting) { " Many say so: " }
                    @else { " Many say " b { (tempting) } ": " }
                    (because) @if !because.ends_with(['.', '!', '?']) { "." }
                }
            }
        }
    }
}

/// A figure in both layouts, and as a table.
pub(crate) fn figure(it: &Figure) -> Markup {
    let table = it.table();
    let long = matches!(it.drawing, Drawing::Sequence(_));
    html! {
        figure {
            @if long {
                div.sequence tabindex="0" role="region" aria-label={ "Figure: " (it.title) } { (layouts(it)) }
            } @else if matches!(it.drawing, Drawing::Table(_)) {
                (rows(&it.title, &table.columns, &table.rows))
            } @else { (layouts(it)) }
            figcaption { (it.caption) }
            @if !matches!(it.drawing, Drawing::Table(_)) {
                details.as-table { summary { "As a table" } (rows(&it.title, &table.columns, &table.rows)) }
            }
        }
    }
}

fn layouts(it: &Figure) -> Markup {
    html! {
        div.wide { (layout(it, WIDE)) }
        div.narrow { (layout(it, NARROW)) }
    }
}

/// One layout. A sequence is long, so its heads are drawn once more, to stay in sight while it scrolls beneath them;
/// and where it has many lanes it is wider than the page.
pub(crate) fn layout(it: &Figure, width: u32) -> Markup {
    let Drawing::Sequence(sequence) = &it.drawing else {
        return PreEscaped(it.svg(width));
    };
    let heads = Sequence { participants: sequence.participants.clone(), rows: Vec::new() };
    let heads = Figure::new("", "", heads).svg(width);
    html! {
        div.lanes .broad[sequence.least_width() > width] {
            div.heads aria-hidden="true" { (PreEscaped(heads)) }
            (PreEscaped(it.svg(width)))
        }
    }
}

fn rows(title: &str, columns: &[String], rows: &[Vec<String>]) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label={ "Table: " (title) } { table {
            thead { tr { @for column in columns { th scope="col" { (column) } } } }
            tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
        } }
    }
}

fn claims(claims: &[Claim]) -> Markup {
    html! {
        @if !claims.is_empty() { ul.claims aria-label="Claims" { @for it in claims { (claim(it)) } } }
    }
}

fn claim(claim: &Claim) -> Markup {
    let (sign, word) = match claim.state {
        State::Holds => ("✓", "holds"),
        State::Refuted => ("✗", "refuted"),
        State::Untried => ("–", "not put to the test"),
    };
    html! {
        li id={ "claim-" (claim.id) } data-state=(word)
            .no[claim.state == State::Refuted] .untried[claim.state == State::Untried] {
            span.t aria-hidden="true" { (sign) }
            div {
                span.sr { (word) ": " }
                (claim.says)
                small {
                    @match claim.state {
                        State::Refuted => {
                            "Refuted: expected " (claim.expected) ". It breaks when " (claim.breaks_when) "."
                        },
                        State::Holds => { (claim.witness) },
                        State::Untried => { "Not put to the test: " (claim.witness) "." },
                    }
                }
            }
            span.m { @if claim.state != State::Untried { (claim.measured) } }
        }
    }
}

fn provenance(question: &Question, report: &Report, at_ms: Option<i64>) -> Markup {
    html! {
        p.provenance {
            (format!("{:.1} s", report.seconds))
            @for it in &report.parts { " · " (part(&it.name)) " " (it.version) }
            " · seed " (report.seed)
            @if let Some(at) = at_ms { " · " (moment(at)) }
        }
        pre.again tabindex="0" { code { (command(question, report)) } }
    }
}

/// The command that repeats a run; knobs at their defaults are left out.
fn command(question: &Question, report: &Report) -> String {
    let mut command = format!("backlab run {}", question.page.slug);
    for (name, value) in changed(question, report) {
        command.push_str(&format!(" {}", backlab_engine::flag(name, &value)));
    }
    command.push_str(&format!(" --seed {}", report.seed));
    command
}

/// The knobs that weren't at their defaults.
fn changed(question: &Question, report: &Report) -> Vec<(&'static str, String)> {
    let specs = question.experiment.map(|it| (it.specs)()).unwrap_or_default();
    let set = specs.into_iter().filter_map(|spec| {
        let value = report.params.get(spec.name).map(plain)?;
        (value != spec.default()).then_some((spec.name, value))
    });
    set.collect()
}

/// Knobs as one says them: "server: inserts each time, requests: 5".
fn words(knobs: &[(&str, String)]) -> String {
    let each: Vec<_> =
        knobs.iter().map(|(name, value)| format!("{}: {value}", name.replace('_', " "))).collect();
    each.join(", ")
}

/// A part's own name, as its makers write it.
pub(crate) fn part(name: &str) -> &str {
    match name {
        "sqlite" => "SQLite",
        "postgres" => "PostgreSQL",
        "redis" => "Redis",
        "nats" => "NATS",
        "node" => "Node.js",
        "namespaces" => "Linux namespaces",
        "chromium" => "Chromium",
        other => other,
    }
}

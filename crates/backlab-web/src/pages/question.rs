//! A question's page: predict, run, and the answer with the figures that were measured here.

use super::challenge::{self, Checked};
use super::{Frame, outcome, path, plain, status, trial, utc};
use crate::assets::Assets;
use backlab_catalogue::{Answer, Page, Piece};
use backlab_engine::{Report, Values};
use backlab_questions::{ALL, Question};
use backlab_store::{Grade, Measured, Prediction, Run, RunLine};
use backlab_study::Status;
use maud::{Markup, PreEscaped, html};
use std::collections::BTreeMap;

/// All that the page of one question shows.
pub(crate) struct Reading {
    pub question: &'static Question,
    /// The knobs as the address sets them.
    pub values: Option<Values>,
    pub status: Status,
    pub prediction: Option<Prediction>,
    pub last: Option<(Report, Run)>,
    pub earlier: Vec<RunLine>,
    pub measured: BTreeMap<String, Measured>,
    /// The last check of the reader's own program.
    pub checked: Option<Checked>,
    /// The last one that passed every stage.
    pub passed: Option<Grade>,
    /// The run that is under way.
    pub under_way: Option<u64>,
}

impl Reading {
    /// Whether what was measured may be shown: the reader predicted, or chose to read first.
    pub(crate) fn committed(&self) -> bool {
        self.status > Status::New
    }
}

pub(crate) fn page(assets: &Assets, reading: &Reading) -> Markup {
    let page = &reading.question.page;
    let title = format!("{} · {} · Backlab", page.number, page.title);
    let frame =
        Frame { assets, title: &title, kind: "question", script: Some(&assets.question), again: None };
    frame.around(&html! {
        article data-question=(page.number) data-run=[reading.under_way] {
            (place(reading))
            h1 { (page.title) }
            p.asked { "“" (page.asked) "”" }
            @match reading.question.experiment {
                Some(experiment) => (trial::trial(reading, experiment)),
                None => p.absent {
                    "This question can’t be run yet."
                    @if !page.experiment.is_empty() { " Planned: " em { (page.experiment) } "." }
                },
            }
            div #answer data-live { (answer(reading)) }
            (beside(reading))
        }
        (neighbours(page))
    })
}

fn place(reading: &Reading) -> Markup {
    let page = &reading.question.page;
    html! {
        p.where #where data-live {
            (page.number) " of " (ALL.len()) " · "
            a href={ "/?track=" (page.track.slug()) } { (page.track.title()) } " · "
            a href={ "/?level=" (page.level.slug()) } { (page.level.title()) } " · "
            span.status { (status(reading.status)) }
            @if reading.question.challenge.is_some() { " · " a href="#build" { "Build it" } }
        }
    }
}

fn answer(reading: &Reading) -> Markup {
    let question = reading.question;
    match question.page.answer {
        Some(answer) => html! {
            (sections(reading, answer))
            @if reading.status == Status::New {
                form.row method="post" action={ (path(question)) "/read" } {
                    button.quiet type="submit" { "I have read it" }
                }
            }
        },
        None => html! {
            section aria-labelledby="answer-title" {
                h2 #answer-title { "Answer" }
                p.absent { "The answer isn’t written yet. What a strong one must say stands below." }
            }
        },
    }
}

fn sections(reading: &Reading, answer: &Answer) -> Markup {
    html! {
        @for section in answer.sections {
            section aria-labelledby=(section.id) .lead[section.id == "in-30-seconds"] {
                h2 id=(section.id) { (section.title) }
                @for piece in section.html {
                    @match piece {
                        Piece::Html(html) => (PreEscaped(html)),
                        Piece::Claim(id) => (here(reading, id)),
                    }
                }
            }
        }
    }
}

/// The last figure of a claim, where the text states the claim.
fn here(reading: &Reading, id: &str) -> Markup {
    let measured = reading.measured.get(id).filter(|_| reading.committed());
    let Some(measured) = measured else {
        let why =
            if reading.question.experiment.is_some() { "not yet run here" } else { "can’t be run yet" };
        return html! { a.here.not-yet href="#run" title=(why) { span.sr { " (" (why) ")" } } };
    };
    let parts = measured.parts.iter().map(|it| format!("{} {}", outcome::part(&it.name), it.version));
    let knobs =
        measured.params.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)));
    let when = format!("measured here {}", utc(measured.at));
    let how: Vec<String> = std::iter::once(when).chain(parts).chain(knobs).collect();
    // A short figure isn't torn apart at the end of a line.
    let short = measured.figure.chars().count() <= 24;
    let figure = if short { measured.figure.replace(' ', "\u{a0}") } else { measured.figure.clone() };
    html! {
        a.here .no[!measured.holds] href={ "#claim-" (id) } title=(how.join(" · ")) {
            "here:\u{a0}" (figure) @if !measured.holds { "\u{a0}✗" span.sr { " (refuted)" } }
        }
    }
}

/// What belongs to the answer without being it.
fn beside(reading: &Reading) -> Markup {
    let question = reading.question;
    let page = &question.page;
    html! {
        @if !page.follow_ups.is_empty() {
            section aria-labelledby="next-title" {
                h2 #next-title { "They ask next" }
                @for it in page.follow_ups {
                    @match it.say {
                        Some(say) => details.more { summary { (it.ask) } p { (say) } },
                        None => p.next { (it.ask) },
                    }
                }
            }
        }
        @if !page.must_say.is_empty() {
            section aria-labelledby="must-title" {
                h2 #must-title { "A strong answer says" }
                ul.must { @for it in page.must_say { li { (it) } } }
            }
        }
        (challenge::build(reading))
        @if !page.cards.is_empty() {
            section aria-labelledby="cards-title" {
                h2 #cards-title { "Cards" }
                @for card in page.cards { details.more { summary { (card.ask) } p { (card.say) } } }
            }
        }
        @if !question.experiment_source.is_empty() {
            section aria-labelledby="source-title" {
                h2 #source-title { "The experiment itself" }
                details.more {
                    summary { "What ran, line by line" }
                    pre.code tabindex="0" { code.language-rust { (PreEscaped(question.experiment_source)) } }
                }
            }
        }
        (leads(page))
    }
}

fn leads(page: &Page) -> Markup {
    let related: Vec<_> = page.related.iter().filter_map(|slug| backlab_questions::find(slug)).collect();
    html! {
        @if !page.sources.is_empty() {
            section aria-labelledby="sources-title" {
                h2 #sources-title { "Sources" }
                ul.sources { @for source in page.sources { li {
                    @match source.url {
                        Some(url) => a href=(url) rel="noopener" { (source.name) },
                        None => (source.name),
                    }
                } } }
            }
        }
        @if !related.is_empty() {
            section aria-labelledby="related-title" {
                h2 #related-title { "Close to it" }
                ul.related { @for it in related { li {
                    a href=(path(it)) { (it.page.title) } " " span.soft { (it.page.number) }
                } } }
            }
        }
    }
}

fn neighbours(page: &Page) -> Markup {
    let at = ALL.iter().position(|it| it.page.number == page.number);
    let before = at.and_then(|at| ALL.get(at.checked_sub(1)?));
    let after = at.and_then(|at| ALL.get(at + 1));
    html! {
        nav.neighbours aria-label="Neighbouring questions" {
            @if let Some(it) = before {
                a href=(path(it)) rel="prev" {
                    kbd aria-hidden="true" { "[" } " " (it.page.number) " · " (it.page.title)
                }
            }
            @if let Some(it) = after {
                a href=(path(it)) rel="next" {
                    (it.page.number) " · " (it.page.title) " " kbd aria-hidden="true" { "]" }
                }
            }
        }
    }
}

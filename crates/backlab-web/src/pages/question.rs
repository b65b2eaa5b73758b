//! A question's page: predict, run, and the answer with the figures that were measured here.

use super::{Frame, moment, outcome, path, status};
use crate::assets::Assets;
use backlab_catalogue::{Answer, Page, Piece};
use backlab_engine::{Ask, AskKind, Erased, Fault, ParamKind, ParamSpec, Report, Values};
use backlab_questions::{ALL, Question};
use backlab_store::{Measured, Prediction, Run, RunLine};
use backlab_study::Status;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;
use std::collections::BTreeMap;

/// The form to which the fields of Predict and the knobs of Run both belong.
const FORM: &str = "try";

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
    /// The run that is under way.
    pub under_way: Option<u64>,
}

type Effective = BTreeMap<String, Value>;

impl Reading {
    /// Whether what was measured may be shown: the reader predicted, or chose to read first.
    fn committed(&self) -> bool {
        self.status > Status::New
    }

    /// The knobs as the page shows them: as the address says, else as in the last run, else at their defaults.
    fn knobs(&self, experiment: &Erased) -> Values {
        if let Some(values) = &self.values {
            return values.clone();
        }
        let last = self.last.as_ref().filter(|_| self.committed()).map(|(report, _)| &report.params);
        let values: Values =
            last.into_iter().flatten().map(|(name, value)| (name.clone(), plain(value))).collect();
        // A run of an older version may have had other knobs.
        if experiment.check(&values).is_ok() { values } else { Values::new() }
    }

    /// The prediction that was made for these knobs.
    fn predicted(&self, experiment: &Erased, values: &Values) -> Option<u64> {
        let made = self.prediction.as_ref()?;
        let same = effective(experiment, &made.params) == effective(experiment, values);
        same.then_some(made.predicted)
    }

    /// Whether the last run had these knobs, so that their outcome is known.
    fn known(&self, experiment: &Erased, values: &Values) -> bool {
        let last = self.last.as_ref().filter(|_| self.committed());
        last.is_some_and(|(report, _)| Some(&report.params) == effective(experiment, values).as_ref())
    }
}

fn effective(experiment: &Erased, values: &Values) -> Option<Effective> {
    let params = experiment.check(values).ok()?;
    Some(params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A JSON value as a reader writes it.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
                Some(experiment) => (trial(reading, experiment)),
                None => p.absent {
                    "This question can’t be run yet."
                    @if !page.experiment.is_empty() { " Planned: " em { (page.experiment) } "." }
                },
            }
            div #answer data-live { (answer(reading)) }
            (beside(reading.question))
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
        }
    }
}

/// Predict and Run: one form, so that a prediction belongs to the knobs that it was made for.
fn trial(reading: &Reading, experiment: &Erased) -> Markup {
    let page = &reading.question.page;
    let values = reading.knobs(experiment);
    let path = path(reading.question);
    html! {
        form #(FORM) method="post" action={ (path) "/run" } {}
        section aria-labelledby="predict-title" {
            h2 #predict-title { "Predict" }
            div #predict.card data-live { (predict(reading)) }
        }
        section #run aria-labelledby="run-title" {
            h2 #run-title { "Run" }
            @if !page.experiment.is_empty() { p.experiment { (page.experiment) } }
            (missing(experiment))
            (knobs(experiment, &values))
            div.row #go data-live { (go(reading, experiment, &values)) }
            p.progress #progress role="status" {}
            div #live.sequence tabindex="0" role="region" aria-label="Messages of the run under way" hidden {}
            div #outcome {
                @if let Some((report, run)) = reading.last.as_ref().filter(|_| reading.committed()) {
                    (outcome::kept(reading.question, report, run.at))
                }
            }
            div #faults data-live { @if reading.committed() { (faults(&path, (experiment.faults)())) } }
            div #earlier data-live { @if reading.committed() { (earlier(&reading.earlier)) } }
        }
    }
}

/// What is asked before the run, and the field for it.
pub(crate) fn predict(reading: &Reading) -> Markup {
    let Some(experiment) = reading.question.experiment else { return html! {} };
    let values = reading.knobs(experiment);
    let Ok(Ask { ask, kind }) = (experiment.ask)(&values) else { return html! {} };
    let path = path(reading.question);
    html! {
        p #ask { (ask) }
        @if let Some(predicted) = reading.predicted(experiment, &values) {
            p.said { "You said " b { (words(&kind, predicted)) } "." @if !reading.known(experiment, &values) { " Now run it." } }
        } @else if reading.known(experiment, &values) {
            p.said { "You ran this without a prediction. Turn a knob, and predict what it changes." }
        } @else {
            (field(&kind, reading.committed()))
            div.row {
                button type="submit" form=(FORM) formaction={ (path) "/predict" } .quiet[reading.committed()] { "Lock it in" }
                @if !reading.committed() {
                    button.quiet type="submit" form=(FORM) formaction={ (path) "/read" } formnovalidate { "I’d rather read first" }
                }
            }
        }
    }
}

fn field(kind: &AskKind, optional: bool) -> Markup {
    html! {
        @match kind {
            AskKind::Number { unit } => p.row {
                input #predicted form=(FORM) name="predicted" type="number" inputmode="numeric" min="0" step="1" required[!optional] autocomplete="off" aria-label="Your prediction" aria-describedby="ask";
                span.unit { (unit) }
            },
            AskKind::Choice { options } => fieldset.options aria-describedby="ask" {
                legend.sr { "Your prediction" }
                @for option in options {
                    label { input form=(FORM) name="predicted" type="radio" value=(option) required[!optional]; " " (option) }
                }
            },
        }
    }
}

fn words(kind: &AskKind, predicted: u64) -> String {
    match kind {
        AskKind::Number { unit } => format!("{predicted} {unit}").trim_end().to_owned(),
        AskKind::Choice { options } => {
            let option = usize::try_from(predicted).ok().and_then(|index| options.get(index));
            option.cloned().unwrap_or_else(|| "none of these".to_owned())
        }
    }
}

/// The parts that aren't here, each with the line that installs it.
fn missing(experiment: &Erased) -> Markup {
    let missing: Vec<_> = experiment.needs.iter().filter_map(|part| part.version().err()).collect();
    html! {
        @for missing in missing {
            div.absent {
                p { "It needs " b { (missing.part) } ", which isn’t available: " (missing.why) ". To install it:" }
                pre tabindex="0" { code { (missing.install) } }
            }
        }
    }
}

fn knobs(experiment: &Erased, values: &Values) -> Markup {
    let specs = (experiment.specs)();
    html! {
        @if !specs.is_empty() {
            div.knobs role="group" aria-label="Knobs" { @for spec in &specs { (knob(spec, values)) } }
        }
    }
}

fn knob(spec: &ParamSpec, values: &Values) -> Markup {
    let value = values.get(spec.name).cloned().unwrap_or_else(|| spec.default());
    let (id, help) = (format!("knob-{}", spec.name), format!("help-{}", spec.name));
    html! {
        div.knob .choice[matches!(spec.kind, ParamKind::Choice { .. })] {
            label for=(id) {
                (spec.name.replace('_', " "))
            }
            @match &spec.kind {
                ParamKind::Number { min, max, .. } =>
                    input id=(id) form=(FORM) name=(spec.name) type="number" inputmode="numeric" min=(min) max=(max) step="1" required value=(value) data-default=(spec.default()) aria-describedby=(help);,
                ParamKind::Choice { options, .. } =>
                    select id=(id) form=(FORM) name=(spec.name) data-default=(spec.default()) aria-describedby=(help) {
                        @for option in options { option selected[*option == value] { (option) } }
                    },
            }
            small id=(help) {
                (spec.help)
                @if let ParamKind::Number { min, max, .. } = &spec.kind { " " span { (min) "–" (max) } }
            }
        }
    }
}

/// The buttons of a run.
fn go(reading: &Reading, experiment: &Erased, values: &Values) -> Markup {
    let ready = reading.committed();
    html! {
        button #run-button type="submit" form=(FORM) .quiet[!ready] { @if reading.known(experiment, values) { "Run again" } @else { "Run" } }
        button #defaults-button.quiet type="button" hidden { "Put the knobs back" }
        @if let Some(run) = reading.under_way { a.while-running href={ "/runs/" (run) } { "A run is under way" } }
        @if reading.last.is_none() || !ready { span.soft.at-rest { "Runs on this machine" (with(experiment)) "." } }
    }
}

fn with(experiment: &Erased) -> Markup {
    let here: Vec<_> =
        experiment.needs.iter().filter_map(|part| Some((part.name, part.version().ok()?))).collect();
    html! { @for (i, (name, version)) in here.iter().enumerate() { (if i == 0 { ", with " } else { ", " }) (outcome::part(name)) " " (version) } }
}

/// The ways to break the mechanism: each sets knobs and runs.
fn faults(path: &str, faults: Vec<Fault>) -> Markup {
    html! {
        @if !faults.is_empty() {
            div.faults role="group" aria-label="Break it" {
                @for fault in faults {
                    form method="post" action={ (path) "/run" } {
                        @for (name, value) in fault.set { input type="hidden" name=(name) value=(value); }
                        button.quiet.break type="submit" { "Break it: " (fault.label) }
                    }
                }
            }
        }
    }
}

fn earlier(runs: &[RunLine]) -> Markup {
    html! {
        @if let Some((_, earlier)) = runs.split_first().filter(|(_, earlier)| !earlier.is_empty()) {
            details.more {
                summary { "Earlier runs" }
                div.table tabindex="0" { table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Outcome" } th scope="col" { "Knobs" } th scope="col" { "Seconds" } } }
                    tbody { @for run in earlier { tr {
                        td { (moment(run.at)) }
                        td.bad[run.verdict != "holds"] { (run.verdict) }
                        td { @for (i, (name, value)) in run.params.iter().enumerate() { @if i > 0 { ", " } (name.replace('_', " ")) " " b { (plain(value)) } } }
                        td { (format!("{:.1}", run.seconds)) }
                    } } }
                } }
            }
        }
    }
}

fn answer(reading: &Reading) -> Markup {
    let question = reading.question;
    match question.page.answer {
        Some(answer) => html! {
            (sections(reading, answer))
            @if reading.status == Status::New {
                form.row method="post" action={ (path(question)) "/read" } { button.quiet type="submit" { "I have read it" } }
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
    let knobs =
        measured.params.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)));
    let parts = measured.parts.iter().map(|it| format!("{} {}", outcome::part(&it.name), it.version));
    let when = jiff::Timestamp::from_millisecond(measured.at)
        .map(|at| at.strftime("%-d %b %Y, %H:%M UTC").to_string())
        .unwrap_or_default();
    let how: Vec<String> =
        std::iter::once(format!("measured here {when}")).chain(parts).chain(knobs).collect();
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
fn beside(question: &Question) -> Markup {
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
                ul.sources { @for source in page.sources {
                    li { @match source.url { Some(url) => a href=(url) rel="noopener" { (source.name) }, None => (source.name) } }
                } }
            }
        }
        @if !related.is_empty() {
            section aria-labelledby="related-title" {
                h2 #related-title { "Close to it" }
                ul.related { @for it in related { li { a href=(path(it)) { (it.page.title) } " " span.soft { (it.page.number) } } } }
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
            @if let Some(it) = before { a href=(path(it)) rel="prev" { kbd aria-hidden="true" { "[" } " " (it.page.number) " · " (it.page.title) } }
            @if let Some(it) = after { a href=(path(it)) rel="next" { (it.page.number) " · " (it.page.title) " " kbd aria-hidden="true" { "]" } } }
        }
    }
}

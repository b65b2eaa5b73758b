//! Predict and Run on a question's page. They are one form, so that a prediction belongs to the knobs that it was
//! made for; every button works without scripts too.

use super::question::Reading;
use super::{moment, outcome, path, plain};
use backlab_engine::{Ask, AskKind, Erased, Fault, ParamKind, ParamSpec, Values};
use backlab_store::RunLine;
use maud::{Markup, html};
use serde_json::Value;
use std::collections::BTreeMap;

const FORM: &str = "try";

pub(crate) fn trial(reading: &Reading, experiment: &Erased) -> Markup {
    let page = &reading.question.page;
    let values = reading.knobs(experiment);
    let path = path(reading.question);
    let last = reading.last.as_ref().filter(|_| reading.committed());
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
            div.sequence #live tabindex="0" role="region" aria-label="Messages of the run under way" hidden {}
            div #outcome {
                @if let Some((report, run)) = last { (outcome::kept(reading.question, report, run.at)) }
            }
            div #faults data-live { @if reading.committed() { (faults(&path, &(experiment.faults)())) } }
            div #earlier data-live { @if reading.committed() { (earlier(&reading.earlier)) } }
        }
    }
}

impl Reading {
    /// The knobs as the page shows them: as the address says, else as in the last run, else at their defaults.
    fn knobs(&self, experiment: &Erased) -> Values {
        if let Some(values) = &self.values {
            return values.clone();
        }
        let last = self.last.as_ref().filter(|_| self.committed()).map(|(report, _)| &report.params);
        let values = last.into_iter().flatten().map(|(name, value)| (name.clone(), plain(value))).collect();
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

fn effective(experiment: &Erased, values: &Values) -> Option<BTreeMap<String, Value>> {
    let params = experiment.check(values).ok()?;
    Some(params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What is asked before the run, and the field for it.
pub(crate) fn predict(reading: &Reading) -> Markup {
    let Some(experiment) = reading.question.experiment else { return html! {} };
    let values = reading.knobs(experiment);
    let Ok(Ask { ask, kind }) = (experiment.ask)(&values) else { return html! {} };
    let known = reading.known(experiment, &values);
    html! {
        p #ask { (ask) }
        @if let Some(predicted) = reading.predicted(experiment, &values) {
            p.said { "You said " b { (words(&kind, predicted)) } "." @if !known { " Now run it." } }
        } @else if known {
            p.said { "You ran this without a prediction. Turn a knob, and predict what it changes." }
        } @else {
            (field(&kind, reading.committed()))
            (commit(&path(reading.question), reading.committed()))
        }
    }
}

fn field(kind: &AskKind, optional: bool) -> Markup {
    html! {
        @match kind {
            AskKind::Number { unit } => p.row {
                input #predicted form=(FORM) name="predicted" type="number" inputmode="numeric" min="0" step="1"
                    required[!optional] autocomplete="off" aria-label="Your prediction" aria-describedby="ask";
                span.unit { (unit) }
            },
            AskKind::Choice { options } => fieldset.options aria-describedby="ask" {
                legend.sr { "Your prediction" }
                @for option in options {
                    label {
                        input form=(FORM) name="predicted" type="radio" value=(option) required[!optional];
                        " " (option)
                    }
                }
            },
        }
    }
}

fn commit(path: &str, committed: bool) -> Markup {
    html! {
        div.row {
            button type="submit" form=(FORM) formaction={ (path) "/predict" } .outlined[committed] { "Lock it in" }
            @if !committed {
                button.quiet type="submit" form=(FORM) formaction={ (path) "/read" } formnovalidate {
                    "I’d rather read first"
                }
            }
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
        @for it in missing {
            div.absent {
                p { "It needs " b { (outcome::part(it.part)) } ", which isn’t available: " (it.why) ". To install it:" }
                pre tabindex="0" { code { (it.install) } }
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
            label for=(id) { (spec.name.replace('_', " ")) }
            @match &spec.kind {
                ParamKind::Number { min, max, .. } => input id=(id) form=(FORM) name=(spec.name) type="number"
                    inputmode="numeric" min=(min) max=(max) step="1" required
                    value=(value) data-default=(spec.default()) aria-describedby=(help);,
                ParamKind::Choice { options, .. } => select id=(id) form=(FORM) name=(spec.name)
                    data-default=(spec.default()) aria-describedby=(help) {
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
        button #run-button type="submit" form=(FORM) .outlined[!ready] {
            @if reading.known(experiment, values) { "Run again" } @else { "Run" }
        }
        button #defaults-button.quiet type="button" hidden { "Put the knobs back" }
        @if let Some(run) = reading.under_way {
            a.while-running href={ "/runs/" (run) } { "A run is under way" }
        }
        @if reading.last.is_none() || !ready {
            span.soft.at-rest { "Runs on this machine" (with(experiment)) "." }
        }
    }
}

fn with(experiment: &Erased) -> String {
    let here = experiment.needs.iter().filter_map(|part| Some((part.name, part.version().ok()?)));
    let named: Vec<_> = here.map(|(name, version)| format!("{} {version}", outcome::part(name))).collect();
    if named.is_empty() { String::new() } else { format!(", with {}", named.join(", ")) }
}

/// The ways to break the mechanism: each sets knobs and runs.
fn faults(path: &str, faults: &[Fault]) -> Markup {
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

/// The runs before the one that is shown.
fn earlier(runs: &[RunLine]) -> Markup {
    let Some((_, earlier)) = runs.split_first().filter(|(_, earlier)| !earlier.is_empty()) else {
        return html! {};
    };
    html! {
        details.more {
            summary { "Earlier runs" }
            div.table tabindex="0" role="region" aria-label="Earlier runs" {
                table {
                    thead { tr {
                        @for head in ["When", "Outcome", "Knobs", "Seconds"] { th scope="col" { (head) } }
                    } }
                    tbody { @for run in earlier { tr {
                        td { (moment(run.at)) }
                        td { (run.verdict) }
                        td { @for (i, (name, value)) in run.params.iter().enumerate() {
                            @if i > 0 { ", " } (name.replace('_', " ")) " " b { (plain(value)) }
                        } }
                        td { (format!("{:.1}", run.seconds)) }
                    } } }
                }
            }
        }
    }
}

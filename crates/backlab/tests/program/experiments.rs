//! What must be true of every experiment: loops over all of them, so that none needs a review for it.

use crate::common::{experiments, run};
use backlab_engine::{Order, ParamKind, Report, State, Trace, Verdict};
use std::collections::BTreeSet;

/// Why a report isn't the one that was wanted.
fn describe(report: &Report) -> String {
    let claims: Vec<_> = report
        .claims
        .iter()
        .filter(|claim| !claim.holds())
        .map(|it| {
            format!("{} is {:?}: {}, expected {} ({})", it.id, it.state, it.measured, it.expected, it.witness)
        })
        .collect();
    format!("{} (seed {}) {:?} {}", report.verdict, report.seed, report.error, claims.join("; "))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_holds_at_the_defaults_and_was_put_to_the_test() {
    for (question, experiment) in experiments() {
        let slug = question.page.slug;
        let report = run(experiment, &[], 11).await;
        assert_eq!(report.verdict, Verdict::Holds, "{slug}: {}", describe(&report));
        assert!(experiment.left_untried(&report).is_empty(), "{slug}: {}", describe(&report));
        assert!(report.claims.len() >= 2, "{slug}: an answer worth running claims at least two things");
        assert!(!report.figures.is_empty(), "{slug}: draw what was observed");
        assert!(
            report.prediction.is_some_and(|it| it.tempting.is_some()),
            "{slug}: name the tempting wrong prediction"
        );
        assert!(
            !report.parts.is_empty() || experiment.needs.is_empty(),
            "{slug}: the parts it needs weren't used"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_knob_runs_at_its_bounds() {
    for (question, experiment) in experiments() {
        for spec in (experiment.specs)() {
            for value in spec.extremes() {
                if value == spec.default() {
                    continue;
                }
                let report = run(experiment, &[(spec.name, &value)], 12).await;
                let ended = matches!(report.verdict, Verdict::Holds | Verdict::Refuted);
                assert!(ended, "{} with {} = {value}: {}", question.page.slug, spec.name, describe(&report));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_refutes_the_claims_that_it_names_and_no_other() {
    for (question, experiment) in experiments() {
        let faults = (experiment.faults)();
        assert!(!faults.is_empty(), "{}: give the reader a way to break it", question.page.slug);
        for fault in faults {
            let report = run(experiment, fault.set, 13).await;
            let red = report.claims.iter().filter(|it| it.state == State::Refuted).map(|it| it.id.as_str());
            let (red, named): (BTreeSet<_>, BTreeSet<_>) =
                (red.collect(), fault.refutes.iter().copied().collect());
            assert_eq!(red, named, "{}, “{}”: {}", question.page.slug, fault.label, describe(&report));
        }
    }
}

#[test]
fn every_claim_is_refuted_by_a_counterexample() {
    for (question, experiment) in experiments() {
        let seen = (experiment.counterexamples)();
        let claims: BTreeSet<_> = seen.iter().flatten().map(|it| it.id.clone()).collect();
        let refuted = seen.iter().flatten().filter(|it| it.state == State::Refuted).map(|it| it.id.clone());
        let refuted: BTreeSet<_> = refuted.collect();
        let never: Vec<_> = claims.difference(&refuted).collect();
        let excused = experiment.may_be_untried.iter().all(|id| claims.contains(*id));
        assert!(excused, "{}: {:?} aren't all claims", question.page.slug, experiment.may_be_untried);
        assert!(!claims.is_empty(), "{}: no counterexample at the defaults", question.page.slug);
        assert!(never.is_empty(), "{}: no counterexample refutes {never:?}", question.page.slug);
    }
}

#[test]
fn every_claim_is_cited_in_its_answer_and_every_citation_is_a_claim() {
    for (question, experiment) in experiments() {
        let seen = (experiment.counterexamples)();
        let claims: BTreeSet<_> = seen.iter().flatten().map(|it| it.id.as_str()).collect();
        let cited: BTreeSet<_> = question.page.claims_cited().collect();
        assert_eq!(claims, cited, "{}: left are the claims, right are the citations", question.page.slug);
    }
}

#[test]
fn a_claim_says_all_that_a_reader_needs() {
    for (question, experiment) in experiments() {
        let slug = question.page.slug;
        for claim in (experiment.counterexamples)().iter().flatten() {
            let id = &claim.id;
            assert!(
                id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{slug}: `{id}`"
            );
            assert!(claim.says.len() > 20, "{slug}, {id}: say the claim in a whole sentence");
            assert!(
                !claim.says.ends_with('.'),
                "{slug}, {id}: a claim is shown in a list, without a full stop"
            );
            assert!(!claim.breaks_when.is_empty(), "{slug}, {id}: name the case in which it breaks");
            assert!(
                !claim.breaks_when.starts_with("when "),
                "{slug}, {id}: it is shown after “It breaks when”"
            );
            assert!(
                claim.measured.chars().count() <= 120,
                "{slug}, {id}: measured is too long: {}",
                claim.measured
            );
        }
    }
}

#[test]
fn every_knob_explains_itself_and_refuses_what_is_outside() {
    for (question, experiment) in experiments() {
        for spec in (experiment.specs)() {
            let place = format!("{}, knob {}", question.page.slug, spec.name);
            assert!(spec.help.len() > 8, "{place}: say what it turns");
            let outside = match &spec.kind {
                ParamKind::Number { min, max, default } => {
                    assert!(min <= default && default <= max, "{place}: the default is outside");
                    (max + 1).to_string()
                }
                ParamKind::Choice { options, default } => {
                    assert!(options.contains(default), "{place}: the default `{default}` isn't a choice");
                    "no such choice".to_owned()
                }
            };
            let error = experiment.check(&[(spec.name.to_owned(), outside)].into()).unwrap_err();
            assert!(format!("{error:#}").contains(spec.name), "{place}: {error:#}");
        }
        let unknown = experiment.check(&[("no_such_knob".to_owned(), "1".to_owned())].into()).unwrap_err();
        assert!(unknown.to_string().contains("there is no knob `no_such_knob`"), "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_simulated_repeats_itself_to_the_letter() {
    for (question, experiment) in experiments().filter(|(_, experiment)| experiment.replays) {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let trace = Trace::default();
            let order = Order { seed: 7, trace: trace.clone(), ..Order::default() };
            let report = experiment.run(order).await.unwrap();
            runs.push((report.observed, report.claims, report.figures, trace.whole()));
        }
        assert_eq!(runs[0], runs[1], "{}", question.page.slug);
    }
}

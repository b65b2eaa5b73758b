//! What a run says of itself, for every way in which it can end.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use backlab_engine::{
    Claim, Erased, Experiment, Fault, Order, Prediction, Report, Result, State, Verdict, choices, claim,
    erase, params,
};
use backlab_figures::{Figure, Table};
use backlab_parts::{Lab, Missing, Spec};
use serde::Serialize;
use std::time::Duration;

choices! {
    /// How the run ends.
    pub enum End {
        Well = "well",
        Error = "error",
        Panic = "panic",
        Never = "never",
        Missing = "missing part",
        Hungry = "hungry process",
    }
}
params! {
    /// Eggs that are broken.
    broken: u64 = 2 in 0..=9;
    /// Eggs that an omelette takes.
    wanted: u64 = 2 in 1..=9;
    /// How the run ends.
    end: End = "well" in ..;
}

struct Omelette;

#[derive(Debug, Serialize)]
struct Observed {
    eggs: u64,
}

impl Experiment for Omelette {
    type Params = Params;
    type Observed = Observed;
    const DEADLINE: Duration = Duration::from_millis(900);

    fn predict(_: &Params) -> Prediction<Observed> {
        Prediction::number("How many eggs?", "eggs", |seen: &Observed| seen.eggs)
            .tempting(3, "three sounds right")
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.trace().message("cook", "pan", "egg");
        match p.end {
            End::Well => {}
            End::Error => anyhow::bail!("the pan is gone"),
            End::Panic => panic!("hot"),
            End::Never => std::future::pending().await,
            End::Missing => {
                return Err(Missing { part: "pan", why: "no pan".into(), install: "buy a pan" }.into());
            }
            End::Hungry => {
                let hungry = lab.process("hungry", Spec::new("tail").arg("/dev/zero")).await?;
                hungry.wait(Duration::from_secs(60)).await?;
            }
        }
        Ok(Observed { eggs: p.broken })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        vec![
            claim("eggs", "an omelette takes so many eggs", "an egg is rotten")
                .witness(seen.eggs > 0, format!("{} eggs broken", seen.eggs))
                .equal(seen.eggs, p.wanted),
        ]
    }

    fn figures(_: &Params, _: &Observed) -> Vec<Figure> {
        vec![Figure::new("eggs", "Eggs.", Table::default())]
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        vec![Observed { eggs: p.wanted + 1 }]
    }

    fn faults() -> Vec<Fault> {
        vec![Fault { label: "break one more", set: &[("broken", "3")], refutes: &["eggs"] }]
    }
}

static OMELETTE: Erased = erase::<Omelette>();

fn order(values: &[(&str, &str)]) -> Order {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Order { values, seed: 5, ..Order::default() }
}

async fn run(values: &[(&str, &str)]) -> Report {
    OMELETTE.run(order(values)).await.unwrap()
}

#[tokio::test]
async fn claims_decide_the_verdict() {
    let good = run(&[]).await;
    assert_eq!((good.verdict, good.error), (Verdict::Holds, None));
    assert_eq!(good.figures.iter().map(|it| it.title.as_str()).collect::<Vec<_>>(), ["messages", "eggs"]);

    let bad = run(&[("broken", "3")]).await;
    assert_eq!(bad.verdict, Verdict::Refuted);
    assert_eq!((bad.claims[0].measured.as_str(), bad.claims[0].expected.as_str()), ("3", "2"));
}

#[tokio::test]
async fn a_claim_without_its_witness_never_holds() {
    let untried = run(&[("broken", "0")]).await;
    assert_eq!(untried.claims[0].state, State::Untried);
    assert_eq!(untried.verdict, Verdict::Failed);
    assert_eq!(OMELETTE.left_untried(&untried).len(), 1);
    let mut excusing = erase::<Omelette>();
    excusing.may_be_untried = &["eggs"];
    assert!(excusing.left_untried(&untried).is_empty());
    assert_eq!(untried.error.unwrap(), "no claim was put to the test with these knobs (eggs: 0 eggs broken)");
}

#[tokio::test]
async fn a_broken_run_refutes_nothing() {
    for (end, why) in [
        ("error", "the pan is gone"),
        ("panic", "the experiment panicked: hot"),
        ("never", "no end after 0.9 seconds; it was stopped"),
    ] {
        let report = run(&[("end", end)]).await;
        assert_eq!((report.verdict, report.error.as_deref()), (Verdict::Failed, Some(why)));
        assert!(report.claims.is_empty() && report.observed.is_null());
    }
}

#[tokio::test]
async fn a_missing_part_is_no_failure() {
    let report = run(&[("end", "missing part")]).await;
    assert_eq!(report.verdict, Verdict::Unavailable);
    assert_eq!(report.error.unwrap(), "pan isn't available: no pan; to install it: buy a pan");
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once() {
    let order = order(&[("end", "never")]);
    order.cancel.cancel();
    let report = OMELETTE.run(order).await.unwrap();
    assert_eq!((report.verdict, report.error.as_deref()), (Verdict::Failed, Some("cancelled")));
}

#[tokio::test]
async fn a_run_that_eats_the_memory_is_stopped() {
    let report = OMELETTE.run(Order { memory_mib: 64, ..order(&[("end", "hungry process")]) }).await.unwrap();
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(
        report.error.as_deref().is_some_and(|it| it.contains("more than a run may have")),
        "{:?}",
        report.error
    );
}

#[tokio::test]
async fn a_value_outside_its_bounds_starts_nothing() {
    let error = OMELETTE.run(order(&[("broken", "10")])).await.unwrap_err();
    assert_eq!(format!("{error:#}"), "knob `broken`: 10 is outside 0 to 9");
    let error = OMELETTE.run(order(&[("end", "badly")])).await.unwrap_err();
    assert!(
        format!("{error:#}").starts_with("knob `end`: `badly` isn't one of \"well\", \"error\""),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_prediction_is_graded_by_the_run() {
    let predicted = |value| Order { predicted: Some(value), ..order(&[]) };
    let asked = OMELETTE.run(predicted(3)).await.unwrap().prediction.unwrap();
    assert_eq!(
        (asked.predicted.as_deref(), asked.truth.as_str(), asked.right),
        (Some("3"), "2", Some(false))
    );
    assert_eq!(asked.tempting.unwrap(), ("3".to_owned(), "three sounds right".to_owned()));
    let asked = OMELETTE.run(predicted(2)).await.unwrap().prediction.unwrap();
    assert_eq!(asked.right, Some(true));
}

//! What an experiment is, and how its types are forgotten.

use crate::{Ask, Asked, Claim, ParamSpec, Params, Prediction, Values};
use anyhow::Result;
use backlab_figures::Figure;
use backlab_parts::{Lab, Part, Role};
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

/// What one question measures, and what it says about it. Read an implementation from top to bottom: it teaches the
/// answer.
pub trait Experiment: 'static {
    type Params: Params + Send + Sync;
    type Observed: Serialize + Send + Sync;

    /// The parts without which nothing can be run.
    const NEEDS: &'static [&'static Part] = &[];
    /// What it starts with [`Lab::role`](backlab_parts::Lab::role): its own processes, all of them.
    const ROLES: &'static [Role] = &[];
    /// How long a run may take at the most.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// Claims that a machine may not let a run put to the test, by their ids. All others it tries at the defaults.
    const MAY_BE_UNTRIED: &'static [&'static str] = &[];
    /// Whether all of it happens in a simulation: the same seed is then the same run, to the letter.
    const REPLAYS: bool = false;

    /// What the reader is asked before the run. Pure.
    fn predict(p: &Self::Params) -> Prediction<Self::Observed>;

    /// Runs the parts and observes them.
    ///
    /// # Errors
    /// The run broke. A claim that turns out false is no error.
    fn run(lab: &Lab, p: &Self::Params) -> impl Future<Output = Result<Self::Observed>> + Send;

    /// What the answer says, held against what was observed. Pure.
    fn claims(p: &Self::Params, seen: &Self::Observed) -> Vec<Claim>;

    /// What is drawn from what was observed. Pure. The sequence of messages is drawn without being asked for.
    fn figures(p: &Self::Params, seen: &Self::Observed) -> Vec<Figure>;

    /// What broken systems would show: each claim is refuted by at least one of these. Pure.
    fn counterexamples(p: &Self::Params) -> Vec<Self::Observed>;

    /// The settings that break the mechanism, and the claims that then turn red. Each is run in the tests.
    fn faults() -> Vec<Fault>;
}

/// A way to break the system by its own knobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What it does, as an invitation: "let PUT insert a row each time".
    pub label: &'static str,
    /// Knobs to set, by name.
    pub set: &'static [(&'static str, &'static str)],
    /// Ids of the claims that this refutes, all of them.
    pub refutes: &'static [&'static str],
}

/// What a flawless system shows, broken in each of these ways alone: for [`Experiment::counterexamples`].
pub fn each_broken<O, const N: usize>(ways: [fn(&mut O); N], flawless: impl Fn() -> O) -> Vec<O> {
    let broken = ways.map(|break_it| {
        let mut seen = flawless();
        break_it(&mut seen);
        seen
    });
    broken.into()
}

/// An experiment with its types forgotten. All functions check the values they are given.
#[derive(Debug)]
pub struct Erased {
    pub needs: &'static [&'static Part],
    pub roles: &'static [Role],
    pub deadline: Duration,
    pub may_be_untried: &'static [&'static str],
    pub replays: bool,
    pub specs: fn() -> Vec<ParamSpec>,
    pub faults: fn() -> Vec<Fault>,
    /// What the reader is asked at these values.
    pub ask: fn(&Values) -> Result<Ask>,
    pub(crate) params: fn(&Values) -> Result<BTreeMap<&'static str, Value>>,
    pub(crate) seen: for<'a> fn(&'a Lab, &'a Values, Option<u64>) -> BoxFuture<'a, Result<Seen>>,
    /// The claims of each counterexample at the defaults: ids and sentences without a run, and the proof that each can
    /// be refuted.
    pub counterexamples: fn() -> Vec<Vec<Claim>>,
}

/// What a run observed and what that says.
pub struct Seen {
    pub observed: Value,
    pub prediction: Asked,
    pub claims: Vec<Claim>,
    pub figures: Vec<Figure>,
}

/// Forgets the types of an experiment.
pub const fn erase<E: Experiment>() -> Erased {
    Erased {
        needs: E::NEEDS,
        roles: E::ROLES,
        deadline: E::DEADLINE,
        may_be_untried: E::MAY_BE_UNTRIED,
        replays: E::REPLAYS,
        specs: E::Params::specs,
        faults: E::faults,
        ask: |values| Ok(E::predict(&E::Params::from_values(values)?).ask()),
        params: |values| Ok(E::Params::from_values(values)?.to_json()),
        seen: seen::<E>,
        counterexamples: counterexamples::<E>,
    }
}

fn seen<'a, E: Experiment>(
    lab: &'a Lab,
    values: &'a Values,
    predicted: Option<u64>,
) -> BoxFuture<'a, Result<Seen>> {
    Box::pin(async move {
        let p = E::Params::from_values(values)?;
        let seen = E::run(lab, &p).await?;
        Ok(Seen {
            observed: serde_json::to_value(&seen)?,
            prediction: E::predict(&p).grade(predicted, &seen),
            claims: E::claims(&p, &seen),
            figures: E::figures(&p, &seen),
        })
    })
}

fn counterexamples<E: Experiment>() -> Vec<Vec<Claim>> {
    match E::Params::from_values(&Values::new()) {
        Ok(p) => E::counterexamples(&p).iter().map(|seen| E::claims(&p, seen)).collect(),
        // The defaults are outside their own bounds; the loop over all experiments reports that.
        Err(_) => Vec::new(),
    }
}

//! The line of runs: one runs, a few wait, and what is asked for twice runs once.

use crate::metrics::word;
use backlab_engine::{Order, Report, Values, Verdict};
use backlab_engine::Trace;
use backlab_questions::Question;
use backlab_store::Store;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs that may wait while one runs.
pub(crate) const WAITING: usize = 8;
/// Ended runs whose reports are held for pages that still watch them.
const ENDED: usize = 16;

/// All runs of this server.
pub(crate) struct Runs {
    store: Store,
    table: Mutex<Table>,
    /// Fair: who asks first runs first.
    turn: Semaphore,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct Table {
    last: u64,
    runs: BTreeMap<u64, Arc<Run>>,
    verdicts: BTreeMap<&'static str, u64>,
}

/// One run, as pages watch it.
pub(crate) struct Run {
    pub id: u64,
    pub question: &'static Question,
    /// The knobs in force.
    pub params: BTreeMap<&'static str, Value>,
    pub trace: Trace,
    pub cancel: CancellationToken,
    pub phase: watch::Receiver<Phase>,
    began: Instant,
}

#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Waiting,
    Running,
    Ended(Arc<Ended>),
}

/// A run's end. It's kept before any page hears of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub report: Report,
    pub cancelled: bool,
    /// Why the run couldn't be kept.
    pub not_kept: Option<String>,
}

/// What a reader asks to run; the values have been checked.
pub(crate) struct Wanted {
    pub question: &'static Question,
    pub experiment: &'static backlab_engine::Erased,
    pub values: Values,
    pub params: BTreeMap<&'static str, Value>,
    /// The prediction's id and value.
    pub prediction: Option<(i64, u64)>,
    pub seed: u64,
}

/// The line is full.
pub(crate) struct Full;

impl Runs {
    pub(crate) fn new(store: Store, shutdown: CancellationToken) -> Self {
        let (table, turn, tasks) = (Mutex::default(), Semaphore::new(1), TaskTracker::new());
        Self { store, table, turn, tasks, shutdown }
    }

    /// Starts a run, or joins the one of the same question with the same knobs that is under way.
    pub(crate) fn start(self: &Arc<Self>, wanted: Wanted) -> Result<Arc<Run>, Full> {
        let mut table = self.table();
        let mut under_way = table.runs.values().filter(|run| !run.has_ended());
        let number = wanted.question.page.number;
        if let Some(same) =
            under_way.clone().find(|run| run.question.page.number == number && run.params == wanted.params)
        {
            return Ok(Arc::clone(same));
        }
        if under_way.by_ref().count() > WAITING || self.shutdown.is_cancelled() {
            return Err(Full);
        }
        table.last += 1;
        let (sender, phase) = watch::channel(Phase::Waiting);
        let run = Arc::new(Run {
            id: table.last,
            question: wanted.question,
            params: wanted.params.clone(),
            trace: Trace::default(),
            cancel: self.shutdown.child_token(),
            phase,
            began: Instant::now(),
        });
        table.runs.insert(run.id, Arc::clone(&run));
        table.forget_old();
        drop(table);
        self.tasks.spawn(Arc::clone(self).see_through(Arc::clone(&run), wanted, sender));
        Ok(run)
    }

    async fn see_through(self: Arc<Self>, run: Arc<Run>, wanted: Wanted, phase: watch::Sender<Phase>) {
        let turn = tokio::select! {
            () = run.cancel.cancelled() => None,
            turn = self.turn.acquire() => turn.ok(),
        };
        if turn.is_some() {
            phase.send_replace(Phase::Running);
        }
        let order = Order {
            values: wanted.values,
            predicted: wanted.prediction.map(|(_, value)| value),
            seed: wanted.seed,
            trace: run.trace.clone(),
            cancel: run.cancel.clone(),
        };
        let report = wanted
            .experiment
            .run(order)
            .await
            .unwrap_or_else(|error| failed(&wanted.params, wanted.seed, &error));
        drop(turn);
        let cancelled = run.cancel.is_cancelled() && report.verdict == Verdict::Failed;
        // A run that never came to be says nothing about the question.
        let worth_keeping = !cancelled && report.verdict != Verdict::Unavailable;
        let mut not_kept = None;
        if worth_keeping {
            let prediction = wanted.prediction.map(|(id, _)| id);
            let kept = self.store.record_run(wanted.question.page.number, &report, prediction).await;
            not_kept = kept.err().map(|error| error.to_string());
        }
        *self.table().verdicts.entry(word(report.verdict)).or_default() += 1;
        phase.send_replace(Phase::Ended(Arc::new(Ended { report, cancelled, not_kept })));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Run>> {
        self.table().runs.get(&id).cloned()
    }

    /// The run of a question that is under way.
    pub(crate) fn of(&self, question: u16) -> Option<u64> {
        let table = self.table();
        let mut runs = table.runs.values().rev();
        runs.find(|run| run.question.page.number == question && !run.has_ended()).map(|run| run.id)
    }

    /// How many runs are in front of this one.
    pub(crate) fn ahead_of(&self, id: u64) -> usize {
        self.table().runs.range(..id).filter(|(_, run)| !run.has_ended()).count()
    }

    pub(crate) fn under_way(&self) -> usize {
        self.table().runs.values().filter(|run| !run.has_ended()).count()
    }

    /// How many runs ended with each verdict.
    pub(crate) fn verdicts(&self) -> BTreeMap<&'static str, u64> {
        self.table().verdicts.clone()
    }

    /// Resolves once the shutdown was called for and every run has ended.
    pub(crate) async fn ended(&self) {
        self.shutdown.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_old(&mut self) {
        let ended: Vec<u64> = self.runs.values().filter(|run| run.has_ended()).map(|run| run.id).collect();
        for id in ended.iter().rev().skip(ENDED) {
            self.runs.remove(id);
        }
    }
}

impl Ended {
    /// Whether its question's page shows it from now on.
    pub(crate) fn was_kept(&self) -> bool {
        !self.cancelled && self.not_kept.is_none() && self.report.verdict != Verdict::Unavailable
    }
}

impl Run {
    pub(crate) fn has_ended(&self) -> bool {
        self.phase.has_changed().is_err() || matches!(*self.phase.borrow(), Phase::Ended(_))
    }

    /// Its report, once it has ended.
    pub(crate) fn ended(&self) -> Option<Arc<Ended>> {
        match &*self.phase.borrow() {
            Phase::Ended(ended) => Some(Arc::clone(ended)),
            _ => None,
        }
    }

    /// Seconds since it was asked for.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// A report for a run that the engine wouldn't begin.
fn failed(params: &BTreeMap<&'static str, Value>, seed: u64, error: &anyhow::Error) -> Report {
    Report {
        seed,
        params: params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        prediction: None,
        observed: Value::Null,
        claims: Vec::new(),
        figures: Vec::new(),
        verdict: Verdict::Failed,
        seconds: 0.0,
        parts: Vec::new(),
        error: Some(format!("{error:#}")),
    }
}

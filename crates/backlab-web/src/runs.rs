//! The line of runs: one runs, a few wait, and what is asked for twice runs once.

use crate::metrics::word;
use backlab_engine::{Order, Report, Trace, Values, Verdict};
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
            ..Order::default()
        };
        let report = wanted.experiment.run(order).await.unwrap_or_else(|error| Report {
            error: Some(format!("{error:#}")),
            ..Report::unrun(wanted.seed, wanted.params)
        });
        drop(turn);
        let cancelled = run.cancel.is_cancelled() && report.verdict == Verdict::Failed;
        let mut not_kept = None;
        if report.is_worth_keeping(cancelled) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use backlab_catalogue::{Level, Page, Track};
    use backlab_engine::{Claim, Erased, Experiment, Fault, Prediction, claim, erase, params};
    use backlab_figures::Figure;
    use backlab_questions::prelude::Lab;
    use std::time::Duration;

    /// Waits until it is cancelled when told to, else ends at once.
    struct Waits;

    params! {
        /// Whether it waits for ever.
        waits: u64 = 0 in 0..=99;
    }

    impl Experiment for Waits {
        type Params = Params;
        type Observed = u64;

        fn predict(_: &Params) -> Prediction<u64> {
            Prediction::number("How much?", "", |seen| *seen)
        }

        async fn run(lab: &Lab, p: &Params) -> backlab_engine::Result<u64> {
            lab.step("begins");
            if p.waits > 0 {
                std::future::pending::<()>().await;
            }
            Ok(7)
        }

        fn claims(_: &Params, seen: &u64) -> Vec<Claim> {
            vec![claim("seven", "It is seven", "it isn't").witness(true, "ran").equal(*seen, 7)]
        }

        fn figures(_: &Params, _: &u64) -> Vec<Figure> {
            Vec::new()
        }

        fn counterexamples(_: &Params) -> Vec<u64> {
            vec![8]
        }

        fn faults() -> Vec<Fault> {
            Vec::new()
        }
    }

    static ERASED: Erased = erase::<Waits>();
    static QUESTION: Question = Question {
        page: Page {
            number: 7,
            slug: "waits",
            title: "",
            track: Track::Testing,
            level: Level::Easy,
            asked: "",
            experiment: "",
            must_say: &[],
            cards: &[],
            follow_ups: &[],
            sources: &[],
            related: &[],
            body: "",
            answer: None,
        },
        experiment: Some(&ERASED),
        experiment_source: "",
        challenge: None,
    };

    struct Lined {
        runs: Arc<Runs>,
        store: Store,
        shutdown: CancellationToken,
        _dir: tempfile::TempDir,
    }

    async fn line() -> Lined {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("backlab.db")).await.unwrap();
        let shutdown = CancellationToken::new();
        Lined { runs: Arc::new(Runs::new(store.clone(), shutdown.clone())), store, shutdown, _dir: dir }
    }

    fn wanted(waits: u64) -> Wanted {
        let values: Values = [("waits".to_owned(), waits.to_string())].into();
        let params = ERASED.check(&values).unwrap();
        Wanted { question: &QUESTION, experiment: &ERASED, values, params, prediction: None, seed: 1 }
    }

    async fn phase(run: &Run, is: fn(&Phase) -> bool) {
        let mut phase = run.phase.clone();
        tokio::time::timeout(Duration::from_secs(10), phase.wait_for(is)).await.expect("in time").unwrap();
    }

    fn running(phase: &Phase) -> bool {
        matches!(phase, Phase::Running)
    }

    fn over(phase: &Phase) -> bool {
        matches!(phase, Phase::Ended(_))
    }

    #[tokio::test]
    async fn a_run_is_kept_before_it_is_told() {
        let lined = line().await;
        let run = lined.runs.start(wanted(0)).ok().unwrap();
        phase(&run, over).await;
        assert_eq!(run.ended().unwrap().report.verdict, Verdict::Holds);
        assert_eq!(lined.store.runs(7, 9).await.unwrap().len(), 1);
        assert_eq!(lined.runs.verdicts(), [("holds", 1)].into());
    }

    #[tokio::test]
    async fn asking_twice_runs_once_and_other_knobs_wait() {
        let lined = line().await;
        let first = lined.runs.start(wanted(1)).ok().unwrap();
        phase(&first, running).await;
        let again = lined.runs.start(wanted(1)).ok().unwrap();
        let other = lined.runs.start(wanted(2)).ok().unwrap();
        assert_eq!((again.id, lined.runs.under_way()), (first.id, 2));
        assert!(matches!(*other.phase.borrow(), Phase::Waiting));
        assert_eq!(lined.runs.ahead_of(other.id), 1);

        first.cancel.cancel();
        phase(&first, over).await;
        assert!(first.ended().unwrap().cancelled);
        phase(&other, running).await;
        assert_eq!(lined.store.last_run(7).await.unwrap(), None, "a cancelled run isn't kept");
    }

    #[tokio::test]
    async fn the_line_has_an_end_and_a_waiting_run_can_leave_it() {
        let lined = line().await;
        let all: Vec<_> =
            (1..=1 + WAITING as u64).map(|waits| lined.runs.start(wanted(waits)).ok().unwrap()).collect();
        assert!(lined.runs.start(wanted(99)).is_err(), "no tenth");
        let last = all.last().unwrap();
        last.cancel.cancel();
        phase(last, over).await;
        assert!(last.ended().unwrap().cancelled);
        assert!(lined.runs.start(wanted(99)).is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn the_shutdown_ends_all() {
        let lined = line().await;
        let all = [1, 2, 3].map(|waits| lined.runs.start(wanted(waits)).ok().unwrap());
        lined.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), lined.runs.ended()).await.expect("all end");
        assert!(all.iter().all(|run| run.ended().is_some_and(|it| it.cancelled)));
        assert!(lined.runs.start(wanted(4)).is_err(), "nothing begins after it");
    }
}

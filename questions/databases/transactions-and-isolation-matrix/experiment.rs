//! The matrix of isolation: eleven anomalies at four levels, each tried on a real PostgreSQL.
//!
//! `schedules.rs` says who says what and how one sees an anomaly; `play.rs` plays it. Here all 44 cells are played and
//! counted, and one of them is shown statement by statement.

use crate::prelude::*;
use backlab_parts::postgres::Session;
use play::{Level, Outcome, Played, Retry, Said, play, retry, serial_outcomes};
use schedules::Anomaly;

#[path = "figures.rs"]
mod figures;
#[path = "play.rs"]
mod play;
#[path = "schedules.rs"]
mod schedules;

params! {
    /// The level at which the chosen schedule is shown step by step.
    level: Level = "READ COMMITTED" in ..;
    /// The schedule that is shown.
    schedule: Anomaly = "P4 lost update" in ..;
    /// What a program repeats when its transaction got 40001.
    retry: Retry = "the whole transaction" in ..;
}

pub struct TransactionsAndIsolationMatrix;

#[derive(Serialize)]
pub struct Observed {
    #[serde(serialize_with = "as_word")]
    level: Level,
    cells: Vec<Tried>,
    /// The chosen schedule, statement by statement, and the retry.
    lanes: Vec<Said>,
    /// The step at which the retry begins, where there is one.
    retried_at: Option<usize>,
}

/// One cell: a schedule at a level.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Tried {
    #[serde(serialize_with = "as_word")]
    level: Level,
    #[serde(serialize_with = "as_word")]
    schedule: Anomaly,
    happened: bool,
    outcome: Outcome,
    /// Statements that were seen to wait for another session.
    waited: usize,
    /// Statements that were said while another transaction was open.
    overlapped: usize,
    /// What was seen after the refused transactions had been retried.
    retried: Outcome,
    /// Whether every transaction committed in the end, and saw and left what some serial order gives.
    serial: bool,
}

impl Experiment for TransactionsAndIsolationMatrix {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::POSTGRES];

    fn predict(p: &Params) -> Prediction<Observed> {
        let level = p.level.word();
        let ask = format!("How many of the 11 anomalies can be produced on PostgreSQL at {level}?");
        let prediction =
            Prediction::number(ask, "anomalies", |seen: &Observed| seen.happened(seen.level).len() as u64);
        let (standard, phenomena) = match p.level {
            Level::ReadUncommitted => (3, "dirty reads, non-repeatable reads and phantoms"),
            Level::ReadCommitted => (2, "non-repeatable reads and phantoms"),
            Level::RepeatableRead => (1, "phantoms"),
            Level::Serializable => return prediction,
        };
        prediction.tempting(
            standard,
            format!("the SQL standard allows {phenomena} here, but it lists three phenomena only, and PostgreSQL keeps promises of its own"),
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let postgres = lab.postgres("postgres").await?;
        let sessions =
            [postgres.session("T1").await?, postgres.session("T2").await?, postgres.session("T3").await?];
        let unseen = sessions.each_ref().map(Session::unseen);
        unseen[0].execute("CREATE TABLE test (id int PRIMARY KEY, value int)").await?;

        let schedule = p.schedule.schedule();
        lab.step(format_args!("{} at {}", p.schedule.word(), p.level.word()));
        let played = play(schedule, p.level, &sessions).await?;
        let retried_at = (played.outcome.refusals() > 0).then_some(played.said.len() + 1);
        if retried_at.is_some() {
            lab.step(format_args!("after 40001, repeat {}", p.retry.word()));
        }
        let lanes = retry(schedule, p.level, p.retry, &played, &sessions).await?.said;

        let mut serial = BTreeMap::new();
        for (anomaly, _) in Anomaly::ALL {
            serial.insert(*anomaly, serial_outcomes(anomaly.schedule(), &unseen).await?);
        }
        let mut cells = Vec::new();
        for (level, word) in Level::ALL {
            lab.step(format_args!("all 11 schedules at {word}"));
            for (anomaly, _) in Anomaly::ALL {
                let played = play(anomaly.schedule(), *level, &unseen).await?;
                let retried = retry(anomaly.schedule(), *level, p.retry, &played, &unseen).await?.outcome;
                let tried = Tried::new(*level, *anomaly, played, retried, &serial[anomaly]);
                tried.tell(lab);
                cells.push(tried);
            }
        }
        Ok(Observed { level: p.level, cells, lanes, retried_at })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        let (amid, words) = seen.amid_others(Level::ReadUncommitted);
        let mut claims = vec![
            claim(
                "same-below",
                "READ UNCOMMITTED and READ COMMITTED give the same reads, errors and rows in all 11 schedules",
                "READ UNCOMMITTED shows what isn't committed",
            )
            .witness(amid, words)
            .equal(seen.agreeing(Level::ReadUncommitted, Level::ReadCommitted), 11),
            seen.exactly(
                "read-committed",
                "READ COMMITTED never mixes writes nor shows uncommitted data, and lets these six happen",
                "a statement sees uncommitted data, or later statements keep the first one's snapshot",
                (Level::ReadCommitted, AT_READ_COMMITTED),
            ),
            seen.exactly(
                "repeatable-read",
                "REPEATABLE READ lets only write skew and the read-only anomaly happen",
                "each statement has a snapshot of its own, or the last writer of a row wins",
                (Level::RepeatableRead, AT_REPEATABLE_READ),
            ),
            seen.exactly(
                "serializable",
                "SERIALIZABLE lets none of the 11 happen",
                "SERIALIZABLE is snapshot isolation under another name",
                (Level::Serializable, &[]),
            ),
        ];
        claims.extend(seen.claims_about_lost_update());
        claims.extend(seen.claims_about_serializable());
        claims
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        vec![figures::matrix(seen), figures::lanes(seen), figures::statements(seen), figures::totals(seen)]
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        broken_systems()
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "repeat only the statement that got 40001",
                set: &[("retry", "the statement that failed")],
                refutes: &["retry", "serial-order"],
            },
            Fault {
                label: "don't retry at all",
                set: &[("retry", "nothing")],
                refutes: &["retry", "serial-order"],
            },
        ]
    }
}

impl Tried {
    fn new(
        level: Level,
        schedule: Anomaly,
        played: Played,
        retried: Outcome,
        serial_outcomes: &[Outcome],
    ) -> Self {
        Self {
            level,
            schedule,
            happened: (schedule.schedule().happened)(&played.outcome),
            waited: played.said.iter().filter(|said| !said.waited_for.is_empty()).count(),
            overlapped: played.overlapped,
            outcome: played.outcome,
            serial: serial_outcomes.contains(&retried),
            retried,
        }
    }

    /// What became of the anomaly, in a word.
    fn verdict(&self) -> &'static str {
        match self {
            Self { happened: true, .. } => "happens",
            cell if cell.outcome.refusals() > 0 => "40001",
            Self { waited: 1.., .. } => "waits",
            _ => "snapshot",
        }
    }

    fn tell(&self, lab: &Lab) {
        let (schedule, trace) = (self.schedule.word(), lab.trace());
        match self.verdict() {
            "happens" => trace.trouble("judge", format_args!("{schedule} happens")),
            "waits" => trace.note("judge", format_args!("{schedule}: prevented, since a writer waits")),
            by => trace.note("judge", format_args!("{schedule}: prevented by {by}")),
        }
    }
}

const AT_READ_COMMITTED: &[Anomaly] = &[
    Anomaly::Phantom,
    Anomaly::LostUpdate,
    Anomaly::ReadSkew,
    Anomaly::WriteSkewOnRows,
    Anomaly::WriteSkewOnPredicate,
    Anomaly::ReadOnly,
];
/// What snapshots alone can't prevent: each transaction writes a row that the other has only read.
const AT_REPEATABLE_READ: &[Anomaly] =
    &[Anomaly::WriteSkewOnRows, Anomaly::WriteSkewOnPredicate, Anomaly::ReadOnly];

impl Observed {
    fn at(&self, level: Level) -> impl Iterator<Item = &Tried> {
        self.cells.iter().filter(move |cell| cell.level == level)
    }

    fn cell(&self, level: Level, schedule: Anomaly) -> &Tried {
        // All 44 are there, in the order of the choices.
        &self.cells[level as usize * Anomaly::ALL.len() + schedule as usize]
    }

    fn happened(&self, level: Level) -> Vec<Anomaly> {
        self.at(level).filter(|cell| cell.happened).map(|cell| cell.schedule).collect()
    }

    fn agreeing(&self, one: Level, other: Level) -> usize {
        self.at(one).zip(self.at(other)).filter(|(one, other)| one.outcome == other.outcome).count()
    }

    /// Whether in every schedule of a level a statement was said while another transaction was open; and how many.
    fn amid_others(&self, level: Level) -> (bool, String) {
        let overlapped: usize = self.at(level).map(|cell| cell.overlapped).sum();
        let waited: usize = self.at(level).map(|cell| cell.waited).sum();
        let all = self.at(level).all(|cell| cell.overlapped > 0);
        (all, format!("{overlapped} statements amid another transaction, {waited} of them waited"))
    }

    /// That just these anomalies happened at a level.
    fn exactly(
        &self,
        id: &'static str,
        says: &str,
        breaks_when: &str,
        (level, expected): (Level, &[Anomaly]),
    ) -> Claim {
        let names = |these: &[Anomaly]| match these {
            [] => "none".to_owned(),
            these => these.iter().map(|it| it.short()).collect::<Vec<_>>().join(", "),
        };
        let (amid, words) = self.amid_others(level);
        claim(id, says, breaks_when).witness(amid, words).equal(names(&self.happened(level)), names(expected))
    }

    fn claims_about_lost_update(&self) -> [Claim; 3] {
        let lost = self.cell(Level::ReadCommitted, Anomaly::LostUpdate);
        let saved = self.cell(Level::RepeatableRead, Anomaly::LostUpdate);
        let (read, refusals) = (lost.outcome.values(1), lost.outcome.refusals());
        [
            claim(
                "lost-update",
                "READ COMMITTED loses one of two updates, and nobody gets an error",
                "a writer is told that the row isn't what it has read",
            )
            .witness(read.len() == 1 && read == lost.outcome.values(2), "both had read the same value")
            .that(
                lost.happened && refusals == 0,
                format_args!("10 + 1 + 2 gave {}, {refusals} errors", lost.outcome.value(1)),
                "less than 13, 0 errors",
            ),
            claim(
                "second-writer",
                "REPEATABLE READ lets the second writer wait, and refuses it once the first has committed",
                "the last writer wins",
            )
            .witness(saved.waited > 0, format!("{} statement waited", saved.waited))
            .equal(saved.outcome.refusals_in_words(), "T2: 40001".to_owned()),
            claim(
                "retry",
                "When the whole transaction is repeated, both updates count",
                "only the statement is repeated, with what was computed from the old snapshot",
            )
            .witness(saved.outcome.refusals() > 0, "T2 was refused before")
            .equal(saved.retried.value(1), 13),
        ]
    }

    fn claims_about_serializable(&self) -> [Claim; 2] {
        let skews = AT_REPEATABLE_READ.iter().map(|it| {
            let below = self.cell(Level::RepeatableRead, *it).happened;
            (below, self.cell(Level::Serializable, *it).outcome.refusals())
        });
        let (below, refused): (Vec<_>, Vec<_>) = skews.unzip();
        let refusals: usize = self.at(Level::Serializable).map(|cell| cell.outcome.refusals()).sum();
        let serial = self.at(Level::Serializable).filter(|cell| cell.serial).count();
        [
            claim(
                "skew-refused",
                "SERIALIZABLE refuses one transaction of each write skew and of the read-only anomaly with 40001",
                "dependencies between reads and writes aren't tracked",
            )
            .witness(below.iter().all(|it| *it), "all three happen one level below")
            .equal(refused, vec![1, 1, 1]),
            claim(
                "serial-order",
                "SERIALIZABLE with retries: every transaction commits, and all was as if one ran after the other",
                "a retry doesn't begin at the beginning, or a conflict goes unnoticed",
            )
            .witness(refusals > 0, format!("{refusals} transactions were refused before"))
            .equal(serial, 11),
        ]
    }
}

/// PostgreSQL as it is, and then with one thing broken at a time.
fn broken_systems() -> Vec<Observed> {
    let but = |level: Level, schedule: Anomaly, wrong: fn(&mut Tried)| {
        let mut seen = expected();
        wrong(&mut seen.cells[level as usize * Anomaly::ALL.len() + schedule as usize]);
        seen
    };
    let happens = |cell: &mut Tried| {
        cell.happened = true;
        cell.outcome = Outcome::default();
        cell.serial = false;
    };
    let overwritten = |cell: &mut Tried| cell.retried.rows = vec![(1, 12), (2, 20)];
    vec![
        but(Level::ReadUncommitted, Anomaly::AbortedRead, |cell| {
            cell.outcome.reads[1] = vec![vec![(1, 101)]];
        }),
        but(Level::ReadCommitted, Anomaly::AbortedRead, happens),
        but(Level::ReadCommitted, Anomaly::LostUpdate, |cell| cell.outcome.refused[1] = Some("40001".into())),
        but(Level::RepeatableRead, Anomaly::Phantom, happens),
        but(Level::RepeatableRead, Anomaly::LostUpdate, |cell| cell.outcome.refused[1] = None),
        but(Level::RepeatableRead, Anomaly::LostUpdate, overwritten),
        but(Level::Serializable, Anomaly::WriteSkewOnRows, happens),
    ]
}

/// What PostgreSQL shows, without the details that no claim looks at.
fn expected() -> Observed {
    let tried = |level, schedule| {
        let happened = match level {
            Level::ReadUncommitted | Level::ReadCommitted => AT_READ_COMMITTED,
            Level::RepeatableRead => AT_REPEATABLE_READ,
            Level::Serializable => &[],
        };
        let refused = match level {
            Level::RepeatableRead => schedule == Anomaly::LostUpdate,
            Level::Serializable => AT_READ_COMMITTED.contains(&schedule),
            _ => false,
        };
        let rows = |value| vec![(1, value), (2, 20)];
        let read = || vec![vec![(1, 10)]];
        let refused = [None, refused.then(|| "40001".to_owned()), None];
        Tried {
            level,
            schedule,
            happened: happened.contains(&schedule),
            outcome: Outcome { reads: [read(), read(), vec![]], refused, rows: rows(12) },
            waited: 1,
            overlapped: 1,
            retried: Outcome { rows: rows(13), ..Outcome::default() },
            serial: level == Level::Serializable,
        }
    };
    let cells = Level::ALL.iter().flat_map(|level| Anomaly::ALL.iter().map(|it| tried(level.0, it.0)));
    Observed { level: Level::ReadCommitted, cells: cells.collect(), lanes: Vec::new(), retried_at: None }
}

fn as_word<C: Choice, S: serde::Serializer>(choice: &C, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(choice.word())
}

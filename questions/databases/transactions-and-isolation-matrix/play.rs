//! How a schedule is played on a real server: one statement after the other, waiting for none that waits itself.

use super::schedules::Schedule;
use crate::prelude::*;
use backlab_parts::postgres::{Answer, Pending, Session, Settled, SqlError};
use sqlx::Row;

choices! {
    pub enum Level {
        ReadUncommitted = "READ UNCOMMITTED",
        ReadCommitted = "READ COMMITTED",
        RepeatableRead = "REPEATABLE READ",
        Serializable = "SERIALIZABLE",
    }
}

choices! {
    /// What a program does with a transaction that got 40001.
    pub enum Retry {
        Transaction = "the whole transaction",
        Statement = "the statement that failed",
        Nothing = "nothing",
    }
}

/// What is seen from outside: all that a judge may look at.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// For each session, each of its reads: rows of id and value.
    pub reads: [Vec<Vec<(i32, i32)>>; 3],
    /// For each session, the SQLSTATE that ended its transaction.
    pub refused: [Option<String>; 3],
    /// The table in the end, by id.
    pub rows: Vec<(i32, i32)>,
}

impl Outcome {
    /// All values that a session (1 to 3) has read, in their order.
    pub fn values(&self, session: usize) -> Vec<i32> {
        self.reads[session - 1].iter().flatten().map(|(_, value)| *value).collect()
    }

    /// How many transactions were refused.
    pub fn refusals(&self) -> usize {
        self.refused.iter().flatten().count()
    }

    pub fn refusals_in_words(&self) -> String {
        let refused = self.refused.iter().enumerate();
        let words = refused.filter_map(|(i, code)| Some(format!("T{}: {}", i + 1, code.as_ref()?)));
        words.collect::<Vec<_>>().join(", ")
    }

    /// The value of a row in the end; 0 where there is no such row.
    pub fn value(&self, id: i32) -> i32 {
        self.rows.iter().find(|row| row.0 == id).map_or(0, |row| row.1)
    }

    pub fn committed(&self, session: usize) -> bool {
        self.refused[session - 1].is_none()
    }
}

/// A statement in the lanes: when it was said, when it was answered, what it waited for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Said {
    /// 1 to 3.
    pub session: usize,
    pub statement: String,
    pub answer: String,
    /// The number of the step at which it was said, and at which it was answered.
    pub at: usize,
    pub answered: usize,
    /// The sessions whose locks it was seen to wait for.
    pub waited_for: Vec<String>,
}

/// A schedule as it went.
#[derive(Debug, Clone, Default)]
pub struct Played {
    pub outcome: Outcome,
    /// What each session said last before it was refused.
    failed: [Option<String>; 3],
    pub said: Vec<Said>,
    /// Statements that were answered while another session's transaction was open and at work.
    pub overlapped: usize,
}

/// Plays a schedule from its beginning to its end, on a table as it was at the start.
pub async fn play(schedule: &Schedule, level: Level, sessions: &[Session; 3]) -> Result<Played> {
    reset(sessions).await?;
    let mut stage = Stage::new(level, sessions, Played::default());
    for (session, statement) in schedule.steps {
        // Whoever was refused has nothing more to say.
        if stage.played.failed[session - 1].is_none() {
            stage.say(*session, statement).await?;
        }
    }
    ensure!(stage.waiting.iter().all(Option::is_none), "a statement still waits after the last commit");
    stage.end().await
}

/// Does with each refused transaction what a program might do.
pub async fn retry(
    schedule: &Schedule,
    level: Level,
    how: Retry,
    played: &Played,
    sessions: &[Session; 3],
) -> Result<Played> {
    let mut stage = Stage::new(level, sessions, played.clone());
    for session in 1..=3 {
        let Some(last) = stage.played.failed[session - 1].take() else { continue };
        let again: Vec<&str> = match how {
            Retry::Nothing => continue,
            Retry::Statement if last == "COMMIT" => vec!["COMMIT"],
            Retry::Statement => vec![&last, "COMMIT"],
            Retry::Transaction => {
                stage.played.outcome.reads[session - 1].clear();
                schedule.of(session).collect()
            }
        };
        stage.played.outcome.refused[session - 1] = None;
        for statement in again {
            stage.say(session, statement).await?;
        }
    }
    stage.end().await
}

/// What one transaction after the other gives, in each order that there is.
pub async fn serial_outcomes(schedule: &Schedule, sessions: &[Session; 3]) -> Result<Vec<Outcome>> {
    let orders: &[&[usize]] = match schedule.of(3).count() {
        0 => &[&[1, 2], &[2, 1]],
        _ => &[&[1, 2, 3], &[1, 3, 2], &[2, 1, 3], &[2, 3, 1], &[3, 1, 2], &[3, 2, 1]],
    };
    let mut outcomes = Vec::new();
    for order in orders {
        reset(sessions).await?;
        let mut stage = Stage::new(Level::ReadCommitted, sessions, Played::default());
        for session in *order {
            for statement in schedule.of(*session) {
                stage.say(*session, statement).await?;
            }
        }
        outcomes.push(stage.end().await?.outcome);
    }
    Ok(outcomes)
}

struct Stage<'a> {
    level: Level,
    sessions: &'a [Session; 3],
    played: Played,
    /// Sessions that are within a transaction.
    open: [bool; 3],
    /// The statement of each session that waits for another, with its place in the lanes.
    waiting: [Option<(Pending, usize)>; 3],
    step: usize,
}

impl<'a> Stage<'a> {
    fn new(level: Level, sessions: &'a [Session; 3], played: Played) -> Self {
        let step = played.said.len();
        Self { level, sessions, played, open: [false; 3], waiting: [None, None, None], step }
    }

    /// Lets a session say something; then lets those go on who may now.
    async fn say(&mut self, session: usize, statement: &str) -> Result<()> {
        ensure!(
            self.waiting[session - 1].is_none(),
            "T{session} is to say `{statement}`, but it still waits"
        );
        if !std::mem::replace(&mut self.open[session - 1], true) {
            let begin = format!("BEGIN ISOLATION LEVEL {}", self.level.word());
            self.sessions[session - 1].execute(&begin).await?;
        }
        let read = self.played.outcome.values(session).last().map_or(String::new(), i32::to_string);
        let statement = statement.replace("{read}", &read);
        let ends = matches!(&*statement, "COMMIT" | "ROLLBACK");
        let amid_others = (1..=3).any(|other| other != session && self.open[other - 1]);
        self.played.overlapped += usize::from(amid_others && !ends);
        self.open[session - 1] = !ends;

        self.step += 1;
        let pending = self.sessions[session - 1].start(&statement).await;
        self.played.said.push(Said { session, statement, at: self.step, ..Said::default() });
        self.settle(session, pending, self.played.said.len() - 1).await?;
        for other in 1..=3 {
            if let Some((pending, place)) = self.waiting[other - 1].take() {
                self.settle(other, pending, place).await?;
            }
        }
        Ok(())
    }

    async fn settle(&mut self, session: usize, mut pending: Pending, place: usize) -> Result<()> {
        if let Settled::Blocked { by } = pending.settled().await? {
            self.played.said[place].waited_for = by;
            self.waiting[session - 1] = Some((pending, place));
            return Ok(());
        }
        let said = &mut self.played.said[place];
        said.answered = self.step;
        match pending.answer().await {
            Ok(answer) if said.statement.starts_with("SELECT") => {
                let rows = pairs(&answer)?;
                said.answer = in_words(&rows);
                self.played.outcome.reads[session - 1].push(rows);
            }
            Ok(_) => said.answer = "done".to_owned(),
            Err(SqlError::Refused { code, .. }) => {
                said.answer = format!("ERROR {code}");
                self.played.failed[session - 1] = Some(said.statement.clone());
                self.played.outcome.refused[session - 1] = Some(code);
                self.open[session - 1] = false;
                self.sessions[session - 1].execute("ROLLBACK").await?;
            }
            Err(broken) => return Err(broken.into()),
        }
        Ok(())
    }

    async fn end(mut self) -> Result<Played> {
        let rows = "SELECT id, value FROM test ORDER BY id";
        self.played.outcome.rows = pairs(&self.sessions[0].unseen().ask(rows).await?)?;
        Ok(self.played)
    }
}

async fn reset(sessions: &[Session; 3]) -> Result<()> {
    let rows = "DELETE FROM test; INSERT INTO test VALUES (1, 10), (2, 20)";
    sessions[0].unseen().execute(rows).await?;
    Ok(())
}

fn pairs(answer: &Answer) -> Result<Vec<(i32, i32)>> {
    answer.rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Rows as the lanes show them.
fn in_words(rows: &[(i32, i32)]) -> String {
    match rows {
        [] => "no row".to_owned(),
        rows => rows.iter().map(|(id, value)| format!("({id}, {value})")).collect::<Vec<_>>().join(" "),
    }
}

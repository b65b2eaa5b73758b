//! The eleven schedules, as data: who says what, in which order, and how one sees that the anomaly happened.
//!
//! Names and ideas follow Adya's and Berenson's definitions, as Martin Kleppmann's Hermitage made them runnable. The
//! table holds the rows (1, 10) and (2, 20) at the start.

use super::play::Outcome;
use crate::prelude::*;

choices! {
    /// What two or three transactions may notice of each other.
    pub enum Anomaly {
        DirtyWrite = "G0 dirty write",
        AbortedRead = "G1a aborted read",
        IntermediateRead = "G1b intermediate read",
        CircularFlow = "G1c circular flow",
        Vanishing = "OTV vanishing",
        Phantom = "PMP phantom",
        LostUpdate = "P4 lost update",
        ReadSkew = "G-single read skew",
        WriteSkewOnRows = "G2-item write skew",
        WriteSkewOnPredicate = "G2 predicate write skew",
        ReadOnly = "read-only anomaly",
    }
}

/// A fixed interleaving of transactions, and its judge.
pub struct Schedule {
    pub anomaly: Anomaly,
    /// Which session (1 to 3) says what. `{read}` stands for the value that the session has read last, as a program
    /// that computes with it would fill it in.
    pub steps: &'static [(usize, &'static str)],
    /// Looks at values read, errors and the rows in the end, and at nothing else.
    pub happened: fn(&Outcome) -> bool,
}

impl Schedule {
    /// What one session says.
    pub fn of(&self, session: usize) -> impl Iterator<Item = &'static str> {
        self.steps.iter().filter(move |step| step.0 == session).map(|step| step.1)
    }
}

impl Anomaly {
    /// Its usual abbreviation.
    pub fn short(self) -> &'static str {
        self.word().split(' ').next().unwrap_or_default()
    }

    pub fn schedule(self) -> &'static Schedule {
        // There is one for each, in the same order.
        &SCHEDULES[self as usize]
    }
}

const SCHEDULES: [Schedule; 11] = [
    Schedule {
        anomaly: Anomaly::DirtyWrite,
        steps: &[
            (1, "UPDATE test SET value = 11 WHERE id = 1"),
            (2, "UPDATE test SET value = 12 WHERE id = 1"),
            (1, "UPDATE test SET value = 21 WHERE id = 2"),
            (1, "COMMIT"),
            (2, "UPDATE test SET value = 22 WHERE id = 2"),
            (2, "COMMIT"),
        ],
        // One row is T1's, the other is T2's.
        happened: |it| matches!(it.rows[..], [(1, 11), (2, 22)] | [(1, 12), (2, 21)]),
    },
    Schedule {
        anomaly: Anomaly::AbortedRead,
        steps: &[
            (1, "UPDATE test SET value = 101 WHERE id = 1"),
            (2, "SELECT id, value FROM test WHERE id = 1"),
            (1, "ROLLBACK"),
            (2, "SELECT id, value FROM test WHERE id = 1"),
            (2, "COMMIT"),
        ],
        happened: |it| it.values(2).contains(&101),
    },
    Schedule {
        anomaly: Anomaly::IntermediateRead,
        steps: &[
            (1, "UPDATE test SET value = 101 WHERE id = 1"),
            (2, "SELECT id, value FROM test WHERE id = 1"),
            (1, "UPDATE test SET value = 11 WHERE id = 1"),
            (1, "COMMIT"),
            (2, "SELECT id, value FROM test WHERE id = 1"),
            (2, "COMMIT"),
        ],
        happened: |it| it.values(2).contains(&101),
    },
    Schedule {
        anomaly: Anomaly::CircularFlow,
        steps: &[
            (1, "UPDATE test SET value = 11 WHERE id = 1"),
            (2, "UPDATE test SET value = 22 WHERE id = 2"),
            (1, "SELECT id, value FROM test WHERE id = 2"),
            (2, "SELECT id, value FROM test WHERE id = 1"),
            (1, "COMMIT"),
            (2, "COMMIT"),
        ],
        // Each has read what the other wrote, so that each would have to come after the other.
        happened: |it| it.values(1) == [22] && it.values(2) == [11],
    },
    Schedule {
        anomaly: Anomaly::Vanishing,
        steps: &[
            (1, "UPDATE test SET value = 11 WHERE id = 1"),
            (1, "UPDATE test SET value = 19 WHERE id = 2"),
            (2, "UPDATE test SET value = 12 WHERE id = 1"),
            (1, "COMMIT"),
            (3, "SELECT id, value FROM test WHERE id = 1"),
            (2, "UPDATE test SET value = 18 WHERE id = 2"),
            (3, "SELECT id, value FROM test WHERE id = 2"),
            (2, "COMMIT"),
            (3, "SELECT id, value FROM test WHERE id = 2"),
            (3, "SELECT id, value FROM test WHERE id = 1"),
            (3, "COMMIT"),
        ],
        // T3 has seen the work of a transaction, and later a row as it was before.
        happened: |it| !it.values(3).iter().map(|value| writer(*value)).is_sorted(),
    },
    Schedule {
        anomaly: Anomaly::Phantom,
        steps: &[
            (1, "SELECT id, value FROM test WHERE value % 3 = 0"),
            (2, "INSERT INTO test VALUES (3, 30)"),
            (2, "COMMIT"),
            (1, "SELECT id, value FROM test WHERE value % 3 = 0"),
            (1, "COMMIT"),
        ],
        happened: |it| matches!(&it.reads[0][..], [first, second] if first != second),
    },
    Schedule {
        anomaly: Anomaly::LostUpdate,
        steps: &[
            (1, "SELECT id, value FROM test WHERE id = 1"),
            (2, "SELECT id, value FROM test WHERE id = 1"),
            (1, "UPDATE test SET value = {read} + 1 WHERE id = 1"),
            (2, "UPDATE test SET value = {read} + 2 WHERE id = 1"),
            (1, "COMMIT"),
            (2, "COMMIT"),
        ],
        happened: |it| it.committed(1) && it.committed(2) && it.value(1) != 10 + 1 + 2,
    },
    Schedule {
        anomaly: Anomaly::ReadSkew,
        steps: &[
            (1, "SELECT id, value FROM test WHERE id = 1"),
            (2, "UPDATE test SET value = 12 WHERE id = 1"),
            (2, "UPDATE test SET value = 18 WHERE id = 2"),
            (2, "COMMIT"),
            (1, "SELECT id, value FROM test WHERE id = 2"),
            (1, "COMMIT"),
        ],
        // Half of the time before T2, half of the time after it: together they never were.
        happened: |it| it.values(1) == [10, 18],
    },
    Schedule {
        anomaly: Anomaly::WriteSkewOnRows,
        steps: &[
            (1, "SELECT id, value FROM test WHERE id IN (1, 2) ORDER BY id"),
            (2, "SELECT id, value FROM test WHERE id IN (1, 2) ORDER BY id"),
            (1, "UPDATE test SET value = 11 WHERE id = 1"),
            (2, "UPDATE test SET value = 21 WHERE id = 2"),
            (1, "COMMIT"),
            (2, "COMMIT"),
        ],
        // Whichever came second would have read what the first wrote.
        happened: |it| it.values(1) == [10, 20] && it.values(2) == [10, 20] && it.rows == [(1, 11), (2, 21)],
    },
    Schedule {
        anomaly: Anomaly::WriteSkewOnPredicate,
        steps: &[
            (1, "SELECT id, value FROM test WHERE value % 3 = 0"),
            (2, "SELECT id, value FROM test WHERE value % 3 = 0"),
            (1, "INSERT INTO test VALUES (3, 30)"),
            (2, "INSERT INTO test VALUES (4, 42)"),
            (1, "COMMIT"),
            (2, "COMMIT"),
        ],
        // Both found no such row, and now there are two.
        happened: |it| it.values(1).is_empty() && it.values(2).is_empty() && it.rows.len() == 4,
    },
    Schedule {
        anomaly: Anomaly::ReadOnly,
        steps: &[
            (1, "SELECT id, value FROM test ORDER BY id"),
            (2, "UPDATE test SET value = value + 5 WHERE id = 2"),
            (2, "COMMIT"),
            (3, "SELECT id, value FROM test ORDER BY id"),
            (3, "COMMIT"),
            (1, "UPDATE test SET value = 0 WHERE id = 1"),
            (1, "COMMIT"),
        ],
        // T1 came before T2, T2 before T3, and T3 before T1, although T3 has written nothing.
        happened: |it| it.values(1) == [10, 20] && it.values(3) == [10, 25] && it.rows == [(1, 0), (2, 25)],
    },
];

/// Whose value it is in the schedule of the vanishing transaction; 0 for the one that was there at the start.
fn writer(value: i32) -> usize {
    match value {
        11 | 19 => 1,
        12 | 18 => 2,
        _ => 0,
    }
}

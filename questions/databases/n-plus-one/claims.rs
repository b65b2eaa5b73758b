//! What the answer says about the trips, and what would refute it.

use super::loading::Strategy;
use super::{NEWEST, Newest, Observed, PAYMENTS_EACH, Params, Sums, Way};
use crate::prelude::*;
use backlab_parts::postgres::Counts;

impl Observed {
    pub fn claims_about_statements(&self, p: &Params) -> [Claim; 3] {
        let statements = |strategy| self.way(strategy).counts.statements;
        let listed = (self.listed > 0, format!("{} orders listed", self.listed));
        [
            claim(
                "n-plus-one",
                "Lazy loading sends one statement for the list and one for each order",
                "another field is loaded lazily, or the items come with the list",
            )
            .witness(listed.0, &*listed.1)
            .equal(statements(Strategy::Lazy), p.parents + 1),
            claim(
                "one-or-two",
                "The join sends 1 statement and loading by keys sends 2, however many orders there are",
                "the page touches a relation that wasn't loaded with the list",
            )
            .witness(listed.0, &*listed.1)
            .that(
                statements(Strategy::Join) == 1 && statements(Strategy::Batch) == 2,
                format_args!("{} and {}", statements(Strategy::Join), statements(Strategy::Batch)),
                "1 and 2",
            ),
            claim(
                "same-objects",
                "All ways bring the same orders with the same items",
                "rows of the join are put to the wrong order, or orders without items are lost",
            )
            .witness(listed.0, &*listed.1)
            .that(
                self.differing == 0,
                format_args!("{} orders differ", self.differing),
                "0 orders differ",
            ),
        ]
    }

    pub fn claims_about_joins(&self, p: &Params) -> [Claim; 4] {
        let (n, a, b) = (p.parents, p.children_each, PAYMENTS_EACH);
        let rows = |strategy| self.way(strategy).counts.rows;
        let paged = self.listed >= NEWEST && rows(Strategy::Join) > self.listed;
        let paged = (paged, format!("{} orders with {} items", self.listed, rows(Strategy::Join)));
        [
            claim(
                "row-explosion",
                "Joining items and payments returns orders × items × payments rows, a statement for each collection their sum",
                "the collections are joined to the orders independently of each other",
            )
            .witness(self.listed > 0, format!("{} orders listed", self.listed))
            .that(
                rows(Strategy::JoinOfTwo) == n * a * b && rows(Strategy::BatchesOfTwo) == n * (1 + a + b),
                format_args!("{} rows against {}", rows(Strategy::JoinOfTwo), rows(Strategy::BatchesOfTwo)),
                format_args!("{} rows against {}", n * a * b, n * (1 + a + b)),
            ),
            claim(
                "sum-multiplied",
                "A sum of payments over that join counts each payment once for each item of its order",
                "each payment comes once",
            )
            .witness(self.sums.over_payments > 0, format!("{} cents were paid", self.sums.over_payments))
            .that(
                self.sums.over_join == self.sums.over_payments * a.cast_signed(),
                format_args!("{} cents instead of {}", self.sums.over_join, self.sums.over_payments),
                format_args!("{a} times too much"),
            ),
            claim(
                "limit-cuts-rows",
                "LIMIT 10 on the join cuts rows: it brings only as many whole orders as fit into ten rows",
                "LIMIT counts orders",
            )
            .witness(paged.0, &*paged.1)
            .equal(self.newest.by_limit_on_join, n.min(NEWEST / a)),
            claim(
                "parents-first",
                "LIMIT 10 on the orders, before the join, brings ten whole orders",
                "LIMIT is applied to the joined rows",
            )
            .witness(paged.0, &*paged.1)
            .equal(self.newest.by_parents_first, n.min(NEWEST)),
        ]
    }

    pub fn claims_about_distance(&self, p: &Params) -> [Claim; 4] {
        let (lazy, batch) = (self.way(Strategy::Lazy), self.way(Strategy::Batch));
        let far = self.trip_ms >= 1.0 && p.round_trip_ms > 0;
        // Where trips take less, so does the noise of a busy machine.
        let (way, quickest) = (p.round_trip_ms as f64, lazy.quickest_ms());
        let trip = format!("one trip took {:.1} ms", self.trip_ms);
        let many =
            (self.trip_ms >= 2.0 && self.listed >= 25, format!("{} orders listed, {trip}", self.listed));
        [
            claim(
                "distance",
                "Each statement of the lazy load takes at least the way there and back, so that all take N + 1 times that",
                "statements are sent without waiting for the answer before",
            )
            .witness(far, trip)
            .that(
                quickest >= way && lazy.ms >= (p.parents + 1) as f64 * way,
                format_args!("the quickest took {quickest:.1} ms, all {:.0} ms", lazy.ms),
                format_args!("at least {way:.1} and {:.0} ms", (p.parents + 1) as f64 * way),
            ),
            claim("slower", "Lazy loading takes longer than loading by keys", "a statement costs no trip")
                .witness(many.0, &*many.1)
                .that(
                    lazy.ms > 1.2 * batch.ms,
                    format_args!("{:.0} ms against {:.0} ms", lazy.ms, batch.ms),
                    "more than 1.2 times as long",
                ),
            claim(
                "sqlite-statements",
                "The same page sends SQLite just as many statements",
                "the embedded database batches them by itself",
            )
            .witness(self.listed > 0, format!("{} orders listed", self.listed))
            .equal(self.sqlite.counts.statements, lazy.counts.statements),
            claim(
                "sqlite-faster",
                "In process they take less than half of the time that they take over the wire",
                "the statements themselves are what takes the time",
            )
            .witness(many.0, &*many.1)
            .that(
                self.sqlite.ms < lazy.ms / 2.0,
                format_args!("{:.0} ms against {:.0} ms", self.sqlite.ms, lazy.ms),
                "less than half as long",
            ),
        ]
    }
}

/// The shop as it is, and then with one thing broken at a time.
pub fn broken_systems(p: &Params) -> Vec<Observed> {
    let but = |wrong: &dyn Fn(&mut Observed)| {
        let mut seen = expected(p);
        wrong(&mut seen);
        seen
    };
    vec![
        but(&|seen| seen.ways[Strategy::Lazy as usize].counts.statements = 1),
        but(&|seen| seen.ways[Strategy::Batch as usize].counts.statements = p.parents + 2),
        but(&|seen| seen.differing = 1),
        but(&|seen| {
            seen.ways[Strategy::JoinOfTwo as usize].counts.rows =
                p.parents * (p.children_each + PAYMENTS_EACH);
        }),
        but(&|seen| seen.sums.over_join = seen.sums.over_payments),
        but(&|seen| seen.newest.by_limit_on_join = NEWEST),
        but(&|seen| seen.newest.by_parents_first = NEWEST / p.children_each),
        but(&|seen| seen.ways[Strategy::Lazy as usize].took = vec![(0.0, 0.1)]),
        but(&|seen| seen.ways[Strategy::Lazy as usize].ms = seen.ways[Strategy::Batch as usize].ms),
        but(&|seen| seen.sqlite.counts.statements = 1),
        but(&|seen| seen.sqlite.ms = seen.ways[Strategy::Lazy as usize].ms),
    ]
}

/// What is seen at these knobs, in whole trips.
fn expected(p: &Params) -> Observed {
    let (n, a, b) = (p.parents, p.children_each, PAYMENTS_EACH);
    let trip_ms = p.round_trip_ms as f64 + 1.0;
    let way = |statements, rows| Way {
        counts: Counts { statements, round_trips: statements, rows, ..Counts::default() },
        ms: statements as f64 * trip_ms,
        took: (0..statements).map(|i| (i as f64 * trip_ms, (i + 1) as f64 * trip_ms)).collect(),
    };
    Observed {
        listed: n,
        trip_ms,
        ways: vec![
            way(n + 1, n + n * a),
            way(1, n * a),
            way(2, n + n * a),
            way(1, n * a * b),
            way(3, n + n * a + n * b),
        ],
        sqlite: Way { ms: 1.0, ..way(n + 1, 0) },
        newest: Newest { by_limit_on_join: n.min(NEWEST / a), by_parents_first: n.min(NEWEST) },
        sums: Sums { over_join: 1500 * (n * a).cast_signed(), over_payments: 1500 * n.cast_signed() },
        ..Observed::default()
    }
}

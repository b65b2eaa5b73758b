//! One good example of each drawing, as experiments make them.

use backlab_figures::*;

pub fn all() -> Vec<Figure> {
    vec![sequence(), bars(), lines(), histogram(), heat_map(), matrix(), ring(), timeline(), table()]
}

fn message(from: usize, to: usize, label: &str, tone: Tone) -> SequenceRow {
    SequenceRow::Message { from, to, label: label.into(), lost: false, tone }
}

pub fn sequence() -> Figure {
    let names = ["clients × 50", "cache", "SQLite"];
    let rows = vec![
        SequenceRow::Step { label: "Fifty clients ask for keys that do not exist".into() },
        message(0, 1, "GET /item/20001", Tone::Plain),
        message(0, 1, "GET /item/20002", Tone::Plain),
        SequenceRow::Gap { count: 48 },
        SequenceRow::Note { at: 1, label: "no entry for 20001".into(), tone: Tone::Accent },
        message(1, 2, "SELECT name, price FROM item WHERE id = 20001 → no row", Tone::Refuted),
        SequenceRow::Message {
            from: 1,
            to: 2,
            label: "SELECT … id = 20002".into(),
            lost: true,
            tone: Tone::Plain,
        },
        message(1, 1, "retry after 50 ms", Tone::Plain),
        message(2, 1, "no row", Tone::Soft),
        SequenceRow::Step { label: "And the answers".into() },
        message(1, 0, "404 × 50", Tone::Soft),
        message(0, 2, "a label that crosses the lane in the middle", Tone::Accent),
        SequenceRow::Note { at: 2, label: "50 queries, each alone".into(), tone: Tone::Refuted },
    ];
    let participants = names.map(String::from).to_vec();
    Figure::new(
        "messages",
        "Every message between the parts, in the order it happened.",
        Sequence { participants, rows },
    )
}

pub fn bars() -> Figure {
    let row = |label: &str, values: [(f64, Tone); 2]| BarRow {
        label: label.into(),
        bars: values.map(|(value, tone)| Bar { value, tone }).to_vec(),
    };
    let (bad, good) = (Tone::Refuted, Tone::Accent);
    let rows = vec![
        row("none", [(50.0, bad), (50.0, bad)]),
        row("single flight", [(1.0, good), (50.0, bad)]),
        row("stale while revalidating", [(1.0, good), (50.0, bad)]),
        row("negative entries", [(50.0, bad), (42.0, Tone::Plain)]),
        row("Bloom filter", [(50.0, Tone::Soft), (0.0, good)]),
    ];
    let series = ["stampede", "penetration, all different"].map(String::from).to_vec();
    let bars = Bars { unit: "queries".into(), series, rows, limit: Some((10.0, "capacity".into())) };
    Figure::new("queries", "Queries that reached the database: no medicine cures both.", bars)
}

pub fn lines() -> Figure {
    let curve = |name: &str, tone, f: &dyn Fn(f64) -> f64| Series {
        name: name.into(),
        points: (0..60).map(|i| (f64::from(i), f(f64::from(i)))).collect(),
        tone,
    };
    let series = vec![
        curve("fixed window", Tone::Refuted, &|x| if x < 20.0 { x } else { 40.0 - x / 3.0 }),
        curve("token bucket", Tone::Accent, &|x| 12.0 + 4.0 * (x / 6.0).sin()),
        curve("sliding log", Tone::Plain, &|x| 10.0 + x / 9.0),
        curve("sliding counter", Tone::Plain, &|x| 9.0 + x / 8.0),
        curve("offered", Tone::Soft, &|_| 44.0),
    ];
    let axis = |label: &str| Axis { label: label.into(), log: false };
    let marks =
        vec![Mark { at: 20.0, label: "window turns".into() }, Mark { at: 24.0, label: "burst ends".into() }];
    let lines = Lines { x: axis("ms since the first request"), y: axis("requests admitted"), series, marks };
    Figure::new("admitted", "Each limiter on one stream of requests.", lines)
}

pub fn histogram() -> Figure {
    let buckets = (0..16)
        .map(|i| {
            let (from, to) = (2f64.powf(f64::from(i) / 2.0), 2f64.powf(f64::from(i + 1) / 2.0));
            Bucket { from, to, count: (900.0 * (-(f64::from(i) - 5.0).powi(2) / 9.0).exp()) as u64 }
        })
        .collect();
    let marks = vec![Mark { at: 5.6, label: "median".into() }, Mark { at: 41.0, label: "99 %".into() }];
    let x = Axis { label: "latency, ms".into(), log: true };
    Figure::new("latency", "Half of the requests take less than 6 ms.", Histogram { x, buckets, marks })
}

pub fn heat_map() -> Figure {
    let rows = ["10 keys", "100 keys", "1000 keys", "10,000 keys"].map(String::from).to_vec();
    let columns = ["LRU", "LFU", "ARC", "FIFO", "random", "CLOCK", "2Q"].map(String::from).to_vec();
    let cells = (0..4).map(|r| (0..7).map(|c| f64::from((r * 29 + c * 17) % 98) + 0.5).collect()).collect();
    Figure::new(
        "hits",
        "Share of hits by policy and working set.",
        HeatMap { unit: "% hits".into(), rows, columns, cells },
    )
}

pub fn matrix() -> Figure {
    let rows =
        ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"].map(String::from).to_vec();
    let columns =
        ["dirty read", "non-repeatable read", "phantom", "lost update", "write skew"].map(String::from);
    let cell = |bad: bool, code: &str| Cell {
        text: if bad { "happens".into() } else { code.into() },
        tone: if bad { Tone::Refuted } else { Tone::Accent },
    };
    let cells = (0..4)
        .map(|r| (0..5).map(|c| cell(c > r && c > 0 || c == 4 && r < 3, "prevented")).collect())
        .collect();
    let matrix = Matrix { rows, columns: columns.to_vec(), cells };
    Figure::new("isolation", "Which anomaly each level lets through.", matrix)
}

pub fn ring() -> Figure {
    let owners: Vec<_> = (0..5).map(|i| format!("node-{}", ['a', 'b', 'c', 'd', 'e'][i])).collect();
    let edges = [0.0, 0.07, 0.19, 0.24, 0.41, 0.46, 0.58, 0.71, 0.75, 0.86, 1.0];
    let arcs =
        edges.windows(2).enumerate().map(|(i, e)| Arc { from: e[0], to: e[1], owner: i * 3 % 5 }).collect();
    Figure::new("ring", "What node-e took over when it joined.", Ring { owners, arcs, highlight: Some(4) })
}

/// Twenty owners with 300 virtual nodes each.
pub fn large_ring() -> Figure {
    let owners: Vec<_> = (0..20).map(|i| format!("cache-{i:02}")).collect();
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut points: Vec<_> = (0..6000).map(|i| (next(), i % 20)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut arcs: Vec<_> =
        points.windows(2).map(|p| Arc { from: p[0].0, to: p[1].0, owner: p[1].1 }).collect();
    arcs.push(Arc { from: points[5999].0, to: points[0].0, owner: points[0].1 });
    Figure::new(
        "large ring",
        "With 300 points each, shares come close to 5 %.",
        Ring { owners, arcs, highlight: None },
    )
}

pub fn timeline() -> Figure {
    let moment = |at: f64, label: &str, tone| Moment { at, label: label.into(), tone };
    let span = |from, to, label: &str, tone| Span { from, to, label: label.into(), tone };
    let lanes = vec![
        Lane {
            name: "worker 1".into(),
            spans: vec![
                span(0.0, 30.0, "holds the lease", Tone::Plain),
                span(30.0, 52.0, "paused, believes it holds it", Tone::Refuted),
            ],
            moments: vec![],
        },
        Lane {
            name: "worker 2".into(),
            spans: vec![
                span(34.0, 70.0, "holds the lease", Tone::Accent),
                span(20.0, 36.0, "waits", Tone::Soft),
            ],
            moments: vec![],
        },
        Lane {
            name: "storage".into(),
            spans: vec![],
            moments: vec![
                moment(5.0, "write 33", Tone::Plain),
                moment(40.0, "write 34", Tone::Accent),
                moment(52.0, "write 33 refused", Tone::Refuted),
                moment(60.0, "", Tone::Plain),
                moment(61.0, "", Tone::Soft),
            ],
        },
    ];
    let marks = vec![Mark { at: 30.0, label: "lease expires".into() }];
    Figure::new(
        "leases",
        "Two workers believe that they hold one lease.",
        Timeline { unit: "virtual s".into(), lanes, marks },
    )
}

/// Five lanes with 600 moments each.
pub fn large_timeline() -> Figure {
    let tone = |i: u32, lane: u32| if (i * 7 + lane).is_multiple_of(4) { Tone::Refuted } else { Tone::Plain };
    let lane = |lane: u32| Lane {
        name: ["fixed window", "sliding log", "sliding counter", "token bucket", "GCRA"][lane as usize]
            .into(),
        spans: vec![],
        moments: (0..600)
            .map(|i| Moment { at: f64::from(i * i % 7919) / 8.0, label: String::new(), tone: tone(i, lane) })
            .collect(),
    };
    let it = Timeline { unit: "ms".into(), lanes: (0..5).map(lane).collect(), marks: vec![] };
    Figure::new("arrivals", "Admitted and refused arrivals by algorithm.", it)
}

pub fn table() -> Figure {
    let columns = ["Algorithm", "State per key", "Bytes", "What it remembers"].map(String::from).to_vec();
    let row = |cells: [&str; 4]| cells.map(String::from).to_vec();
    let rows = vec![
        row(["fixed window", "2 values", "16", "the window's number and a count"]),
        row(["sliding log", "up to limit", "80", "the time of every admitted request of the last window"]),
        row(["token bucket", "2 values", "16", "tokens scaled by the rate, and when they were counted"]),
        row(["GCRA", "1 value", "8", "the theoretical arrival time"]),
    ];
    Figure::new("state", "What each algorithm keeps for one key.", Table { columns, rows })
}

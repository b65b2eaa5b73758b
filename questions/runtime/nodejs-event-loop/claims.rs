//! What the answer says about orders, about the one thread and about the pool behind it.

use super::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Claim> {
    let mut claims = order_claims(p, seen);
    claims.extend(blocking_claims(p, seen));
    claims.extend(pool_claims(p, seen));
    claims
}

fn order_claims(p: &Params, seen: &Observed) -> Vec<Claim> {
    let begins = |orders: &[Vec<String>], labels: [&str; 4]| {
        let good =
            orders.iter().filter(|order| order.iter().zip(labels).all(|(a, b)| a == b) && order.len() == 6);
        format!("{} of {} runs", good.count(), orders.len())
    };
    let all = |orders: &[Vec<String>]| format!("{0} of {0} runs", orders.len());
    let runs = |orders: &[Vec<String>]| format!("{} processes ran to their end", orders.len());
    let single = seen.random.iter().filter(|it| it.allowed.len() == 1).count();
    let tried: usize = seen.random.iter().map(|it| it.seen.len()).sum();
    let obeyed = seen.random.iter().flat_map(|it| it.seen.iter().filter(|order| it.allowed.contains(*order)));
    vec![
        claim(
            "immediate-before-timeout",
            format!("With both set {}, setImmediate runs before setTimeout(0)", p.program.at()),
            "they are set in the main module, where timers come first once a millisecond has passed",
        )
        .witness(!seen.chosen.is_empty(), runs(&seen.chosen))
        .equal(format!("{} of {} runs", seen.before("immediate", "timeout"), seen.chosen.len()), all(&seen.chosen)),
        claim(
            "ticks-before-promises",
            "In a CommonJS module the synchronous code comes first, then ticks, then promises and what awaits them",
            "microtasks are run before the queue of ticks",
        )
        .witness(!seen.commonjs.is_empty(), runs(&seen.commonjs))
        .equal(begins(&seen.commonjs, ["sync", "tick", "promise", "await"]), all(&seen.commonjs)),
        claim(
            "promises-before-ticks",
            "In an ES module the same lines run promises before ticks",
            "the top level of a module is run like a plain callback",
        )
        .witness(!seen.module.is_empty(), runs(&seen.module))
        .equal(begins(&seen.module, ["sync", "promise", "await", "tick"]), all(&seen.module)),
        claim(
            "rules-suffice",
            format!("{PROGRAMS} random programs log only in orders that four rules allow"),
            "a queue is emptied at another moment, as before Node.js 11",
        )
        .witness(single > 0, format!("{single} of {} programs have one order only", seen.random.len()))
        .equal(format!("{} of {tried} runs", obeyed.count()), format!("{tried} of {tried} runs")),
    ]
}

impl Place {
    /// As it stands in a sentence.
    fn at(self) -> &'static str {
        match self {
            Self::Io => "inside an I/O callback",
            Self::CommonJs => "in the CommonJS main module",
            Self::Module => "in the main ES module",
            Self::Late => "in a main module that computes for 5 ms first",
        }
    }
}

fn blocking_claims(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (blocking, pieces, worker) = (&seen.blocking, &seen.pieces, &seen.worker);
    let pinged = |work: &Work| work.meanwhile().count() > 0;
    let pings = |work: &Work| format!("{} pings sent while it computed", work.meanwhile().count());
    let answered = |work: &Work| format!("{} pings, {} timers", work.overtaken_by(), work.timer);
    vec![
        claim(
            "nothing-while-computing",
            "While a callback computes, no other request is answered and no timer fires",
            "a callback can be interrupted",
        )
        .witness(pinged(blocking), pings(blocking))
        .equal(answered(blocking), "0 pings, 0 timers".to_owned()),
        claim(
            "delay-shows-it",
            format!("The longest event loop delay is at least 0.8 of the {} ms computed", p.block_ms),
            "the delay is measured on another thread than the one that computes",
        )
        .witness(pinged(blocking), pings(blocking))
        .that(
            blocking.longest_delay_ms >= 0.8 * p.block_ms as f64,
            format_args!("{:.0} ms", blocking.longest_delay_ms),
            format_args!("at least {} ms", p.block_ms * 8 / 10),
        ),
        claim(
            "pieces-let-others-in",
            "Cut into pieces with setImmediate between, the work lets other requests and timers in",
            "there is no turn of the loop between two pieces",
        )
        .witness(pinged(pieces), pings(pieces))
        .that(pieces.overtaken_by() > 0 && pieces.timer > 0, answered(pieces), "some of both"),
        claim(
            "worker-lets-others-in",
            "Moved to a worker thread, the work lets other requests and timers in",
            "the worker runs on the loop's own thread",
        )
        .witness(pinged(worker), pings(worker))
        .that(worker.overtaken_by() > 0 && worker.timer > 0, answered(worker), "some of both"),
        claim(
            "pieces-are-not-free",
            "Pieces keep the loop as busy as one block does; only the worker leaves it idle",
            "splitting work makes it less",
        )
        .witness(pinged(worker), pings(worker))
        .that(
            pieces.utilisation > 0.9 && blocking.utilisation > 0.9 && worker.utilisation < 0.5,
            [blocking, pieces, worker].map(|work| percent(work.utilisation)).join(", "),
            "over 90 %, over 90 %, under 50 % utilised",
        ),
    ]
}

pub fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn pool_claims(p: &Params, seen: &Observed) -> Vec<Claim> {
    let of = |threads: u64| seen.pools.iter().filter(move |it| it.threads == threads).collect::<Vec<_>>();
    let (chosen, eight, both) = (of(p.pool_threads), of(8), seen.pools.iter().collect::<Vec<_>>());
    let rounds = |pools: &[&Pool]| pools.iter().map(|pool| pool.rounds.len()).sum::<usize>();
    let every = |pools: &[&Pool]| format!("{0} of {0} rounds", rounds(pools));
    let first = |what: &str, pools: &[&Pool]| {
        format!("{} of {} rounds", pools.iter().map(|pool| pool.first(what)).sum::<usize>(), rounds(pools))
    };
    let hashed = |pools: &[&Pool]| !pools.is_empty() && pools.iter().all(|pool| pool.hashes() >= HASHES);
    let hashes = |pools: &[&Pool]| {
        format!("{} hashes computed", pools.iter().map(|pool| pool.hashes()).sum::<usize>())
    };
    vec![
        claim(
            "file-waits-for-hash",
            format!(
                "With {} threads in the pool fs.stat is never done before a password hash",
                p.pool_threads
            ),
            "the pool has more threads than there are hashes",
        )
        .witness(hashed(&chosen), hashes(&chosen))
        .equal(first("stat", &chosen), format!("0 of {} rounds", rounds(&chosen))),
        claim(
            "spare-thread-is-enough",
            "With 8 threads fs.stat is done before all four hashes",
            "files don't share a pool with hashes",
        )
        .witness(hashed(&eight), hashes(&eight))
        .equal(first("stat", &eight), every(&eight)),
        claim(
            "socket-needs-no-thread",
            "An echo over a socket is done before all hashes, however small the pool",
            "the peer's name has to be looked up, which takes a thread of the pool",
        )
        .witness(hashed(&both), hashes(&both))
        .equal(first("echo", &both), every(&both)),
    ]
}

/// What broken systems would show.
pub fn counterexamples(p: &Params) -> Vec<Observed> {
    let order = |labels: &str| labels.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let ping = |sent_us, answer| Ping { sent_us, answered_us: sent_us + 50, answer };
    let work = |answer, timer, utilisation, pings| Work {
        began_us: 0,
        ended_us: 1000,
        answer,
        timer,
        utilisation,
        longest_delay_ms: 1.0,
        pings,
    };
    // Everything that can be wrong at once: queues in the wrong order, a loop that is interrupted, work that is split
    // and moved in name only, and a pool that serves sockets before files.
    let wrong = Observed {
        chosen: vec![order("sync tick promise await timeout immediate"); RUNS],
        commonjs: vec![order("sync promise await tick timeout immediate"); OTHER_RUNS],
        module: vec![order("sync tick promise await timeout immediate"); OTHER_RUNS],
        random: vec![Random {
            program: "timeout(a) tick(b)".into(),
            allowed: BTreeSet::from(["ba".to_owned()]),
            seen: vec!["ab".into(); RUNS_EACH],
        }],
        blocking: work(2, 3, 1.0, vec![ping(10, 1)]),
        pieces: work(3, 0, 0.4, vec![ping(10, 4)]),
        worker: work(5, 0, 1.0, vec![ping(10, 6)]),
        pools: [p.pool_threads, 8]
            .map(|threads| Pool { threads, rounds: vec![order("hash echo hash hash hash stat"); ROUNDS] })
            .into(),
    };
    let mut file_first = wrong.clone();
    file_first.pools =
        vec![Pool { threads: p.pool_threads, rounds: vec![order("stat hash hash hash hash echo")] }];
    vec![wrong, file_first]
}

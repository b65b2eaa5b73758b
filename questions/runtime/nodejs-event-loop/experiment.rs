//! Which callback runs when, and what blocks whom, on the real Node.js.
//!
//! Three things are tried. The same few lines run in several places, many times, each time in a process of its own, and
//! random programs are held against four rules ([`rules`]). A server computes in three forms while others ping it. And
//! a file, a socket and four password hashes race for the threads behind the loop. Nothing here is judged by a clock:
//! orders come from the programs, and what the server did in which order from its own numbering of its answers.

use crate::prelude::*;
use backlab_parts::node::{self, ModuleKind, Node};
use rules::{Step, line};

#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;
#[path = "rules.rs"]
mod rules;

choices! {
    /// Where the program stands that is run twenty times.
    pub enum Place {
        Io = "inside an I/O callback",
        CommonJs = "main module, CommonJS",
        Module = "main module, ES module",
        Late = "main module, computing 5 ms first",
    }
}

choices! {
    /// How the echo's client names its peer.
    pub enum Host { Address = "by address", Name = "by host name" }
}

params! {
    /// Where the program stands that is run 20 times: see the orders change.
    program: Place = "inside an I/O callback" in ..;
    /// CPU time that a request for /work needs, in milliseconds.
    block_ms: u64 = 400 in 300..=1000;
    /// Pieces into which one form of /work is cut, with a setImmediate after each.
    pieces: u64 = 40 in 1..=100;
    /// Threads of libuv's pool, UV_THREADPOOL_SIZE; a pool of 8 stands beside it.
    pool_threads: u64 = 4 in 1..=8;
    /// How the echo's client names its peer; a name has to be looked up.
    connect: Host = "by address" in ..;
}

/// Runs of the chosen program, and of the other two that claims are about.
const RUNS: usize = 20;
const OTHER_RUNS: usize = 5;
const PROGRAMS: usize = 12;
const RUNS_EACH: usize = 4;
const HASHES: usize = 4;
const ROUNDS: usize = 3;

pub struct NodejsEventLoop;

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    /// Labels in the order in which a run logged them, for each run of the chosen program.
    chosen: Vec<Vec<String>>,
    commonjs: Vec<Vec<String>>,
    module: Vec<Vec<String>>,
    random: Vec<Random>,
    blocking: Work,
    pieces: Work,
    worker: Work,
    /// The chosen one first.
    pools: Vec<Pool>,
}

#[derive(Debug, Clone, Serialize)]
struct Random {
    program: String,
    allowed: BTreeSet<String>,
    seen: Vec<String>,
}

/// What one request for /work did to the server, as the server itself saw it, and the pings beside it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Work {
    /// When it began and when it was answered, in microseconds of the machine's monotonic clock.
    #[serde(default)]
    began_us: u64,
    ended_us: u64,
    /// Its number among all answers of the server.
    answer: u64,
    /// How often a timer of 1 ms fired meanwhile.
    timer: u64,
    /// The part of that time in which the loop was not idle.
    utilisation: f64,
    longest_delay_ms: f64,
    #[serde(default)]
    pings: Vec<Ping>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Ping {
    sent_us: u64,
    answered_us: u64,
    answer: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Pool {
    threads: u64,
    /// What was done first, second …, for each round.
    rounds: Vec<Vec<String>>,
}

impl Experiment for NodejsEventLoop {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::NODE];

    fn predict(p: &Params) -> Prediction<Observed> {
        match p.program {
            Place::Io => Prediction::choice(
                "Inside the callback of fs.readFile: setTimeout(A, 0); setImmediate(B); process.nextTick(C); \
                 Promise.resolve().then(D). In which order do they run?",
                &["C D B A", "C D A B", "D C B A", "C D, then A and B in either order"],
                |seen: &Observed| match seen.before("immediate", "timeout") {
                    _ if seen.before("promise", "tick") > 0 => 2,
                    RUNS => 0,
                    0 => 1,
                    _ => 3,
                },
            )
            .tempting(
                3,
                "From the main module A and B may come in either order. Inside an I/O callback the loop stands in \
                 poll: check, where immediates run, comes next, and timers after it.",
            ),
            place => {
                let in_module = place == Place::Module;
                let why = if in_module {
                    "Ticks come first after every callback. But the top level of an ES module is itself run by a \
                     promise, and microtasks are finished before ticks get their turn."
                } else {
                    "Promises are often said to come before everything. Node.js empties its own queue of ticks \
                     before V8's queue of microtasks."
                };
                Prediction::choice(
                    format!("The same lines in the {}: what runs first after the synchronous code?", place.word()),
                    &["process.nextTick's callback", "the promise's callback", "one of the others"],
                    |seen: &Observed| match seen.chosen.first().and_then(|order| order.get(1)).map(String::as_str) {
                        Some("tick") => 0,
                        Some("promise") => 1,
                        _ => 2,
                    },
                )
                .tempting(u64::from(!in_module), why)
            }
        }
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let [chosen, commonjs, module] = orders(lab, p.program).await?;
        let random = random_programs(lab).await?;
        let [blocking, pieces, worker] = three_forms(lab, p).await?;
        let pools = pools(lab, p).await?;
        Ok(Observed { chosen, commonjs, module, random, blocking, pieces, worker, pools })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        claims::all(p, seen)
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(p, seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        claims::counterexamples(p)
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "compute for 5 ms in the main module before the loop begins",
                set: &[("program", "main module, computing 5 ms first")],
                refutes: &["immediate-before-timeout"],
            },
            Fault {
                label: "don't split the work: one piece",
                set: &[("pieces", "1")],
                refutes: &["pieces-let-others-in"],
            },
            Fault {
                label: "give the pool a thread for each, and some to spare",
                set: &[("pool_threads", "8")],
                refutes: &["file-waits-for-hash"],
            },
            Fault {
                label: "let the socket's client look up a host name first",
                set: &[("connect", "by host name")],
                refutes: &["socket-needs-no-thread"],
            },
        ]
    }
}

// ---- Orders ----

const LINES: &str = include_str!("order.js");

/// Runs the chosen program, the CommonJS main module and the ES module.
async fn orders(lab: &Lab, chosen: Place) -> Result<[Vec<Vec<String>>; 3]> {
    let mut orders = BTreeMap::new();
    for place in [chosen, Place::CommonJs, Place::Module] {
        if orders.contains_key(&place) {
            continue;
        }
        let times = if place == chosen { RUNS } else { OTHER_RUNS };
        lab.step(format_args!(
            "Run the program {times} times, each in a process of its own: {}",
            place.word()
        ));
        let (name, kind, source) = match place {
            Place::Io => ("io", ModuleKind::CommonJs, inside_read_file()),
            Place::CommonJs => ("main", ModuleKind::CommonJs, LINES.to_owned()),
            Place::Module => ("main", ModuleKind::EsModule, LINES.to_owned()),
            Place::Late => ("late", ModuleKind::CommonJs, format!("{LINES}\n{COMPUTE_5_MS}")),
        };
        let script = lab.node_script(name, kind, &source)?;
        let name = format!("{name}.{}", kind.extension());
        orders.insert(place, lab.node_results(&name, &script, times).await?);
    }
    Ok([chosen, Place::CommonJs, Place::Module].map(|place| orders.get(&place).cloned().unwrap_or_default()))
}

fn inside_read_file() -> String {
    format!("require('node:fs').readFile(__filename, () => {{\n{LINES}\n}});")
}

const COMPUTE_5_MS: &str = "for (const start = performance.now(); performance.now() < start + 5; );";

async fn random_programs(lab: &Lab) -> Result<Vec<Random>> {
    lab.step(format_args!("Run {PROGRAMS} random programs {RUNS_EACH} times each, from an I/O callback"));
    let mut rng = lab.rng("programs");
    let programs: Vec<Vec<Step>> = (0..PROGRAMS).map(|_| rules::random(&mut rng)).collect();
    let script = lab.node_script("programs", ModuleKind::CommonJs, include_str!("programs.cjs"))?;
    let script = script.arg(json!({"programs": programs, "times": RUNS_EACH}));
    let seen: Vec<Vec<String>> = lab.node_result("programs.cjs", &script).await?;
    let random = programs.iter().zip(seen).map(|(program, seen)| Random {
        program: line(program),
        allowed: rules::orders(program),
        seen,
    });
    Ok(random.collect())
}

impl Observed {
    fn forms(&self) -> [(&'static str, &Work); 3] {
        [("blocking", &self.blocking), ("in pieces", &self.pieces), ("in a worker", &self.worker)]
    }

    /// Runs of the chosen program in which `first` came before `then`.
    fn before(&self, first: &str, then: &str) -> usize {
        self.chosen.iter().filter(|order| place_of(order, first) < place_of(order, then)).count()
    }
}

fn place_of(order: &[String], label: &str) -> usize {
    order.iter().position(|it| it == label).unwrap_or(usize::MAX)
}

// ---- One thread ----

/// Has the server do /work in each form, and pings it meanwhile.
async fn three_forms(lab: &Lab, p: &Params) -> Result<[Work; 3]> {
    lab.step("Start an HTTP server");
    let script = lab.node_script("server", ModuleKind::CommonJs, include_str!("server.cjs"))?;
    let server = lab.node("server", &script.arg(p.block_ms).arg(p.pieces)).await?;
    let port: u16 = server.told("port", node::DEADLINE).await?;
    lab.name_address(([127, 0, 0, 1], port).into(), "server");
    let mut works = [Work::default(), Work::default(), Work::default()];
    for (form, work) in ["blocking", "pieces", "worker"].iter().zip(&mut works) {
        lab.step(format_args!("Ask for /work/{form}, and ping while it computes"));
        *work = work_and_pings(lab, &server, port, form).await?;
    }
    Ok(works)
}

async fn work_and_pings(lab: &Lab, server: &Node, port: u16, form: &str) -> Result<Work> {
    let address = ([127, 0, 0, 1], port);
    // One connection that stands already, since accepting one takes a turn of the loop as well.
    let neighbour = lab.client("neighbour", address);
    neighbour.get("/ping").await?;
    let customer = lab.client("customer", address);
    let mut answer = tokio::spawn(customer.get(format!("/work/{form}")).into_future());
    let began_us = server.told(&format!("{form} began"), node::DEADLINE).await?;
    let mut pings = Vec::new();
    loop {
        pings.push(tokio::spawn(ping(neighbour.clone())));
        let pause = tokio::time::sleep(Duration::from_millis(10));
        tokio::select! {
            answer = &mut answer => break drop(answer??),
            () = pause => {}
        }
    }
    let mut work: Work = server.told(form, node::DEADLINE).await?;
    work.began_us = began_us;
    for ping in join_all(pings).await {
        work.pings.push(ping??);
    }
    Ok(work)
}

async fn ping(client: backlab_parts::http::Client) -> Result<Ping> {
    let sent_us = node::hrtime_us();
    let answer = client.get("/ping").await?.json()?;
    Ok(Ping { sent_us, answered_us: node::hrtime_us(), answer })
}

impl Work {
    /// Pings that were sent while it computed.
    fn meanwhile(&self) -> impl Iterator<Item = &Ping> {
        self.pings.iter().filter(|ping| (self.began_us..self.ended_us).contains(&ping.sent_us))
    }

    /// Of those, the ones that the server answered first.
    fn overtaken_by(&self) -> usize {
        self.meanwhile().filter(|ping| ping.answer < self.answer).count()
    }
}

// ---- The pool ----

async fn pools(lab: &Lab, p: &Params) -> Result<Vec<Pool>> {
    let script = lab.node_script("pool", ModuleKind::CommonJs, include_str!("pool.cjs"))?;
    let host = if p.connect == Host::Name { "localhost" } else { "127.0.0.1" };
    let script = script.arg(host).arg(ROUNDS);
    let mut pools: Vec<Pool> = Vec::new();
    for threads in [p.pool_threads, 8] {
        if pools.iter().any(|pool| pool.threads == threads) {
            continue;
        }
        lab.step(format_args!(
            "Hash four passwords, look at a file and echo over a socket, with {threads} threads"
        ));
        let script = script.clone().env("UV_THREADPOOL_SIZE", threads);
        pools.push(Pool { threads, rounds: lab.node_result("pool.cjs", &script).await? });
    }
    Ok(pools)
}

impl Pool {
    fn hashes(&self) -> usize {
        self.rounds.iter().flatten().filter(|what| *what == "hash").count()
    }

    /// Rounds in which `what` was done before any hash.
    fn first(&self, what: &str) -> usize {
        let is_first = |round: &&Vec<String>| place_of(round, what) < place_of(round, "hash");
        self.rounds.iter().filter(is_first).count()
    }
}

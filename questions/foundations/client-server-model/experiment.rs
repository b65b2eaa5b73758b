//! Clients and a server on the wire: one client connects and says nothing, and others want to be served.
//!
//! The servers are processes. What the kernel has done for a connection is read from the kernel, what the program has
//! done from the program.

use crate::prelude::*;
use std::io::ErrorKind;
use std::net::SocketAddr;

#[path = "clients.rs"]
mod clients;
#[path = "figures.rs"]
mod figures;
#[path = "server.rs"]
mod server;

use clients::{Staying, Told, from, trial};
use server::Model;

/// A pool of threads that several silent clients fill.
const POOL: u64 = 4;
/// More threads than there are ever clients.
const MANY: u64 = 64;
/// Clients that keep their connections while somebody is killed.
const STAYING: u64 = 3;

choices! {
    pub enum ReadTimeout { None = "none", Short = "200 ms" }
}

choices! {
    pub enum EventLoop { Waits = "never waits in a call", Blocks = "waits for each client in a call" }
}

params! {
    /// Clients that ask while a silent one is connected.
    clients: u64 = 8 in 2..=32;
    /// How long servers with threads wait for a client to say something.
    read_timeout: ReadTimeout = "none" in ..;
    /// What the handler of the event loop does.
    event_loop: EventLoop = "never waits in a call" in ..;
}

pub struct ClientServerModel;

#[derive(Clone, Serialize)]
pub struct Observed {
    one_thread: Trial,
    pool_with_one_free: Trial,
    pool_full: Trial,
    many_threads: Trial,
    event_loop: Trial,
    numbers: Numbers,
    kills: Vec<Kills>,
}

/// What came of the clients of one server.
#[derive(Clone, Default, Serialize)]
struct Trial {
    name: &'static str,
    silent: u64,
    /// While the silent ones were there: clients whose connect succeeded, and those that were answered.
    connected: u64,
    answered_meanwhile: u64,
    /// By the kernel, where they waited in vain: connections that no program had accepted, and bytes that it hadn't read.
    queued: u64,
    bytes_waiting: u64,
    left_ms: f64,
    answered_in_the_end: u64,
    /// What the clients did, and how often the server's reads returned something.
    writes: u64,
    reads: u64,
    clients: Vec<Client>,
}

#[derive(Clone, Default, Serialize)]
struct Client {
    connected_ms: Option<f64>,
    answered_ms: Option<f64>,
}

/// What makes two connections two.
#[derive(Clone, Serialize)]
struct Numbers {
    /// Source and destination of each connection that the server accepted, in its own words.
    accepted: Vec<(String, String)>,
    /// The kernel's word on a second connection with the same four numbers.
    same_again: String,
    /// Whether the same source could connect to another port.
    same_to_another: bool,
}

/// Who is still served after a kill.
#[derive(Clone, Serialize)]
struct Kills {
    server: &'static str,
    client_killed: bool,
    served_after_client: u64,
    server_killed: bool,
    ended: u64,
    served_after_server: u64,
    refused: u64,
}

impl Experiment for ClientServerModel {
    type Params = Params;
    type Observed = Observed;

    const ROLES: &'static [Role] = &[server::SERVER, server::CLIENT];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "A server has one thread, and that thread waits for a line from a client that says nothing. {} other clients \
             come. How many of them get a connection?",
            p.clients
        );
        Prediction::number(ask, "clients", |seen: &Observed| seen.one_thread.connected).tempting(
            0,
            "The program accepts nobody. But it is the kernel that shakes hands, and it does so without asking the \
             program: the clients are connected, and nobody serves them.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        Ok(Observed {
            one_thread: trial(lab, p, "one thread", Model::Threads(1), 1).await?,
            pool_with_one_free: trial(lab, p, "four threads", Model::Threads(POOL), POOL - 1).await?,
            pool_full: trial(lab, p, "four threads", Model::Threads(POOL), POOL).await?,
            many_threads: trial(lab, p, "a thread each", Model::Threads(MANY), 1).await?,
            event_loop: trial(lab, p, "event loop", Model::EventLoop, 1).await?,
            numbers: numbers(lab, p).await?,
            kills: vec![
                kills(lab, p, "a thread each", Model::Threads(MANY)).await?,
                kills(lab, p, "event loop", Model::EventLoop).await?,
            ],
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = on_silence(p, seen);
        claims.extend(on_connections(seen));
        claims
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 9] = [
            |it| it.one_thread.queued = 0,
            |it| it.one_thread.answered_meanwhile = 1,
            |it| it.one_thread.answered_in_the_end = 1,
            |it| it.one_thread.reads = it.one_thread.writes,
            |it| it.event_loop.answered_meanwhile = 0,
            |it| it.pool_full.answered_meanwhile = 1,
            |it| it.numbers.same_again = "connected".into(),
            |it| it.kills[0].served_after_client = 0,
            |it| it.kills[1].refused = 0,
        ];
        each_broken(broken, || as_expected(p))
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let the event loop wait for a client in a blocking call",
                set: &[("event_loop", "waits for each client in a call")],
                refutes: &["others-don-t-wait", "client-dies-alone"],
            },
            Fault {
                label: "let threads give up on a client that says nothing for 200 ms",
                set: &[("read_timeout", "200 ms")],
                refutes: &["silent-one-blocks", "pool-fills-up"],
            },
        ]
    }
}

fn on_silence(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (one, all) = (&seen.one_thread, p.clients);
    let silent = |id, says, breaks_when| {
        claim(id, says, breaks_when)
            .witness(one.connected == all, format!("{all} connected beside {} silent", one.silent))
    };
    let unread = |id, says, breaks_when| {
        let held = format!("the kernel held {} bytes for the program", one.bytes_waiting);
        claim(id, says, breaks_when).witness(one.bytes_waiting > 0, held)
    };
    vec![
        unread(
            "kernel-connects",
            "While the only thread waits for a silent client, all others are connected and stand in the kernel's queue",
            "the queue of listen() is shorter than the crowd",
        )
        .equal(connected(one.connected, one.queued), connected(all, all)),
        silent(
            "silent-one-blocks",
            "None of them is answered as long as the silent client stays",
            "the server gives up on a client that says nothing",
        )
        .equal(of(one.answered_meanwhile, all), of(0, all)),
        silent(
            "served-when-it-leaves",
            "When it leaves, all of them are answered",
            "they have given up meanwhile, or the queue was cut",
        )
        .equal(of(one.answered_in_the_end, all), of(all, all)),
        unread(
            "stream-not-messages",
            "What each of them wrote in two writes, the server then gets from one read",
            "the server reads between the two writes",
        )
        .equal(reads(one.reads, one.writes), reads(all, 2 * all)),
        claim(
            "others-don-t-wait",
            "A thread for each client, or an event loop, answers all others while a silent one stays",
            "the event loop waits for one client in a call that blocks",
        )
        .witness(seen.many_threads.silent + seen.event_loop.silent == 2, "one silent client at each server")
        .equal(
            answered([&seen.many_threads, &seen.event_loop]),
            format!("{all} and {all} answered"),
        ),
        claim(
            "pool-fills-up",
            "A pool of four threads answers all others beside three silent clients, and none beside four",
            "threads give up on who says nothing, or the pool grows",
        )
        .witness(
            seen.pool_with_one_free.silent < POOL && seen.pool_full.silent == POOL,
            format!("{} and {} silent clients", seen.pool_with_one_free.silent, seen.pool_full.silent),
        )
        .equal(answered([&seen.pool_with_one_free, &seen.pool_full]), format!("{all} and 0 answered")),
    ]
}

fn on_connections(seen: &Observed) -> Vec<Claim> {
    let Numbers { accepted, same_again, same_to_another } = &seen.numbers;
    let servers: BTreeSet<_> = accepted.iter().map(|(_, server)| server).collect();
    let clients: BTreeSet<_> = accepted.iter().map(|(client, _)| client).collect();
    let ports: BTreeSet<_> = accepted.iter().filter_map(|(client, _)| client.rsplit(':').next()).collect();
    let sum = |count: fn(&Kills) -> u64| seen.kills.iter().map(count).sum::<u64>();
    let staying = STAYING * seen.kills.len() as u64;
    vec![
        claim(
            "four-numbers",
            "Clients at two addresses with the same port are two connections to one server port, and the same four numbers \
             can't be had twice",
            "a connection were known by the client's port",
        )
        .witness(
            ports.len() == 1 && *same_to_another,
            format!("all from port {}", ports.first().unwrap_or(&"none")),
        )
        .equal(
            format!("{} connections, {} server port, again: {same_again}", clients.len(), servers.len()),
            "2 connections, 1 server port, again: address not available".into(),
        ),
        claim(
            "client-dies-alone",
            "When one client is killed, every other is still served over its own connection",
            "one thread serves all, and dies or waits with the one",
        )
        .witness(seen.kills.iter().all(|it| it.client_killed), format!("{} clients killed", seen.kills.len()))
        .equal(of(sum(|it| it.served_after_client), staying), of(staying, staying)),
        claim(
            "server-dies-for-all",
            "When the server is killed, every connection ends at once, nobody is served, and new connections are refused",
            "there is a second server behind the same address",
        )
        .witness(seen.kills.iter().all(|it| it.server_killed), format!("{} servers killed", seen.kills.len()))
        .equal(
            lost(sum(|it| it.ended), sum(|it| it.served_after_server), sum(|it| it.refused)),
            lost(staying, 0, staying),
        ),
    ]
}

/// Two clients with the same port at different addresses; then one of them once more.
async fn numbers(lab: &Lab, p: &Params) -> Result<Numbers> {
    lab.step("Two clients that have the same port, at two addresses");
    let (server, addr) = server::start(lab, "server", Model::Threads(MANY), p).await?;
    let (_other, other) = server::start(lab, "another server", Model::Threads(1), p).await?;
    let first = from(([127, 0, 0, 2], 0).into(), addr).await?;
    let port = first.local_addr()?.port();
    let second = SocketAddr::from(([127, 0, 0, 3], port));
    let _second = from(second, addr).await?;
    let same_again = match from(second, addr).await {
        Ok(_) => "connected".to_owned(),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => "address not available".to_owned(),
        Err(error) => error.to_string(),
    };
    let same_to_another = from(second, other).await.is_ok();
    let accepted = |nth| move |line: &str| both(line).filter(|(client, _)| client.starts_with(nth));
    let soon = Duration::from_secs(10);
    let accepted = vec![
        server.line(soon, accepted("127.0.0.2")).await?,
        server.line(soon, accepted("127.0.0.3")).await?,
    ];
    Ok(Numbers { accepted, same_again, same_to_another })
}

fn both(line: &str) -> Option<(String, String)> {
    let (client, server) = line.strip_prefix("accepted ")?.split_once(" at ")?;
    Some((client.to_owned(), server.to_owned()))
}

/// Kills a client, then the server, and asks the others each time.
async fn kills(lab: &Lab, p: &Params, name: &'static str, model: Model) -> Result<Kills> {
    lab.step(format_args!("{name}: a client is killed, then the server"));
    let (server, addr) = server::start(lab, "server", model, p).await?;
    let doomed = lab.role("client", &server::CLIENT, [addr.to_string()]).await?;
    doomed.line(Duration::from_secs(10), |line| (line == "answered").then_some(())).await?;
    let mut others = Vec::new();
    for _ in 0..STAYING {
        others.push(Staying::connect(addr).await?);
    }
    let client_killed = doomed.kill().await?.shell_code() == 137;
    let served_after_client = served(&mut others).await;
    let server_killed = server.kill().await?.shell_code() == 137;
    let (mut ended, mut refused) = (0, 0);
    for other in &mut others {
        ended += u64::from(other.is_ended().await);
        refused += u64::from(Staying::connect(addr).await.is_err());
    }
    let served_after_server = served(&mut others).await;
    Ok(Kills {
        server: name,
        client_killed,
        served_after_client,
        server_killed,
        ended,
        served_after_server,
        refused,
    })
}

async fn served(clients: &mut [Staying]) -> u64 {
    join_all(clients.iter_mut().map(Staying::asks)).await.into_iter().map(u64::from).sum()
}

impl Trial {
    fn note(&mut self, nth: u64, what: Told) {
        let client = &mut self.clients[nth as usize];
        match what {
            Told::Connected(at) => client.connected_ms = Some(at),
            Told::Answered(at) => client.answered_ms = Some(at),
        }
    }

    fn answered(&self) -> u64 {
        self.clients.iter().filter(|it| it.answered_ms.is_some()).count() as u64
    }
}

fn of(count: u64, all: u64) -> String {
    format!("{count} of {all}")
}

fn connected(connected: u64, queued: u64) -> String {
    format!("{connected} connected, {queued} in the queue")
}

fn reads(reads: u64, writes: u64) -> String {
    format!("{writes} writes, {reads} reads")
}

fn answered(trials: [&Trial; 2]) -> String {
    format!("{} and {} answered", trials[0].answered_meanwhile, trials[1].answered_meanwhile)
}

fn lost(ended: u64, served: u64, refused: u64) -> String {
    format!("{ended} ended, {served} served, {refused} refused")
}

/// What a run shows that goes as the answer says.
fn as_expected(p: &Params) -> Observed {
    let all = p.clients;
    let served = Trial {
        silent: 1,
        connected: all,
        answered_meanwhile: all,
        answered_in_the_end: all,
        ..Trial::default()
    };
    let blocked = Trial {
        answered_meanwhile: 0,
        queued: all,
        bytes_waiting: 6 * all,
        writes: 2 * all,
        reads: all,
        ..served.clone()
    };
    let kills = Kills {
        server: "server",
        client_killed: true,
        served_after_client: STAYING,
        server_killed: true,
        ended: STAYING,
        served_after_server: 0,
        refused: STAYING,
    };
    let accepted = [2, 3].map(|host| (format!("127.0.0.{host}:4000"), "127.0.0.1:80".to_owned()));
    Observed {
        one_thread: blocked.clone(),
        pool_with_one_free: Trial { silent: POOL - 1, ..served.clone() },
        pool_full: Trial { silent: POOL, ..blocked },
        many_threads: served.clone(),
        event_loop: served,
        numbers: Numbers {
            accepted: accepted.into(),
            same_again: "address not available".into(),
            same_to_another: true,
        },
        kills: vec![kills.clone(), kills],
    }
}

//! Workers that die, each a real process: one by SIGKILL between the two steps of putting a message aside, and some by
//! the message itself.

use super::orders::{Body, Kind, STREAM, SUBJECT, Shop};
use super::tray::Dead;
use super::worker::{Outcome, Policy, Stop, Worker};
use super::{Count, Order, Params};
use crate::prelude::*;
use async_nats::jetstream::consumer::pull;
use backlab_engine::Knob;
use backlab_parts::nats::{Client, Nats};
use backlab_parts::{Exit, Process};
use std::future::Future;

const SOON: Duration = Duration::from_secs(15);
/// What the workers here ask for, so that a successor doesn't wait for long.
const ACK_WAIT: Duration = Duration::from_millis(500);
/// How long a request waits for a message. Much longer than [`ACK_WAIT`]: a worker that gives a request up while the
/// message is on its way costs a delivery that nobody handles.
const PATIENCE: Duration = Duration::from_secs(5);
/// Number of the signal by which a process aborts (signal(7)).
const SIGABRT: i32 = 6;

pub const WORKER: Role = Role { name: "dead-letter-queue/worker", play: |args| Box::pin(work(args)) };

/// What became of an order whose worker was killed.
#[derive(Debug, Clone, Serialize)]
pub struct Kill {
    pub by_sigkill: bool,
    /// Attempts of both workers, and the server's count at the last delivery.
    pub tried: u64,
    pub deliveries: u64,
    /// Letters that lie in the tray for this message.
    pub letters: u64,
}

/// What became of an order that ends the process that handles it.
#[derive(Debug, Clone, Serialize)]
pub struct Explosion {
    pub died: u64,
    pub letters: u64,
}

/// One more poison order; the first worker is killed between the two steps, the second takes over.
pub async fn kill(lab: &Lab, nats: &Nats, p: &Params, tray: &mut Dead) -> Result<Kill> {
    lab.step("SIGKILL between the two steps of putting a message aside; another worker takes over");
    let before = tray.count().await?;
    let publisher = nats.client("publisher").await?;
    publisher.publish(SUBJECT, Body::of(p.messages + 1, Kind::Poison)).await?;

    let first = start(lab, nats, p, "worker 1", "stop between").await?;
    first.line(SOON, |line| (line == "between").then_some(())).await?;
    let by_sigkill = first.kill().await? == Exit::Signal(9);
    let second = start(lab, nats, p, "worker 2", "go on").await?;
    let exit = second.wait(SOON).await?;
    ensure!(exit == Exit::Code(0), "worker 2 failed: {}", second.lines().join("; "));

    let tried = [&first, &second].map(tries);
    Ok(Kill {
        by_sigkill,
        tried: tried.iter().map(|(times, _)| times).sum(),
        deliveries: tried.iter().map(|(_, last)| *last).max().unwrap_or_default(),
        letters: tray.count().await? - before,
    })
}

/// One explosive order; a supervisor starts the next worker when one has died.
pub async fn explode(lab: &Lab, nats: &Nats, p: &Params, tray: &mut Dead) -> Result<Explosion> {
    lab.step("An order that ends each process that handles it; a supervisor starts the next");
    let publisher = nats.client("publisher").await?;
    let order = publisher.publish(SUBJECT, Body::of(p.messages + 2, Kind::Explosive)).await?;
    let mut died = 0;
    // Two more than should die, so that it shows when they don't stop dying.
    while died < p.max_deliveries + 2 {
        let worker = start(lab, nats, p, &format!("worker {}", died + 3), "go on").await?;
        match worker.wait(SOON).await? {
            Exit::Code(0) => break,
            Exit::Signal(SIGABRT) => died += 1,
            exit => bail!("{} ended by {exit:?}: {}", worker.name(), worker.lines().join("; ")),
        }
    }
    // It has shown what it can, and must not reach a worker within this process.
    publisher.context().get_stream(STREAM).await?.delete_message(order).await?;
    Ok(Explosion { died, letters: tray.discard(order).await? })
}

fn start<'a>(
    lab: &'a Lab,
    nats: &Nats,
    p: &Params,
    name: &'a str,
    stop: &str,
) -> impl Future<Output = Result<Process>> + Send + 'a {
    let limit = p.max_deliveries.to_string();
    let args = [&nats.url(), name, &limit, p.order.word(), p.counted_by.word(), stop];
    lab.role(name, &WORKER, args.map(str::to_owned))
}

/// From what a worker said: its attempts, and the highest count of deliveries that it saw.
fn tries(worker: &Process) -> (u64, u64) {
    let lines = worker.lines();
    let got = lines.iter().filter_map(|line| line.strip_prefix("delivery ")?.parse().ok());
    let tried = lines.iter().filter(|line| line.starts_with("tried: ")).count();
    (tried as u64, got.max().unwrap_or_default())
}

/// What a worker's process does: handles messages until one is put aside, or until there are none.
async fn work(args: Vec<String>) -> Result<()> {
    let [url, name, limit, order, counted_by, stop] = &args[..] else { bail!("six arguments, not {args:?}") };
    let (limit, order, counted_by) =
        (limit.parse()?, Order::parse(order, ..)?, Count::parse(counted_by, ..)?);
    let client = Client::connect(url, name, "nats", &role::trace()).await?;
    let config = pull::Config { ack_wait: ACK_WAIT, ..Policy::DeadLetter.consumer(1, limit) };
    let consumer = client.consumer(STREAM, config).await?;
    let shop = Shop::mortal();
    let worker = Worker {
        client,
        consumer,
        shop: &shop,
        limit: Some(limit),
        order,
        counted_by,
        tries: Mutex::default(),
        process: Some(if stop == "stop between" { Stop::Between } else { Stop::Never }),
    };
    loop {
        let info = worker.consumer.info().await?;
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(());
        }
        let delivery = worker.consumer.next(PATIENCE).await?.context("the server holds its message back")?;
        role::say(format_args!("delivery {}", delivery.count));
        if worker.handle(&delivery).await? == Outcome::PutAside {
            return Ok(());
        }
    }
}

pub fn claims(p: &Params, kill: &Kill, explosion: &Explosion) -> Vec<Claim> {
    let killed = format!(
        "the first worker was killed between the two steps, deliveries went up to {}",
        kill.deliveries
    );
    let died = |workers, letters| format!("{workers} workers died, {letters} put aside");
    vec![
        claim(
            "kill-keeps-letter",
            "Killed between publishing the letter and terminating the message, a worker leaves at least one letter",
            "the message is terminated first",
        )
        .witness(kill.by_sigkill, killed.clone())
        .that(kill.letters >= 1, format_args!("letters: {}", kill.letters), "at least 1"),
        claim(
            "count-survives",
            "The server's count of deliveries outlives the worker, so that its successor doesn't try again",
            "each worker counts in its own memory",
        )
        .witness(kill.by_sigkill, killed)
        .equal(format!("{} attempts", kill.tried), format!("{} attempts", p.max_deliveries)),
        claim(
            "crash-put-aside",
            "A message that ends its worker each time is put aside, untried, by the one after the last",
            "each worker counts in its own memory",
        )
        .witness(explosion.died > 0, format!("{} processes aborted while they handled it", explosion.died))
        .equal(died(explosion.died, explosion.letters), died(p.max_deliveries, 1)),
    ]
}

impl Kill {
    pub fn as_claimed(p: &Params) -> Self {
        Self { by_sigkill: true, tried: p.max_deliveries, deliveries: p.max_deliveries + 1, letters: 2 }
    }
}

impl Explosion {
    pub fn as_claimed(p: &Params) -> Self {
        Self { died: p.max_deliveries, letters: 1 }
    }
}

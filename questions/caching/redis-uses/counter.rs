//! A counter: three ways to add one, by clients that all do it at the same time.

use super::Params;
use crate::prelude::*;
use backlab_parts::redis::{Client, Redis};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Barrier;

#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// Where the counter ended by GET and SET in lockstep, by INCR, and by WATCH with EXEC.
    pub lockstep: u64,
    pub incr: u64,
    pub watch: u64,
    /// Rounds in which all clients had read the same number.
    pub same_reads: u64,
    /// The most INCR that were under way at a time.
    pub in_flight: u64,
    /// Clients that had read the same number before the first EXEC.
    pub same_start: u64,
    /// EXEC that did nothing, since another client had written in between.
    pub aborts: u64,
}

pub async fn observe(lab: &Lab, redis: &Redis, p: &Params) -> Result<Seen> {
    let names = ["A", "B"].into_iter().chain(std::iter::repeat("others")).take(p.clients as usize);
    let clients = try_join_all(names.map(|name| redis.client(name))).await?;
    let first = &clients[0];

    lab.step("Counter by GET and SET: in every round all read before any writes");
    first.run::<()>("SET n 0").await?;
    let same_reads = lockstep(&clients, p.increments_each).await?;
    let lockstep = first.run("GET n").await?;

    lab.step("Counter by INCR");
    first.run::<()>("SET n 0").await?;
    let in_flight = incr(&clients, p.increments_each).await?;
    let incr = first.run("GET n").await?;

    lab.step("Counter by WATCH, GET, MULTI, SET, EXEC; again whenever EXEC answers nil");
    first.run::<()>("SET n 0").await?;
    let (same_start, aborts) = watch(&clients, p.increments_each).await?;
    let watch = first.run("GET n").await?;

    Ok(Seen { lockstep, incr, watch, same_reads, in_flight, same_start, aborts })
}

/// Returns in how many rounds all clients had read the same.
async fn lockstep(clients: &[Client], rounds: u64) -> Result<u64> {
    let mut same = 0;
    for _ in 0..rounds {
        let read: Vec<u64> = try_join_all(clients.iter().map(|client| client.run("GET n"))).await?;
        same += u64::from(read.windows(2).all(|two| two[0] == two[1]));
        let writes = clients
            .iter()
            .zip(read)
            .map(|(client, n)| async move { client.run::<()>(&format!("SET n {}", n + 1)).await });
        try_join_all(writes).await?;
    }
    Ok(same)
}

/// Returns how many were under way at a time, at the most.
async fn incr(clients: &[Client], times: u64) -> Result<u64> {
    let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let each = clients.iter().map(async |client| {
        for _ in 0..times {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            client.run::<()>("INCR n").await?;
            now.fetch_sub(1, Ordering::Relaxed);
        }
        Ok::<_, redis::RedisError>(())
    });
    try_join_all(each).await?;
    Ok(most.into_inner())
}

/// Returns how many clients had read the same number before the first EXEC, and how many EXEC were aborted: since the
/// first attempts are in lockstep, all of those but one must be.
async fn watch(clients: &[Client], times: u64) -> Result<(u64, u64)> {
    let all_have_read = Barrier::new(clients.len());
    let each = clients.iter().map(async |client| {
        let (mut done, mut aborts, mut first) = (0, 0, None);
        while done < times {
            let mut read = redis::pipe();
            read.cmd("WATCH").arg("n").ignore().get("n");
            let (n,): (u64,) = read.query_async(&mut client.clone()).await?;
            if first.is_none() {
                first = Some(n);
                all_have_read.wait().await;
            }
            let executed: Option<()> =
                redis::pipe().atomic().set("n", n + 1).ignore().query_async(&mut client.clone()).await?;
            match executed {
                Some(()) => done += 1,
                None => aborts += 1,
            }
        }
        Ok::<_, redis::RedisError>((first, aborts))
    });
    let each = try_join_all(each).await?;
    let same = each.iter().filter(|(first, _)| *first == each[0].0).count() as u64;
    Ok((same, each.iter().map(|(_, aborts)| aborts).sum()))
}

pub fn claims(p: &Params, seen: &Seen) -> Vec<Claim> {
    let all = p.clients * p.increments_each;
    let kept = |n| format!("{n} of {all}");
    let rounds = format!("in {} rounds all {} clients read the same number", seen.same_reads, p.clients);
    vec![
        claim(
            "lockstep-loses",
            "GET, add one, SET in lockstep ends at one client's share",
            "reading and writing are one command",
        )
        .witness(seen.same_reads > 0, rounds)
        .equal(kept(seen.lockstep), kept(p.increments_each)),
        claim("incr-exact", "INCR loses no increment", "INCR reads and writes in two steps")
            .witness(seen.in_flight > 1, format!("up to {} INCR under way at a time", seen.in_flight))
            .equal(kept(seen.incr), kept(all)),
        claim(
            "watch-exact",
            "WATCH with EXEC and retries loses no increment",
            "EXEC writes although the watched key has changed",
        )
        .witness(
            seen.same_start > 1,
            format!(
                "{} clients had read the same number before the first EXEC; {} EXEC answered nil",
                seen.same_start, seen.aborts
            ),
        )
        .equal(kept(seen.watch), kept(all)),
    ]
}

pub fn figure(p: &Params, seen: &Seen) -> Figure {
    let all = p.clients * p.increments_each;
    let row = |label: String, value: u64| BarRow {
        label,
        bars: vec![Bar { value: value as f64, tone: if value == all { Tone::Plain } else { Tone::Refuted } }],
    };
    let bars = Bars {
        unit: "increments kept".into(),
        rows: vec![
            row("GET, SET".into(), seen.lockstep),
            row("INCR".into(), seen.incr),
            row(format!("WATCH, EXEC ({} aborts)", seen.aborts), seen.watch),
        ],
        limit: Some((all as f64, "all increments".into())),
        ..Bars::default()
    };
    let caption = format!(
        "{} clients add one {} times each. By GET and SET one increment of each round survives; INCR keeps all; \
         WATCH keeps all too, and pays for it with attempts that are thrown away.",
        p.clients, p.increments_each
    );
    Figure::new("counter", caption, bars)
}

impl Seen {
    pub fn as_claimed(p: &Params) -> Self {
        let all = p.clients * p.increments_each;
        let lockstep = p.increments_each;
        let (in_flight, same_start, aborts) = (p.clients, p.clients, all);
        Self { lockstep, incr: all, watch: all, same_reads: lockstep, in_flight, same_start, aborts }
    }
}

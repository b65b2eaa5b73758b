//! Blue-green deployment: which requests fail when one version takes over from another, under load.
//!
//! Two versions of a small shop run as real processes on one database; a router stands before them, and an open-loop
//! client asks all the time. The same change of version is made in several ways, and every request is in the ledger.

use crate::prelude::*;
use backlab_parts::{Exit, Process};
use router::{Colour, Ledger, Policy, Router as Switch};
use tokio_util::sync::CancellationToken;

#[path = "figures.rs"]
mod figures;
#[path = "router.rs"]
mod router;
#[path = "shop.rs"]
mod shop;

choices! {
    /// What happens to the shared database while blue still takes the traffic.
    pub enum Change { ExpandAndContract = "expand and contract", Rename = "rename a column" }
}
choices! {
    /// When the old side is stopped.
    pub enum Drain { Idle = "when nothing is in flight", AtOnce = "as soon as the router has switched" }
}
params! {
    /// Requests that arrive each second.
    requests_per_second: u64 = 80 in 40..=200;
    /// Milliseconds that the shop works on each request.
    work_ms: u64 = 200 in 100..=500;
    /// How the database is changed when green needs another column.
    schema_change: Change = "expand and contract" in ..;
    /// When a drained deploy stops the old side.
    old_side_stops: Drain = "when nothing is in flight" in ..;
}

const SOON: Duration = Duration::from_secs(10);
/// A drain's deadline: what is in flight then ends with the old side.
const DRAIN: Duration = Duration::from_secs(5);
/// Requests that a deploy waits for before the switch and after it.
const ENOUGH: u64 = 8;

pub struct BlueGreenDeployment;

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    stop_then_start: Deploy,
    switch_and_kill: Deploy,
    /// There and, with a fresh copy of the old version, back again.
    switch_and_back: Deploy,
    per_connection: Deploy,
    schema: Deploy,
}

/// The ledger of one deploy.
#[derive(Debug, Default, Clone, Serialize)]
struct Deploy {
    requests: u64,
    failed: u64,
    answered_by_v1: u64,
    answered_by_v2: u64,
    switches: u64,
    /// Requests that came after the first switch.
    after_switch: u64,
    /// Requests that the old side was working on when the router switched.
    in_flight_at_switch: u64,
    /// Failed requests that the router had sent to the old side before the switch.
    failed_sent_before_switch: u64,
    /// Requests that the router gave to the old side after the switch.
    to_old_after_switch: u64,
    /// Answers whose version wasn't the one that the router stood at when the request came.
    wrong_version: u64,
    /// What each version answered after the database had been changed: in all, and with an error.
    old_after_change: u64,
    old_errors_after_change: u64,
    new_after_change: u64,
    new_errors_after_change: u64,
    #[serde(skip)]
    story: figures::Story,
}

impl Experiment for BlueGreenDeployment {
    type Params = Params;
    type Observed = Observed;
    const ROLES: &'static [Role] = &[shop::SHOP];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "The router switches to green and blue is killed at the same instant. At {} requests a second that take \
             {} ms each, how many fail?",
            p.requests_per_second, p.work_ms
        );
        let options = &["none", "one or two", "about as many as are in flight", "all of the next second"];
        Prediction::choice(ask, options, |seen: &Observed| {
            let deploy = &seen.switch_and_kill;
            match deploy.failed {
                0 => 0,
                1 | 2 => 1,
                failed if failed <= deploy.in_flight_at_switch.saturating_mul(2) => 2,
                _ => 3,
            }
        })
        .tempting(0, "the new side was ready and the router switched in an instant. But a switch decides only about requests that are still to come.")
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.cast(["crowd", "router", "blue", "green", "pipeline", "database"]);
        lab.step("A: stop the old version, then start the new one");
        let stop_then_start = Site::open(lab, p, "a", Policy::PerRequest).await?.stop_then_start().await?;
        lab.step("B: start the new version, switch the router, kill the old version at once");
        let switch_and_kill = Site::open(lab, p, "b", Policy::PerRequest).await?.switch_and_kill().await?;
        lab.step("C: start the new version, switch the router, stop the old version when it is idle");
        let site = Site::open(lab, p, "c", Policy::PerRequest).await?;
        let switch_and_back = site.switch_and_roll_back().await?;
        lab.step("C with a router that chooses once for each connection");
        let per_connection = Site::open(lab, p, "k", Policy::PerConnection).await?.switch_and_watch().await?;
        lab.step("D: as C, with a change of the shared database before the switch");
        let schema = Site::open(lab, p, "d", Policy::PerRequest).await?.change_the_schema().await?;
        Ok(Observed { stop_then_start, switch_and_kill, switch_and_back, per_connection, schema })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = ends(seen);
        claims.extend(switches(seen));
        claims
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::figures(seen)
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        let calm = Deploy {
            requests: 80,
            answered_by_v1: 40,
            answered_by_v2: 40,
            switches: 1,
            after_switch: 40,
            ..Deploy::default()
        };
        let busy = Deploy { in_flight_at_switch: 16, ..calm.clone() };
        // A world in which every way is as good as any other, and the router switches connections too.
        let too_good = Observed {
            stop_then_start: calm.clone(),
            switch_and_kill: busy.clone(),
            switch_and_back: Deploy { failed: 3, ..busy.clone() },
            per_connection: calm.clone(),
            schema: Deploy {
                old_after_change: 9,
                old_errors_after_change: 9,
                new_after_change: 9,
                ..busy.clone()
            },
        };
        let leaky = Deploy { to_old_after_switch: 2, ..busy.clone() };
        let elsewhere = Deploy { failed: 5, failed_sent_before_switch: 4, ..busy };
        vec![
            Observed { switch_and_back: leaky, ..too_good.clone() },
            Observed { switch_and_kill: elsewhere, ..too_good.clone() },
            too_good,
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "stop the old side as soon as the router has switched",
                set: &[("old_side_stops", "as soon as the router has switched")],
                refutes: &["drain-loses-nothing"],
            },
            Fault {
                label: "rename the column while the old version still serves",
                set: &[("schema_change", "rename a column")],
                refutes: &["schema-suits-both"],
            },
        ]
    }
}

/// What it costs to end the old side.
fn ends(seen: &Observed) -> Vec<Claim> {
    let (stop, kill, drain) = (&seen.stop_then_start, &seen.switch_and_kill, &seen.switch_and_back);
    vec![
        claim(
            "stop-then-start",
            "Stopping the old version before the new one runs fails requests",
            "nobody asks in the gap",
        )
        .witness(stop.both_answered(), stop.words())
        .that(stop.failed > 0, of(stop.failed, "failed"), "more than 0 failed"),
        claim(
            "killed-in-flight",
            "Killing the old side at the switch fails requests, each of which it had been given before",
            "nothing is in flight at the switch",
        )
        .witness(
            kill.in_flight_at_switch > 0,
            format!("{} in flight at the switch", kill.in_flight_at_switch),
        )
        .that(
            kill.failed > 0 && kill.failed == kill.failed_sent_before_switch,
            format!(
                "{} failed, {} of them sent before the switch",
                kill.failed, kill.failed_sent_before_switch
            ),
            "more than 0, and all of them sent before the switch",
        ),
        claim(
            "drain-loses-nothing",
            "A switch that lets the old side finish fails nothing, and neither does the rollback",
            "the old side is stopped while it still works on requests",
        )
        // A failure is its own witness: nothing is in flight at the switch if the old side was stopped before it.
        .witness(
            drain.failed > 0 || (drain.switches == 2 && drain.in_flight_at_switch > 0),
            format!("{} switches, at least {} in flight at each", drain.switches, drain.in_flight_at_switch),
        )
        .that(
            drain.failed == 0,
            format!("{} of {} failed", drain.failed, drain.requests),
            "0 failed",
        ),
    ]
}

/// What a switch decides about, and what it doesn't.
fn switches(seen: &Observed) -> Vec<Claim> {
    let (drain, sticky, schema) = (&seen.switch_and_back, &seen.per_connection, &seen.schema);
    vec![
        claim(
            "switch-is-sharp",
            "A router that chooses for each request sends nothing to the old side after the switch",
            "the router chooses once for each connection",
        )
        .witness(drain.after_switch > 0, format!("{} requests after the switch", drain.after_switch))
        .that(
            drain.to_old_after_switch == 0 && drain.wrong_version == 0,
            format!(
                "{} to the old side, {} of the wrong version",
                drain.to_old_after_switch, drain.wrong_version
            ),
            "0 and 0",
        ),
        claim(
            "connections-stick",
            "A router that chooses for each connection goes on sending new requests to the old side",
            "every client opens a new connection for each request",
        )
        .witness(sticky.after_switch > 0, format!("{} requests after the switch", sticky.after_switch))
        .that(
            sticky.to_old_after_switch > 0,
            of(sticky.to_old_after_switch, "new requests"),
            "more than 0",
        ),
        claim(
            "schema-suits-both",
            "The change of the shared database costs neither version an error while both are in use",
            "the change takes away what the old code uses, or doesn't bring what the new code needs",
        )
        .witness(
            schema.old_after_change > 0 && schema.new_after_change > 0,
            format!(
                "{} answers of v1 and {} of v2 after it",
                schema.old_after_change, schema.new_after_change
            ),
        )
        .that(
            schema.old_errors_after_change + schema.new_errors_after_change == 0,
            format!(
                "{} errors of v1, {} of v2",
                schema.old_errors_after_change, schema.new_errors_after_change
            ),
            "0 and 0",
        ),
    ]
}

/// One deploy's stage: the old version, the router, the client that never stops asking.
struct Site<'a> {
    lab: &'a Lab,
    p: &'a Params,
    database: Sqlite,
    file: String,
    switch: Switch,
    old: Process,
    connections: u64,
    end: CancellationToken,
    load: tokio::task::JoinHandle<Result<Loaded>>,
}

impl<'a> Site<'a> {
    /// Blue serves, and has answered some requests.
    async fn open(lab: &'a Lab, p: &'a Params, name: &str, policy: Policy) -> Result<Site<'a>> {
        let database =
            lab.sqlite_file(name, "CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer TEXT)").await?;
        let file = lab.dir().join(format!("{name}.sqlite")).display().to_string();
        let switch = Switch::open(lab, policy)?;
        let (old, addr) = shop::start(lab, "blue", "v1", &file, shop::CUSTOMER, p.work_ms).await?;
        switch.point(Colour::Blue, addr);
        switch.to(Colour::Blue);
        let end = CancellationToken::new();
        // Connections for twice what is in flight: each of them is used again and again.
        let connections = 8 + 2 * p.requests_per_second * p.work_ms / 1000;
        let load = Load::open(p.requests_per_second, connections)
            .request(http::Method::POST, "/purchases")
            .keeping(http::HeaderName::from_static("x-served"))
            .during(Duration::from_secs(30))
            .until(end.clone());
        let (crowd, to) = (lab.clone(), switch.addr());
        let load = tokio::spawn(async move { crowd.load("crowd", to, &load).await });
        switch.until(|seen| seen.answered(Colour::Blue) >= ENOUGH).await?;
        Ok(Self { lab, p, database, file, switch, old, connections, end, load })
    }

    async fn stop_then_start(self) -> Result<Deploy> {
        self.switch.mark("v1 stopped");
        self.end_of(&self.old).await?;
        self.switch.until(|seen| seen.failed() > 0).await?;
        let green = self.start(Colour::Green, "v2", shop::CUSTOMER).await?;
        self.switch.to(Colour::Green);
        self.finish(&[&green]).await
    }

    async fn switch_and_kill(self) -> Result<Deploy> {
        let green = self.start(Colour::Green, "v2", shop::CUSTOMER).await?;
        self.switch.until(|seen| seen.in_flight(Colour::Blue) > 0).await?;
        self.switch.to(Colour::Green);
        self.old.kill().await?;
        self.switch.mark("v1 killed");
        self.finish(&[&green]).await
    }

    /// There, and back again with a fresh copy of the old version: the same steps with the colours exchanged.
    async fn switch_and_roll_back(self) -> Result<Deploy> {
        let green = self.start(Colour::Green, "v2", shop::CUSTOMER).await?;
        self.hand_over(&self.old, Colour::Blue, Colour::Green).await?;
        self.switch.until(|seen| seen.ended_since_switch() >= ENOUGH).await?;
        let blue = self.start(Colour::Blue, "v1", shop::CUSTOMER).await?;
        self.hand_over(&green, Colour::Green, Colour::Blue).await?;
        self.finish(&[&blue]).await
    }

    async fn switch_and_watch(self) -> Result<Deploy> {
        let green = self.start(Colour::Green, "v2", shop::CUSTOMER).await?;
        self.switch.to(Colour::Green);
        // The connections take turns: after so many requests, each that was open at the switch has been used again.
        let all = self.connections;
        let used = |seen: &Ledger| seen.to_old_after_switch() > 0 || seen.ended_since_switch() > all;
        self.switch.until(used).await?;
        self.finish(&[&green]).await
    }

    async fn change_the_schema(self) -> Result<Deploy> {
        let (change, writes) = match self.p.schema_change {
            Change::ExpandAndContract => ("ALTER TABLE purchase ADD COLUMN buyer TEXT", shop::BOTH),
            Change::Rename => ("ALTER TABLE purchase RENAME COLUMN customer TO buyer", shop::BUYER),
        };
        let green = self.start(Colour::Green, "v2", writes).await?;
        let seen = self.database.seen(self.lab, "pipeline", "database");
        seen.execute(change, ()).await?;
        self.switch.changed_database();
        self.switch.until(|seen| seen.after_change(Colour::Blue) >= ENOUGH).await?;
        self.hand_over(&self.old, Colour::Blue, Colour::Green).await?;
        self.finish(&[&green]).await
    }

    /// Switches, and stops the old side when the knob says.
    async fn hand_over(&self, old: &Process, from: Colour, to: Colour) -> Result<()> {
        self.switch.until(|seen| seen.in_flight(from) > 0).await?;
        self.switch.to(to);
        if self.p.old_side_stops == Drain::Idle {
            self.switch.within(DRAIN, |seen| seen.in_flight(from) == 0).await?;
        }
        self.end_of(old).await?;
        self.switch.mark(format_args!("{} stopped", old.name()));
        Ok(())
    }

    async fn start(&self, colour: Colour, version: &str, writes: &str) -> Result<Process> {
        let (process, addr) =
            shop::start(self.lab, colour.name(), version, &self.file, writes, self.p.work_ms).await?;
        self.switch.point(colour, addr);
        self.switch.mark(format_args!("{version} ready"));
        Ok(process)
    }

    async fn end_of(&self, process: &Process) -> Result<Exit> {
        process.signal(shop::TERM)?;
        process.wait(SOON).await
    }

    /// Waits until some more requests have had their end, ends the load, and reads the ledger.
    async fn finish(mut self, running: &[&Process]) -> Result<Deploy> {
        let before = self.switch.ledger().ended_since_switch();
        self.switch.until(|seen| seen.ended_since_switch() >= before + ENOUGH).await?;
        self.end.cancel();
        let loaded = (&mut self.load).await??;
        for process in running.iter().copied().chain(self.old.exit().is_none().then_some(&self.old)) {
            self.end_of(process).await?;
        }
        let mut deploy = self.switch.ledger().deploy();
        deploy.enter(&loaded, &self.switch);
        Ok(deploy)
    }
}

impl Deploy {
    /// What the client itself saw: the ledger's failures and versions are the client's, not the router's.
    fn enter(&mut self, loaded: &Loaded, switch: &Switch) {
        self.requests = loaded.shots.len() as u64;
        for shot in &loaded.shots {
            match (shot.outcome, shot.kept.as_deref()) {
                (Ok(200), Some("v1")) => self.answered_by_v1 += 1,
                (Ok(200), Some("v2")) => self.answered_by_v2 += 1,
                _ => self.failed += 1,
            }
        }
        self.story = figures::Story::tell(loaded, switch);
    }

    fn both_answered(&self) -> bool {
        self.answered_by_v1 > 0 && self.answered_by_v2 > 0
    }

    fn words(&self) -> String {
        format!("{} answers from v1, {} from v2", self.answered_by_v1, self.answered_by_v2)
    }
}

fn of(count: u64, what: &str) -> String {
    format!("{count} {what}")
}

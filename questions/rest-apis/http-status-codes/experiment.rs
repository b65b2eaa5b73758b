//! HTTP status codes: each brought about by a true cause, and four machines that act on the three digits and never read
//! the body.
//!
//! The machines know nothing of the application. So whatever the code doesn't say, they can't see.

use crate::prelude::*;

#[path = "causes.rs"]
mod causes;
#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;
#[path = "gateway.rs"]
mod gateway;
#[path = "machines.rs"]
mod machines;
#[path = "notes.rs"]
mod notes;
#[path = "redirects.rs"]
mod redirects;

use causes::{Cause, Promise};
use gateway::Upstream;
use machines::Outcomes;
use redirects::Landed;

choices! {
    pub enum Build {
        Standard = "as the standard says",
        FourHundred = "400 for every fault of the client",
        InventedWait = "an invented Retry-After",
        ErrorsLive = "a lifetime on errors too",
    }
}

choices! {
    pub enum Gateway {
        TellsApart = "tells causes apart",
        FiveHundred = "500 for whatever fails",
    }
}

params! {
    /// Requests that each machine carries.
    requests: u64 = 12 in 6..=40;
    /// How the notes' service picks its codes.
    build: Build = "as the standard says" in ..;
    /// What the gateway answers when it gets nothing usable from behind.
    gateway: Gateway = "tells causes apart" in ..;
}

pub struct HttpStatusCodes;

#[derive(Serialize)]
pub struct Observed {
    causes: Vec<Cause>,
    promises: Vec<Promise>,
    upstreams: Vec<Upstream>,
    /// Where a POST arrived that a browser's `fetch` had sent; empty where there is no Node.js.
    redirects: Vec<Landed>,
    /// The four machines before a service that says by its code what went wrong.
    codes: Outcomes,
    /// The same four, before one that answers 200 and writes the error into the body.
    always_200: Outcomes,
}

impl Experiment for HttpStatusCodes {
    type Params = Params;
    type Observed = Observed;

    const MAY_BE_UNTRIED: &'static [&'static str] = &["may-become-get", "keeps-the-post"];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "Two replicas stand behind a balancer. On one of them a table is missing, so that every read fails. The \
             balancer takes a replica out after its first 5xx. But the service answers everything with 200 and writes \
             the error into the body. Of {} reads, how many fail?",
            p.requests
        );
        Prediction::number(ask, "reads", |seen: &Observed| seen.always_200.failed_reads).tempting(
            1,
            "Taking broken replicas out is what the balancer is there for. But it looks at the code, and the code said \
             that all was well, each time.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.show_headers(["Location", "WWW-Authenticate", "Allow", "Retry-After", "Cache-Control"]);
        let (causes, promises) = causes::provoke(lab, p.build).await?;
        Ok(Observed {
            causes,
            promises,
            upstreams: gateway::before_each(lab, p.gateway).await?,
            redirects: redirects::followed(lab).await?,
            codes: machines::watch(lab, p, notes::Style::Codes).await?,
            always_200: machines::watch(lab, p, notes::Style::Always200).await?,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [claims::on_codes(seen), claims::on_machines(p, seen)].concat()
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(p, seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 10] = [
            |it| it.causes[0].code = 500,
            |it| it.promises[0].kept = false,
            |it| it.upstreams[0].code = 500,
            |it| it.redirects[0].method = "POST".into(),
            |it| it.redirects[4].content.clear(),
            |it| it.codes.alarmed -= 1,
            |it| it.codes.failed_reads += 1,
            |it| it.codes.cached_errors += 1,
            |it| it.codes.saved -= 1,
            |it| it.always_200.failed_reads = 1,
        ];
        each_broken(broken, || flawless(p.requests))
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "answer 400 to every fault of the client",
                set: &[("build", "400 for every fault of the client")],
                refutes: &["each-cause-its-code", "retrier-saves-all"],
            },
            Fault {
                label: "invent the Retry-After",
                set: &[("build", "an invented Retry-After")],
                refutes: &["headers-are-true", "retrier-saves-all"],
            },
            Fault {
                label: "give errors a lifetime as well",
                set: &[("build", "a lifetime on errors too")],
                refutes: &["cache-keeps-no-error"],
            },
            Fault {
                label: "let the gateway answer 500 to whatever fails behind it",
                set: &[("gateway", "500 for whatever fails")],
                refutes: &["gateway-says-where"],
            },
        ]
    }
}

/// What a run shows in which everybody does as the standard says.
fn flawless(requests: u64) -> Observed {
    let cause = |what, code| Cause { what, code, defined: code, header: String::new() };
    let upstream = |what, code| Upstream { what, code, defined: code, reached: true };
    let landed = |code, method: &str, content: &str| Landed {
        code,
        method: method.to_owned(),
        content: content.to_owned(),
    };
    let codes = Outcomes {
        failed_posts: 3,
        alarmed: 3,
        failed_reads: 0,
        broken_asked: 1,
        early_errors: 1,
        cached_errors: 0,
        meant: requests,
        saved: requests,
        refused: 1,
    };
    Observed {
        causes: vec![cause("no such note", 404)],
        promises: vec![Promise { header: "Location", says: "/notes/1".into(), kept: true }],
        upstreams: vec![upstream("is silent", 504)],
        redirects: vec![
            landed(301, "GET", ""),
            landed(302, "GET", ""),
            landed(303, "GET", ""),
            landed(307, "POST", redirects::CONTENT),
            landed(308, "POST", redirects::CONTENT),
        ],
        always_200: Outcomes {
            alarmed: 0,
            failed_reads: requests / 2,
            broken_asked: requests / 2,
            cached_errors: requests,
            saved: notes::PER_WINDOW,
            ..codes.clone()
        },
        codes,
    }
}

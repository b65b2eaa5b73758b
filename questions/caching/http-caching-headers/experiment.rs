//! Caching headers: which of all requests reach the origin, and whose answer a reader gets.
//!
//! Readers ask an origin through a shared cache that keeps to RFC 9111 and whose clock is turned. The origin says another
//! thing each time; what it is asked, what crosses the wire to it, and what readers get is counted.

use crate::prelude::*;

#[path = "late.rs"]
mod late;
#[path = "lifetimes.rs"]
mod lifetimes;
#[path = "origin.rs"]
mod origin;
#[path = "personal.rs"]
mod personal;
#[path = "variants.rs"]
mod variants;
#[path = "written.rs"]
mod written;

choices! {
    /// What the origin does wrong.
    pub enum Conduct {
        Right = "says the right thing",
        NoValidator = "sends no validator",
        ForgetsVary = "forgets Vary",
        PublicMe = "says public of what is personal",
        OtherUri = "takes writes under another URI",
        NoGrace = "lets nothing be served stale",
    }
}

params! {
    /// Readers, who ask one after another.
    readers: u64 = 10 in 2..=30;
    /// By how much the clock is turned between two of them.
    seconds_between: u64 = 20 in 5..=90;
    /// What the origin does.
    origin: Conduct = "says the right thing" in ..;
}

pub struct HttpCachingHeaders;

#[derive(Serialize)]
pub struct Observed {
    /// One response, with each directive in turn.
    lifetimes: Vec<lifetimes::Seen>,
    variants: Vec<variants::Seen>,
    personal: Vec<personal::Seen>,
    written: written::Seen,
    late: late::Seen,
}

impl Experiment for HttpCachingHeaders {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "An answer says Cache-Control: no-cache and has an ETag. {} readers ask for it, one after another, through \
             one shared cache. How often does the origin send its body?",
            p.readers
        );
        Prediction::number(ask, "times", |seen: &Observed| seen.of("no-cache").shared.whole).tempting(
            p.readers,
            "It sounds like \"don't cache\". It means: keep it, and ask before each use; what forbids keeping is no-store.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.cast(["reader", "cache", "origin"]);
        lab.show_headers(["Cache-Control", "ETag", "If-None-Match", "Age"]);
        Ok(Observed {
            lifetimes: lifetimes::observe(lab, p).await?,
            variants: variants::observe(lab, p).await?,
            personal: personal::observe(lab, p).await?,
            written: written::observe(lab, p).await?,
            late: late::observe(lab, p).await?,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [
            lifetimes::claims(p, seen),
            variants::claims(p, &seen.variants),
            personal::claims(&seen.personal),
            written::claims(&seen.written),
            late::claims(&seen.late),
        ]
        .concat()
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        vec![
            lifetimes::timeline(p, &seen.lifetimes),
            lifetimes::matrix(&seen.lifetimes),
            personal::figure(&seen.personal),
            variants::figure(&seen.variants),
        ]
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken = |break_it: fn(&mut Observed)| {
            let mut seen = Observed {
                lifetimes: lifetimes::flawless(p),
                variants: variants::flawless(p),
                personal: personal::flawless(),
                written: written::flawless(),
                late: late::flawless(),
            };
            break_it(&mut seen);
            seen
        };
        vec![
            broken(|it| it.at("max-age=60").shared.asked += 1),
            broken(|it| it.at("no-cache").shared.whole += 1),
            broken(|it| it.at("no-store").shared.whole -= 1),
            broken(|it| it.at("private, max-age=60").shared.whole = 1),
            broken(|it| it.at("private, max-age=60").browser.asked += 1),
            broken(|it| it.at("max-age=10, s-maxage=60").shared.asked += 1),
            broken(|it| it.at("").shared.asked += 1),
            broken(|it| it.variants[0].wrong = 0),
            broken(|it| it.variants[1].wrong = 1),
            broken(|it| it.variants[2].whole = 2),
            broken(|it| it.personal[0].foreign = 1),
            broken(|it| it.personal[4].foreign = 0),
            broken(|it| it.written.same_way = it.written.before.clone()),
            broken(|it| it.written.other_way = it.written.now.clone()),
            broken(|it| it.written.list = it.written.now.clone()),
            broken(|it| it.late.granted.early = false),
            broken(|it| it.late.plain.early = true),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "send neither ETag nor Last-Modified",
                set: &[("origin", "sends no validator")],
                refutes: &["no-cache-stores", "silence-is-guessed"],
            },
            Fault {
                label: "answer in the reader's language without saying Vary",
                set: &[("origin", "forgets Vary")],
                refutes: &["vary-keeps-apart", "vary-too-much"],
            },
            Fault {
                label: "add public to what is personal",
                set: &[("origin", "says public of what is personal")],
                refutes: &["authorization-unshared"],
            },
            Fault {
                label: "take writes under a URI of their own, as POST /news/edit",
                set: &[("origin", "takes writes under another URI")],
                refutes: &["write-invalidates"],
            },
            Fault {
                label: "leave out stale-while-revalidate",
                set: &[("origin", "lets nothing be served stale")],
                refutes: &["stale-at-once"],
            },
        ]
    }
}

impl Observed {
    /// What was seen of one directive.
    fn of(&self, control: &str) -> &lifetimes::Seen {
        // Each directive that is asked for here is one of those that were tried.
        self.lifetimes.iter().find(|it| it.control == control).unwrap_or(&self.lifetimes[0])
    }

    fn at(&mut self, control: &str) -> &mut lifetimes::Seen {
        let place = self.lifetimes.iter().position(|it| it.control == control).unwrap_or(0);
        &mut self.lifetimes[place]
    }
}

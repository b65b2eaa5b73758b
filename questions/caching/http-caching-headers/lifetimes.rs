//! How long an answer is kept, and by whom: the same readers at the same times, for each thing that the origin may say.

use super::origin::Origin;
use super::{Conduct, Observed, Params};
use crate::prelude::*;
use backlab_parts::http::{Cache, Handled, Verdict};
use bytes::Bytes;
use http::Request;

/// What the origin says in Cache-Control.
const CONTROLS: [&str; 7] = [
    "",
    "max-age=60",
    "max-age=10, s-maxage=60",
    "no-cache",
    "max-age=10, stale-while-revalidate=50",
    "private, max-age=60",
    "no-store",
];

#[derive(Clone, Serialize)]
pub struct Seen {
    pub control: &'static str,
    /// Whether the answer had a Cache-Control at all, as it came.
    pub said: bool,
    /// All readers behind one proxy.
    pub shared: Tally,
    /// One reader, who asks as often, with nothing but the browser's cache.
    pub browser: Tally,
}

/// What the origin had to do for all of them.
#[derive(Clone, Default, Serialize)]
pub struct Tally {
    pub asked: u64,
    /// Answers with a body, and those that only say that it is still right.
    pub whole: u64,
    pub not_modified: u64,
    /// Bytes of its answers on the wire.
    pub bytes: u64,
    /// For each request in its turn, what it cost.
    pub turns: Vec<Cost>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Cost {
    /// The origin wasn't asked before the reader had the answer.
    Nothing,
    NotModified,
    Body,
}

pub async fn observe(lab: &Lab, p: &Params) -> Result<Vec<Seen>> {
    let mut all = Vec::new();
    for control in CONTROLS {
        let name = if control.is_empty() { "no Cache-Control" } else { control };
        lab.step(format_args!("{name}: {} readers behind one cache, then one with a browser's", p.readers));
        let (said, shared) = behind_a_proxy(lab, p, control).await?;
        all.push(Seen { control, said, shared, browser: in_a_browser(lab, p, control).await? });
    }
    Ok(all)
}

async fn behind_a_proxy(lab: &Lab, p: &Params, control: &str) -> Result<(bool, Tally)> {
    let clock = Clock::frozen();
    let server = lab.serve("origin", Origin::new(p.origin, granted(p, control)).router())?;
    let wire = lab.proxy("cache", "origin", &server, proxy::Fault::none())?;
    let cache = lab.http_cache("cache", &wire, clock.clone())?;
    let reader = lab.client("reader", &cache);
    let mut said = false;
    for _ in 0..p.readers {
        said |= reader.get("/news").await?.headers.contains_key("cache-control");
        cache.cache().settled().await?;
        clock.step(Duration::from_secs(p.seconds_between));
    }
    Ok((said, tally(&server, &wire, &cache.cache().handled())))
}

async fn in_a_browser(lab: &Lab, p: &Params, control: &str) -> Result<Tally> {
    let clock = Clock::frozen();
    let server = lab.serve("origin", Origin::new(p.origin, granted(p, control)).router())?;
    let wire = lab.proxy("reader", "origin", &server, proxy::Fault::none())?;
    let client = lab.client("reader", &wire);
    let forward = move |request: Request<Bytes>| {
        let asking = client.get(request.uri().path()).with_headers(request.headers().clone());
        async move {
            let reply = asking.await.map_err(|none| none.why)?;
            let mut response = http::Response::new(reply.body);
            (*response.status_mut(), *response.headers_mut()) = (reply.status, reply.headers);
            Ok(response)
        }
    };
    let cache = Cache::of_one_user("browser", clock.clone(), forward);
    for _ in 0..p.readers {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = http::Uri::from_static("/news");
        cache.answer(request).await;
        cache.settled().await?;
        clock.step(Duration::from_secs(p.seconds_between));
    }
    Ok(tally(&server, &wire, &cache.handled()))
}

fn granted<'a>(p: &Params, control: &'a str) -> &'a str {
    match p.origin {
        Conduct::NoGrace => control.split(", stale-while").next().unwrap_or(control),
        _ => control,
    }
}

fn tally(server: &Server, wire: &Proxy, handled: &[Handled]) -> Tally {
    let turns = handled.iter().map(|it| match (it.verdict, it.origin) {
        (Verdict::Hit | Verdict::Stale, _) => Cost::Nothing,
        (_, Some(StatusCode::NOT_MODIFIED)) => Cost::NotModified,
        _ => Cost::Body,
    });
    let turns: Vec<Cost> = turns.collect();
    let whole = turns.iter().filter(|it| **it == Cost::Body).count() as u64;
    let asked = server.executed_of("GET /news");
    Tally { asked, whole, not_modified: asked - whole, bytes: wire.bytes(Way::Answer), turns }
}

/// How often the origin is asked when an answer is fresh for so long: whoever comes at the end of its life asks.
fn once_in(seconds: u64, p: &Params) -> u64 {
    p.readers.div_ceil(seconds.div_ceil(p.seconds_between))
}

pub fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (all, of) = (p.readers, |control| seen.of(control));
    let asked = |times: u64| format!("asked {times} times");
    let words = |asked, whole, rest| format!("asked {asked} times: {} and {rest} × 304", bodies(whole));
    let read = |id, says, breaks_when, control| {
        let turns = of(control).shared.turns.len();
        claim(id, says, breaks_when).witness(turns > 1, format!("{turns} readers got an answer"))
    };
    let no_cache = &of("no-cache").shared;
    vec![
        read(
            "fresh-unasked",
            "max-age=60: the origin is asked once in each minute, however many readers ask",
            "readers ask for validation, or the answer was old when it came",
            "max-age=60",
        )
        .equal(asked(of("max-age=60").shared.asked), asked(once_in(60, p))),
        read(
            "no-cache-stores",
            "no-cache: the origin is asked by every reader, and sends the body once; the others cost it a 304",
            "the answer has no validator",
            "no-cache",
        )
        .equal(words(no_cache.asked, no_cache.whole, no_cache.not_modified), words(all, 1, all - 1)),
        read(
            "no-store-whole",
            "no-store: every reader costs a whole body, also the same one in the same browser",
            "a cache keeps it nevertheless",
            "no-store",
        )
        .equal(list(of("no-store"), |it| it.whole), format!("{all} behind the proxy, {all} in a browser")),
        read(
            "private-not-shared",
            "private: a shared cache keeps nothing, so that every reader costs a whole body",
            "the cache belongs to one user",
            "private, max-age=60",
        )
        .equal(bodies(of("private, max-age=60").shared.whole), bodies(all)),
        read(
            "private-in-browser",
            "private: the reader's own browser keeps it for as long as max-age says",
            "the browser's cache is off",
            "private, max-age=60",
        )
        .equal(asked(of("private, max-age=60").browser.asked), asked(once_in(60, p))),
        read(
            "s-maxage-overrides",
            "max-age=10, s-maxage=60: fresh for a minute in the shared cache, for ten seconds in a browser",
            "s-maxage is missing",
            "max-age=10, s-maxage=60",
        )
        .equal(
            list(of("max-age=10, s-maxage=60"), |it| it.asked),
            format!("{} behind the proxy, {} in a browser", once_in(60, p), once_in(10, p)),
        ),
        claim(
            "silence-is-guessed",
            "An answer without Cache-Control and with an old Last-Modified is kept as well: the origin is asked once",
            "the cache has nothing from which to guess",
        )
        .witness(!of("").said, "no answer had a Cache-Control")
        .equal(list(of(""), |it| it.asked), "1 behind the proxy, 1 in a browser".to_owned()),
    ]
}

pub fn bodies(count: u64) -> String {
    format!("{count} {}", if count == 1 { "body" } else { "bodies" })
}

fn list(seen: &Seen, figure: fn(&Tally) -> u64) -> String {
    format!("{} behind the proxy, {} in a browser", figure(&seen.shared), figure(&seen.browser))
}

impl Seen {
    fn name(&self) -> String {
        let name = self.control.replace("stale-while-revalidate", "s-w-r");
        if name.is_empty() { "no Cache-Control".to_owned() } else { name }
    }
}

pub fn timeline(p: &Params, all: &[Seen]) -> Figure {
    let at = |turn: usize| turn as f64 * p.seconds_between as f64;
    let lane = |seen: &Seen| {
        let turns = &seen.shared.turns;
        let mut lane = Lane { name: seen.name(), ..Lane::default() };
        for (turn, cost) in turns.iter().enumerate() {
            let (label, tone) = match cost {
                Cost::Nothing => continue,
                Cost::NotModified => ("304", Tone::Plain),
                Cost::Body => ("200", Tone::Refuted),
            };
            lane.moments.push(Moment { at: at(turn), label: label.into(), tone });
        }
        // A span of readers who were served without anybody being asked.
        let mut turn = 0;
        while turn < turns.len() {
            let served = turns[turn..].iter().take_while(|it| **it == Cost::Nothing).count();
            if served > 0 {
                let (from, to) = (at(turn.saturating_sub(1)), at(turn + served - 1));
                lane.spans.push(Span { from, to, label: format!("{served} served"), tone: Tone::Accent });
            }
            turn += served.max(1);
        }
        lane
    };
    let timeline =
        Timeline { unit: "virtual s".into(), lanes: all.iter().map(lane).collect(), marks: Vec::new() };
    Figure::new(
        "readers",
        format!(
            "A reader every {} seconds behind one shared cache. Along a bar readers are served without waiting for the \
             origin; at a 304 it is asked and sends no body; at a 200 it sends everything.",
            p.seconds_between
        ),
        timeline,
    )
}

pub fn matrix(all: &[Seen]) -> Figure {
    let cell = |figure: u64, tone| Cell { text: figure.to_string(), tone };
    let row = |seen: &Seen| {
        let it = &seen.shared;
        let asked = if it.asked == 1 { Tone::Accent } else { Tone::Plain };
        let whole = if it.whole > 1 && it.whole == it.asked { Tone::Refuted } else { Tone::Plain };
        let kib = Cell { text: format!("{:.1} KiB", it.bytes as f64 / 1024.0), tone: Tone::Plain };
        vec![cell(it.asked, asked), cell(it.whole, whole), kib, cell(seen.browser.asked, Tone::Plain)]
    };
    let matrix = Matrix {
        rows: all.iter().map(Seen::name).collect(),
        columns: ["asked", "bodies", "on the wire", "a browser asks"].map(str::to_owned).into(),
        cells: all.iter().map(row).collect(),
    };
    Figure::new(
        "origin",
        "What the same readers cost the origin: how often it is asked, how often it sends the body, what crosses the wire; \
         and how often a single reader's browser asks it at the same times. no-cache asks as often as no-store, and sends \
         once what no-store sends to each.",
        matrix,
    )
}

/// What is seen when everybody keeps to what the origin says.
pub fn flawless(p: &Params) -> Vec<Seen> {
    let tally = |asked, whole| {
        let turns = vec![Cost::Nothing; p.readers as usize];
        Tally { asked, whole, not_modified: asked - whole, bytes: 0, turns }
    };
    let (all, minute, ten) = (p.readers, once_in(60, p), once_in(10, p));
    CONTROLS
        .map(|control| {
            let (shared, browser) = match control {
                "" => (tally(1, 1), tally(1, 1)),
                "no-cache" => (tally(all, 1), tally(all, 1)),
                "no-store" => (tally(all, all), tally(all, all)),
                "private, max-age=60" => (tally(all, all), tally(minute, 1)),
                "max-age=10, s-maxage=60" => (tally(minute, 1), tally(ten, 1)),
                _ => (tally(minute, 1), tally(minute, 1)),
            };
            Seen { control, said: !control.is_empty(), shared, browser }
        })
        .into()
}

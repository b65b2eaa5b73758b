//! HTTP methods: what a request does that comes twice, because its first answer was lost.
//!
//! A proxy between client and server cuts the connection when the server has done its work and before a byte of the
//! answer is through. The client can't tell that from a request that never arrived, and so it may send it again.

use crate::prelude::*;

#[path = "figures.rs"]
mod figures;
#[path = "server.rs"]
mod server;

/// How often a client repeats a request to which no answer came: more often than answers are lost.
const REPEATS: u64 = 4;
/// The methods that are tried on each path, to see which of them work there.
const TRIED: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

choices! {
    pub enum Conduct {
        Honest = "keeps its promises",
        PutInserts = "PUT inserts each time",
        DeletesOldest = "DELETE removes the oldest",
        GetWrites = "GET counts its readers",
    }
}

params! {
    /// Orders that are sent by each method.
    requests: u64 = 3 in 1..=20;
    /// Answers to each request that are lost before one comes through.
    lost: u64 = 1 in 0..=3;
    /// What the server makes of the methods.
    server: Conduct = "keeps its promises" in ..;
}

pub struct HttpMethods;

#[derive(Serialize)]
pub struct Observed {
    /// What came of a client that repeats whatever gets no answer.
    eager: Writes,
    /// What came of a client that repeats only what is idempotent.
    careful: Writes,
    reads: Reads,
    head: Head,
    allow: Vec<Allow>,
}

#[derive(Clone, Serialize)]
struct Writes {
    post: Tally,
    put: Tally,
    patch: Tally,
    delete: Tally,
}

/// What came of one client's requests by one method.
#[derive(Clone, Default, Serialize)]
struct Tally {
    /// Orders to be made, changed or deleted; each is meant to happen once.
    meant: u64,
    /// Answers that the proxy cut.
    lost: u64,
    /// Requests that the server carried out.
    executed: u64,
    /// What the database shows in the end: orders made, units added, orders deleted.
    effects: u64,
    /// The last answer to each request, by status.
    answers: BTreeMap<u16, u64>,
    /// Requests that ended without an answer.
    unanswered: u64,
}

/// Digests of the whole database before and after it was read.
#[derive(Clone, Serialize)]
struct Reads {
    lost: u64,
    executed: u64,
    before: String,
    after: String,
}

/// One order, asked for by GET and by HEAD.
#[derive(Clone, Serialize)]
struct Head {
    get_bytes: u64,
    head_bytes: u64,
    /// ETag and Content-Length.
    get_says: String,
    head_says: String,
}

/// What a path says that it can do, and what it does.
#[derive(Clone, Serialize)]
struct Allow {
    path: &'static str,
    /// How many requests were answered 405.
    refused: u64,
    /// The methods in all its Allow headers; more than one list where they differ.
    told: BTreeSet<String>,
    /// The methods that it didn't answer with 405.
    work: String,
}

impl Experiment for HttpMethods {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let lost = match p.lost {
            0 => "No answer is".to_owned(),
            1 => "The first answer to each is".to_owned(),
            more => format!("The first {more} answers to each are"),
        };
        let ask = format!(
            "{} orders are sent by POST. {lost} lost on the way back; the client repeats the request until it gets \
             an answer. How many orders are there in the end?",
            p.requests
        );
        Prediction::number(ask, "orders", |seen: &Observed| seen.eager.post.effects).tempting(
            p.requests,
            "The client meant so many and got one answer for each. But to the client a lost answer looks like a lost \
             request, and here the request had arrived.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.show_headers(["Location", "Allow", "ETag"]);
        Ok(Observed {
            eager: writes(lab, p, "repeats everything", |_| true).await?,
            careful: writes(lab, p, "repeats what is idempotent", Method::is_idempotent).await?,
            reads: reads(lab, p).await?,
            head: head(lab, p).await?,
            allow: vec![allow(lab, p, "/orders").await?, allow(lab, p, "/orders/1").await?],
        })
    }

    fn claims(_: &Params, Observed { eager, careful, reads, head, allow }: &Observed) -> Vec<Claim> {
        let mut claims = claims_on_repeats(eager, careful);
        claims.extend([
            claim(
                "reads-change-nothing",
                "GET and HEAD leave the whole database as it was",
                "a GET writes, as by counting its readers",
            )
            .witness(reads.executed > 0, format!("{} carried out, {} answers lost", reads.executed, reads.lost))
            .equal(&reads.after, &reads.before),
            claim(
                "head-like-get",
                "HEAD is answered with the ETag and the Content-Length of GET, and without content",
                "HEAD has a handler of its own that says something else",
            )
            .witness(head.get_bytes > 0, format!("GET brought {} bytes", head.get_bytes))
            .equal(
                format!("{} bytes, {}", head.head_bytes, head.head_says),
                format!("0 bytes, {}", head.get_says),
            ),
            claim(
                "allow-exact",
                "A method that doesn't work is answered 405 with an Allow header, which lists exactly those that do",
                "all paths share one Allow",
            )
            .witness(allow.iter().all(|it| it.refused > 0), "methods refused on each path")
            .that(
                allow.iter().all(|it| it.told == BTreeSet::from([it.work.clone()])),
                lines(allow, |it| it.told.iter().cloned().collect::<Vec<_>>().join(" or ")),
                lines(allow, |it| it.work.clone()),
            ),
        ]);
        claims
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 12] = [
            |it| it.eager.post.effects = it.eager.post.meant,
            |it| it.eager.patch.effects = it.eager.patch.meant,
            |it| it.eager.put.effects += 1,
            |it| it.eager.delete.effects += 1,
            |it| it.eager.delete.answers = [(204, it.eager.delete.meant)].into(),
            |it| it.careful.post.effects += 1,
            |it| it.careful.post.unanswered = 0,
            |it| it.careful.put.answers = [(500, it.careful.put.meant)].into(),
            |it| it.reads.after = "another".into(),
            |it| it.head.head_bytes = it.head.get_bytes,
            |it| it.head.head_says.clear(),
            |it| it.allow[0].told = ["GET, HEAD, TRACE".to_owned()].into(),
        ];
        each_broken(broken, || flawless(p.requests))
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let PUT insert an order each time, as POST does",
                set: &[("server", "PUT inserts each time")],
                refutes: &["put-once"],
            },
            Fault {
                label: "let DELETE remove the oldest order, whatever the URI",
                set: &[("server", "DELETE removes the oldest")],
                refutes: &["delete-once", "delete-other-answer"],
            },
            Fault {
                label: "let GET count its readers",
                set: &[("server", "GET counts its readers")],
                refutes: &["reads-change-nothing"],
            },
        ]
    }
}

/// What is said of requests that came again; witnessed by the answers that were lost.
fn claims_on_repeats(eager: &Writes, careful: &Writes) -> Vec<Claim> {
    let after_loss = |id, says, breaks_when, tally: &Tally| {
        claim(id, says, breaks_when).witness(tally.lost > 0, format!("{} answers lost", tally.lost))
    };
    let orders = |count: u64| format!("{count} orders");
    vec![
        after_loss(
            "post-doubles",
            "Each repetition of a POST makes one more order",
            "the server recognises the repetition, as by an idempotency key",
            &eager.post,
        )
        .equal(orders(eager.post.effects), orders(eager.post.meant + eager.post.lost)),
        after_loss(
            "patch-adds-again",
            "Each repetition of a PATCH that adds a unit adds one more",
            "the PATCH says what shall be, or is bound to a version by If-Match",
            &eager.patch,
        )
        .equal(eager.patch.effects, eager.patch.meant + eager.patch.lost),
        after_loss(
            "put-once",
            "PUT leaves one order at each URI, however often it is repeated",
            "PUT is handled like POST, and inserts",
            &eager.put,
        )
        .equal(orders(eager.put.effects), orders(eager.put.meant)),
        after_loss(
            "delete-once",
            "DELETE removes the order at each URI and no other, however often it is repeated",
            "DELETE removes the oldest order, whatever the URI",
            &eager.delete,
        )
        .equal(orders(eager.delete.effects), orders(eager.delete.meant)),
        after_loss(
            "delete-other-answer",
            "A repeated DELETE is answered 404: another answer, the same effect",
            "the server answers 204 whether or not there was something to delete",
            &eager.delete,
        )
        .equal(eager.delete.saw(), format!("404 × {}", eager.delete.meant)),
        after_loss(
            "careful-never-twice",
            "A client that doesn't repeat POST makes no order twice",
            "something between client and server repeats it",
            &careful.post,
        )
        .equal(orders(careful.post.effects), orders(careful.post.meant)),
        after_loss(
            "error-yet-done",
            "That client ends without an answer for each that was lost, although the order was made",
            "no answer meant that nothing had happened",
            &careful.post,
        )
        .equal(
            format!("{} unanswered, {} made", careful.post.unanswered, orders(careful.post.effects)),
            format!("{} unanswered, {} made", careful.post.lost, orders(careful.post.meant)),
        ),
        after_loss(
            "careful-ends-well",
            "All its PUTs and DELETEs end well: with success, or with nothing left to delete",
            "it gives up after the first lost answer",
            &careful.put,
        )
        .equal(
            careful.put.ended_well() + careful.delete.ended_well(),
            careful.put.meant + careful.delete.meant,
        ),
    ]
}

/// Sends orders by each method that writes, as a client that repeats what `may_repeat` allows.
async fn writes(lab: &Lab, p: &Params, client: &str, may_repeat: fn(&Method) -> bool) -> Result<Writes> {
    let wave = async |method: Method, effects: &str| {
        lab.step(format_args!("{method} by a client that {client}"));
        wave(lab, p, method, may_repeat, effects).await
    };
    let deleted = format!("SELECT {} - count(*) FROM orders", p.requests * 2);
    Ok(Writes {
        post: wave(Method::POST, "SELECT count(*) FROM orders").await?,
        put: wave(Method::PUT, "SELECT count(*) FROM orders").await?,
        patch: wave(Method::PATCH, "SELECT sum(units) - count(*) FROM orders").await?,
        delete: wave(Method::DELETE, &deleted).await?,
    })
}

/// Sends a request for each order by one method, to a server of its own; `effects` counts what its database shows then.
async fn wave(
    lab: &Lab,
    p: &Params,
    method: Method,
    may_repeat: fn(&Method) -> bool,
    effects: &str,
) -> Result<Tally> {
    // Twice as many as are named, so that an effect on another order shows.
    let there_before = if matches!(method, Method::PATCH | Method::DELETE) { p.requests * 2 } else { 0 };
    let db = server::orders(lab, there_before).await?;
    let server = lab.serve("orders", server::api(&db, p.server))?;
    let proxy = lab.proxy("client", "orders", &server, proxy::Fault::none())?;
    let client = lab.client("client", &proxy);
    let mut tally = Tally { meant: p.requests, ..Tally::default() };
    for order in 1..=p.requests {
        proxy.set(proxy::Fault::cut(Way::Answer).times(p.lost));
        match send(&client, &method, order, may_repeat(&method)).await {
            Ok(reply) => *tally.answers.entry(reply.status.as_u16()).or_default() += 1,
            Err(_) => tally.unanswered += 1,
        }
    }
    tally.lost = proxy.struck();
    tally.executed = server.executed().values().sum();
    tally.effects = db.count(effects, ()).await?;
    Ok(tally)
}

/// Sends one request, and sends it again as long as no answer comes and that is allowed.
async fn send(client: &Client, method: &Method, order: u64, may_repeat: bool) -> Result<Reply, NoAnswer> {
    let target = if method == Method::POST { "/orders".to_owned() } else { format!("/orders/{order}") };
    let body = match *method {
        Method::PATCH => json!({"more": 1}),
        _ => json!({"item": format!("tea {order}"), "units": 1}),
    };
    let ask = || async { client.request(method.clone(), target.as_str()).json(&body).await };
    let mut answer = ask().await;
    for _ in 0..REPEATS {
        if answer.is_ok() || !may_repeat {
            break;
        }
        answer = ask().await;
    }
    answer
}

/// Reads every order by GET and by HEAD, each again when its answer was lost.
async fn reads(lab: &Lab, p: &Params) -> Result<Reads> {
    lab.step("GET and HEAD, with the whole database compared before and after");
    let db = server::orders(lab, p.requests).await?;
    let server = lab.serve("orders", server::api(&db, p.server))?;
    let proxy = lab.proxy("client", "orders", &server, proxy::Fault::none())?;
    let client = lab.client("client", &proxy);
    let before = db.digest().await?;
    for order in 1..=p.requests {
        for method in [Method::GET, Method::HEAD] {
            proxy.set(proxy::Fault::cut(Way::Answer).times(p.lost));
            send(&client, &method, order, method.is_idempotent()).await?;
        }
    }
    let executed = server.executed().values().sum();
    Ok(Reads { lost: proxy.struck(), executed, before, after: db.digest().await? })
}

/// Asks for one order by GET and by HEAD.
async fn head(lab: &Lab, p: &Params) -> Result<Head> {
    lab.step("The same order by GET and by HEAD");
    let db = server::orders(lab, 1).await?;
    let server = lab.serve("orders", server::api(&db, p.server))?;
    let client = lab.client("client", &server);
    let get = client.get("/orders/1").await?;
    let head = client.request(Method::HEAD, "/orders/1").await?;
    let says = |reply: &Reply| {
        let header = |name| reply.header(name).unwrap_or("none").replace('"', "");
        format!("ETag {}, Content-Length {}", header("etag"), header("content-length"))
    };
    Ok(Head {
        get_bytes: get.body.len() as u64,
        head_bytes: head.body.len() as u64,
        get_says: says(&get),
        head_says: says(&head),
    })
}

/// Tries all methods on a path: which work there, and which the path says do.
async fn allow(lab: &Lab, p: &Params, path: &'static str) -> Result<Allow> {
    lab.step(format_args!("Every method on {path}"));
    let db = server::orders(lab, 1).await?;
    let server = lab.serve("orders", server::api(&db, p.server))?;
    let client = lab.client("client", &server);
    let (mut refused, mut told, mut work) = (0, BTreeSet::new(), Vec::new());
    for method in TRIED {
        let body = json!({"item": "tea", "units": 1, "more": 1});
        let reply = client.request(method.clone(), path).json(&body).await?;
        if let Some(allow) = reply.header("allow") {
            told.insert(sorted(allow.split(',').map(str::trim).collect()));
        }
        match reply.status {
            StatusCode::METHOD_NOT_ALLOWED => refused += 1,
            _ => work.push(method),
        }
    }
    let work = sorted(work.iter().map(Method::as_str).collect());
    Ok(Allow { path, refused, told, work })
}

fn sorted(mut methods: Vec<&str>) -> String {
    methods.sort_unstable();
    methods.join(", ")
}

fn lines(allow: &[Allow], methods: fn(&Allow) -> String) -> String {
    allow.iter().map(|it| format!("{}: {}", it.path, methods(it))).collect::<Vec<_>>().join("; ")
}

impl Tally {
    /// Answers that give the client what it wanted: success, or that nothing is left to delete.
    fn ended_well(&self) -> u64 {
        self.answers
            .iter()
            .filter(|(status, _)| matches!(**status, 200..=299 | 404))
            .map(|(_, count)| count)
            .sum()
    }

    fn saw(&self) -> String {
        let unanswered = (self.unanswered > 0).then(|| format!("no answer × {}", self.unanswered));
        let answers = self.answers.iter().map(|(status, count)| format!("{status} × {count}"));
        answers.chain(unanswered).collect::<Vec<_>>().join(", ")
    }
}

/// What a run shows in which one answer to each request is lost, and everybody does as they should.
fn flawless(requests: u64) -> Observed {
    let tally = |effects, status, unanswered| Tally {
        meant: requests,
        lost: requests,
        executed: requests * 2,
        effects,
        answers: [(status, requests - unanswered)].into(),
        unanswered,
    };
    let eager = Writes {
        post: tally(2 * requests, 201, 0),
        put: tally(requests, 204, 0),
        patch: tally(2 * requests, 204, 0),
        delete: tally(requests, 404, 0),
    };
    let careful = Writes {
        post: tally(requests, 201, requests),
        patch: tally(requests, 204, requests),
        ..eager.clone()
    };
    let work = "GET, HEAD".to_owned();
    Observed {
        eager,
        careful,
        reads: Reads { lost: requests, executed: 2 * requests, before: "one".into(), after: "one".into() },
        head: Head { get_bytes: 9, head_bytes: 0, get_says: "ETag a".into(), head_says: "ETag a".into() },
        allow: vec![Allow { path: "/orders", refused: 1, told: [work.clone()].into(), work }],
    }
}

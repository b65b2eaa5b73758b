//! REST: what a stranger between client and server can do, who knows HTTP and nothing of the application.
//!
//! One shop has two faces: resources, and calls that are posted to one endpoint. A cache, a retrying proxy and a balancer
//! stand before both. What they can read from the outside of a message, they can help with.

use crate::prelude::*;
use axum::body::to_bytes;
use axum::extract::Request;
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;
#[path = "shop.rs"]
mod shop;

use shop::{Shop, stock};

/// Where the resources are after the move.
const MOVED: &str = "/shop/v2";

choices! {
    pub enum Build {
        Restful = "as the constraints ask",
        NoLifetime = "answers don't say how long they live",
        Remembers = "replicas keep lines to themselves",
        StaleLinks = "links are left behind",
    }
}

choices! {
    pub enum Stranger {
        Obeys = "repeats what HTTP allows",
        RepeatsAll = "repeats everything",
    }
}

params! {
    /// Identical reads that go through the cache, and lines that are put into the basket.
    reads: u64 = 20 in 6..=100;
    /// Requests of each kind whose answer is lost.
    lost: u64 = 2 in 1..=5;
    /// How the shop is built.
    shop: Build = "as the constraints ask" in ..;
    /// What the retrying proxy does when no answer comes.
    stranger: Stranger = "repeats what HTTP allows" in ..;
}

pub struct RestConstraints;

#[derive(Serialize)]
pub struct Observed {
    /// Reads that reached the shop, by GET and by calls.
    reads: [u64; 2],
    put: Lost,
    call: Lost,
    /// Lines in the basket that was filled over two replicas: by requests that name it, and in a conversation.
    self_contained: u64,
    conversation: u64,
    /// What the two clients got after the move: one follows links, one has its URIs written into it.
    before: [u16; 2],
    after: [u16; 2],
}

/// Requests whose answers were lost between the stranger and the shop.
#[derive(Clone, Serialize)]
struct Lost {
    lost: u64,
    /// Requests that the shop carried out.
    executed: u64,
    /// Clients that got 2xx, and the others.
    well: u64,
    failed: u64,
    stock: u64,
}

impl Experiment for RestConstraints {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "A cache that knows HTTP and nothing of the application carries {0} identical reads as GET /items/7, and the \
             same {0} as POST /rpc with getItem(7) in the body. The answers may be kept for a minute. How many of the \
             {1} reads reach the shop?",
            p.reads,
            2 * p.reads
        );
        Prediction::number(ask, "reads", |seen: &Observed| seen.reads.iter().sum()).tempting(
            2,
            "Both bring the same item each time, so once each should do. But that a POST only reads is written in its \
             body, which the cache doesn't understand.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.show_headers(["Cache-Control"]);
        Ok(Observed {
            reads: reads(lab, p).await?,
            put: lose(lab, p, Method::PUT).await?,
            call: lose(lab, p, Method::POST).await?,
            self_contained: over_two_replicas(lab, p, false).await?,
            conversation: over_two_replicas(lab, p, true).await?,
            before: clients(lab, p, "").await?,
            after: clients(lab, p, MOVED).await?,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        claims::all(p, seen)
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(p, seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 7] = [
            |it| it.reads[0] = 2,
            |it| it.reads[1] = 1,
            |it| it.put.failed = 1,
            |it| it.call.executed += 1,
            |it| it.self_contained -= 1,
            |it| it.conversation = it.self_contained,
            |it| it.after[0] = 404,
        ];
        each_broken(broken, || flawless(p))
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "don't say how long an answer lives",
                set: &[("shop", "answers don't say how long they live")],
                refutes: &["get-reaches-once"],
            },
            Fault {
                label: "let each replica keep its lines to itself",
                set: &[("shop", "replicas keep lines to themselves")],
                refutes: &["any-replica"],
            },
            Fault {
                label: "move the resources and leave the links behind",
                set: &[("shop", "links are left behind")],
                refutes: &["links-survive"],
            },
            Fault {
                label: "let the stranger repeat what it may not",
                set: &[("stranger", "repeats everything")],
                refutes: &["call-left-alone"],
            },
        ]
    }
}

/// The same item is read again and again through a cache, in both styles.
async fn reads(lab: &Lab, p: &Params) -> Result<[u64; 2]> {
    let mut reached = [0, 0];
    for (by_call, reached) in [false, true].into_iter().zip(&mut reached) {
        lab.step(if by_call { "Reads through a cache, as calls" } else { "Reads through a cache, by GET" });
        let server = lab.serve("shop", Shop::new(&stock(lab).await?, p.shop, "").router())?;
        let cache = lab.http_cache("cache", &server, Clock::frozen())?;
        let client = lab.client("client", &cache);
        for _ in 0..p.reads {
            match by_call {
                false => client.get("/items/7").await?,
                true => client.post("/rpc").json(&json!({"call": "get_item", "id": 7})).await?,
            };
        }
        *reached = server.executed().values().sum();
    }
    Ok(reached)
}

/// Answers are lost between the stranger and the shop, after the shop has done its work.
async fn lose(lab: &Lab, p: &Params, method: Method) -> Result<Lost> {
    lab.step(format_args!("The answer to a {method} is lost behind the stranger"));
    let db = stock(lab).await?;
    let server = lab.serve("shop", Shop::new(&db, p.shop, "").router())?;
    let link = lab.proxy("stranger", "shop", &server, proxy::Fault::none())?;
    let stranger = lab.serve("stranger", retrying(lab.client("stranger", &link), p.stranger))?;
    let client = lab.client("client", &stranger);
    let mut seen = Lost { lost: 0, executed: 0, well: 0, failed: 0, stock: 0 };
    for _ in 0..p.lost {
        link.set(proxy::Fault::cut(Way::Answer).times(1));
        let reply = match method {
            Method::PUT => client.put("/items/7").json(&json!({"stock": 20})).await?,
            _ => client.post("/rpc").json(&json!({"call": "restock", "id": 7})).await?,
        };
        *(if reply.status.is_success() { &mut seen.well } else { &mut seen.failed }) += 1;
    }
    seen.lost = link.struck();
    seen.executed = server.executed().values().sum();
    seen.stock = db.count("SELECT stock FROM item", ()).await?;
    Ok(seen)
}

/// Passes requests on. Where no answer comes, it repeats once what the method allows it to repeat (RFC 9110, section
/// 9.2.2); it has no other way to know.
fn retrying(shop: Client, kind: Stranger) -> Router {
    Router::new().fallback(async move |request: Request| -> Result<Response, Failed> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, 1 << 16).await?;
        let ask = || {
            let target = head.uri.path().to_owned();
            shop.request(head.method.clone(), target).with_headers(head.headers.clone()).body(body.clone())
        };
        let mut answer = ask().await;
        if answer.is_err() && (head.method.is_idempotent() || kind == Stranger::RepeatsAll) {
            answer = ask().await;
        }
        Ok(answer.map_or_else(
            |_| StatusCode::BAD_GATEWAY.into_response(),
            |it| (it.status, it.headers, it.body).into_response(),
        ))
    })
}

/// A basket is filled through a balancer with two replicas, which share a database and no memory.
async fn over_two_replicas(lab: &Lab, p: &Params, conversation: bool) -> Result<u64> {
    lab.step(if conversation {
        "Two replicas and a conversation"
    } else {
        "Two replicas, each request whole"
    });
    let db = stock(lab).await?;
    let replicas = [
        lab.serve("replica 1", Shop::new(&db, p.shop, "").router())?,
        lab.serve("replica 2", Shop::new(&db, p.shop, "").router())?,
    ];
    let behind = replicas.each_ref().map(|it| lab.client("balancer", it));
    let balancer = lab.serve("balancer", in_turn(behind))?;
    let client = lab.client("client", &balancer);
    let call = |body: Value| client.post("/rpc").json(&body);
    if conversation {
        call(json!({"call": "open_basket", "id": 1})).await?;
    }
    for number in 1..=p.reads {
        match conversation {
            true => call(json!({"call": "add_line", "number": number})).await?,
            false => client.put(format!("/baskets/1/lines/{number}")).await?,
        };
    }
    let basket: Value = client.get("/baskets/1").await?.json()?;
    Ok(basket["lines"].as_array().map_or(0, Vec::len) as u64)
}

/// Gives each request to the next replica in turn.
fn in_turn(replicas: [Client; 2]) -> Router {
    let turn = AtomicUsize::new(0);
    let shared = Arc::new((replicas, turn));
    Router::new().fallback(async move |request: Request| -> Result<Response, Failed> {
        let (replicas, turn) = &*shared;
        let replica = &replicas[turn.fetch_add(1, Ordering::SeqCst) % replicas.len()];
        let (head, body) = request.into_parts();
        let body = to_bytes(body, 1 << 16).await?;
        let ask = replica.request(head.method, head.uri.path()).with_headers(head.headers).body(body);
        let it = ask.await?;
        Ok((it.status, it.headers, it.body).into_response())
    })
}

/// One client follows links from the root to an item, the other has the item's URI written into it.
async fn clients(lab: &Lab, p: &Params, base: &'static str) -> Result<[u16; 2]> {
    let place = if base.is_empty() { "Two clients, before the move" } else { "Two clients, after the move" };
    lab.step(place);
    let server = lab.serve("shop", Shop::new(&stock(lab).await?, p.shop, base).router())?;
    let follower = lab.client("follows links", &server);
    let mut reply = follower.get("/").await?;
    for pointer in ["/links/items", "/items/0/links/self"] {
        let found = reply.json::<Value>().ok().and_then(|it| Some(it.pointer(pointer)?.as_str()?.to_owned()));
        let Some(target) = found else { break };
        reply = follower.get(target).await?;
    }
    let hard_coded = lab.client("has URIs built in", &server).get("/items/7").await?;
    Ok([reply.status.as_u16(), hard_coded.status.as_u16()])
}

/// What a run shows in which every constraint is kept.
fn flawless(p: &Params) -> Observed {
    Observed {
        reads: [1, p.reads],
        put: Lost { lost: p.lost, executed: 2 * p.lost, well: p.lost, failed: 0, stock: 20 },
        call: Lost { lost: p.lost, executed: p.lost, well: 0, failed: p.lost, stock: 10 + p.lost },
        self_contained: p.reads,
        conversation: p.reads / 2,
        before: [200, 200],
        after: [200, 404],
    }
}

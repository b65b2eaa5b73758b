//! Four machines that stand beside every service: a monitor, a balancer, a cache and a retrying client. None of them
//! knows the application, and each decides by the code alone.

use super::Params;
use super::notes::{MIGRATION, Notes, Style};
use crate::prelude::*;

/// What became of the requests that the machines carried.
#[derive(Clone, Serialize)]
pub struct Outcomes {
    /// Monitor: notes that were sent and aren't in the database, and those that it took for failures.
    pub failed_posts: u64,
    pub alarmed: u64,
    /// Balancer: reads that brought no note, and requests that went to the broken replica.
    pub failed_reads: u64,
    pub broken_asked: u64,
    /// Cache: readers who got no note while a table was missing, and when the service was well again.
    pub early_errors: u64,
    pub cached_errors: u64,
    /// Retrier: notes that it should save, those in the database, and first tries that made none.
    pub meant: u64,
    pub saved: u64,
    pub refused: u64,
}

/// Puts each machine before a service that fails for a reason of its own.
pub async fn watch(lab: &Lab, p: &Params, style: Style) -> Result<Outcomes> {
    let words = if style == Style::Codes { "by its codes" } else { "under 200" };
    lab.step(format_args!("A monitor, while the disk runs full and the service says so {words}"));
    let (failed_posts, alarmed) = monitor(lab, p, style).await?;
    lab.step(format_args!("A balancer with a broken replica, which says so {words}"));
    let (failed_reads, broken_asked) = balance(lab, p, style).await?;
    lab.step(format_args!("A cache before a service that recovers from an error, said {words}"));
    let (early_errors, cached_errors) = cache(lab, p, style).await?;
    lab.step(format_args!("A client that repeats what was turned away for now, said {words}"));
    let (saved, refused) = retry(lab, p, style).await?;
    let meant = p.requests;
    Ok(Outcomes {
        failed_posts,
        alarmed,
        failed_reads,
        broken_asked,
        early_errors,
        cached_errors,
        meant,
        saved,
        refused,
    })
}

/// The disk runs full (SQLite's limit of pages) while notes come in, and the monitor counts answers of 5xx.
async fn monitor(lab: &Lab, p: &Params, style: Style) -> Result<(u64, u64)> {
    let db = lab.sqlite(MIGRATION).await?;
    let pages = db.count("PRAGMA page_count", ()).await?;
    db.execute(&format!("PRAGMA max_page_count = {}", pages + p.requests), ()).await?;
    let notes = Notes::new(&db, p.build, style);
    let server = lab.serve("notes", notes.router())?;
    let client = lab.client("monitored client", &server);
    let mut alarmed = 0;
    for number in 0..p.requests {
        let reply = save(&client, format!("{number} {}", "x".repeat(3000))).await?;
        alarmed += u64::from(reply.status.is_server_error());
        // Limits are another matter: each note comes in a window of its own.
        notes.clock.step(Duration::from_secs(10));
    }
    Ok((p.requests - db.count("SELECT count(*) FROM note", ()).await?, alarmed))
}

/// Two replicas, and on one a table is missing. The balancer goes round, leaves out who has answered 5xx, and asks the
/// next one instead, as the request was a GET.
async fn balance(lab: &Lab, p: &Params, style: Style) -> Result<(u64, u64)> {
    let (well, broken) = (lab.sqlite(MIGRATION).await?, lab.sqlite("").await?);
    well.execute("INSERT INTO note (owner, title) VALUES ('alice', 'tea')", ()).await?;
    let replicas = [
        lab.serve("replica 1", Notes::new(&well, p.build, style).router())?,
        lab.serve("replica 2", Notes::new(&broken, p.build, style).router())?,
    ];
    let mut inside: Vec<_> = replicas.iter().map(|it| lab.client("balancer", it)).collect();
    let mut failed = 0;
    for turn in 0..p.requests as usize {
        let reply = loop {
            let at = turn % inside.len();
            let reply = inside[at].get("/notes/1").await?;
            if !reply.status.is_server_error() || inside.len() == 1 {
                break reply;
            }
            inside.remove(at);
        };
        failed += u64::from(!is_note(&reply));
    }
    Ok((failed, replicas[1].executed().values().sum()))
}

/// A read fails, the service recovers, and others read the same through the cache.
async fn cache(lab: &Lab, p: &Params, style: Style) -> Result<(u64, u64)> {
    let db = lab.sqlite("").await?;
    let server = lab.serve("notes", Notes::new(&db, p.build, style).router())?;
    let cache = lab.http_cache("cache", &server, Clock::frozen())?;
    let early = lab.client("first reader", &cache).get("/notes/1").await?;
    db.execute(MIGRATION, ()).await?;
    db.execute("INSERT INTO note (owner, title) VALUES ('alice', 'tea')", ()).await?;
    let (others, mut late) = (lab.client("later readers", &cache), 0);
    for _ in 0..p.requests {
        late += u64::from(!is_note(&others.get("/notes/1").await?));
    }
    Ok((u64::from(!is_note(&early)), late))
}

/// Saves more notes than the service takes at a time. On 429 and 503, and on no other code, it waits as Retry-After says
/// and tries again, once.
async fn retry(lab: &Lab, p: &Params, style: Style) -> Result<(u64, u64)> {
    let db = lab.sqlite(MIGRATION).await?;
    let notes = Notes::new(&db, p.build, style);
    let server = lab.serve("notes", notes.router())?;
    let client = lab.client("retrier", &server);
    let mut refused = 0;
    for number in 0..p.requests {
        let reply = save(&client, format!("note {number}")).await?;
        refused += u64::from(reply.header("location").is_none());
        if !matches!(reply.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            continue;
        }
        let seconds = reply.header("retry-after").and_then(|it| it.parse().ok()).unwrap_or(1);
        notes.clock.step(Duration::from_secs(seconds));
        save(&client, format!("note {number}")).await?;
    }
    Ok((db.count("SELECT count(*) FROM note", ()).await?, refused))
}

async fn save(client: &Client, title: String) -> Result<Reply> {
    Ok(client.post("/notes").header("authorization", "Bearer carol").json(&json!({"title": title})).await?)
}

fn is_note(reply: &Reply) -> bool {
    reply.json::<Value>().is_ok_and(|it| it["title"].is_string())
}

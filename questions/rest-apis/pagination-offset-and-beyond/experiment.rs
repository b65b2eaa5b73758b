//! Pages of a long list: what they cost at depth, what they show while the list moves, and what leads from one to the
//! next.
//!
//! One list over SQLite offers both ways: a page at an offset, and a page after the last key. Its readers follow links
//! and note each id that they are given; SQLite itself counts the steps of its virtual machine.

use crate::prelude::*;

#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;
#[path = "server.rs"]
mod server;
#[path = "walks.rs"]
mod walks;

use walks::{Change, LinkWalk, Reader, Walk};

/// Pages that a reader turns while the list moves.
const PAGES: u64 = 10;
/// Depths at which a page is fetched, in fifths of the list.
const DEPTHS: u64 = 5;
/// What clients send that nobody has in mind.
const HOSTILE: [&str; 8] = [
    "limit=1000000",
    "limit=100",
    "limit=101",
    "limit=0",
    "limit=-1",
    "limit=abc",
    "offset=-1",
    "offset=99999999",
];

choices! {
    pub enum Build {
        Right = "as it should be",
        NoTieBreaker = "orders by the date alone",
        NoCap = "takes any limit",
        FullMeansMore = "a full page has a next one",
        SeekCounts = "after= counts places",
    }
}

params! {
    /// Items in the list.
    rows: u64 = 20_000 in 5_000..=50_000;
    /// Items on a page.
    page_size: u64 = 20 in 10..=100;
    /// Items that arrive, or are deleted, between two pages.
    churn: u64 = 3 in 0..=10;
    /// How the list is built.
    server: Build = "as it should be" in ..;
}

pub struct PaginationOffsetAndBeyond;

#[derive(Clone, Serialize)]
pub struct Observed {
    costs: Costs,
    /// Walks by offset and after the last key, while items arrive at the front.
    arrivals: [Walk; 2],
    /// The same, while items that the reader has been given are deleted.
    deletions: [Walk; 2],
    links: LinkWalk,
    hostile: Vec<Hostile>,
    /// A list that stands still, whose items share one date, while an index is added: by date, and as the list orders.
    ties: [Walk; 2],
}

/// Steps of SQLite's virtual machine.
#[derive(Clone, Serialize)]
struct Costs {
    rows: u64,
    first: u64,
    depths: Vec<Depth>,
    /// What the exact total takes on top of a page.
    total: u64,
    /// What one row more on a page takes.
    one_more: u64,
}

/// A page with so many items before it.
#[derive(Clone, Serialize)]
struct Depth {
    before: u64,
    offset: u64,
    seek: u64,
}

#[derive(Clone, Serialize)]
struct Hostile {
    asked: &'static str,
    status: u16,
    items: u64,
}

impl Experiment for PaginationOffsetAndBeyond {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "Newest first, {} pages of {} by offset, and {} new items arrive between every two requests. How many of the \
             {} items that the reader is given are ones they had before?",
            PAGES,
            p.page_size,
            p.churn,
            PAGES * p.page_size
        );
        Prediction::number(ask, "items", |seen: &Observed| seen.arrivals[0].repeated()).tempting(
            0,
            "What is new arrives at the front, and the reader has left the front behind. But an offset counts from there.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let db = server::shelves(lab, p.rows, 3 * p.page_size).await?;
        let server = lab.serve("list", server::api(&db, p.server))?;
        let reader = Reader { client: lab.client("reader", &server), db: db.clone(), page_size: p.page_size };
        lab.step("A page at each fifth of the list, by offset and after the last key");
        let costs = costs(&reader, p).await?;
        let mut both_ways = Vec::new();
        for (change, what) in
            [(Change::Arrive(p.churn), "items arrive"), (Change::Delete(p.churn), "items vanish")]
        {
            for (by_key, how) in [(false, "by offset"), (true, "after the last key")] {
                lab.step(format_args!("{PAGES} pages {how} while {what}"));
                both_ways.push(reader.walk(reader.start(by_key).await?, PAGES, change).await?);
            }
        }
        let both: [Walk; 4] = both_ways.try_into().ok().context("two changes, two ways")?;
        let [arriving, arriving_by_key, vanishing, vanishing_by_key] = both;
        lab.step("From link to link through a short list, and back");
        let links = reader.along_links().await?;
        lab.step("What nobody has in mind");
        let hostile = hostile(&reader).await?;
        let careless = lab.serve("list by date", server::api(&db, Build::NoTieBreaker))?;
        let careless = Reader { client: reader.client.to(&careless), ..reader.clone() };
        lab.step(
            "Nothing changes, but an index is added between two pages; by date alone, then by date and id",
        );
        let ties = [careless.walk_while_indexed().await?, reader.walk_while_indexed().await?];
        Ok(Observed {
            costs,
            arrivals: [arriving, arriving_by_key],
            deletions: [vanishing, vanishing_by_key],
            links,
            hostile,
            ties,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [claims::on_costs(p, seen), claims::on_walks(p, seen), claims::on_the_contract(seen)].concat()
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 11] = [
            |it| it.costs.depths.iter_mut().for_each(|depth| depth.offset = it.costs.first),
            |it| it.costs.depths.iter_mut().for_each(|depth| depth.seek = depth.offset),
            |it| it.costs.total = it.costs.first,
            |it| it.costs.one_more = it.costs.total,
            |it| it.arrivals[0] = it.arrivals[1].clone(),
            |it| it.deletions[0] = it.deletions[1].clone(),
            |it| it.deletions[1] = it.deletions[0].clone(),
            |it| it.links.empty_pages = 1,
            |it| it.hostile[0].items = 1_000_000,
            |it| it.ties[0] = it.ties[1].clone(),
            |it| it.ties[1] = it.ties[0].clone(),
        ];
        each_broken(broken, || flawless(p))
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "order by the date alone, though many items share one",
                set: &[("server", "orders by the date alone")],
                refutes: &["order-total"],
            },
            Fault {
                label: "take whatever limit a client asks for",
                set: &[("server", "takes any limit")],
                refutes: &["cap-holds"],
            },
            Fault {
                label: "offer a next page after every full one",
                set: &[("server", "a full page has a next one")],
                refutes: &["links-suffice"],
            },
            Fault {
                label: "let the key be a count of places in disguise",
                set: &[("server", "after= counts places")],
                refutes: &["seek-flat", "seek-exact"],
            },
        ]
    }
}

/// Fetches pages ever deeper in both ways, and lets SQLite count its steps for each.
async fn costs(reader: &Reader, p: &Params) -> Result<Costs> {
    let steps = async |target: String| {
        let (reply, steps) = reader.db.steps_of(reader.client.get(target)).await?;
        reply?;
        Ok::<_, anyhow::Error>(steps)
    };
    let page = |limit: u64, offset: u64| format!("/long?limit={limit}&offset={offset}");
    let first = steps(page(p.page_size, 0)).await?;
    let mut depths = Vec::new();
    for fifths in 1..=DEPTHS {
        let before = (p.rows * fifths / DEPTHS - p.page_size) / p.page_size * p.page_size;
        let onward = reader.onward(&page(p.page_size, before - p.page_size)).await?;
        let (offset, seek) = (steps(page(p.page_size, before)).await?, steps(onward).await?);
        depths.push(Depth { before, offset, seek });
    }
    let total = steps(page(p.page_size, 0) + "&count=exact").await? - first;
    let one_more = first - steps(page(p.page_size - 1, 0)).await?;
    Ok(Costs { rows: p.rows, first, depths, total, one_more })
}

async fn hostile(reader: &Reader) -> Result<Vec<Hostile>> {
    let mut all = Vec::new();
    for asked in HOSTILE {
        let reply = reader.client.get(format!("/long?{asked}")).await?;
        let page: Option<walks::Page> = reply.json().ok();
        let items = page.map_or(0, |page| page.ids.len() as u64);
        all.push(Hostile { asked, status: reply.status.as_u16(), items });
    }
    Ok(all)
}

/// What a run shows in which everything is as the answer says.
fn flawless(p: &Params) -> Observed {
    let walk =
        |repeated: u64, skipped: u64| Walk::as_if(p.page_size, PAGES, PAGES * p.churn, repeated, skipped);
    let (shifted, page) = (p.churn * (PAGES - 1), p.page_size * 8);
    let depth = |before| Depth { before, offset: page + before * 3, seek: page };
    let hostile = |asked| Hostile { asked, status: 400, items: 0 };
    let ids: Vec<i64> = (1..=3 * p.page_size as i64).collect();
    Observed {
        costs: Costs {
            rows: p.rows,
            first: page,
            depths: [p.rows / 2, p.rows].map(depth).into(),
            total: p.rows * 3,
            one_more: 8,
        },
        arrivals: [walk(shifted, 0), walk(0, 0)],
        deletions: [walk(0, shifted), walk(0, 0)],
        links: LinkWalk { rows: ids.len() as u64, forth: ids.clone(), back: ids, empty_pages: 0 },
        hostile: HOSTILE.map(hostile).into(),
        ties: [walk(5, 5), walk(0, 0)],
    }
}

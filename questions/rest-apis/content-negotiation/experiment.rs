//! Content negotiation: one URL, eighteen representations, and who decides which one a client gets: its headers, the
//! server's rules, and a cache in between that was told too little.
//!
//! Forty Accept headers with one right answer each go to three servers. Then a crowd of programs asks for one report
//! through a shared cache; each judges by the bytes that it gets whether it can read them.

use crate::prelude::*;

#[path = "cached.rs"]
mod cached;
#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;
#[path = "negotiation.rs"]
mod negotiation;
#[path = "origin.rs"]
mod origin;
#[path = "readers.rs"]
mod readers;
#[path = "wishes.rs"]
mod wishes;

use cached::{Delivery, Setting};
use negotiation::Way;
use origin::Origin;
use wishes::{PREDICTED, Rule, WISHES};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Format {
    Json,
    Csv,
    Html,
}

impl Format {
    /// In the server's own order, which breaks ties.
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Html];

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Csv => ("text", "csv"),
            Self::Html => ("text", "html"),
        }
    }

    fn parameter(self) -> Option<&'static str> {
        (self != Self::Json).then_some("charset=utf-8")
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Html => "HTML",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    German,
    French,
}

impl Language {
    const ALL: [Self; 3] = [Self::English, Self::German, Self::French];

    fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
        }
    }

    /// The report's title, by which a reader knows its language.
    fn title(self) -> &'static str {
        match self {
            Self::English => "Units sold",
            Self::German => "Verkaufte Stücke",
            Self::French => "Unités vendues",
        }
    }
}

/// What responses say in Vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vary {
    Missing,
    AcceptAlone,
    Complete,
}

impl Vary {
    fn header(self, build: Build) -> &'static str {
        match (self, build) {
            (Self::Missing, _) => "",
            (Self::AcceptAlone, _) => "Accept",
            (Self::Complete, Build::ForgetsCoding) => "Accept, Accept-Language",
            (Self::Complete, _) => "Accept, Accept-Language, Accept-Encoding",
        }
    }
}

choices! {
    pub enum Build {
        Right = "as it should be",
        FirstName = "takes the first name it knows",
        HighestWeight = "takes the highest weight that fits",
        ForgetsCoding = "leaves Accept-Encoding out of Vary",
        OneTag = "one ETag for all representations",
        ReadsAllAsJson = "reads every body as JSON",
    }
}

impl Build {
    fn way(self) -> Way {
        match self {
            Self::FirstName => Way::FirstName,
            Self::HighestWeight => Way::HighestWeight,
            _ => Way::Rules,
        }
    }
}

params! {
    /// Clients that ask for the report through the cache, one after the other.
    clients: u64 = 60 in 20..=200;
    /// How the origin is built.
    origin: Build = "as it should be" in ..;
}

pub struct ContentNegotiation;

#[derive(Clone, Serialize)]
pub struct Observed {
    wishes: Vec<Wished>,
    weights: Vec<Weighed>,
    deliveries: BTreeMap<Setting, Delivery>,
    tags: Tags,
    bodies: Bodies,
}

/// An Accept header, and what each kind of server made of it.
#[derive(Clone, Serialize)]
struct Wished {
    rule: Rule,
    accept: &'static str,
    /// What the RFC says; "406" where nothing fits.
    right: &'static str,
    /// By the origin, and by it again when the header's members came in the opposite order.
    origin: &'static str,
    origin_reversed: &'static str,
    /// By the two short cuts.
    first_name: &'static str,
    highest_weight: &'static str,
}

/// How the rules arrive at what is sent for the prediction's header.
#[derive(Clone, Serialize)]
struct Weighed {
    format: &'static str,
    range: String,
    thousandths: u16,
}

/// What the validators tell apart.
#[derive(Clone, Serialize)]
struct Tags {
    representations: usize,
    bodies: usize,
    tags: usize,
    /// The answer to the JSON's tag, asked for JSON, and what it is when CSV is asked for.
    same: u16,
    other: u16,
    other_is: String,
}

/// What came of bodies that were sent.
#[derive(Clone, Serialize)]
struct Bodies {
    /// Of XML, of JSON that was called XML, and of a body without a type.
    unreadable: Vec<u16>,
    /// What the refusals named in Accept, and what came of a body of each of these types.
    told: Vec<String>,
    retried: Vec<u16>,
}

impl Experiment for ContentNegotiation {
    type Params = Params;
    type Observed = Observed;

    fn predict(_: &Params) -> Prediction<Observed> {
        Prediction::choice(
            format!("Accept: {PREDICTED}. The server has HTML, CSV (text/csv) and JSON. Which one does it send?"),
            &["HTML", "CSV", "JSON", "none: 406"],
            |seen: &Observed| {
                let sent = seen.wishes.iter().find(|it| it.accept == PREDICTED).map_or("", |it| it.origin);
                ["HTML", "CSV", "JSON", "406"].iter().position(|it| *it == sent).unwrap_or(usize::MAX)
            },
        )
        .tempting(
            0,
            "text/*;q=0.9 is the highest weight and HTML is text. But a range speaks only of the types that no more specific \
             range speaks of, and text/html;q=0.2 does.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.show_headers(["Accept", "Vary", "If-None-Match"]);
        lab.cast(["client", "edge", "cache", "origin"]);
        let wishes = wishes(lab, p).await?;
        let weights = Format::ALL.map(|format| {
            let (thousandths, range) = negotiation::weight(PREDICTED, format);
            Weighed { format: format.word(), range, thousandths }
        });
        let readers = readers::draw(&mut lab.rng("readers"), p.clients);
        let mut deliveries = BTreeMap::new();
        for setting in Setting::ALL {
            deliveries.insert(setting, cached::deliver(lab, p, setting, &readers).await?);
        }
        Ok(Observed {
            wishes,
            weights: weights.into(),
            deliveries,
            tags: tags(lab, p).await?,
            bodies: bodies(lab, p).await?,
        })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        [claims::on_wishes(seen), claims::on_caches(seen), claims::on_tags_and_bodies(seen)].concat()
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        claims::broken(p.clients)
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "send the first format whose name the header knows",
                set: &[("origin", "takes the first name it knows")],
                refutes: &[
                    "weights-decide",
                    "specific-decides",
                    "zero-rules-out",
                    "nothing-fits",
                    "order-says-nothing",
                ],
            },
            Fault {
                label: "give each format the highest weight of all ranges that fit it",
                set: &[("origin", "takes the highest weight that fits")],
                refutes: &["specific-decides", "zero-rules-out"],
            },
            Fault {
                label: "leave Accept-Encoding out of Vary",
                set: &[("origin", "leaves Accept-Encoding out of Vary")],
                refutes: &["full-vary-right", "spelling-splits", "plain-words-merge"],
            },
            Fault {
                label: "make the ETag from the report's version alone",
                set: &[("origin", "one ETag for all representations")],
                refutes: &["tag-per-representation", "tag-of-another"],
            },
            Fault {
                label: "read every body as JSON",
                set: &[("origin", "reads every body as JSON")],
                refutes: &["unreadable-told"],
            },
        ]
    }
}

fn right(p: &Params) -> Origin {
    Origin { way: p.origin.way(), vary: Vary::Complete, build: p.origin }
}

/// Sends each of the forty headers to the origin, in both orders, and to the two short cuts.
async fn wishes(lab: &Lab, p: &Params) -> Result<Vec<Wished>> {
    lab.step("Forty Accept headers, to the origin and to two that take a short cut");
    let serve = |name, way| lab.serve(name, origin::api(Origin { way, ..right(p) }));
    let origin = serve("origin", p.origin.way())?;
    let first = serve("first name", Way::FirstName)?;
    let highest = serve("highest weight", Way::HighestWeight)?;
    let client = lab.client("client", &origin);
    let mut all = Vec::new();
    for (rule, accept, right) in WISHES {
        all.push(Wished {
            rule,
            accept,
            right: right.map_or("406", Format::word),
            origin: sent(&client, accept).await?,
            origin_reversed: sent(&client, &wishes::reversed(accept)).await?,
            first_name: sent(&client.to(&first), accept).await?,
            highest_weight: sent(&client.to(&highest), accept).await?,
        });
    }
    Ok(all)
}

/// What a server sends, told by the bytes.
async fn sent(client: &Client, accept: &str) -> Result<&'static str> {
    let reply = client.get("/report").header("Accept", accept).await?;
    Ok(match reply.status {
        StatusCode::NOT_ACCEPTABLE => "406",
        StatusCode::OK => readers::recognise(&reply.text()).0.map_or("?", Format::word),
        _ => "?",
    })
}

/// Fetches all eighteen representations, and asks again with the tag of one.
async fn tags(lab: &Lab, p: &Params) -> Result<Tags> {
    lab.step("The ETag of each representation, and a condition with the tag of another one");
    let origin = lab.serve("origin", origin::api(right(p)))?;
    let client = lab.client("client", &origin);
    let (mut representations, mut bodies, mut tags) = (0, BTreeSet::new(), BTreeSet::new());
    for format in Format::ALL {
        for language in Language::ALL {
            for coding in ["gzip", "identity"] {
                let ask = client.get("/report").header("Accept", format.media_type());
                let ask = ask.header("Accept-Language", language.tag()).header("Accept-Encoding", coding);
                let reply = ask.await?;
                tags.insert(reply.header("etag").unwrap_or_default().to_owned());
                bodies.insert(reply.body);
                representations += 1;
            }
        }
    }
    let ask = |accept| client.get("/report").header("Accept", accept);
    let json = ask("application/json").await?;
    let tag = json.header("etag").context("the origin sends ETags")?;
    let same = ask("application/json").header("If-None-Match", tag).await?;
    let other = ask("text/csv").header("If-None-Match", tag).await?;
    Ok(Tags {
        representations,
        bodies: bodies.len(),
        tags: tags.len(),
        same: same.status.as_u16(),
        other: other.status.as_u16(),
        other_is: readers::recognise(&other.text()).0.map_or("nothing", Format::word).to_owned(),
    })
}

/// Sends bodies that the origin can't read, and then one of each type that its refusal named.
async fn bodies(lab: &Lab, p: &Params) -> Result<Bodies> {
    lab.step("Bodies that the origin can't read, and then what it says that it can");
    lab.show_headers(["Content-Type"]);
    let origin = lab.serve("origin", origin::api(right(p)))?;
    let client = lab.client("client", &origin);
    let (json, csv) = (r#"{"units": 7}"#, "month,units\n2026-04,7\n");
    let (mut unreadable, mut told) = (Vec::new(), BTreeSet::new());
    for (kind, body) in
        [(Some("application/xml"), "<units>7</units>"), (Some("application/xml"), json), (None, csv)]
    {
        let ask = client.put("/report").body(body);
        let reply = match kind {
            Some(kind) => ask.header("Content-Type", kind),
            None => ask,
        }
        .await?;
        unreadable.push(reply.status.as_u16());
        told.extend(reply.header("accept").unwrap_or_default().split(',').map(|it| it.trim().to_owned()));
    }
    told.remove("");
    let mut retried = Vec::new();
    for kind in &told {
        let body = if kind.ends_with("json") { json } else { csv };
        let reply =
            client.put("/report").header("Content-Type", format!("{kind}; charset=utf-8")).body(body).await?;
        retried.push(reply.status.as_u16());
    }
    Ok(Bodies { unreadable, told: told.into_iter().collect(), retried })
}

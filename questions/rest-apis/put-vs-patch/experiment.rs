//! PUT and PATCH: several editors hold the same version of a document, and each sends its change back.
//!
//! PUT carries the whole document, and so also what its sender didn't mean to change. PATCH carries the change alone, in
//! one of two languages. Neither knows what happened since the document was read, unless a precondition asks.

use crate::prelude::*;

#[path = "claims.rs"]
mod claims;
#[path = "documents.rs"]
mod documents;
#[path = "editors.rs"]
mod editors;
#[path = "figures.rs"]
mod figures;
#[path = "patch.rs"]
mod patch;
#[path = "rfc.rs"]
mod rfc;

use documents::{Documents, JSON_PATCH, MERGE_PATCH};
use editors::{Tally, Writing};

choices! {
    pub enum Build {
        Right = "as the standards say",
        PutMerges = "PUT merges",
        StepByStep = "operations are stored one by one",
        ChecksThenWrites = "the version is checked, then written",
        StoresNull = "a merge patch stores null",
    }
}

params! {
    /// Editors that have read the same version.
    editors: u64 = 3 in 2..=8;
    /// What the server makes of their requests.
    server: Build = "as the standards say" in ..;
}

pub struct PutVsPatch;

#[derive(Serialize)]
pub struct Observed {
    /// Each editor changes a field of its own, in each way of writing.
    different: BTreeMap<Writing, Tally>,
    /// All change the same field.
    same: BTreeMap<Writing, Tally>,
    /// The answers to PUTs that name the same version and are checked at the same moment, by status.
    at_once: BTreeMap<u16, u64>,
    old: OldClient,
    failing: Failing,
    twice: Twice,
    null: Null,
    foreign: Foreign,
    /// Examples of the two standards that come out as printed there, and how many there are.
    examples: (u64, u64),
}

/// A client that doesn't know the newest field changes another one: is the newest still there?
#[derive(Clone, Serialize)]
struct OldClient {
    before: bool,
    after_put: bool,
    after_merge: bool,
}

/// A JSON Patch of four operations, of which the third can't be applied.
#[derive(Clone, Serialize)]
struct Failing {
    status: u16,
    before: String,
    after: String,
}

/// The same request, sent again because its answer was lost: tags in the document after each kind.
#[derive(Clone, Serialize)]
struct Twice {
    lost: u64,
    put: u64,
    merge: u64,
    append: u64,
}

/// A field that is set to null in both languages: what stands there then, and "absent" where nothing does.
#[derive(Clone, Serialize)]
struct Null {
    before: String,
    merge: String,
    json_patch: String,
}

/// A patch in a language that the server doesn't know.
#[derive(Clone, Serialize)]
struct Foreign {
    status: u16,
    accept_patch: String,
    /// The types named there that did work.
    work: BTreeSet<String>,
}

impl Experiment for PutVsPatch {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "{} editors read the same version of a document. Each changes another field, and sends the document back by \
             PUT, one after the other, without a precondition. How many of the changes are there in the end?",
            p.editors
        );
        Prediction::number(ask, "changes", |seen: &Observed| seen.different[&Writing::Put].survived).tempting(
            p.editors,
            "Each changed another field, so nothing seems to clash. But each PUT also carried all other fields, as they \
             were when its editor read them.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.show_headers(["ETag", "If-Match", "Accept-Patch"]);
        let (mut different, mut same) = (BTreeMap::new(), BTreeMap::new());
        for writing in Writing::ALL {
            lab.step(format_args!("{}, each another field", writing.name()));
            different.insert(writing, editors::edit(lab, p, writing, editors::own_field).await?);
        }
        for writing in Writing::ALL {
            lab.step(format_args!("{}, all the same field", writing.name()));
            same.insert(writing, editors::edit(lab, p, writing, |_| editors::FIELDS[0]).await?);
        }
        Ok(Observed {
            different,
            same,
            at_once: at_once(lab, p).await?,
            old: old_client(lab, p).await?,
            failing: failing(lab, p).await?,
            twice: twice(lab, p).await?,
            null: null(lab, p).await?,
            foreign: foreign(lab, p).await?,
            examples: rfc::examples(p.server),
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [claims::on_editors(p, seen), claims::on_patches(p, seen)].concat()
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(p, seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 12] = [
            |it| tally(&mut it.different, Writing::Put).survived = 2,
            |it| tally(&mut it.different, Writing::Merge).survived = 1,
            |it| tally(&mut it.different, Writing::PutIfMatch).survived = 1,
            |it| tally(&mut it.same, Writing::Put).silent = 0,
            |it| tally(&mut it.same, Writing::PutIfMatch).silent = 1,
            |it| it.at_once = [(204, it.at_once.values().sum())].into(),
            |it| it.old.after_put = true,
            |it| it.failing.after.clear(),
            |it| it.twice.append = it.twice.put,
            |it| it.null.merge = "null".into(),
            |it| it.foreign.work.clear(),
            |it| it.examples.0 -= 1,
        ];
        each_broken(broken, || flawless(p))
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let PUT merge instead of replacing",
                set: &[("server", "PUT merges")],
                refutes: &["old-client-drops"],
            },
            Fault {
                label: "store a patch operation by operation",
                set: &[("server", "operations are stored one by one")],
                refutes: &["all-or-nothing"],
            },
            Fault {
                label: "check the version first and write then",
                set: &[("server", "the version is checked, then written")],
                refutes: &["one-wins-at-once"],
            },
            Fault {
                label: "let a merge patch store null",
                set: &[("server", "a merge patch stores null")],
                refutes: &["merge-null-removes", "as-the-standards-print"],
            },
        ]
    }
}

/// All editors' PUTs name the version that they read, and the server has checked all of them before it writes any.
async fn at_once(lab: &Lab, p: &Params) -> Result<BTreeMap<u16, u64>> {
    lab.step("PUT with If-Match by all editors in the same moment");
    let documents = Documents::open(lab, p.server).await?.checked_together(p.editors);
    let server = lab.serve("server", documents.router())?;
    let read = lab.client("reader", &server).get("/doc").await?;
    let tag = read.header("etag").context("GET brings an ETag")?;
    let puts = (1..=p.editors).map(|editor| {
        let changed = json!({"name": format!("by editor {editor}")});
        let client = lab.client(&format!("editor {editor}"), &server);
        client.put("/doc").header("if-match", tag).json(&changed).into_future()
    });
    let mut answers = BTreeMap::new();
    for reply in try_join_all(puts).await? {
        *answers.entry(reply.status.as_u16()).or_default() += 1;
    }
    Ok(answers)
}

/// A document with a new field comes to a client whose type doesn't have it, and goes back.
async fn old_client(lab: &Lab, p: &Params) -> Result<OldClient> {
    #[derive(Serialize, Deserialize)]
    struct Known {
        name: String,
        tags: Vec<String>,
    }
    lab.step("A client that doesn't know the newest field");
    let mut has = Vec::new();
    for by_put in [true, false] {
        let documents = Documents::open(lab, p.server).await?;
        let server = lab.serve("server", documents.router())?;
        let client = lab.client("old client", &server);
        let read = client.get("/doc").await?;
        has.push(read.json::<Value>()?["newest"].is_string());
        let mut known: Known = read.json()?;
        known.name = "changed".into();
        match by_put {
            true => client.put("/doc").json(&known).await?,
            false => change(&client, MERGE_PATCH, &json!({"name": known.name})).await?,
        };
        has.push(client.get("/doc").await?.json::<Value>()?["newest"].is_string());
    }
    Ok(OldClient { before: has[0] && has[2], after_put: has[1], after_merge: has[3] })
}

async fn failing(lab: &Lab, p: &Params) -> Result<Failing> {
    lab.step("A JSON Patch whose third operation of four can't be applied");
    let documents = Documents::open(lab, p.server).await?;
    let server = lab.serve("server", documents.router())?;
    let client = lab.client("client", &server);
    let before = client.get("/doc").await?.text();
    let operations = json!([
        {"op": "replace", "path": "/name", "value": "half done"},
        {"op": "add", "path": "/tags/-", "value": "half done"},
        {"op": "remove", "path": "/no/such/member"},
        {"op": "replace", "path": "/city", "value": "done"},
    ]);
    let status = change(&client, JSON_PATCH, &operations).await?.status.as_u16();
    Ok(Failing { status, before, after: client.get("/doc").await?.text() })
}

/// Each request's first answer is lost, and the client sends it again.
async fn twice(lab: &Lab, p: &Params) -> Result<Twice> {
    lab.step("The answer is lost, and the same request is sent again");
    let (mut lost, mut tags) = (0, Vec::new());
    for kind in ["PUT", MERGE_PATCH, JSON_PATCH] {
        let documents = Documents::open(lab, p.server).await?;
        let server = lab.serve("server", documents.router())?;
        let proxy = lab.proxy("client", "server", &server, proxy::Fault::cut(Way::Answer).times(1))?;
        let client = lab.client("client", &proxy);
        let send = async || match kind {
            "PUT" => client.put("/doc").json(&json!({"tags": ["first", "second"]})).await,
            MERGE_PATCH => change(&client, kind, &json!({"tags": ["first", "second"]})).await,
            _ => change(&client, kind, &json!([{"op": "add", "path": "/tags/-", "value": "second"}])).await,
        };
        if send().await.is_err() {
            send().await?;
        }
        lost += proxy.struck();
        let document: Value = client.get("/doc").await?.json()?;
        tags.push(document["tags"].as_array().map_or(0, Vec::len) as u64);
    }
    Ok(Twice { lost, put: tags[0], merge: tags[1], append: tags[2] })
}

async fn null(lab: &Lab, p: &Params) -> Result<Null> {
    lab.step("A field is set to null, in both languages");
    let mut stands = Vec::new();
    for kind in [MERGE_PATCH, JSON_PATCH] {
        let documents = Documents::open(lab, p.server).await?;
        let server = lab.serve("server", documents.router())?;
        let client = lab.client("client", &server);
        let city = async || -> Result<String> {
            let document: Value = client.get("/doc").await?.json()?;
            Ok(document.get("city").map_or("absent".into(), Value::to_string))
        };
        stands.push(city().await?);
        let body = match kind {
            MERGE_PATCH => json!({"city": null}),
            _ => json!([{"op": "replace", "path": "/city", "value": null}]),
        };
        change(&client, kind, &body).await?;
        stands.push(city().await?);
    }
    Ok(Null { before: stands[0].clone(), merge: stands[1].clone(), json_patch: stands[3].clone() })
}

/// Sends a patch of an unknown type, and then an empty one of each type that the answer names.
async fn foreign(lab: &Lab, p: &Params) -> Result<Foreign> {
    lab.step("A patch of an unknown type");
    let documents = Documents::open(lab, p.server).await?;
    let server = lab.serve("server", documents.router())?;
    let client = lab.client("client", &server);
    let refused = change(&client, "application/xml-patch+xml", &json!({})).await?;
    let accept_patch = refused.header("accept-patch").unwrap_or_default().to_owned();
    let mut work = BTreeSet::new();
    for kind in accept_patch.split(", ") {
        let empty = if kind == JSON_PATCH { json!([]) } else { json!({}) };
        if change(&client, kind, &empty).await?.status.is_success() {
            work.insert(kind.to_owned());
        }
    }
    Ok(Foreign { status: refused.status.as_u16(), accept_patch, work })
}

async fn change(client: &Client, kind: &str, body: &Value) -> Result<Reply, NoAnswer> {
    client.request(Method::PATCH, "/doc").header("content-type", kind).json(body).await
}

fn tally(of: &mut BTreeMap<Writing, Tally>, writing: Writing) -> &mut Tally {
    of.entry(writing).or_default()
}

/// What a run shows in which the server does as the standards say.
fn flawless(p: &Params) -> Observed {
    let (all, losers) = (p.editors, p.editors - 1);
    let tally = |survived, silent, told| Tally { sent: all, survived, silent, told };
    let different = |writing| match writing {
        Writing::Put => tally(1, losers, 0),
        Writing::PutIfMatch => tally(all, 0, losers),
        Writing::Merge | Writing::JsonPatch | Writing::JsonPatchTest => tally(all, 0, 0),
    };
    let same = |writing| match writing {
        Writing::PutIfMatch | Writing::JsonPatchTest => tally(1, 0, losers),
        Writing::Put | Writing::Merge | Writing::JsonPatch => tally(1, losers, 0),
    };
    let both = BTreeSet::from([MERGE_PATCH, JSON_PATCH].map(str::to_owned));
    Observed {
        different: Writing::ALL.map(|it| (it, different(it))).into(),
        same: Writing::ALL.map(|it| (it, same(it))).into(),
        at_once: [(204, 1), (412, losers)].into(),
        old: OldClient { before: true, after_put: false, after_merge: true },
        failing: Failing { status: 409, before: "{}".into(), after: "{}".into() },
        twice: Twice { lost: 3, put: 2, merge: 2, append: 3 },
        null: Null { before: "\"Graz\"".into(), merge: "absent".into(), json_patch: "null".into() },
        foreign: Foreign { status: 415, accept_patch: format!("{MERGE_PATCH}, {JSON_PATCH}"), work: both },
        examples: (30, 30),
    }
}

//! A document store with honest methods.
//!
//! A server on `PORT` keeps JSON documents under names.
//!
//! ```text
//! PUT    /docs/{name}  a JSON document    201 created, 200 or 204 replaced; 400 where the body isn't JSON
//! GET    /docs/{name}                     200 with the document, ETag and Content-Length; 404
//! HEAD   /docs/{name}                     as GET, without the content
//! DELETE /docs/{name}                     204; 404 where there is none
//! GET    /docs                            200 with the names: ["a", "b"], in any order
//! POST   /docs         a JSON document    201; the server picks the name, Location says it: /docs/…
//! OPTIONS on either                       200 or 204 with Allow
//! any other method                        405 with Allow: the methods that this resource has
//! ```
//!
//! Nothing has to be kept on disk. `/docs` has GET, HEAD, POST and OPTIONS; `/docs/{name}` has GET, HEAD, PUT, DELETE
//! and OPTIONS.

use crate::prelude::*;

#[path = "reference.rs"]
mod reference;

pub struct HttpMethods;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    MergesFields,
    NamesFromTheClock,
    RacingNames,
    HeadWithoutHeaders,
    HeadWithBody,
    CountsWrites,
    CountsViews,
    NoSuchMethodIsNotFound,
    OneAllowForAll,
    TruncatesFirst,
}

impl Challenge for HttpMethods {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        vec![
            stage("PUT creates with 201, then replaces the whole document", replaces)
                .catches(
                    Bug::MergesFields,
                    "PUT merges the new fields into the old document; it has to replace it.",
                )
                .hint("A PUT carries the whole new state. Drop the old document and keep the body as it came."),
            stage("POST picks a name that nobody else has, and says where", picks_names)
                .catches(
                    Bug::NamesFromTheClock,
                    "The name is made from the time, and two requests in one tick get the same.",
                )
                .catches(
                    Bug::RacingNames,
                    "The name is the number of documents, counted before the new one is stored: requests that \
                     run side by side count the same.",
                )
                .hint("Draw 64 random bits, or count under the same lock under which you store."),
            stage("HEAD tells what GET would, without the content", head)
                .catches(Bug::HeadWithoutHeaders, HEADERS_LEFT_OUT)
                .catches(Bug::HeadWithBody, CONTENT_LEFT_IN)
                .hint("Run the handler of GET, and leave out the body at the very end: most frameworks do."),
            stage("PUT and DELETE ten times leave what once leaves", repeats)
                .catches(Bug::CountsWrites, "Each PUT changes something beside the document: a counter, a version.")
                .hint("The state after a PUT may depend on its body alone."),
            stage("GET changes nothing", reads)
                .catches(Bug::CountsViews, "Reading a document writes into it: a counter of views.")
                .hint("Count views elsewhere: not in what the document's ETag covers."),
            stage("a method that a resource lacks gets 405 with its Allow", refuses_methods)
                .catches(
                    Bug::NoSuchMethodIsNotFound,
                    "Method and path are looked up together, so that an unknown method finds nothing.",
                )
                .catches(
                    Bug::OneAllowForAll,
                    "One list of methods is sent for every resource; the collection has others than a document.",
                )
                .hint("Find the resource first, then the method among those that this resource has."),
            stage("a body that isn't JSON leaves the old document", keeps_old)
                .catches(Bug::TruncatesFirst, "The old document is cleared before the new one has been read.")
                .hint("Read and check the whole body first; then replace in one step."),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        match bug {
            Some(Bug::HeadWithBody) => reference::serve_head_as_get(reference::router(bug)).await,
            _ => crate::reference::serve(reference::router(bug)).await,
        }
    }
}

async fn replaces(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let [name, one, two] = g.words();
    let doc = format!("/docs/{name}");
    it.get(&doc).await?.status(404)?;
    it.put(&doc).json(&json!({ one.as_str(): 1, "kind": "first" })).await?.status(201)?;
    it.get(&doc).await?.status(200)?.has(&one, 1)?;
    let second = json!({ two.as_str(): 2 });
    it.put(&doc).json(&second).await?.one_of(&[200, 204])?;
    let now = it.get(&doc).await?.status(200)?;
    now.expect("the document", now.json()?, second)?;
    it.delete(&doc).await?.status(204)?;
    it.get(&doc).await?.status(404)?;
    it.delete(&doc).await?.status(404)?;
    Ok(())
}

async fn picks_names(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let created = join_all((0..100).map(|n| it.post("/docs").json(&json!({ "n": n })).into_future())).await;
    let mut places = BTreeMap::new();
    for (n, answer) in created.into_iter().enumerate() {
        let answer = answer?.status(201)?;
        let place = answer.header("Location")?.to_owned();
        if let Some(other) = places.insert(path_of(&place), n) {
            let found = format!("{place}, as for document {other}");
            return Err(answer.wrong("the Location", "a name of its own for each document", found));
        }
    }
    for (place, n) in places.iter().take(10) {
        it.get(place).await?.status(200)?.has("n", *n)?;
    }
    Ok(())
}

/// The path in a Location, which may be a whole URI.
fn path_of(location: &str) -> String {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or_else(String::new, |at| rest[at..].to_owned()),
        None => location.to_owned(),
    }
}

const HEADERS_LEFT_OUT: &str = "HEAD has a handler of its own that leaves out the headers of GET.";
const CONTENT_LEFT_IN: &str = "HEAD is answered by what answers GET, content and all; the client takes that for the \
                               beginning of the next answer.";

async fn head(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let [name, word] = g.words();
    let doc = format!("/docs/{name}");
    it.put(&doc).json(&json!({ "word": word })).await?.status(201)?;
    let get = it.get(&doc).await?.status(200)?;
    let head = it.request(Method::HEAD, &doc).await?.status(200)?;
    for name in ["ETag", "Content-Length"] {
        let of_get = get.header(name)?;
        let of_head = head.header(name).because(HEADERS_LEFT_OUT)?;
        head.expect(format!("the header {name}"), of_head, of_get).because(HEADERS_LEFT_OUT)?;
    }
    let request = format!("HEAD {doc} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let raw = it.raw(&request, Duration::from_millis(500)).await?;
    let content = raw.split_once("\r\n\r\n").map(|(_, content)| content).unwrap_or_default();
    if !content.is_empty() {
        return Err(g
            .wrong("the content after the headers of HEAD", "nothing", content)
            .because(CONTENT_LEFT_IN));
    }
    it.request(Method::HEAD, format!("{doc}x")).await?.status(404)?;
    Ok(())
}

async fn repeats(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let [kept, gone, word] = g.words();
    let (kept, gone) = (format!("/docs/{kept}"), format!("/docs/{gone}"));
    it.put(&gone).json(&json!({ "word": word })).await?.status(201)?;
    it.put(&kept).json(&json!({ "word": word })).await?.status(201)?;
    it.delete(&gone).await?.status(204)?;
    let once = digest(&it, &kept).await?;
    for _ in 0..9 {
        it.put(&kept).json(&json!({ "word": word })).await?.one_of(&[200, 204])?;
        it.delete(&gone).await?.one_of(&[204, 404])?;
    }
    let ten_times = digest(&it, &kept).await?;
    g.expect("names, document and ETag after ten times, against once", ten_times, once)
}

async fn reads(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let [name, word] = g.words();
    let doc = format!("/docs/{name}");
    it.put(&doc).json(&json!({ "word": word })).await?.status(201)?;
    let before = digest(&it, &doc).await?;
    for _ in 0..200 {
        it.get(&doc).await?.status(200)?;
    }
    let after = digest(&it, &doc).await?;
    g.expect("names, document and ETag after 200 GETs, against before", after, before)
}

/// All that a reader sees: the names, the document, its ETag.
async fn digest(it: &Subject, doc: &str) -> Graded<String> {
    let names = it.get("/docs").await?.status(200)?;
    let listed: Vec<String> = serde_json::from_value(names.json()?)
        .map_err(|_| names.wrong("the body", "an array of names", names.body().escape_ascii()))?;
    let listed: BTreeSet<String> = listed.into_iter().collect();
    let document = it.get(doc).await?.status(200)?;
    Ok(format!("{listed:?} {} {}", document.json()?, document.header("ETag")?))
}

async fn refuses_methods(g: &Grader) -> Graded {
    const COLLECTION: [&str; 4] = ["GET", "HEAD", "OPTIONS", "POST"];
    // Registered with IANA for other protocols. One that is made up wouldn't do: the parser of Node.js answers 400 to
    // it before any handler is asked.
    const FOREIGN: [&str; 6] = ["LOCK", "MKCOL", "PROPFIND", "REPORT", "SEARCH", "UNLINK"];
    const DOCUMENT: [&str; 5] = ["DELETE", "GET", "HEAD", "OPTIONS", "PUT"];
    let it = g.start(&[]).await?;
    let [name, word] = g.words();
    let doc = format!("/docs/{name}");
    it.put(&doc).json(&json!({ "word": word })).await?.status(201)?;
    let foreign =
        Method::from_bytes(FOREIGN[g.number(0..6) as usize].as_bytes()).map_err(anyhow::Error::from)?;
    for (target, methods) in [("/docs", &COLLECTION[..]), (&doc, &DOCUMENT[..])] {
        for method in [Method::PATCH, foreign.clone()] {
            let answer = it.request(method, target).json(&json!({})).await?.status(405)?;
            allows(&answer, methods)?;
        }
        allows(&it.request(Method::OPTIONS, target).await?.one_of(&[200, 204])?, methods)?;
    }
    it.put("/docs").json(&json!({})).await?.status(405)?;
    it.post(&doc).json(&json!({})).await?.status(405)?;
    Ok(())
}

/// Holds Allow against these methods; OPTIONS itself may be left out of it.
fn allows(answer: &Answer, methods: &[&str]) -> Graded {
    let allow: BTreeSet<String> = answer
        .header("Allow")?
        .split(',')
        .map(|it| it.trim().to_owned())
        .filter(|it| it != "OPTIONS")
        .collect();
    let expected: BTreeSet<String> =
        methods.iter().map(|it| (*it).to_owned()).filter(|it| it != "OPTIONS").collect();
    let words = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
    answer.expect("the header Allow", words(allow), words(expected))
}

async fn keeps_old(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let [name, word] = g.words();
    let doc = format!("/docs/{name}");
    it.put(&doc).json(&json!({ "word": word })).await?.status(201)?;
    for broken in ["{\"word\": ", "", "{'word': 1}"] {
        it.put(&doc).header("Content-Type", "application/json").body(broken).await?.status(400)?;
        it.get(&doc).await?.status(200)?.has("word", word.as_str())?;
    }
    Ok(())
}

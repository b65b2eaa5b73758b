//! A URL shortener, graded.
//!
//! A server on `PORT` gives long URLs short codes, and keeps its files in the directory `DATA`, which is there and may
//! be empty.
//!
//! ```text
//! POST   /links  {"url", "alias"?, "expires_in"?}  201 {"code", "short_url"}; 422 bad url or alias; 409 alias taken
//! GET    /{code}                                   302 with Location; 404 unknown; 410 expired or deleted
//! HEAD   /{code}                                   as GET, without being counted
//! GET    /links/{code}/stats                       200 {"clicks": 3}; 404 unknown
//! DELETE /links/{code}                             204; 404 unknown
//! ```
//!
//! **URLs.** A good `url` is `http://` or `https://` (in any case), then a host, and is at most 2,048 characters long:
//! printable ASCII without spaces. A URL of the shortener itself is bad: its host and port are those of the request's
//! `Host`, perhaps with a user before an `@`. `Location` is the URL as it came, byte for byte.
//!
//! **Codes.** A minted code has at most 7 characters of `A-Z a-z 0-9 - _`. Every POST makes a link of its own, also for a
//! URL that has one already. Who knows some codes can't guess others, neither by counting on nor by starting the program
//! elsewhere. An `alias` is a code that the creator picks: 1 to 32 of the same characters, and not `links`, which is a
//! path of the shortener's own. A code, minted or picked, is given out once, even when its link is gone.
//!
//! **Links.** `short_url` is `http://`, the request's `Host`, `/` and the code. `expires_in` is a number of seconds, such
//! as 1.5, after which the link answers 410. What was answered with 201 or 204 outlives a SIGKILL of the program.
//!
//! **Two copies.** From stage 6 on two copies run on one `DATA`, each on a `PORT` of its own; the second starts when the
//! first listens. What one has answered, the other knows at that moment. Only clicks may be counted later, by a second at
//! most. With 20 requests under way, at least 20 links are made in a second.

use crate::prelude::*;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::time::Instant;

#[path = "reference.rs"]
mod reference;

pub struct DesignUrlShortener;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    ReencodesTarget,
    TrustsThePrefix,
    TakesLineBreaks,
    RedirectsToItself,
    PlainCounter,
    FixedSeed,
    HashOfTheUrl,
    LooksFirst,
    GivesAwayItsPaths,
    KeepsInMemory,
    AnswersBeforeCommit,
    CounterPerProcess,
    ReadsItsOwnMemory,
    CacheOutlivesDeletion,
    CacheOutlivesExpiry,
    ReadsModifiesWrites,
    CountsHead,
}

/// Requests that are under way at a time.
const AT_A_TIME: usize = 20;
/// How long thousands of links are made; fewer will do where the machine is slow.
const LONG_ENOUGH: Duration = Duration::from_secs(10);
/// Links that are made in that time at least.
const FEWEST: usize = 200;
/// Characters that a URL may have.
const LONGEST: usize = 2048;
/// One in so many codes may have a neighbour by chance. Of 5,000 random codes of 4 characters about 100 have one.
const NEIGHBOURS: usize = 20;

const COUNTER: &str = "The code is a number that counts up: whoever has one walks through all the others.";
const SEED: &str =
    "The generator starts from the same seed each time: who runs the program elsewhere knows its codes.";
const HASH: &str = "The code is a hash of the URL: two who shorten the same URL share one link, and one of them may \
                    delete it.";
const SCHEME: &str =
    "The scheme isn't looked at: `javascript:` runs in the browser of whoever follows the link.";
const PREFIX: &str = "The check is that the text begins with `http`, or a URL parser repairs what it is given: `httpx://` \
                      is no web address, and `http:evil` names no host.";
const RACE: &str = "The program looks whether the alias is free and inserts it afterwards: requests that run side by \
                    side all find it free.";
const PATHS: &str =
    "An alias may be a path of the shortener's own: its link can't be reached, or hides the path.";
const ITSELF: &str = "A link to the shortener itself is accepted: two of them make a loop.";
const LINE_BREAKS: &str = "Characters of a URL aren't looked at: a line break in a Location lets the creator write \
                           headers.";
const TOO_SLOW: &str = "Each link waits for the disk: in SQLite, the write-ahead log (`PRAGMA journal_mode = WAL`) with \
                        `PRAGMA synchronous = NORMAL` outlives SIGKILL without that. Or the program closes each \
                        connection, and its backlog for new ones is short.";
const UNCAUGHT: &str = "What the store's unique key refuses comes out as an error: answer 409. Or the store is locked by \
                        another writer: let it wait.";
const LOCKED: &str = "The store is busy with another writer and refuses: let it wait for the lock (in SQLite a busy \
                      timeout, and BEGIN IMMEDIATE for what reads and then writes), or try again.";
const DELETION: &str = "Each copy caches links, and only the copy that deletes drops its entry.";
const EXPIRY: &str = "A cached link is redirected without a look at its time.";
const LOST: &str = "The count is read, increased in the program and written back: of two that read the same, one is \
                    lost. Or it is written later than a second after the click.";

impl Challenge for DesignUrlShortener {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        vec![
            stage("a code redirects to the URL as it came, byte for byte", redirects)
                .catches(
                    Bug::ReencodesTarget,
                    "The URL is parsed, or decoded, and written anew, which may change it; keep the text that came.",
                )
                .hint("Store the string as it came and put the same string into Location. Parse only to check it."),
            stage("what isn't a web address of somebody else is refused", refuses)
                .catches(Bug::TrustsThePrefix, PREFIX)
                .catches(Bug::TakesLineBreaks, LINE_BREAKS)
                .catches(Bug::RedirectsToItself, ITSELF)
                .hint(
                    "Split at `://`: the scheme is http or https, and what follows, up to `/`, `?` or `#`, names a \
                     host. Of that take what stands after the last `@` and compare it with the request's Host. Your \
                     language's URL parser may repair what it is given: `http:evil` becomes `http://evil/`.",
                ),
            stage("of 5,000 links no two share a code, and no code gives another away", mints)
                .catches(Bug::PlainCounter, COUNTER)
                .catches(Bug::FixedSeed, SEED)
                .catches(Bug::HashOfTheUrl, HASH)
                .hint(
                    "Draw the code from the system's random generator, insert it under a unique key, and draw again \
                     where that refuses.",
                ),
            stage("an alias has one owner, also when 20 clients ask at once", aliases)
                .catches(Bug::LooksFirst, RACE)
                .catches(Bug::GivesAwayItsPaths, PATHS)
                .hint("Don't look. Insert under a unique key, and answer 409 where that refuses."),
            stage("a link whose 201 was sent is there after SIGKILL", survives)
                .catches(Bug::KeepsInMemory, "Links are kept in memory, or written when the program ends in peace.")
                .catches(
                    Bug::AnswersBeforeCommit,
                    "The answer is sent before the link is committed: writes are collected and a kill loses the last.",
                )
                .hint("Commit, then answer. SIGKILL lets no handler run."),
            stage("two copies on one store mint 2,000 codes, none twice, and serve each other's links", two_copies)
                .catches(
                    Bug::CounterPerProcess,
                    "Each process counts for itself, and both make the same codes from the same numbers.",
                )
                .catches(
                    Bug::ReadsItsOwnMemory,
                    "Each process answers from its own memory: it knows only what was there when it started, or it \
                     remembers that a code was unknown.",
                )
                .hint(
                    "All that the copies share is the store: let its unique key decide who gets a code, and look \
                     there for a code that you don't know.",
                ),
            stage("deleted and expired links answer 410 at once, from both copies, however hot they were", goes)
                .catches(Bug::CacheOutlivesDeletion, DELETION)
                .catches(Bug::CacheOutlivesExpiry, EXPIRY)
                .hint(
                    "A lookup by primary key is cheap enough without a cache. With one, keep the time in the entry, \
                     and ask the store for whether it still holds (in SQLite, `PRAGMA data_version` changes with \
                     another process's commit).",
                ),
            stage("1,000 clicks on two copies count 1,000, and HEAD counts nothing", counts)
                .catches(Bug::ReadsModifiesWrites, LOST)
                .catches(Bug::CountsHead, "HEAD runs the handler of GET, and is counted with it.")
                .hint("Let the store add: `UPDATE … SET clicks = clicks + 1`, or + n for a batch."),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        reference::run(bug).await
    }
}

async fn start(g: &Grader) -> Graded<Subject> {
    let dir = g.dir("store")?;
    g.start(&[("DATA", &dir.display().to_string())]).await
}

/// A second copy beside the first.
async fn start_both(g: &Grader) -> Graded<[Subject; 2]> {
    Ok([start(g).await?, start(g).await?])
}

fn link(url: &str) -> Value {
    json!({ "url": url })
}

/// A URL that nobody has shortened yet.
fn url_of(g: &Grader) -> String {
    let [site, page] = g.words();
    format!("https://{site}.example/{page}")
}

async fn redirects(g: &Grader) -> Graded {
    let it = start(g).await?;
    let [site, word] = g.words();
    let plain = format!("https://{site}.example/{word}");
    let answer = it.post("/links").json(&link(&plain)).await?.status(201)?;
    let code = minted(&answer)?;
    answer.expect(
        "the member \"short_url\"",
        answer.text("short_url")?,
        format!("http://{}/{code}", it.addr()),
    )?;
    leads(&it, &code, &plain).await?;
    for url in [
        format!("http://{site}.example?q=one+two&q=&x=%26amp%3B%2B#part%20{word}"),
        format!("https://{site}.example/a%2Fb/%7e{word}/caf%c3%a9?next=https%3A%2F%2Fexample.org%2F%3Fa%3Db"),
        format!("HTTPS://{site}.Example:443/./a/../{word}//?"),
    ] {
        let code = minted(&it.post("/links").json(&link(&url)).await?.status(201)?)?;
        leads(&it, &code, &url).await?;
    }
    it.get(format!("/{word}")).await?.status(404)?;
    Ok(())
}

/// The code of a 201, which was minted.
fn minted(answer: &Answer) -> Graded<String> {
    let code = answer.text("code")?;
    let good = (1..=7).contains(&code.len())
        && code.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
    if good {
        return Ok(code);
    }
    Err(answer.wrong("the member \"code\"", "1 to 7 characters of A-Z a-z 0-9 - _", format!("`{code}`")))
}

/// Follows a link.
async fn leads(it: &Subject, code: &str, url: &str) -> Graded {
    let answer = it.get(format!("/{code}")).await?.status(302)?;
    answer.expect("the header Location", answer.header("Location")?, url)
}

async fn refuses(g: &Grader) -> Graded {
    let it = start(g).await?;
    let [site, word] = g.words();
    let (host, own) = (it.addr(), format!("http://{site}.example/"));
    for bad in [
        "javascript:alert(1)".to_owned(),
        "data:text/html,hello".to_owned(),
        format!("ftp://{site}.example/"),
        format!("{site}.example/{word}"),
        format!("//{site}.example/{word}"),
        format!("/{word}"),
        String::new(),
    ] {
        refused(&it, &json!(bad), SCHEME).await?;
    }
    refused(&it, &json!(g.number(5..50)), SCHEME).await?;
    for bad in [
        format!("httpx://{site}.example/"),
        format!("http:{site}.example"),
        "https://".to_owned(),
        format!("http:///{word}"),
    ] {
        refused(&it, &json!(bad), PREFIX).await?;
    }
    for bad in [format!("{own}\r\nSet-Cookie: {word}=1"), format!("{own}a b"), format!("{own}\u{7f}")] {
        refused(&it, &json!(bad), LINE_BREAKS).await?;
    }
    for bad in [
        format!("http://{host}/{word}"),
        format!("HTTP://{host}?{word}"),
        format!("http://{site}.example@{host}/"),
    ] {
        refused(&it, &json!(bad), ITSELF).await?;
    }
    let long = |length: usize| format!("{own}{}", "x".repeat(length - own.len()));
    // The first two only look like links to the shortener.
    for good in [
        format!("http://{site}.example/?{host}"),
        format!("https://{site}.example/http://{host}/@{host}"),
        long(LONGEST),
    ] {
        it.post("/links").json(&link(&good)).await?.status(201)?;
    }
    refused(&it, &json!(long(LONGEST + 1)), "The length of a URL isn't bounded.").await
}

async fn refused(it: &Subject, url: &Value, why: &str) -> Graded {
    let answer = it.post("/links").json(&json!({ "url": url })).await?;
    match answer.code() {
        201 => Err(answer.wrong("the status", 422, "201 Created").because(why)),
        _ => answer.status(422).map(drop),
    }
}

async fn mints(g: &Grader) -> Graded {
    let it = start(g).await?;
    let same = url_of(g);
    let urls: Vec<_> = (0..5000).map(|n| if n % 50 == 0 { same.clone() } else { url_of(g) }).collect();
    let links = shorten(g, &[&it], &urls).await?;
    let codes = distinct(g, &links)?;
    few_neighbours(g, &codes)?;
    let dir = g.dir("elsewhere")?;
    let elsewhere = g.start(&[("DATA", &dir.display().to_string())]).await?;
    let mut again = Vec::new();
    for _ in 0..20 {
        let code = minted(&elsewhere.post("/links").json(&link(&url_of(g))).await?.status(201)?)?;
        again.extend(codes.contains(code.as_str()).then_some(code));
    }
    if let [one, _, ..] = &again[..] {
        let found = format!("{} of them, such as `{one}`", again.len());
        let what =
            "the first 20 codes of a second program with an empty DATA that the first one gave out too";
        return Err(g.wrong(what, "none", found).because(SEED));
    }
    for (_, url, code) in links.iter().step_by(links.len() / 4) {
        leads(&it, code, url).await?;
    }
    Ok(())
}

/// Shortens these, many at a time, in turn by each of the copies; on a slow machine as many as go in some seconds. Says
/// which copy did it, the URL and the code.
async fn shorten(g: &Grader, copies: &[&Subject], urls: &[String]) -> Graded<Vec<(usize, String, String)>> {
    let by = |n| copies[n % copies.len()];
    let asks: Vec<_> = urls.iter().enumerate().map(|(n, url)| shorten_one(n, by(n), url).boxed()).collect();
    let links = crowd_until(Instant::now() + LONG_ENOUGH, asks).await?;
    if links.len() >= urls.len().min(FEWEST) {
        return Ok(links.into_iter().map(|(n, url, code)| (n % copies.len(), url, code)).collect());
    }
    let what = format!("links in {LONG_ENOUGH:?}, {AT_A_TIME} at a time");
    Err(g.wrong(what, format!("{FEWEST} at least"), links.len()).because(TOO_SLOW))
}

async fn shorten_one(n: usize, it: &Subject, url: &str) -> Graded<(usize, String, String)> {
    let answer = it.post("/links").json(&link(url)).deadline(LONG_ENOUGH).await?;
    if answer.code() >= 500 && n > 0 {
        return Err(answer.wrong("the status", 201, answer.code()).because(LOCKED));
    }
    Ok((n, url.to_owned(), minted(&answer.status(201)?)?))
}

/// Does all of these, some at a time, until one finds fault.
fn crowd<'a, T: Send + 'a>(all: Vec<BoxFuture<'a, Graded<T>>>) -> BoxFuture<'a, Graded<Vec<T>>> {
    stream::iter(all).buffered(AT_A_TIME).try_collect().boxed()
}

/// Does these, some at a time, until one finds fault; none is begun after that moment.
fn crowd_until<'a, T: Send + 'a>(
    until: Instant,
    all: Vec<BoxFuture<'a, Graded<T>>>,
) -> BoxFuture<'a, Graded<Vec<T>>> {
    let in_time = stream::iter(all).take_while(move |_| ready(Instant::now() < until));
    in_time.buffered(AT_A_TIME).try_collect().boxed()
}

/// The codes, of which no two are the same.
fn distinct<'a>(g: &Grader, links: &'a [(usize, String, String)]) -> Graded<BTreeSet<&'a str>> {
    let mut owners = BTreeMap::new();
    for (_, url, code) in links {
        if let Some(other) = owners.insert(code.as_str(), url) {
            let wrong = |found| g.wrong("the codes of all links", "each link has its own", found);
            return Err(if other == url {
                wrong(format!("`{code}` for two links to {url}")).because(HASH)
            } else {
                wrong(format!("`{code}` for both {other} and {url}"))
            });
        }
    }
    Ok(owners.into_keys().collect())
}

/// Codes that differ in their last, or in their first, character alone are what counting makes.
fn few_neighbours(g: &Grader, codes: &BTreeSet<&str>) -> Graded {
    let (mut alike, mut pairs, mut example) = (BTreeMap::<_, Vec<_>>::new(), 0, String::new());
    for code in codes {
        alike.entry((&code[..code.len() - 1], true)).or_default().push(code);
        alike.entry((&code[1..], false)).or_default().push(code);
    }
    for group in alike.into_values().filter(|group| group.len() > 1) {
        pairs += group.len() * (group.len() - 1) / 2;
        example = format!("`{}` and `{}`", group[0], group[1]);
    }
    if pairs <= codes.len() / NEIGHBOURS {
        return Ok(());
    }
    let what =
        format!("pairs among {} codes that differ in their first or last character alone", codes.len());
    Err(g.wrong(what, "hardly any", format!("{pairs}, such as {example}")).because(COUNTER))
}

async fn aliases(g: &Grader) -> Graded {
    let it = start(g).await?;
    let [word, mine] = g.words();
    let (first, second) = (url_of(g), url_of(g));
    let named = |url: &str, alias: &str| json!({ "url": url, "alias": alias });
    let alias = format!("{word}-{mine}_{}", g.number(10..99));
    it.post("/links").json(&named(&first, &alias)).await?.status(201)?.has("code", alias.as_str())?;
    let taken = "An alias that is taken already is given away once more, or its link with it.";
    it.post("/links").json(&named(&second, &alias)).await?.status(409).because(taken)?;
    leads(&it, &alias, &first).await?;
    let code = minted(&it.post("/links").json(&link(&first)).await?.status(201)?)?;
    let minted_too = "A code that was minted is no less taken than an alias.";
    it.post("/links").json(&named(&second, &code)).await?.status(409).because(minted_too)?;
    for bad in ["", "a/b", "a b", "../x", "caf\u{e9}", &"x".repeat(33)] {
        let form = "The alias isn't held to its form: 1 to 32 characters of A-Z a-z 0-9 - _.";
        it.post("/links").json(&named(&second, bad)).await?.status(422).because(form)?;
    }
    for _ in 0..25 {
        race(g, &[&it], &g.word()).await?;
    }
    let own = it.post("/links").json(&named(&second, "links")).await?;
    if own.code() == 201 {
        return Err(own.wrong("the status", 422, "201 Created").because(PATHS));
    }
    own.status(422)?;
    Ok(())
}

/// Twenty clients ask for one alias at once, in turn at each of the copies; one gets it.
async fn race(g: &Grader, copies: &[&Subject], alias: &str) -> Graded {
    let urls: Vec<_> = (0..AT_A_TIME).map(|_| url_of(g)).collect();
    let asks = urls
        .iter()
        .enumerate()
        .map(|(n, url)| copies[n % copies.len()].post("/links").json(&json!({ "url": url, "alias": alias })));
    let (mut codes, mut owner) = (BTreeMap::new(), None);
    for (answer, url) in Call::at_once(asks).await?.into_iter().zip(&urls) {
        let code = answer.code();
        *codes.entry(code).or_insert(0) += 1;
        owner = if code == 201 { Some(url) } else { owner };
    }
    if codes != BTreeMap::from([(201, 1), (409, AT_A_TIME - 1)]) {
        let found: Vec<_> = codes.iter().map(|(code, times)| format!("{times} × {code}")).collect();
        let what = format!("the statuses of {AT_A_TIME} requests at once for the alias {alias}");
        let wrong = g.wrong(what, "1 × 201, 19 × 409", found.join(", "));
        let failed = codes.keys().any(|code| *code >= 500);
        return Err(wrong.because(if failed { UNCAUGHT } else { RACE }));
    }
    match owner {
        Some(url) => leads(copies[0], alias, url).await,
        None => Ok(()),
    }
}

async fn survives(g: &Grader) -> Graded {
    let it = start(g).await?;
    let (gone, alias) = (url_of(g), g.word());
    let gone = minted(&it.post("/links").json(&link(&gone)).await?.status(201)?)?;
    let picked = url_of(g);
    it.post("/links").json(&json!({ "url": picked, "alias": alias })).await?.status(201)?;
    let deletes = "DELETE /links/{code} doesn't delete, or doesn't say so by 204.";
    it.delete(format!("/links/{gone}")).await?.status(204).because(deletes)?;
    let urls: Vec<_> = (0..200).map(|_| url_of(g)).collect();
    let asks: Vec<_> = urls
        .iter()
        .map(|url| it.post("/links").json(&link(url)).outcome().map(move |it| (url, it)).boxed())
        .collect();
    let mut answers = stream::iter(asks).buffer_unordered(AT_A_TIME);
    let mut created = vec![(alias, picked)];
    while let Some((url, answer)) = answers.next().await {
        // No answer is what the kill leaves to some: nothing was promised to them.
        let Ok(answer) = answer else { continue };
        created.push((minted(&answer.status(201)?)?, url.clone()));
        if created.len() == 100 {
            it.kill().await?;
        }
    }
    let again = g.start_again(&it).await?;
    let looks = created.iter().map(|(code, _)| again.get(format!("/{code}")).into_future()).collect();
    let looks = crowd(looks).await?;
    let is_lost =
        |answer: &Answer, url: &str| answer.code() != 302 || answer.find_header("Location") != Some(url);
    let lost = created.iter().zip(&looks).filter(|((_, url), answer)| is_lost(answer, url));
    let lost: Vec<_> = lost.map(|((code, _), _)| code).collect();
    if let Some(last) = lost.last() {
        let what =
            format!("how many of {} links whose 201 came before SIGKILL are gone after it", created.len());
        return Err(g.wrong(what, "none", format!("{}, such as /{last}", lost.len())));
    }
    again.get(format!("/{gone}")).await?.status(410)?;
    Ok(())
}

async fn two_copies(g: &Grader) -> Graded {
    let [one, two] = start_both(g).await?;
    let (alias, url) = (g.word(), url_of(g));
    two.get(format!("/{alias}")).await?.status(404)?;
    one.post("/links").json(&json!({ "url": url, "alias": alias })).await?.status(201)?;
    leads(&two, &alias, &url).await?;
    let urls: Vec<_> = (0..2000).map(|_| url_of(g)).collect();
    let links = shorten(g, &[&one, &two], &urls).await?;
    distinct(g, &links)?;
    // The newest first: a copy that looks into the store now and then hasn't seen them yet.
    let other = |by| if by == 0 { &two } else { &one };
    crowd(
        links.iter().rev().step_by(5).map(|(by, url, code)| leads(other(*by), code, url).boxed()).collect(),
    )
    .await?;
    for _ in 0..10 {
        race(g, &[&one, &two], &g.word()).await?;
    }
    Ok(())
}

async fn goes(g: &Grader) -> Graded {
    const LIVES: Duration = Duration::from_millis(1500);
    let copies = start_both(g).await?;
    let [one, two] = &copies;
    let (url, began) = (url_of(g), Instant::now());
    let short = json!({ "url": url, "expires_in": LIVES.as_secs_f64() });
    let short = minted(&one.post("/links").json(&short).await?.status(201)?)?;
    let created = Instant::now();
    for copy in copies.iter().cycle().take(6) {
        let answer = copy.get(format!("/{short}")).await?;
        // On a machine that is this slow it has expired by right.
        if began.elapsed() < LIVES {
            answer.status(302)?;
        }
    }
    for (by, other) in [(one, two), (two, one)] {
        let (url, alias) = (url_of(g), g.word());
        by.post("/links").json(&json!({ "url": url, "alias": alias })).await?.status(201)?;
        for copy in copies.iter().cycle().take(6) {
            leads(copy, &alias, &url).await?;
        }
        by.delete(format!("/links/{alias}")).await?.status(204)?;
        is_gone(by, &alias, "The link is deleted, and the copy that deleted it still has it in a cache.")
            .await?;
        is_gone(other, &alias, DELETION).await?;
        let taken = other.post("/links").json(&json!({ "url": url, "alias": alias })).await?;
        if taken.code() == 201 {
            let why = "Deleting frees the code: who takes it gets the visitors of the old link.";
            return Err(taken.wrong("the status", 409, "201 Created").because(why));
        }
        taken.status(409)?;
    }
    g.line("sleep 1.6");
    tokio::time::sleep_until((created + LIVES + Duration::from_millis(100)).into()).await;
    is_gone(one, &short, EXPIRY).await?;
    is_gone(two, &short, EXPIRY).await
}

async fn is_gone(it: &Subject, code: &str, cached: &str) -> Graded {
    let answer = it.get(format!("/{code}")).await?;
    let why = match answer.code() {
        302 => cached,
        404 => "The link's row is gone, so that nothing tells it from one that never was: mark it instead.",
        _ => return answer.status(410).map(drop),
    };
    Err(answer.wrong("the status", "410", answer.code()).because(why))
}

async fn counts(g: &Grader) -> Graded {
    let copies = start_both(g).await?;
    let [one, two] = &copies;
    let (hot, quiet) = (url_of(g), url_of(g));
    let hot = minted(&one.post("/links").json(&link(&hot)).await?.status(201)?)?;
    let quiet = minted(&two.post("/links").json(&link(&quiet)).await?.status(201)?)?;
    for copy in copies.iter().cycle().take(8) {
        copy.request(Method::HEAD, format!("/{quiet}")).await?.status(302)?;
    }
    let quiet_clicks = i64::from(g.number(2..6));
    for copy in copies.iter().cycle().take(quiet_clicks as usize) {
        copy.get(format!("/{quiet}")).await?.status(302)?;
    }
    let clicks = copies.iter().cycle().take(1000).map(|copy| copy.get(format!("/{hot}")).into_future());
    for answer in crowd(clicks.collect()).await? {
        answer.status(302)?;
    }
    g.line("sleep 1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for copy in &copies {
        shows(copy, &hot, 1000, "A click is counted twice.").await?;
    }
    shows(
        one,
        &quiet,
        quiet_clicks,
        "HEAD runs the handler of GET, and is counted with it: 8 HEADs came before.",
    )
    .await
}

/// Holds the stats against what was clicked; where a click is missing, a busy machine gets two seconds more.
async fn shows(it: &Subject, code: &str, clicks: i64, why: &str) -> Graded {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let stats = it.get(format!("/links/{code}/stats")).await?.status(200)?;
        let shown = stats.number("clicks")?;
        if shown >= clicks || Instant::now() > until {
            let held = stats.expect("the member \"clicks\"", shown, clicks);
            return held.because(if shown < clicks { LOST } else { why });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

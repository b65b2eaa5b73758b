//! Causes that bring codes about, and headers whose promise is put to the test.

use super::Build;
use super::notes::{MIGRATION, Notes, PER_WINDOW, Style};
use crate::prelude::*;
use backlab_parts::http::Ask;

/// Something that a client did, or that befell the service, and the code that came of it.
#[derive(Clone, Serialize)]
pub struct Cause {
    pub what: &'static str,
    pub code: u16,
    /// What the standard defines for it: RFC 9110, section 15, and RFC 6585.
    pub defined: u16,
    /// The header that belongs to this code.
    pub header: String,
}

/// A header that tells a client what to do next, and whether that led where it should.
#[derive(Clone, Serialize)]
pub struct Promise {
    pub header: &'static str,
    pub says: String,
    pub kept: bool,
}

/// Brings about each code by its own cause.
pub async fn provoke(lab: &Lab, build: Build) -> Result<(Vec<Cause>, Vec<Promise>)> {
    lab.step("Each code by its own cause");
    let db = lab.sqlite(MIGRATION).await?;
    let notes = Notes::new(&db, build, Style::Codes);
    let server = lab.serve("notes", notes.router())?;
    let client = lab.client("client", &server);
    let mut causes = Vec::new();
    let mut note = |what, defined, reply: &Reply| {
        let belongs = ["Location", "WWW-Authenticate", "Allow", "Retry-After", "ETag"];
        let header = belongs.iter().find_map(|it| Some(format!("{it}: {}", reply.header(it)?)));
        causes.push(Cause { what, code: reply.status.as_u16(), defined, header: header.unwrap_or_default() });
    };
    let titled = |title: &str| json!({"title": title});
    let by = |ask: Ask, caller: &str| ask.header("authorization", format!("Bearer {caller}"));

    let created = by(client.post("/notes"), "alice").json(&titled("tea")).await?;
    note("a note is made", 201, &created);
    note("it is read", 200, &client.get("/notes/1").await?);
    note(
        "it is read by one who has it",
        304,
        &client.get("/notes/1").header("if-none-match", "\"1\"").await?,
    );
    let rename = |caller| by(client.put("/notes/1").json(&titled("green tea")), caller);
    note("it is renamed", 204, &rename("alice").header("if-match", "\"1\"").await?);
    note("an export is asked for", 202, &by(client.post("/exports"), "alice").await?);

    let broken =
        by(client.post("/notes"), "alice").header("content-type", "application/json").body("{\"title\": ");
    note("JSON that ends in the middle", 400, &broken.await?);
    let stranger = client.post("/notes").json(&titled("milk")).await?;
    note("nobody says who asks", 401, &stranger);
    note("bob renames alice's note", 403, &rename("bob").header("if-match", "\"2\"").await?);
    note("no such note", 404, &client.get("/notes/99").await?);
    let wrong_method = client.request(Method::PATCH, "/notes/1").json(&titled("milk")).await?;
    note("a method that isn't there", 405, &wrong_method);
    note("the title is taken", 409, &by(client.post("/notes"), "alice").json(&titled("green tea")).await?);
    note("the version is stale", 412, &rename("alice").header("if-match", "\"1\"").await?);
    let xml = by(client.post("/notes"), "alice").header("content-type", "application/xml").body("<note/>");
    note("XML where JSON is asked for", 415, &xml.await?);
    note("a note without a title", 422, &by(client.post("/notes"), "alice").json(&json!({})).await?);
    note("no version is named", 428, &rename("alice").await?);

    let make = |title: String| by(client.post("/notes"), "carol").json(&json!({"title": title}));
    for made in 0..PER_WINDOW {
        make(format!("note {made}")).await?;
    }
    let too_many = make("one too many".into()).await?;
    note("one note too many", 429, &too_many);
    let promises = vec![
        location(&client, &created).await?,
        authenticate(&client, &stranger).await?,
        allow(&client, &wrong_method).await?,
        retry_after(&notes.clock, &too_many, &make).await?,
    ];

    db.execute("DROP TABLE note", ()).await?;
    note("a table is missing", 500, &client.get("/notes/1").await?);
    Ok((causes, promises))
}

/// What Location names can be fetched.
async fn location(client: &Client, created: &Reply) -> Result<Promise> {
    let says = created.header("location").unwrap_or("none").to_owned();
    let kept = client.get(says.as_str()).await?.status == StatusCode::OK;
    Ok(Promise { header: "Location", says, kept })
}

/// By the scheme that WWW-Authenticate names one is let in.
async fn authenticate(client: &Client, stranger: &Reply) -> Result<Promise> {
    let says = stranger.header("www-authenticate").unwrap_or("none").to_owned();
    let again = client.post("/notes").header("authorization", format!("{says} alice"));
    let kept = again.json(&json!({"title": "milk"})).await?.status == StatusCode::CREATED;
    Ok(Promise { header: "WWW-Authenticate", says, kept })
}

/// Of all methods exactly those work that Allow names.
async fn allow(client: &Client, refused: &Reply) -> Result<Promise> {
    let says = refused.header("allow").unwrap_or("none").to_owned();
    let mut work = BTreeSet::new();
    // DELETE last: it takes the note away.
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        if client.request(method.clone(), "/notes/1").await?.header("allow").is_none() {
            work.insert(method.to_string());
        }
    }
    let told: BTreeSet<_> = says.split(',').map(|it| it.trim().to_owned()).collect();
    Ok(Promise { header: "Allow", kept: told == work, says })
}

/// A second before the time that Retry-After names is too early, and at that time it works.
async fn retry_after(clock: &Clock, refused: &Reply, make: &impl Fn(String) -> Ask) -> Result<Promise> {
    let says = refused.header("retry-after").unwrap_or("none").to_owned();
    let seconds: u64 = says.parse().unwrap_or(1);
    clock.step(Duration::from_secs(seconds - 1));
    let early = make("too early".into()).await?.status;
    clock.step(Duration::from_secs(1));
    let due = make("in time".into()).await?.status;
    let kept = early != StatusCode::CREATED && due == StatusCode::CREATED;
    Ok(Promise { header: "Retry-After", says, kept })
}

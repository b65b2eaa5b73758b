//! An origin that says the right thing.
//!
//! A server on `PORT`. Its readers come through caches that obey RFC 9111: a proxy that all of them share, and the cache
//! of each one's browser. What your program answers is right or wrong by what these caches do with it.
//!
//! ```text
//! GET /logo.4f1c09ab.svg     200 a picture, any. A new picture would get a new name: this one never changes.
//! GET /news                  200 {"minute": N}, N being the time in whole minutes since 1970. It changes with each minute;
//!                            readers may be a minute behind. When you don't answer, or answer 5xx, the news that a
//!                            cache has is better than none, until about five minutes after; no longer.
//! GET /me                    200 {"user": TOKEN} for Authorization: Bearer TOKEN, whatever the token; 401 without. For
//!                            this user only.
//! GET /balance               200 {"user": TOKEN, "at": N}, N being the time in seconds since 1970; 401 without. For this
//!                            user only, and always as it is now, also in the user's own browser.
//! PUT /articles/{id}         {"en": TEXT, "de": TEXT}: 201 created, 200 or 204 replaced
//! GET /articles/{id}         200 {"language": "de", "text": TEXT} where Accept-Language begins with "de", else with "en";
//!                            404. ETag. Readers may be a minute behind, but not behind a PUT through the same cache.
//! GET /export                200 all articles in the order of their ids, a line of JSON each:
//!                            {"id": ID, "en": TEXT, "de": TEXT}. A strong ETag. Large: caches may keep it, but what
//!                            readers get is always as it is now.
//! HEAD on each of these      as GET, without the content; with its Content-Length
//! ```
//!
//! - The time is what the header `X-Test-Now` of each request says, in whole seconds since 1970: the caches' clock is
//!   turned. Without it, take your own clock. Whatever `Date` says isn't looked at.
//! - Each response, errors too, says explicitly how long it is fresh or that it isn't to be kept: by `Cache-Control`, or
//!   by `Expires`. A cache serves what is stale only where the response permits it (RFC 5861).
//! - An ETag stands for the bytes of one representation: it differs where they differ, and where they are the same it is
//!   the same, also from another process. Nothing has to be kept on disk.
//! - `If-None-Match` on whatever has an ETag: 304 where it names the present tag, by the weak comparison (RFC 9110,
//!   sections 13.1.2 and 8.8.3.2), with the fields that a 304 must have (section 15.4.5).
//! - `Range` on `/export`, in bytes: 206, or 416 with the length where there is no such part (RFC 9110, section 14). Of
//!   several ranges at once you may send the whole. `If-Range` with an ETag (section 13.1.5).

use crate::prelude::*;
use readers::{DAY, HOUR, Readers, YEAR};

#[path = "readers.rs"]
mod readers;
#[path = "reference.rs"]
mod reference;

const LOGO: &str = "/logo.4f1c09ab.svg";

// What a look finds by itself is said in the words of the bug.
const A_LIST: &str = "If-None-Match is compared with the ETag as one text; it is a list of tags, or `*`.";
const WEAKNESS: &str = "A tag with W/ is taken for another; for If-None-Match its weakness doesn't count.";
const BARE: &str = "The 304 lacks fields of the 200: the cache that gets it can't freshen what it keeps.";
const THE_MOMENT: &str =
    "The ETag is made of the time of the change, and so it changes when the bytes don't.";
const THE_ARTICLE: &str =
    "One ETag stands for all languages of an article: whoever has one of them is told that it is the other.";
const NO_LENGTH: &str = "HEAD is answered without the Content-Length that GET has.";
const ONE_EARLY: &str = "The last position of a range is part of it: bytes=0-99 are a hundred.";
const ANYTHING: &str =
    "If-Range isn't looked at: who has the first half of the old gets the second half of the new.";
const TOO_OLD: &str = "The news may be served stale for longer than five minutes.";

pub struct HttpCachingHeaders;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    LogoForAnHour,
    ValidatesTheLogo,
    AsksForEachReader,
    NothingInNeed,
    OldNews,
    SharesMe,
    BalanceForAMinute,
    OneLanguageForAll,
    VariesByBrowser,
    RendersOnce,
    KeepsTheExport,
    ComparesTheWholeField,
    InsistsOnStrongTags,
    BareNotModified,
    TagsTheMoment,
    TagsTheArticle,
    SaltsItsTags,
    CountsVersions,
    HeadWithoutLength,
    EndsOneEarly,
    ContinuesAnything,
    SilentErrors,
    TrustsAuthorization,
}

impl Challenge for HttpCachingHeaders {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        lifetimes().into_iter().chain(representations()).collect()
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        crate::reference::serve(reference::router(bug)).await
    }
}

/// Who may keep what, and for how long.
fn lifetimes() -> Vec<Stage<Bug>> {
    vec![
            stage("the logo costs one request for ever", logo)
                .catches(Bug::LogoForAnHour, "The logo has a short lifetime, though its name changes when it does.")
                .catches(
                    Bug::ValidatesTheLogo,
                    "Caches have to ask whether the logo is still right; a 304 is short, and a request all the same.",
                )
                .hint("What never changes under its name may be kept for a year by everybody, without asking."),
            stage("the news cost a request a minute, and outlive you for a while", news)
                .catches(
                    Bug::AsksForEachReader,
                    "`no-cache` has each reader's request validated by your program; a lifetime of a minute has it \
                     asked once a minute.",
                )
                .catches(Bug::NothingInNeed, "The news may not be served stale, so that they are gone when you are.")
                .catches(
                    Bug::OldNews,
                    TOO_OLD,
                )
                .hint("RFC 5861 has a directive for each: what is stale while it is validated, and what is stale in need."),
            stage("what is personal is never another's, nor old where it must be new", personal)
                .catches(
                    Bug::SharesMe,
                    "`public` (or `s-maxage`) lets shared caches keep what was asked for with Authorization, which they \
                     otherwise never do.",
                )
                .catches(
                    Bug::BalanceForAMinute,
                    "`private` keeps the balance out of shared caches only; its max-age still holds in the browser's.",
                )
                .hint("Two questions for each response: who may keep it, and may it be used without asking?"),
            stage("an article is kept once for each language", articles)
                .catches(
                    Bug::OneLanguageForAll,
                    "The response depends on Accept-Language and doesn't say so: the first reader's language is for all.",
                )
                .catches(
                    Bug::VariesByBrowser,
                    "Vary names more than the response depends on: each browser has an entry of its own, and asks for it.",
                )
                .hint("Vary names the request's fields that you looked at to choose, and no others."),
        ]
}

/// Which bytes it is that are kept.
fn representations() -> Vec<Stage<Bug>> {
    vec![
            stage("after a PUT readers get the new, and who has it already gets 304", changes)
                .catches(Bug::RendersOnce, "A copy in your own memory isn't thrown away by the PUT.")
                .catches(
                    Bug::KeepsTheExport,
                    "A PUT invalidates its own target in the cache that it goes through. No cache knows that the export \
                     depends on it.",
                )
                .catches(
                    Bug::ComparesTheWholeField,
                    A_LIST,
                )
                .catches(
                    Bug::InsistsOnStrongTags,
                    WEAKNESS,
                )
                .catches(
                    Bug::BareNotModified,
                    BARE,
                )
                .hint(
                    "Make the whole 200 first, then look whether the reader has it; of a 304 only the content and what \
                     describes it is missing.",
                ),
            stage("an ETag changes when the bytes do, and only then", tags)
                .catches(
                    Bug::TagsTheMoment,
                    THE_MOMENT,
                )
                .catches(
                    Bug::TagsTheArticle,
                    THE_ARTICLE,
                )
                .catches(
                    Bug::SaltsItsTags,
                    "The hash begins anew with each process, as those for tables do (Python's hash(), Rust's RandomState).",
                )
                .catches(
                    Bug::CountsVersions,
                    "The ETag counts versions, and the count begins anew with the process: the same tag, other bytes.",
                )
                .hint("Hash the bytes that you send, with a hash that is the same everywhere: SHA-256."),
            stage("HEAD and parts agree with the whole, also when it has changed", parts)
                .catches(Bug::HeadWithoutLength, NO_LENGTH)
                .catches(
                    Bug::EndsOneEarly,
                    ONE_EARLY,
                )
                .catches(
                    Bug::ContinuesAnything,
                    ANYTHING,
                )
                .hint("A part is cut from the same bytes, under the same ETag; If-Range with another tag asks for the whole."),
            stage("each response says how long it is fresh", explicit)
                .catches(
                    Bug::SilentErrors,
                    "Errors come from the framework, without Cache-Control; of a 404 a cache may guess how long it is right.",
                )
                .catches(
                    Bug::TrustsAuthorization,
                    "What was asked for with Authorization isn't kept by shared caches; a browser's may keep it, and guesses.",
                )
                .hint("Set a default in one place, through which each response goes, and let handlers replace it."),
        ]
}

async fn logo(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let all = Readers::behind_a_proxy(g, &it);
    all.get(LOGO).await?.status(200)?;
    for later in [HOUR, DAY, 30 * DAY, YEAR - 32 * DAY] {
        all.turn(later);
        all.get(LOGO).await?.status(200)?.costs_nothing()?;
    }
    Ok(())
}

async fn news(g: &Grader) -> Graded {
    const READERS_A_STEP: usize = 100;
    let it = g.start(&[]).await?;
    let all = Readers::behind_a_proxy(g, &it);
    all.get("/news").await?.status(200)?.has("minute", all.minute())?;
    for step in 0..30 {
        all.crowd("/news", READERS_A_STEP, |seen| {
            let behind = all.minute() - seen.number("minute")?;
            let right = (0..=2).contains(&behind);
            if right {
                Ok(())
            } else {
                Err(seen.wrong("how many minutes the news is behind", "2 at the most", behind))
            }
        })
        .await?;
        let (most, asked) = (step / 6 + 1, all.asked("/news"));
        if asked > most {
            let expected = match most {
                1 => format!("at most once in {} s: once a minute", step * 10),
                _ => format!("at most {most} times in {} s: once a minute", step * 10),
            };
            let found = format!("{asked} times, for {} readers", 1 + (step + 1) * READERS_A_STEP);
            let wrong = g.wrong("how often the cache had to ask you for /news", expected, found);
            return Err(all.explained(wrong, "/news"));
        }
        all.turn(10);
    }
    all.hang();
    all.turn(100);
    all.get("/news").await?.survives()?;
    all.turn(400);
    let seen = all.get("/news").await?;
    if seen.code() < 500 {
        let found = format!("{}: {}", seen.code(), seen.text());
        let wrong = seen.wrong("what a reader gets after you were gone for 8 minutes", "an error", found);
        return Err(wrong.because(TOO_OLD));
    }
    Ok(())
}

async fn personal(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let all = Readers::behind_a_proxy(g, &it);
    let users = g.words::<2>();
    for target in ["/me", "/balance"] {
        for _ in 0..2 {
            for user in &users {
                let seen = all.get(target).user(user).await?.status(200)?.has("user", user.as_str())?;
                if target == "/balance" {
                    seen.has("at", all.now())?;
                }
            }
            all.turn(3);
        }
        all.get(target).await?.status(401)?;
    }
    let one = all.in_one_browser();
    for _ in 0..2 {
        one.get("/balance").user(&users[0]).await?.status(200)?.has("at", one.now())?;
        one.turn(1);
    }
    Ok(())
}

async fn articles(g: &Grader) -> Graded {
    const BROWSERS: [&str; 3] = ["Mozilla/5.0 Firefox/140.0", "Mozilla/5.0 Chrome/140.0", "curl/8.14"];
    let it = g.start(&[]).await?;
    let all = Readers::behind_a_proxy(g, &it);
    let [id, en, de] = g.words();
    let target = format!("/articles/{id}");
    all.get(&target).await?.status(404)?;
    all.put(&target, &json!({ "en": en, "de": de })).await?.status(201)?;
    for (nth, browser) in BROWSERS.iter().enumerate() {
        for (language, text) in [("en", &en), ("de", &de)] {
            let asking = all.get(&target).header("accept-language", language).header("user-agent", browser);
            let seen = asking.await?.status(200)?.has("language", language)?.has("text", text.as_str())?;
            if nth > 0 {
                seen.costs_nothing()?;
            }
        }
        all.turn(10);
    }
    Ok(())
}

async fn changes(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let all = Readers::behind_a_proxy(g, &it);
    let id = g.word();
    let target = format!("/articles/{id}");
    all.direct(Method::PUT, &target).json(&json!({ "en": g.word(), "de": g.word() })).await?.status(201)?;
    for target in [target.as_str(), "/export"] {
        conditions(&all, target).await?;
    }
    for _ in 0..3 {
        let [en, de] = g.words();
        all.put(&target, &json!({ "en": en, "de": de })).await?.one_of(&[200, 204])?;
        all.get("/export").await?.status(200)?.has_line(&json!({ "id": id, "en": en, "de": de }))?;
        for (language, text) in [("en", &en), ("de", &de)] {
            let seen = all.get(&target).header("accept-language", language).await?.status(200)?;
            seen.has("text", text.as_str())?;
        }
        all.turn(2);
    }
    Ok(())
}

/// Asks the program itself, not by way of a cache, whether somebody has it already.
async fn conditions(all: &Readers, target: &str) -> Graded {
    const OF_A_304: [&str; 5] = ["ETag", "Cache-Control", "Vary", "Content-Location", "Expires"];
    let whole = all.direct(Method::GET, target).await?.status(200)?;
    let tag = whole.header("ETag")?.to_owned();
    let bare = tag.strip_prefix("W/").unwrap_or(&tag);
    let words = |it: Option<&str>| it.unwrap_or("no such header").to_owned();
    for (named, cause) in [
        (tag.clone(), "If-None-Match isn't looked at."),
        (format!("\"other\", {tag}"), A_LIST),
        (format!("\"a,b\",W/\"c\" , {tag}, \"d\""), A_LIST),
        ("*".to_owned(), A_LIST),
        (bare.to_owned(), WEAKNESS),
        (format!("W/{bare}"), WEAKNESS),
        (format!("\"other\", W/{bare}"), WEAKNESS),
    ] {
        let answer = all.direct(Method::GET, target).header("If-None-Match", &named).await?;
        let answer = answer.status(304).because(cause)?;
        for name in OF_A_304.into_iter().filter(|it| whole.find_header(it).is_some()) {
            let (of_200, of_304) = (words(whole.find_header(name)), words(answer.find_header(name)));
            let same = answer.expect(format!("the header {name} of the 304"), of_304, of_200);
            same.because(BARE)?;
        }
    }
    for other in ["\"other\"", "\"other\", W/\"a,b\""] {
        all.direct(Method::GET, target).header("If-None-Match", other).await?.status(200)?;
    }
    Ok(())
}

async fn tags(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let [id, en, other, de] = g.words();
    let (one, two) = (json!({ "en": en, "de": de }), json!({ "en": other, "de": de }));
    let all = Readers::behind_a_proxy(g, &it);
    let first = Tags::after_put(&all, &id, &one).await?;
    if first.en == first.de {
        let wrong = g.wrong("the ETags of both languages of an article", "two", format!("one: {}", first.en));
        return Err(wrong.because(THE_ARTICLE));
    }
    all.turn(DAY);
    let again = Tags::after_put(&all, &id, &one).await?;
    let same = first.same("after the same PUT once more, a day later", &again);
    same.because(THE_MOMENT)?;
    let second = Tags::after_put(&all, &id, &two).await?;
    second.other("after a PUT of another English text", &first)?;
    g.expect(
        "the ETag of the German text, which that PUT didn't change",
        second.de.as_str(),
        first.de.as_str(),
    )?;
    it.kill().await?;
    let all = all.of_another(&g.start_again(&it).await?);
    second.same("in another process, with the same articles", &Tags::after_put(&all, &id, &two).await?)?;
    first.same("in another process, after the first PUT again", &Tags::after_put(&all, &id, &one).await?)
}

/// The ETags of one article and of the export.
struct Tags {
    en: String,
    de: String,
    export: String,
}

impl Tags {
    async fn after_put(all: &Readers, id: &str, article: &Value) -> Graded<Self> {
        let target = format!("/articles/{id}");
        all.direct(Method::PUT, &target).json(article).await?.one_of(&[200, 201, 204])?;
        let tag = async |target: &str, language: &str| {
            let answer =
                all.direct(Method::GET, target).header("Accept-Language", language).await?.status(200)?;
            Graded::Ok(answer.header("ETag")?.to_owned())
        };
        Ok(Self {
            en: tag(&target, "en").await?,
            de: tag(&target, "de").await?,
            export: tag("/export", "en").await?,
        })
    }

    fn same(&self, when: &str, now: &Self) -> Graded {
        let pairs = [("the English article", &self.en, &now.en), ("the German one", &self.de, &now.de)];
        for (of, before, after) in pairs.into_iter().chain([("the export", &self.export, &now.export)]) {
            if before != after {
                return Err(Finding::wrong(format!("the ETag of {of} {when}"), before, after));
            }
        }
        Ok(())
    }

    fn other(&self, when: &str, before: &Self) -> Graded {
        let pairs =
            [("the English article", &self.en, &before.en), ("the export", &self.export, &before.export)];
        for (of, now, before) in pairs {
            if before == now {
                let found = format!("{now}, as before");
                return Err(Finding::wrong(format!("the ETag of {of} {when}"), "another one", found));
            }
        }
        Ok(())
    }
}

async fn parts(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let all = Readers::behind_a_proxy(g, &it);
    let ids = g.words::<2>();
    for id in &ids {
        let text = g.word().repeat(2000);
        all.direct(Method::PUT, &format!("/articles/{id}"))
            .json(&json!({ "en": text, "de": text }))
            .await?
            .status(201)?;
    }
    for target in [LOGO, "/news", &format!("/articles/{}", ids[0]), "/export"] {
        let get = all.direct(Method::GET, target).await?.status(200)?;
        let head = all.direct(Method::HEAD, target).await?.status(200)?;
        for name in ["Content-Length", "Cache-Control", "ETag", "Vary"] {
            let words = |it: &Answer| it.find_header(name).unwrap_or("no such header").to_owned();
            if get.find_header(name).is_some() {
                let same = head.expect(format!("the header {name}"), words(&head), words(&get));
                same.map_err(
                    |wrong| if name == "Content-Length" { wrong.because(NO_LENGTH) } else { wrong },
                )?;
            }
        }
    }
    let whole = all.direct(Method::GET, "/export").await?.status(200)?;
    let (length, tag) = (whole.body().len(), whole.header("ETag")?.to_owned());
    if tag.starts_with("W/") {
        return Err(whole.wrong("the ETag", "a strong one, since parts are put together by it", tag));
    }
    let middle = g.number(1000..60_000) as usize;
    for (range, first, last) in [
        ("bytes=0-99".to_owned(), 0, 99),
        (format!("bytes={middle}-{}", middle + 1), middle, middle + 1),
        (format!("bytes={middle}-"), middle, length - 1),
        ("bytes=-7".to_owned(), length - 7, length - 1),
        (format!("bytes={middle}-{}", length * 2), middle, length - 1),
    ] {
        for condition in [None, Some(tag.as_str())] {
            let asking = all.direct(Method::GET, "/export").header("Range", &range);
            let asking = if let Some(tag) = condition { asking.header("If-Range", tag) } else { asking };
            is_part(&asking.await?.status(206)?, &whole, first, last).because(ONE_EARLY)?;
        }
    }
    let beyond =
        all.direct(Method::GET, "/export").header("Range", format!("bytes={length}-")).await?.status(416)?;
    beyond.expect(
        "the header Content-Range",
        beyond.header("Content-Range")?,
        &format!("bytes */{length}"),
    )?;
    let changed = json!({ "en": g.word().repeat(2000), "de": "" });
    all.direct(Method::PUT, &format!("/articles/{}", ids[0])).json(&changed).await?.one_of(&[200, 204])?;
    let asking = all.direct(Method::GET, "/export").header("Range", format!("bytes={middle}-"));
    let now = asking.header("If-Range", &tag).await?.status(200).because(ANYTHING)?;
    if now.header("ETag")? == tag {
        return Err(now.wrong("the ETag after the change", "another one", tag));
    }
    Ok(())
}

/// Holds a 206 against the bytes of the whole, from the first to the last.
fn is_part(part: &Answer, whole: &Answer, first: usize, last: usize) -> Graded {
    let range = format!("bytes {first}-{last}/{}", whole.body().len());
    part.expect("the header Content-Range", part.header("Content-Range")?, &range)?;
    part.expect("the number of bytes", part.body().len(), last - first + 1)?;
    part.expect(
        "whether the bytes are those of the whole",
        part.body() == &whole.body()[first..=last],
        true,
    )?;
    part.expect("the header ETag", part.header("ETag")?, whole.header("ETag")?)
}

async fn explicit(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let all = Readers::behind_a_proxy(g, &it);
    let [id, nobody, user] = g.words();
    let target = format!("/articles/{id}");
    all.direct(Method::PUT, &target).json(&json!({ "en": "a", "de": "b" })).await?.status(201)?;
    let bearer = format!("Bearer {user}");
    let none = format!("/articles/{nobody}");
    let cases = [
        (LOGO, None, 200),
        ("/news", None, 200),
        ("/me", Some(&bearer), 200),
        ("/balance", Some(&bearer), 200),
        (target.as_str(), None, 200),
        ("/export", None, 200),
        ("/me", None, 401),
        ("/balance", None, 401),
        (none.as_str(), None, 404),
        ("/nothing/here", None, 404),
    ];
    for (target, bearer, status) in cases {
        let asking = all.direct(Method::GET, target);
        let asking = if let Some(bearer) = bearer { asking.header("Authorization", bearer) } else { asking };
        is_explicit(&asking.await?.status(status)?)?;
    }
    Ok(())
}

/// Whether a cache is told how long a response is fresh, or that it isn't to be used without asking.
fn is_explicit(answer: &Answer) -> Graded {
    const SAYS: [&str; 4] = ["no-store", "no-cache", "max-age=", "s-maxage="];
    let control = answer.find_header("Cache-Control").unwrap_or_default().to_ascii_lowercase();
    if SAYS.iter().any(|it| control.contains(it)) || answer.find_header("Expires").is_some() {
        return Ok(());
    }
    let found = if control.is_empty() { "no Cache-Control, no Expires".to_owned() } else { control };
    let what = format!("the freshness of this {}", answer.code());
    Err(answer.wrong(what, "max-age, s-maxage, no-cache, no-store, or Expires", found))
}

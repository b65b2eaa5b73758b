//! What the answer says, held against a run, and runs that would refute it.

use super::coding::Coding;
use super::{EVENTS, Observed, Size, Stream, Theft, WISHES, Wished};
use crate::prelude::*;

/// Digits that were found, and how many there were.
pub fn found(thefts: &[Theft]) -> (u64, u64) {
    (thefts.iter().map(Theft::found).sum(), thefts.iter().map(|it| it.secret.len() as u64).sum())
}

pub fn all(seen: &Observed) -> Vec<Claim> {
    [on_bytes(seen), on_streams(seen), on_thefts(seen)].concat()
}

fn on_bytes(seen: &Observed) -> Vec<Claim> {
    let of = |body: &str| seen.sizes.iter().filter(|it| it.body == body).collect::<Vec<_>>();
    let (json, archive) = (of("JSON"), of("a .gz file"));
    let rest = [of("noise"), of("20 letters")].concat();
    let sizes = |of: &[&Size]| {
        of.iter()
            .map(|it| format!("{} {} %", it.coding, it.coded * 100 / it.plain.max(1)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let grown = rest.iter().filter(|it| it.coded > it.plain).count();
    let same = seen.sizes.iter().filter(|it| it.same).count();
    let right = seen.wishes.iter().filter(|it| it.sent == it.right).count();
    let searched = seen.wishes.iter().filter(|it| it.searched != it.right).count();
    vec![
        claim(
            "json-shrinks",
            "JSON shrinks to less than 35 percent in each coding",
            "the rows have nothing in common, or the answer is only a few bytes long",
        )
        .witness(!json.is_empty(), format!("{} bytes of JSON", json.first().map_or(0, |it| it.plain)))
        .that(json.iter().all(|it| it.coded * 100 < it.plain * 35), sizes(&json), "less than 35 % each"),
        claim(
            "rest-grows",
            "Noise and twenty different letters get longer in every coding",
            "they contain something that repeats",
        )
        .witness(!rest.is_empty(), format!("{} bodies, coded", rest.len()))
        .equal(format!("{grown} of {} longer", rest.len()), format!("{0} of {0} longer", rest.len())),
        claim(
            "archive-stays",
            "A .gz file stays within two percent of its size, whatever compresses it again",
            "it was compressed badly, or holds the same file twice",
        )
        .witness(!archive.is_empty(), format!("a file of {} bytes", archive.first().map_or(0, |it| it.plain)))
        .that(
            archive.iter().all(|it| it.coded.abs_diff(it.plain) * 50 <= it.plain),
            archive.iter().map(|it| format!("{} {} of {}", it.coding, it.coded, it.plain)).collect::<Vec<_>>().join(", "),
            "within 2 % each",
        ),
        claim(
            "same-bytes",
            "Whoever undoes what Content-Encoding names has the bytes that others get as they are",
            "two layers compress and one says so",
        )
        .witness(!seen.sizes.is_empty(), format!("{} bodies, decoded", seen.sizes.len()))
        .equal(format!("{same} of {} the same", seen.sizes.len()), format!("{0} of {0} the same", seen.sizes.len())),
        claim(
            "weights-choose",
            "The offered coding with the highest weight is used, one with q=0 never is, and none without the header",
            "the server looks for the word gzip",
        )
        .witness(searched > 0, format!("looking for the word errs in {searched} of {}", seen.wishes.len()))
        .equal(format!("{right} of {} right", seen.wishes.len()), format!("{0} of {0} right", seen.wishes.len())),
    ]
}

fn on_streams(seen: &Observed) -> Vec<Claim> {
    let of = |flushed| seen.streams.iter().filter(move |it| it.flushed == flushed);
    let whole = seen.streams.iter().all(|it| it.whole == EVENTS);
    let told = |flushed, at: fn(&Stream) -> usize| {
        of(flushed).map(|it| format!("{} {}", it.coding, at(it))).collect::<Vec<_>>().join(", ")
    };
    let last = |it: &Stream| it.readable.last().copied().unwrap_or(0);
    let stepwise =
        |it: &Stream| it.readable.iter().enumerate().filter(|(at, count)| **count == at + 1).count();
    let witness = format!("all {EVENTS} events can be read at the end: {whole}");
    vec![
        claim(
            "held-back",
            "Without a flush none of ten events can be read before the stream ends",
            "the compressor's buffer fills up, or it flushes by itself",
        )
        .witness(whole, witness.clone())
        .that(of(false).all(|it| last(it) == 0), told(false, last), "0 in each coding"),
        claim(
            "flush-each-event",
            "With a flush behind each event, each can be read before the next is written",
            "something between flushes less often",
        )
        .witness(whole, witness)
        .that(
            of(true).all(|it| stepwise(it) == EVENTS),
            told(true, stepwise),
            format!("{EVENTS} in each coding"),
        ),
    ]
}

fn on_thefts(seen: &Observed) -> Vec<Claim> {
    let theft = |id, says, breaks_when, thefts: &[Theft]| {
        let requests: u64 = thefts.iter().map(|it| it.requests).sum();
        claim(id, says, breaks_when).witness(requests > 0, format!("{requests} lengths seen"))
    };
    let ((plain, of), (masked, of_masked)) = (found(&seen.plain), found(&seen.masked));
    vec![
        theft(
            "length-tells",
            "A thief who sees only lengths finds at least half of the digits of secrets that the page shows as they are",
            "the term isn't repeated on the page, or the page isn't compressed",
            &seen.plain,
        )
        .that(plain * 2 >= of, format!("{plain} of {of} digits"), format!("at least {}", of.div_ceil(2))),
        theft(
            "mask-hides",
            "Where each answer masks the secret anew, the same thief finds fewer than half",
            "the mask stays the same for a session",
            &seen.masked,
        )
        .that(masked * 2 < of_masked, format!("{masked} of {of_masked} digits"), format!("fewer than {}", of_masked.div_ceil(2))),
    ]
}

/// Runs in which one thing is broken each.
pub fn broken() -> Vec<Observed> {
    let all: [fn(&mut Observed); 9] = [
        |it| it.sizes[0].coded = it.sizes[0].plain,
        |it| it.sizes[1].coded = it.sizes[1].plain - 1,
        |it| it.sizes[2].coded = 500,
        |it| it.sizes[0].same = false,
        |it| it.wishes[3].sent = "as it is".into(),
        |it| it.streams[0].readable[9] = 10,
        |it| it.streams[1].readable = vec![0; EVENTS],
        |it| it.plain = it.masked.clone(),
        |it| it.masked = it.plain.clone(),
    ];
    all.map(|break_it| {
        let mut seen = flawless();
        break_it(&mut seen);
        seen
    })
    .into()
}

fn flawless() -> Observed {
    let size = |body, coded| Size { body, coding: "br", plain: 1000, coded, same: true };
    let wished = |(accept, right): (Option<&'static str>, Option<Coding>)| {
        let right = right.map_or("as it is", Coding::name);
        Wished { accept: accept.unwrap_or("(no header)"), right, sent: right.into(), searched: "gzip".into() }
    };
    let stream = |flushed, readable| Stream { coding: "br", flushed, readable, whole: EVENTS };
    let theft = |guessed: &str| Theft {
        secret: "ab12".into(),
        guessed: guessed.into(),
        requests: 768,
        saved: Vec::new(),
    };
    Observed {
        sizes: vec![size("JSON", 100), size("noise", 1005), size("a .gz file", 998)],
        wishes: WISHES.map(wished).into(),
        streams: vec![stream(false, vec![0; EVENTS]), stream(true, (1..=EVENTS).collect())],
        plain: vec![theft("ab12")],
        masked: vec![theft("ffff")],
    }
}

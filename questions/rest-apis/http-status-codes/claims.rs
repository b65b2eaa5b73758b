//! What the answer says, held against a run.

use super::notes::PER_WINDOW;
use super::redirects::{CONTENT, Landed};
use super::{Observed, Params};
use crate::prelude::*;

pub fn on_codes(seen: &Observed) -> Vec<Claim> {
    let wrong = seen.causes.iter().filter(|it| it.code != it.defined);
    let wrong: Vec<_> = wrong.map(|it| format!("{} for {}", it.code, it.defined)).collect();
    let broken: Vec<_> = seen.promises.iter().filter(|it| !it.kept).map(|it| it.header).collect();
    let codes = |code: fn(&super::Upstream) -> u16| {
        seen.upstreams.iter().map(|it| code(it).to_string()).collect::<Vec<_>>().join(", ")
    };
    let arrived = |codes: std::ops::Range<u16>| {
        let landed = seen.redirects.iter().filter(|it| codes.contains(&it.code)).map(Landed::words);
        landed.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("; ")
    };
    let redirected = |id, says, breaks_when| {
        claim(id, says, breaks_when)
            .witness(seen.redirects.len() == 5, format!("{} redirections followed", seen.redirects.len()))
    };
    vec![
        claim(
            "each-cause-its-code",
            "Each cause is told by the code that the standard has for it",
            "one code stands for many causes",
        )
        .witness(!seen.causes.is_empty(), format!("{} causes", seen.causes.len()))
        .that(
            wrong.is_empty(),
            format!("{} of {}", seen.causes.len() - wrong.len(), seen.causes.len()),
            format!("all{}", if wrong.is_empty() { String::new() } else { format!("; wrong: {}", wrong.join(", ")) }),
        ),
        claim(
            "headers-are-true",
            "Location can be fetched, WWW-Authenticate's scheme lets one in, Allow names exactly the methods that work, \
             and Retry-After is neither too early nor too late",
            "a header is invented, or copied from another path",
        )
        .witness(!seen.promises.is_empty(), format!("{} headers taken at their word", seen.promises.len()))
        .that(
            broken.is_empty(),
            format!("{} of {} true", seen.promises.len() - broken.len(), seen.promises.len()),
            if broken.is_empty() { "all".to_owned() } else { format!("all; untrue: {}", broken.join(", ")) },
        ),
        claim(
            "gateway-says-where",
            "A gateway answers 502 to a refused connection and to another protocol, 504 to silence, and passes on the 503 of \
             an upstream without a place",
            "it answers 500 to whatever fails behind it",
        )
        .witness(seen.upstreams.iter().all(|it| it.reached), "three upstreams reached, and one closed port")
        .equal(codes(|it| it.code), codes(|it| it.defined)),
        redirected(
            "may-become-get",
            "A POST over 301, 302 or 303 arrives as a GET without content",
            "the client keeps the method at 301 and 302, which the standard allows as well",
        )
        .equal(arrived(301..304), words("GET", "")),
        redirected(
            "keeps-the-post",
            "Over 307 and 308 it arrives as the same POST with the same content",
            "the content can't be sent a second time, such as a stream",
        )
        .equal(arrived(307..309), words("POST", CONTENT)),
    ]
}

pub fn on_machines(p: &Params, Observed { codes, always_200: hidden, .. }: &Observed) -> Vec<Claim> {
    let full = format!("{} notes found no place on the disk", codes.failed_posts);
    let both = |by_codes: u64, under_200: u64| format!("{by_codes} by codes, {under_200} under 200");
    let reads = |failed: u64| format!("{failed} of {} reads", p.requests);
    vec![
        claim(
            "monitor-counts-truth",
            "With codes a monitor counts exactly the notes that were lost; under 200 it counts none",
            "a failure is caught and answered as success",
        )
        .witness(codes.failed_posts > 0 && hidden.failed_posts == codes.failed_posts, full)
        .equal(both(codes.alarmed, hidden.alarmed), both(codes.failed_posts, 0)),
        claim(
            "balancer-evades",
            "With codes a balancer asks the broken replica once, and no read fails",
            "it doesn't look at answers, only at whether the port is open",
        )
        .witness(codes.broken_asked > 0, format!("{} requests at the broken replica", codes.broken_asked))
        .equal(
            format!("requests there: {}, failed reads: {}", codes.broken_asked, codes.failed_reads),
            "requests there: 1, failed reads: 0".to_owned(),
        ),
        claim(
            "balancer-fooled",
            "Under 200 it keeps on asking both, and half of the reads fail",
            "it checks each replica's health by something other than these answers",
        )
        .witness(hidden.broken_asked > 1, format!("{} requests at the broken replica", hidden.broken_asked))
        .equal(reads(hidden.failed_reads), reads(p.requests / 2)),
        claim(
            "cache-keeps-no-error",
            "With codes all readers get the note once the service is well; under 200 the cache serves all of them the error",
            "errors are given a lifetime as well",
        )
        .witness(codes.early_errors * hidden.early_errors > 0, "a read failed, then the service recovered")
        .equal(both(codes.cached_errors, hidden.cached_errors), both(0, p.requests)),
        claim(
            "retrier-saves-all",
            "With 429 and a true Retry-After a client gets all its notes saved; under 200 it takes the refusal for success",
            "the code isn't one that it may repeat, or the time is invented",
        )
        .witness(codes.refused > 0, format!("{} refusals", codes.refused))
        .equal(both(codes.saved, hidden.saved), both(codes.meant, PER_WINDOW)),
    ]
}

impl Landed {
    fn words(&self) -> String {
        words(&self.method, &self.content)
    }
}

fn words(method: &str, content: &str) -> String {
    if content.is_empty() { format!("{method}, no content") } else { format!("{method}, `{content}`") }
}

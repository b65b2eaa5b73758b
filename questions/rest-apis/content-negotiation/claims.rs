//! What the answer says, held against a run, and runs that would refute it.

use super::cached::{Delivery, Got, Setting};
use super::readers::Sight;
use super::wishes::{PREDICTED, Rule, WISHES};
use super::{Bodies, Format, Observed, Tags, Weighed, Wished};
use crate::prelude::*;

pub fn on_wishes(seen: &Observed) -> Vec<Claim> {
    let by_rule = |id, rule, says, breaks_when| {
        let of: Vec<_> = seen.wishes.iter().filter(|it| it.rule == rule).collect();
        let erring = |sent: fn(&Wished) -> &str| of.iter().filter(|it| sent(it) != it.right).count();
        let (first, highest) = (erring(|it| it.first_name), erring(|it| it.highest_weight));
        let words =
            format!("the first name errs in {first} of {}, the highest weight in {highest}", of.len());
        claim(id, says, breaks_when).witness(first + highest > 0, words).equal(
            format!("{} of {} right", of.len() - erring(|it| it.origin), of.len()),
            format!("{0} of {0} right", of.len()),
        )
    };
    let moved = seen.wishes.iter().filter(|it| it.origin != it.origin_reversed).count();
    let lists = seen.wishes.iter().filter(|it| it.accept.contains(',')).count();
    vec![
        by_rule(
            "weights-decide",
            Rule::Weights,
            "Among the types that a client names, the one with the highest weight is sent; a weight that isn't written is 1",
            "the server takes the first type that it knows",
        ),
        by_rule(
            "specific-decides",
            Rule::Specificity,
            "Of several ranges that fit a type, the most specific one gives it its weight, even if that is lower",
            "each type gets the highest weight of all ranges that fit",
        ),
        by_rule(
            "zero-rules-out",
            Rule::Zero,
            "A type with q=0 is not sent, although a wider range would allow it",
            "the server looks for names, or q=0 counts as the lowest weight",
        ),
        by_rule(
            "nothing-fits",
            Rule::NothingFits,
            "Where no type is acceptable, this origin answers 406; a type of nearly the same name doesn't fit",
            "the server looks for a part of the name, or answers with its default, which it may",
        ),
        claim(
            "order-says-nothing",
            "The order of the members changes nothing",
            "the server stops at the first that it can serve",
        )
        .witness(lists > 0, format!("{lists} lists were sent in both orders"))
        .equal(format!("{moved} other answers"), "0 other answers".to_owned()),
    ]
}

pub fn on_caches(seen: &Observed) -> Vec<Claim> {
    let of = |setting| &seen.deliveries[&setting];
    let (none, partial) = (of(Setting::NoVary), of(Setting::AcceptAlone));
    let (full, normalised) = (of(Setting::Full), of(Setting::FullNormalised));
    let served = |it: &Delivery| it.got.len() as u64 - it.asked.min(it.got.len() as u64);
    let through = |id, says, breaks_when, it: &Delivery| {
        let hits = served(it);
        claim(id, says, breaks_when)
            .witness(hits > 0, format!("{hits} of {} served by the cache", it.got.len()))
    };
    vec![
        through(
            "no-vary-mixes",
            "Without Vary the cache asks once and hands the first client's representation to everybody",
            "the response isn't stored at all",
            none,
        )
        .that(
            none.asked == 1 && none.representations() == 1 && none.wrong() > 0,
            format!("asked {}, {} of {} can't read it", none.asked, none.wrong(), none.got.len()),
            "asked 1, more than 0 can't read it",
        ),
        through(
            "part-vary-mixes",
            "With Vary: Accept alone the format is right and language or coding are wrong",
            "all clients of one format send the same other headers",
            partial,
        )
        .that(
            partial.saw(Sight::OtherFormat) == 0 && partial.wrong() > 0,
            format!(
                "{} other format, {} other language, {} still compressed",
                partial.saw(Sight::OtherFormat),
                partial.saw(Sight::OtherLanguage),
                partial.saw(Sight::StillCompressed)
            ),
            "0 other format, more than 0 of the rest",
        ),
        through(
            "full-vary-right",
            "With every header in Vary that the choice depends on, everybody gets what they can read",
            "one of these headers is left out",
            full,
        )
        .equal(format!("{} of {} can't read it", full.wrong(), full.got.len()), format!("0 of {} can't read it", full.got.len())),
        through(
            "spelling-splits",
            "The cache then asks once for each spelling of the headers, also where they mean the same",
            "the headers are mapped to fewer words before the cache sees them",
            full,
        )
        .equal(format!("asked {} times", full.asked), format!("asked {} times", full.spellings)),
        through(
            "plain-words-merge",
            "Normalised before the cache, it asks once for each representation, and everybody can still read theirs",
            "the headers reach the cache as they were sent",
            normalised,
        )
        .that(
            normalised.asked == normalised.representations() && normalised.asked < full.spellings && normalised.wrong() == 0,
            format!("asked {}, {} wrong", normalised.asked, normalised.wrong()),
            format!("asked {} (less than {}), 0 wrong", normalised.representations(), full.spellings),
        ),
    ]
}

pub fn on_tags_and_bodies(seen: &Observed) -> Vec<Claim> {
    let (tags, bodies) = (&seen.tags, &seen.bodies);
    vec![
        claim(
            "tag-per-representation",
            "Each representation has an ETag of its own, the gzipped one another than the plain one",
            "the tag is made from the resource's version",
        )
        .witness(
            tags.bodies == tags.representations,
            format!("{} representations, {} different bodies", tags.representations, tags.bodies),
        )
        .equal(format!("{} ETags", tags.tags), format!("{} ETags", tags.bodies)),
        claim(
            "tag-of-another",
            "The tag of the JSON brings 304 for the JSON, and the whole CSV to one who asks for CSV",
            "both have the same tag",
        )
        .witness(tags.same == 304, format!("for the JSON itself: {}", tags.same))
        .equal(format!("{}, {}", tags.other, tags.other_is), "200, CSV".to_owned()),
        claim(
            "unreadable-told",
            "A body that the origin can't read is answered 415, and what the refusal names in Accept is taken",
            "the server tries to read whatever comes",
        )
        .witness(!bodies.unreadable.is_empty(), format!("{} bodies of unknown type", bodies.unreadable.len()))
        .that(
            bodies.unreadable.iter().all(|it| *it == 415)
                && !bodies.told.is_empty()
                && bodies.retried.iter().all(|it| *it == 204),
            format!("{:?}; {}: {:?}", bodies.unreadable, bodies.told.join(", "), bodies.retried),
            "415 each; then 204 each",
        ),
    ]
}

/// Runs in which one thing is broken each.
pub fn broken(clients: u64) -> Vec<Observed> {
    let wish = |seen: &mut Observed, rule, break_it: fn(&mut Wished)| {
        seen.wishes.iter_mut().filter(|it| it.rule == rule).for_each(break_it);
    };
    let all: [&dyn Fn(&mut Observed); 13] = [
        &|it| wish(it, Rule::Weights, |it| it.origin = "?"),
        &|it| wish(it, Rule::Specificity, |it| it.origin = "?"),
        &|it| wish(it, Rule::Zero, |it| it.origin = "?"),
        &|it| wish(it, Rule::NothingFits, |it| it.origin = "?"),
        &|it| it.wishes[1].origin_reversed = "?",
        &|it| change(it, Setting::NoVary, |it| it.asked = 2),
        &|it| change(it, Setting::AcceptAlone, |it| it.got[1].sight = Sight::OtherFormat),
        &|it| change(it, Setting::Full, |it| it.got[1].sight = Sight::StillCompressed),
        &|it| change(it, Setting::Full, |it| it.asked -= 1),
        &|it| change(it, Setting::FullNormalised, |it| it.asked += 1),
        &|it| it.tags.tags = 1,
        &|it| (it.tags.other, it.tags.other_is) = (304, "nothing".into()),
        &|it| it.bodies.unreadable = vec![400],
    ];
    let one = |break_it: &dyn Fn(&mut Observed)| {
        let mut seen = flawless(clients);
        break_it(&mut seen);
        seen
    };
    all.map(one).into()
}

fn change(seen: &mut Observed, setting: Setting, break_it: fn(&mut Delivery)) {
    seen.deliveries.entry(setting).and_modify(break_it);
}

/// What a run shows in which the origin does all as it should.
fn flawless(clients: u64) -> Observed {
    let wished = |(rule, accept, right): (Rule, &'static str, Option<Format>)| {
        let right = right.map_or("406", Format::word);
        Wished {
            rule,
            accept,
            right,
            origin: right,
            origin_reversed: right,
            first_name: "?",
            highest_weight: "?",
        }
    };
    let got = |what: &str, sight| Got { reader: "browser, de".into(), what: what.into(), sight };
    let delivery = |asked, wrong| Delivery {
        got: (0..clients)
            .map(|it| got("HTML de", if it == 0 || wrong == Sight::Fine { Sight::Fine } else { wrong }))
            .collect(),
        spellings: clients / 2,
        asked,
    };
    Observed {
        wishes: WISHES.map(wished).into(),
        weights: vec![Weighed { format: "CSV", range: PREDICTED.into(), thousandths: 900 }],
        deliveries: [
            (Setting::NoVary, delivery(1, Sight::OtherFormat)),
            (Setting::AcceptAlone, delivery(5, Sight::OtherLanguage)),
            (Setting::Full, delivery(clients / 2, Sight::Fine)),
            (Setting::FullNormalised, delivery(1, Sight::Fine)),
        ]
        .into(),
        tags: Tags {
            representations: 18,
            bodies: 18,
            tags: 18,
            same: 304,
            other: 200,
            other_is: "CSV".into(),
        },
        bodies: Bodies { unreadable: vec![415], told: vec!["text/csv".into()], retried: vec![204] },
    }
}

//! What the answer says, held against a run.

use super::{Observed, Params, Tally, Writing};
use crate::prelude::*;

pub fn on_editors(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (all, losers) = (p.editors, p.editors - 1);
    let different = |writing| seen.different[&writing];
    let same = |writing| seen.same[&writing];
    let edited = |id, says, breaks_when, of: &BTreeMap<Writing, Tally>| {
        let sent: u64 = of.values().map(|it| it.sent).sum();
        claim(id, says, breaks_when).witness(of.values().all(|it| it.sent >= all), format!("{sent} requests"))
    };
    let blind = [Writing::Put, Writing::Merge, Writing::JsonPatch].map(same);
    let guarded = [Writing::PutIfMatch, Writing::JsonPatchTest].map(same);
    vec![
        edited(
            "put-keeps-last",
            "Of changes to different fields PUT keeps the last, and tells nobody that the others are gone",
            "the server merges by itself, or the editors read after each other",
            &seen.different,
        )
        .equal(fates(&[different(Writing::Put)]), fate(1, losers)),
        edited(
            "patches-keep-all",
            "Merge patch and JSON Patch keep all of them, with one request each",
            "a patch names more than what its editor changed",
            &seen.different,
        )
        .equal(
            fates(&[different(Writing::Merge), different(Writing::JsonPatch)]),
            fate(all, 0),
        ),
        edited(
            "if-match-keeps-all",
            "PUT with If-Match keeps all of them as well, after 412 for each editor but the first",
            "an editor overwrites after a 412 instead of reading again",
            &seen.different,
        )
        .equal(
            told(&[different(Writing::PutIfMatch)]),
            format!("{all} kept, {losers} refused"),
        ),
        edited(
            "same-field-unnoticed",
            "Of changes to the same field PUT, merge patch and JSON Patch keep one, and all editors are told of success",
            "a precondition binds the change to what was read",
            &seen.same,
        )
        .equal(fates(&blind), fate(1, losers)),
        edited(
            "same-field-told",
            "With If-Match or a test operation nothing is lost unnoticed: each editor who comes too late is told so",
            "the precondition is sent and the server doesn't look at it",
            &seen.same,
        )
        .equal(
            format!("{}; {}", fates(&guarded), told(&guarded)),
            format!("{}; 1 kept, {losers} refused", fate(1, 0)),
        ),
        claim(
            "one-wins-at-once",
            "Of PUTs that name the same version in the same moment one is stored, and the others are answered 412",
            "the version is checked in one step and written in another",
        )
        .witness(
            seen.at_once.values().sum::<u64>() == all,
            format!("{all} requests, checked before any was written"),
        )
        .equal(by_status(&seen.at_once), by_status(&[(204, 1), (412, losers)].into())),
    ]
}

pub fn on_patches(
    _: &Params,
    Observed { old, failing, twice, null, foreign, examples, .. }: &Observed,
) -> Vec<Claim> {
    let told: BTreeSet<_> = foreign.accept_patch.split(", ").map(str::to_owned).collect();
    let list = |types: &BTreeSet<String>| types.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let kept = |put, merge| format!("{} after PUT, {} after a merge patch", there(put), there(merge));
    vec![
        claim(
            "old-client-drops",
            "A client that doesn't know a field removes it by PUT, and keeps it by a merge patch",
            "PUT merges, or the client carries along what it doesn't know",
        )
        .witness(old.before, "the field was there")
        .equal(kept(old.after_put, old.after_merge), kept(false, true)),
        claim(
            "all-or-nothing",
            "A JSON Patch of which one operation fails leaves the document as it was",
            "each operation is stored by itself",
        )
        .witness(failing.status >= 400, format!("answered {}", failing.status))
        .that(
            failing.after == failing.before,
            if failing.after == failing.before { "unchanged" } else { "changed in part" },
            "unchanged",
        ),
        claim(
            "sent-twice",
            "PUT and merge patch sent twice leave two tags, as sent once; a JSON Patch that appends leaves one too many",
            "the patch is bound to a version, or begins with a test",
        )
        .witness(twice.lost == 3, format!("{} answers lost", twice.lost))
        .equal(
            format!("{}, {} and {} tags", twice.put, twice.merge, twice.append),
            "2, 2 and 3 tags".to_owned(),
        ),
        claim(
            "merge-null-removes",
            "Null in a merge patch removes the member, so that it can't set null; a JSON Patch can",
            "the server stores what it is sent",
        )
        .witness(null.before != "absent" && null.before != "null", format!("it was {}", null.before))
        .equal(
            format!("{} by merge patch, {} by JSON Patch", null.merge, null.json_patch),
            "absent by merge patch, null by JSON Patch".to_owned(),
        ),
        claim(
            "accept-patch-true",
            "A patch of an unknown type is answered 415 with Accept-Patch, and every type named there works",
            "the header is copied and the code has moved on",
        )
        .witness(foreign.status >= 400, format!("answered {}", foreign.status))
        .that(
            foreign.status == 415 && !told.is_empty() && foreign.work == told,
            format!("{}, {} of {} types work", foreign.status, foreign.work.len(), told.len()),
            format!("415, and {}", list(&told)),
        ),
        claim(
            "as-the-standards-print",
            "All examples of RFC 7396 and RFC 6902 come out as they are printed there",
            "null is stored, an index overwrites, or ~0 is decoded before ~1",
        )
        .witness(examples.1 > 0, format!("{} examples", examples.1))
        .equal(format!("{} of {}", examples.0, examples.1), format!("{0} of {0}", examples.1)),
    ]
}

/// The fates of changes, said once where they are the same.
fn fates(of: &[Tally]) -> String {
    once(of.iter().map(|it| fate(it.survived, it.silent)))
}

fn fate(kept: u64, lost: u64) -> String {
    format!("{kept} kept, {lost} lost unnoticed")
}

fn told(of: &[Tally]) -> String {
    once(of.iter().map(|it| format!("{} kept, {} refused", it.survived, it.told)))
}

fn once(words: impl Iterator<Item = String>) -> String {
    words.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("; ")
}

fn by_status(answers: &BTreeMap<u16, u64>) -> String {
    answers.iter().map(|(status, count)| format!("{status} × {count}")).collect::<Vec<_>>().join(", ")
}

fn there(is_there: bool) -> &'static str {
    if is_there { "there" } else { "gone" }
}

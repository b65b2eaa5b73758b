//! What the answer says, held against a run.

use super::server::MOST;
use super::{Observed, PAGES, Params, Walk};
use crate::prelude::*;

pub fn on_costs(p: &Params, Observed { costs, .. }: &Observed) -> Vec<Claim> {
    let deepest = costs.depths.last().cloned().unwrap_or(super::Depth { before: 0, offset: 0, seek: 0 });
    let deep = |id, says, breaks_when| {
        claim(id, says, breaks_when).witness(
            deepest.before * 10 > costs.rows * 9,
            format!("{} of {} items before the page", deepest.before, costs.rows),
        )
    };
    vec![
        deep(
            "offset-reads-all",
            "For a page at an offset the database takes at least one step for each item that is skipped",
            "the pages are kept ready, or the database can count entries without reading them",
        )
        .that(
            deepest.offset >= costs.first + deepest.before,
            format!("{} steps for {} skipped", deepest.offset, deepest.before),
            format!("at least {} more than the {} of the first page", deepest.before, costs.first),
        ),
        deep(
            "seek-flat",
            "A page after a key costs at most 50 steps for each row on it, however deep it lies",
            "no index has the columns of the order",
        )
        .that(
            deepest.seek <= 50 * p.page_size,
            format!("{} steps for {} rows", deepest.seek, p.page_size),
            format!("at most {}", 50 * p.page_size),
        ),
        claim(
            "total-reads-all",
            "An exact total takes at least one step for each item of the list",
            "the database keeps the count, as by a trigger",
        )
        .witness(costs.rows > 0, format!("{} items counted", costs.rows))
        .that(
            costs.total >= costs.rows,
            format!("{} steps for {} items", costs.total, costs.rows),
            format!("at least {}", costs.rows),
        ),
        claim(
            "one-more-is-cheap",
            "Whether there is a next page is told by one row more, which costs less than a tenth of the total",
            "the next row must be sorted out first",
        )
        .witness(costs.total > 0, format!("{} steps for the total", costs.total))
        .that(
            costs.one_more * 10 < costs.total,
            format!("{} steps", costs.one_more),
            format!("less than a tenth of {}", costs.total),
        ),
    ]
}

pub fn on_walks(p: &Params, Observed { arrivals, deletions, .. }: &Observed) -> Vec<Claim> {
    let shifted = p.churn * (PAGES - 1);
    let moving = |id, says, breaks_when, walks: &[&Walk], what| {
        let changed = walks.iter().map(|walk| walk.changed).min().unwrap_or(0);
        claim(id, says, breaks_when).witness(changed > 0, format!("{changed} items {what}"))
    };
    let [by_key, deleted_by_key] = [&arrivals[1], &deletions[1]];
    let (repeated, skipped) =
        (by_key.repeated() + deleted_by_key.repeated(), by_key.skipped() + deleted_by_key.skipped());
    vec![
        moving(
            "insert-repeats",
            "By offset, each item that arrives at the front gives the reader one item once more",
            "new items go to the end of the list",
            &[&arrivals[0]],
            "arrived",
        )
        .equal(format!("{} repeated", arrivals[0].repeated()), format!("{shifted} repeated")),
        moving(
            "delete-skips",
            "By offset, each deleted item that the reader had been given hides one from them that is there",
            "deleted items keep their place in the list",
            &[&deletions[0]],
            "deleted",
        )
        .equal(format!("{} skipped", deletions[0].skipped()), format!("{shifted} skipped")),
        moving(
            "seek-exact",
            "After the last key, nothing that stays is repeated or skipped, whatever arrives or is deleted",
            "the key holds a place in the list, in disguise",
            &[by_key, deleted_by_key],
            "changed in each walk",
        )
        .equal(format!("{repeated} repeated, {skipped} skipped"), "0 repeated, 0 skipped".to_owned()),
    ]
}

pub fn on_the_contract(Observed { links, hostile, ties, .. }: &Observed) -> Vec<Claim> {
    let still = |id, says, breaks_when, walk: &Walk| {
        let pages = walk.pages.len();
        claim(id, says, breaks_when)
            .witness(walk.changed > 0 && pages > 1, format!("an index was added between {pages} pages"))
    };
    let words = |walk: &Walk| format!("{} repeated, {} skipped", walk.repeated(), walk.skipped());
    let largest = hostile.iter().map(|it| it.items).max().unwrap_or(0);
    let answered: BTreeSet<u16> = hostile.iter().map(|it| it.status).collect();
    let distinct: BTreeSet<_> = links.forth.iter().collect();
    let there_and_back = distinct.len() as u64 == links.rows
        && links.forth.len() as u64 == links.rows
        && links.forth == links.back
        && links.empty_pages == 0;
    vec![
        still(
            "ties-reshuffle",
            "Ordered by a date that many share, a list in which nothing changes repeats items when the database picks \
             another plan",
            "it happens to keep its plan",
            &ties[0],
        )
        .that(ties[0].repeated() > 0, words(&ties[0]), "at least one repeated"),
        still(
            "order-total",
            "With the id as the last column of the order, the plan doesn't show",
            "the last column isn't unique",
            &ties[1],
        )
        .equal(words(&ties[1]), "0 repeated, 0 skipped".to_owned()),
        claim(
            "links-suffice",
            "A reader who knows only where the list begins gets each item once along next, no empty page at the end, and \
             the same along prev",
            "a full page is taken for a sign that more follow",
        )
        .witness(links.rows > 0, format!("{} items, a whole number of pages", links.rows))
        .that(
            there_and_back,
            format!("{} of {} items, {} empty pages", distinct.len(), links.rows, links.empty_pages),
            format!("{} of {} items, 0 empty pages", links.rows, links.rows),
        ),
        claim(
            "cap-holds",
            "No answer has more items than the maximum, whatever is asked, and none is a 500",
            "the limit goes into the statement as it came",
        )
        .witness(hostile.len() > 1, format!("{} odd queries", hostile.len()))
        .that(
            largest <= MOST as u64 && answered.iter().all(|status| *status < 500),
            format!("at most {largest} items"),
            format!("at most {MOST} items"),
        ),
    ]
}

//! What the answer says, held against a run.

use super::{Lost, Observed, Params};
use crate::prelude::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Claim> {
    let reads = |count: u64| format!("{count} of {} reads", p.reads);
    let lines = |count: u64| format!("{count} of {} lines", p.reads);
    let fate = |it: &Lost| {
        format!("{} well, {} failed, {} carried out, stock {}", it.well, it.failed, it.executed, it.stock)
    };
    let answers = |[follows, built_in]: [u16; 2]| format!("{follows} by links, {built_in} by its own URI");
    vec![
        claim(
            "get-reaches-once",
            "Of identical reads by GET one reaches the shop, and a cache that knows only HTTP answers the others",
            "the answer doesn't say how long it lives",
        )
        .witness(seen.reads[0] > 0, format!("{} reads sent, {} arrived", p.reads, seen.reads[0]))
        .equal(reads(seen.reads[0]), reads(1)),
        claim(
            "call-reaches-always",
            "Posted as calls, the same reads reach the shop every time",
            "the cache is taught this application's calls",
        )
        .witness(seen.reads[1] > 0, format!("{} reads sent", p.reads))
        .equal(reads(seen.reads[1]), reads(p.reads)),
        claim(
            "put-repaired",
            "When the answer to a PUT is lost, a stranger sends it again: each client gets success, and the stock is as set",
            "PUT adds instead of setting",
        )
        .witness(seen.put.lost > 0, format!("{} answers lost", seen.put.lost))
        .equal(
            fate(&seen.put),
            format!("{0} well, 0 failed, {1} carried out, stock 20", p.lost, 2 * p.lost),
        ),
        claim(
            "call-left-alone",
            "When the answer to a call is lost, the stranger may not repeat it: the client gets an error, though it was \
             carried out",
            "the stranger repeats what it doesn't understand, and the call is carried out twice",
        )
        .witness(seen.call.lost > 0, format!("{} answers lost", seen.call.lost))
        .equal(
            fate(&seen.call),
            format!("0 well, {0} failed, {0} carried out, stock {1}", p.lost, 10 + p.lost),
        ),
        claim(
            "any-replica",
            "Requests that name everything they need may go to any replica: all lines are in the basket",
            "a replica keeps to itself what others need",
        )
        .witness(seen.self_contained > 0, "two replicas in turn")
        .equal(lines(seen.self_contained), lines(p.reads)),
        claim(
            "conversation-breaks",
            "A conversation whose state is in one replica's memory breaks when the next request goes to the other",
            "a balancer ties each client to one replica",
        )
        .witness(seen.conversation > 0, "one replica was told which basket")
        .that(seen.conversation < p.reads, lines(seen.conversation), format!("fewer than {}", p.reads)),
        claim(
            "links-survive",
            "When the URIs move, a client that follows links gets there, and one that has them built in gets 404",
            "the links are written by hand and stay behind",
        )
        .witness(seen.before == [200, 200], "both got there before the move")
        .equal(answers(seen.after), answers([200, 404])),
    ]
}

//! What the answer says, held against a run.

use super::clients::Transport;
use super::{Carried, Frame, Idle, Observed, Slow, Wrong};
use crate::prelude::*;

pub fn all(seen: &Observed) -> Vec<Claim> {
    [on_cost(seen), on_cuts(seen), on_sockets(seen)].concat()
}

fn on_cost(seen: &Observed) -> Vec<Claim> {
    let of = |transport| &seen.carried[&transport];
    let (socket, events) = (of(Transport::Socket), of(Transport::Events));
    let (polling, long) = (of(Transport::Polling), of(Transport::LongPolling));
    let carried = |id, says, breaks_when| {
        let witness = format!("{} ticks with news", socket.batches);
        claim(id, says, breaks_when).witness(socket.batches > 0, witness)
    };
    let others = [polling, long, events].map(|it| it.bytes);
    vec![
        carried(
            "one-request",
            "As server-sent events or over a WebSocket all prices come in answer to one request",
            "the connection breaks",
        )
        .equal(
            format!("{} and {} requests", events.requests, socket.requests),
            "1 and 1 requests".to_owned(),
        ),
        carried(
            "request-per-batch",
            "Long polling takes a request for each batch of news",
            "an answer is held back to collect more",
        )
        .that(
            long.requests >= long.batches,
            format!("{} requests", long.requests),
            format!("at least {}", long.batches),
        ),
        carried(
            "polled-late",
            "Between two polls prices lie on the server and grow old",
            "there is a poll after each price",
        )
        .that(polling.late > 0, format!("{} of {} late", polling.late, polling.published), "some"),
        carried(
            "fewest-bytes",
            "Once it is open, a WebSocket carries the prices in the fewest bytes of the four",
            "every message goes out in frames of a few bytes",
        )
        .that(
            others.iter().all(|bytes| socket.bytes < *bytes),
            format!("{} bytes", socket.bytes),
            format!("less than {}", others.map(|it| it.to_string()).join(", ")),
        ),
    ]
}

fn on_cuts(seen: &Observed) -> Vec<Claim> {
    let of = |transport| -> &Carried { &seen.carried[&transport] };
    let cut = |transport, id, says, breaks_when| {
        let lost = of(transport).lost;
        let witness = format!("{lost} cuts, {} prices meanwhile", seen.while_cut);
        claim(id, says, breaks_when).witness(lost > 0 && seen.while_cut > 0, witness)
    };
    let whole = |transport, id, says, breaks_when| {
        let it = of(transport);
        cut(transport, id, says, breaks_when)
            .equal(format!("{} missing, {} twice", it.missed, it.repeated), "0 missing, 0 twice".to_owned())
    };
    vec![
        whole(
            Transport::LongPolling,
            "long-poll-resumes",
            "A long poll that names the last number gets all prices once, however often it is cut",
            "the server forgets what it has answered",
        ),
        whole(
            Transport::Events,
            "events-resume",
            "An event source sends Last-Event-ID by itself, and gets all prices once",
            "events have no ids, or the server keeps none of the past",
        ),
        whole(
            Transport::Socket,
            "socket-resumes",
            "A WebSocket whose client names the last number gets all prices once",
            "the server ignores the number, or reads the past before it listens",
        ),
        cut(
            Transport::NaiveSocket,
            "naive-loses",
            "A WebSocket that is opened again without saying where it was misses all that came in between",
            "the server keeps a queue for each client it knows",
        )
        .equal(of(Transport::NaiveSocket).missed, seen.while_cut),
    ]
}

fn on_sockets(seen: &Observed) -> Vec<Claim> {
    let Observed { frame, idle, wrong, slow, .. } = seen;
    let sent = |id, says, breaks_when| {
        claim(id, says, breaks_when).witness(frame.payload > 0, format!("{} bytes of text", frame.payload))
    };
    let quiet = |id, says, breaks_when| {
        claim(id, says, breaks_when).witness(idle.silent_closed, format!("{} idle timeouts", idle.rounds))
    };
    let codes =
        |code: fn(&Wrong) -> u16| wrong.iter().map(|it| code(it).to_string()).collect::<Vec<_>>().join(", ");
    let full = |id, says, breaks_when| {
        let witness = format!("{} prices behind at the most", slow.most_behind);
        claim(id, says, breaks_when).witness(slow.most_behind >= super::MOST_BEHIND as u64, witness)
    };
    vec![
        sent(
            "frame-from-server",
            "A frame from the server adds 2 bytes to a short text",
            "the text has 126 bytes or more",
        )
        .equal(frame.from_server, frame.payload + 2),
        sent(
            "frame-from-client",
            "A frame from the client adds 6, of which 4 are the mask",
            "the mask is left out",
        )
        .equal(frame.from_client, frame.payload + 6),
        quiet(
            "silence-is-closed",
            "A silent WebSocket is closed by an idle timeout in between, and the next price doesn't arrive",
            "somebody pings",
        )
        .equal(arrived(idle.silent_got_news), arrived(false)),
        quiet(
            "heartbeat-keeps-open",
            "With a ping in each of its periods it stays open, and the price arrives",
            "pings are rarer than the timeout",
        )
        .that(
            !idle.beating_closed && idle.beating_got_news,
            format!("{}, after {} pongs", arrived(idle.beating_got_news), idle.pongs),
            arrived(true),
        ),
        claim(
            "wrong-is-closed",
            "Whatever the RFC forbids a client is answered with a close frame that says why",
            "the server takes what it can read",
        )
        .witness(!wrong.is_empty(), format!("{} ways of being wrong", wrong.len()))
        .equal(codes(|it| it.code), codes(|it| it.expected)),
        full(
            "slow-is-cut-off",
            "The server cuts off a client that doesn't read, and so its queue has an end",
            "the queue has no bound",
        )
        .equal(slow.cut_off, 1),
        full(
            "reader-unharmed",
            "A client that reads gets all prices meanwhile",
            "one loop writes to all of them in turn",
        )
        .equal(slow.reader_got, slow.published),
    ]
}

fn arrived(news: bool) -> &'static str {
    if news { "the price arrives" } else { "it doesn't arrive" }
}

/// What a run shows in which everybody does as they should.
fn flawless() -> Observed {
    let carried = |requests, bytes, late, missed| Carried {
        published: 112,
        batches: 50,
        requests,
        bytes,
        late,
        lost: 2,
        missed,
        repeated: 0,
    };
    Observed {
        carried: [
            (Transport::Polling, carried(15, 9_000, 40, 0)),
            (Transport::LongPolling, carried(51, 20_000, 0, 0)),
            (Transport::Events, carried(1, 8_000, 0, 0)),
            (Transport::Socket, carried(1, 6_200, 0, 0)),
            (Transport::NaiveSocket, carried(1, 6_200, 0, 6)),
        ]
        .into(),
        while_cut: 6,
        frame: Frame { payload: 60, from_server: 62, from_client: 66 },
        idle: Idle {
            rounds: 3,
            pongs: 3,
            silent_closed: true,
            silent_got_news: false,
            beating_closed: false,
            beating_got_news: true,
        },
        wrong: vec![Wrong { what: "frame without a mask", code: 1002, expected: 1002 }],
        slow: Slow { published: 800, reader_got: 800, cut_off: 1, most_behind: 101 },
    }
}

pub fn counterexamples() -> Vec<Observed> {
    type Break = fn(&mut Carried);
    let carried: [(Transport, Break); 8] = [
        (Transport::Socket, |it| it.requests = 2),
        (Transport::LongPolling, |it| it.requests = 3),
        (Transport::Polling, |it| it.late = 0),
        (Transport::Events, |it| it.bytes = 6_000),
        (Transport::LongPolling, |it| it.missed = 1),
        (Transport::Events, |it| it.repeated = 1),
        (Transport::Socket, |it| it.missed = 6),
        (Transport::NaiveSocket, |it| it.missed = 0),
    ];
    let others: [fn(&mut Observed); 7] = [
        |it| it.frame.from_server = 66,
        |it| it.frame.from_client = 62,
        |it| it.idle.silent_got_news = true,
        |it| it.idle.beating_got_news = false,
        |it| it.wrong[0].code = 1006,
        |it| it.slow.cut_off = 0,
        |it| it.slow.reader_got = 799,
    ];
    let broken = |break_it: &dyn Fn(&mut Observed)| {
        let mut seen = flawless();
        break_it(&mut seen);
        seen
    };
    let of_carried = carried.iter().map(|(transport, break_it)| {
        broken(&|seen| {
            seen.carried.entry(*transport).and_modify(break_it);
        })
    });
    of_carried.chain(others.iter().map(|break_it| broken(break_it))).collect()
}

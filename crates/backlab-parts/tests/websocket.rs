//! The WebSocket server against RFC 6455, frame by frame; and server-sent events.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod echo;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use backlab_parts::http::Server;
use backlab_parts::websocket::{Handshake, Message, RawFrame, RawSocket, Socket};
use backlab_parts::{Lab, Trace, proxy};
use std::convert::Infallible;

fn lab() -> Lab {
    Lab::open(1, Trace::default()).unwrap()
}

fn echoing(lab: &Lab) -> Server {
    let open = async |handshake: Handshake| {
        handshake.subprotocol("chat.v1").largest_message(100_000).accept(echo::echo)
    };
    lab.serve("echo", Router::new().route("/ws", get(open).post(open))).unwrap()
}

/// What comes back for these bytes, until the connection ends: text and binary as "1 text" or "2 bytes", pong as "10",
/// close as its code.
async fn answers(lab: &Lab, server: &Server, pieces: &[&[u8]]) -> Vec<String> {
    let mut raw = lab.raw_websocket(server, "/ws").await.unwrap();
    assert_eq!(raw.status(), 101);
    for piece in pieces {
        // The server may have closed after an earlier piece.
        let _ = raw.write(piece).await;
    }
    let mut came = Vec::new();
    while let Some(frame) = raw.frame().await.unwrap() {
        assert!(!frame.masked, "a server masks nothing");
        let said = String::from_utf8_lossy(&frame.payload).into_owned();
        came.push(match frame.close_code() {
            Some(code) => format!("close {code}"),
            None => format!("{:x} {said}", frame.first),
        });
    }
    came
}

fn text(payload: &str) -> Vec<u8> {
    RawFrame::masked(0x81, payload.as_bytes())
}

/// A frame with these bytes for a header, a mask of zeros and this payload.
fn by_hand(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, &[0; 4], payload].concat()
}

#[tokio::test]
async fn messages_come_back_whole_in_every_form_of_length_and_in_fragments() {
    let lab = lab();
    let server = echoing(&lab);
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload = "a".repeat(size);
        let mut raw = lab.raw_websocket(&server, "/ws").await.unwrap();
        raw.write(&text(&payload)).await.unwrap();
        let frame = raw.frame().await.unwrap().unwrap();
        let header = match size {
            0..126 => 2,
            126..65_536 => 4,
            _ => 10,
        };
        assert_eq!((frame.first, frame.payload.len(), frame.bytes), (0x81, size, header + size));
    }
    let close = RawFrame::close(1000, b"");
    let fragments = [
        RawFrame::masked(0x01, b"one "),
        RawFrame::masked(0x89, b"between"),
        RawFrame::masked(0x00, b""),
        RawFrame::masked(0x80, b"two"),
        RawFrame::masked(0x8a, b"a pong that nobody asked for"),
        close,
    ]
    .concat();
    let one_by_one: Vec<&[u8]> = fragments.chunks(1).collect();
    for pieces in [vec![fragments.as_slice()], one_by_one] {
        assert_eq!(answers(&lab, &server, &pieces).await, ["8a between", "81 one two", "close 1000"]);
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_closed_with_1002_at_its_first_wrong_byte() {
    let lab = lab();
    let server = echoing(&lab);
    let good = text("good");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("RSV1", vec![0xc1]),
        ("RSV2", vec![0xa1]),
        ("RSV3", vec![0x91]),
        ("RSV1 of a ping", vec![0xc9]),
        ("opcode 3", vec![0x83]),
        ("opcode 7", vec![0x87]),
        ("opcode 11", vec![0x8b]),
        ("opcode 15", vec![0x8f]),
        ("unmasked text", vec![0x81, 0x05]),
        ("unmasked close", vec![0x88, 0x00]),
        ("fragmented ping", vec![0x09]),
        ("fragmented pong", vec![0x0a]),
        ("fragmented close", vec![0x08]),
        ("ping of 126 bytes", vec![0x89, 0xfe]),
        ("close of 126 bytes", vec![0x88, 0xfe]),
        ("continuation of nothing", vec![0x80]),
        ("continuation after a whole message", [text("x"), vec![0x00]].concat()),
        ("text within a message", [RawFrame::masked(0x01, b"x"), vec![0x81]].concat()),
        ("binary within a message", [RawFrame::masked(0x02, b"x"), vec![0x82]].concat()),
        ("125 in two bytes", vec![0x81, 0xfe, 0, 125]),
        ("65535 in eight bytes", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ("the highest bit of a length", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0]),
        ("close of one byte", RawFrame::masked(0x88, b"x")),
    ];
    for (name, bytes) in cases {
        let came = answers(&lab, &server, &[&good, &bytes]).await;
        assert_eq!(came.first().map(String::as_str), Some("81 good"), "{name}");
        assert_eq!(came.last().map(String::as_str), Some("close 1002"), "{name}: {came:?}");
    }
}

#[tokio::test]
async fn nothing_after_a_wrong_frame_is_processed() {
    let lab = lab();
    let server = echoing(&lab);
    let bytes = [text("before"), RawFrame::masked(0xc1, b"wrong"), text("after")].concat();
    assert_eq!(answers(&lab, &server, &[&bytes]).await, ["81 before", "close 1002"]);
    let after_close = [RawFrame::close(1000, b"bye"), text("after"), RawFrame::masked(0x89, b"?")].concat();
    assert_eq!(answers(&lab, &server, &[&after_close]).await, ["close 1000"]);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_closed_with_1007_as_soon_as_that_is_sure() {
    let lab = lab();
    let server = echoing(&lab);
    let euro = "€".as_bytes();
    let fragments = |parts: &[&[u8]]| -> Vec<u8> {
        let last = parts.len() - 1;
        let frame = |(at, part): (usize, &&[u8])| {
            let first = u8::from(at == 0) | if at == last { 0x80 } else { 0 };
            RawFrame::masked(first, part)
        };
        parts.iter().enumerate().flat_map(frame).collect()
    };
    // A character may be cut anywhere between two frames.
    let close = RawFrame::close(1000, b"");
    for cut in 1..3 {
        let bytes = [fragments(&[&euro[..cut], &euro[cut..]]), close.clone()].concat();
        assert_eq!(answers(&lab, &server, &[&bytes]).await, ["81 €", "close 1000"]);
    }
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("a lone continuation byte", RawFrame::masked(0x81, b"\x80")),
        ("an overlong slash", RawFrame::masked(0x81, b"\xc0\xaf")),
        ("a surrogate", RawFrame::masked(0x81, b"\xed\xa0\x80")),
        ("beyond U+10FFFF", RawFrame::masked(0x81, b"\xf4\x90\x80\x80")),
        ("0xFE", RawFrame::masked(0x81, b"a\xfe")),
        ("unfinished at the end", RawFrame::masked(0x81, &euro[..2])),
        ("unfinished at the end of fragments", fragments(&[b"a", &euro[..2], b""])),
        // At once: the message, and even the frame, isn't complete.
        ("wrong in a fragment that isn't the last", RawFrame::masked(0x01, b"\xed\xa0")),
        (
            "wrong across two fragments",
            [RawFrame::masked(0x01, b"\xf4"), RawFrame::masked(0x00, b"\x90")].concat(),
        ),
        ("wrong in the first bytes of a long frame", by_hand(&[0x81, 0xfe, 0x10, 0x00], b"abc\xff")),
        ("a reason of a close frame", RawFrame::close(1000, b"\xff")),
        ("an unfinished reason", RawFrame::close(1000, &euro[..2])),
    ];
    for (name, bytes) in wrong {
        assert_eq!(answers(&lab, &server, &[&bytes]).await, ["close 1007"], "{name}");
    }
    // Binary may hold anything.
    let binary = [RawFrame::masked(0x82, b"\xff"), close].concat();
    assert_eq!(answers(&lab, &server, &[&binary]).await, ["82 \u{fffd}", "close 1000"]);
}

#[tokio::test]
async fn close_codes_are_answered_alike_or_with_1002() {
    let lab = lab();
    let server = echoing(&lab);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let reason = "r".repeat(123);
        let came = answers(&lab, &server, &[&RawFrame::close(code, reason.as_bytes())]).await;
        assert_eq!(came, [format!("close {code}")]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(answers(&lab, &server, &[&RawFrame::close(code, b"")]).await, ["close 1002"], "{code}");
    }
    assert_eq!(
        answers(&lab, &server, &[&RawFrame::masked(0x88, b"")]).await,
        ["close 1005"],
        "without a code"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_is_closed_with_1009_before_it_is_read() {
    let lab = lab();
    let server = echoing(&lab);
    let header = by_hand(&[0x82, 0xff, 0, 0, 0, 0, 0, 0x01, 0x86, 0xa1], b"");
    assert_eq!(answers(&lab, &server, &[&header]).await, ["close 1009"], "100,001 bytes");
    let half = "a".repeat(60_000);
    let fragments =
        [RawFrame::masked(0x01, half.as_bytes()), RawFrame::masked(0x80, half.as_bytes())].concat();
    assert_eq!(answers(&lab, &server, &[&fragments]).await, ["close 1009"], "in two fragments");
}

/// The status of the answer to a handshake with a line of it replaced, and the answer.
async fn handshake(server: &Server, line: &str, by: &str) -> (u16, String) {
    let request = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert!(request.contains(line));
    let raw = RawSocket::open(server.addr(), None, request.replace(line, by).as_bytes()).await.unwrap();
    (raw.status(), raw.answer.to_ascii_lowercase())
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let lab = lab();
    let server = echoing(&lab);
    let (status, answer) = handshake(&server, "Host: a", "Host: a").await;
    assert_eq!(status, 101);
    // The example of section 1.3.
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    assert!(answer.contains("upgrade: websocket") && answer.contains("connection: upgrade"), "{answer}");
    assert!(!answer.contains("sec-websocket-protocol"), "none was offered: {answer}");

    let fine = [
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC=="),
    ];
    for (line, by) in fine {
        assert_eq!(handshake(&server, line, by).await.0, 101, "{by}");
    }
    let protocol = "Host: a\r\nSec-WebSocket-Protocol: chat.v2, chat.v1";
    let (_, answer) = handshake(&server, "Host: a", protocol).await;
    assert!(answer.contains("sec-websocket-protocol: chat.v1\r\n"), "{answer}");

    let wrong = [
        (400, "Connection: Upgrade\r\n", ""),
        (400, "Connection: Upgrade", "Connection: keep-alive"),
        (400, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        (400, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
        (400, "dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
        (400, "dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!=="),
        (400, "Sec-WebSocket-Version: 13\r\n", ""),
        (400, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"),
        (400, "HTTP/1.1", "HTTP/1.0"),
        (405, "GET", "POST"),
        (426, "Upgrade: websocket\r\n", ""),
        (426, "Upgrade: websocket", "Upgrade: h2c"),
        (426, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
        (426, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 14"),
    ];
    for (expected, line, by) in wrong {
        let (status, answer) = handshake(&server, line, by).await;
        assert_eq!(status, expected, "`{line}` -> `{by}`");
        assert_eq!(answer.contains("sec-websocket-version: 13"), expected == 426, "{answer}");
    }
}

#[tokio::test]
async fn the_clients_side_pings_closes_and_is_told_why_it_ended() {
    let lab = lab();
    let (told, mut talks) = tokio::sync::mpsc::channel(4);
    let talk = async move |handshake: Handshake| {
        handshake.accept(async move |mut socket: Socket| {
            let _ = socket.ping().await;
            let _ = told.send(format!("{:?}", socket.receive().await)).await;
            socket.close(4000, "enough").await;
        })
    };
    let mut server = lab.serve("server", Router::new().route("/", get(talk))).unwrap();
    let mut client = lab.websocket("client", &server, "/", &[]).await.unwrap().unwrap();
    assert_eq!(client.receive().await, None);
    assert_eq!(client.ended(), Some((4000, "enough")));
    assert_eq!(talks.recv().await.as_deref(), Some("Some(Pong)"));

    let refused = lab.websocket("client", &server, "/other", &[]).await.unwrap().unwrap_err();
    assert_eq!(refused.status, 404);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_one_that_is_killed_does_not() {
    let lab = lab();
    let mut server = echoing(&lab);
    let mut client = lab.websocket("client", &server, "/ws", &[]).await.unwrap().unwrap();
    client.send("hello").await.unwrap();
    assert_eq!(client.receive().await, Some(Message::Text("hello".into())));
    let (stopped, received) = tokio::join!(server.stop(), client.receive());
    stopped.unwrap();
    assert_eq!((received, client.ended().unwrap().0), (None, 1001));

    let mut server = echoing(&lab);
    let mut client = lab.websocket("client", &server, "/ws", &[]).await.unwrap().unwrap();
    server.kill().await.unwrap();
    assert_eq!(client.receive().await, None);
    assert_eq!(client.ended(), Some((1006, "")));
}

#[tokio::test]
async fn a_proxy_hangs_up_and_closes_what_is_idle() {
    let lab = lab();
    let server = echoing(&lab);
    let proxy = lab.proxy("client", "echo", &server, proxy::Fault::none()).unwrap();
    let mut client = lab.websocket("client", &proxy, "/ws", &[]).await.unwrap().unwrap();
    assert_eq!(proxy.close_idle(), 0, "it has just been opened");
    client.send("alive").await.unwrap();
    client.receive().await.unwrap();
    assert_eq!(proxy.close_idle(), 0);
    assert_eq!(proxy.close_idle(), 1);
    assert_eq!(client.receive().await, None);
    assert_eq!(client.ended(), Some((1006, "")));

    let mut client = lab.websocket("client", &proxy, "/ws", &[]).await.unwrap().unwrap();
    assert_eq!(proxy.hang_up(), 1);
    assert_eq!(client.receive().await, None);
    assert_eq!(proxy.hang_up(), 0);
}

#[tokio::test]
async fn events_go_on_after_the_last_one_that_was_seen() {
    let lab = lab();
    let stream = async |headers: HeaderMap| {
        let seen: u64 = headers.get("last-event-id").map_or(0, |it| it.to_str().unwrap().parse().unwrap());
        let events =
            (seen + 1..=seen + 2).map(|n| Event::default().id(n.to_string()).data(format!("price {n}")));
        Sse::new(futures::stream::iter(events.map(Ok::<_, Infallible>)))
    };
    let server = lab.serve("server", Router::new().route("/events", get(stream))).unwrap();
    let mut source = lab.event_source("page", &server, "/events");
    let mut seen = Vec::new();
    for _ in 0..2 {
        source.connect().await.unwrap();
        while let Some(event) = source.next().await {
            seen.push((event.id, event.data));
        }
    }
    let ids: Vec<&str> = seen.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert_eq!((seen[3].1.as_str(), source.last_id()), ("price 4", "4"));
    let refused = lab.event_source("page", &server, "/nothing").connect().await.unwrap_err();
    assert!(refused.to_string().starts_with("no stream of events, but 404"), "{refused}");
}

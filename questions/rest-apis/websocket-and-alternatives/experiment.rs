//! Getting news to a page: the same prices by polling, by long polling, as server-sent events and over a WebSocket;
//! what each costs, what each loses when the connection breaks, and what a WebSocket leaves to its user.
//!
//! The prices come in ticks. A tick publishes none, one or a few, and ends when those who are pushed to have them, so
//! that nothing hangs on how fast this machine is.

use crate::prelude::*;
use backlab_parts::websocket::{RawFrame, RawSocket};
use clients::{Listening, Transport, number};
use rand::RngExt;
use server::{Feed, MOST_BEHIND, PRICE_BYTES};

#[path = "claims.rs"]
mod claims;
#[path = "clients.rs"]
mod clients;
#[path = "figures.rs"]
mod figures;
#[path = "server.rs"]
mod server;

/// Rounds in which nothing but heartbeats is said, each ended by the proxy's idle timeout.
const QUIET_ROUNDS: u64 = 3;
/// The slow client: prices of this size, in so many bursts, one burst at a time to the client that keeps up.
const LARGE: usize = 16 << 10;
const BURSTS: usize = 16;
const BURST: usize = 50;
/// What the kernel keeps for a client that doesn't read (socket(7), `SO_RCVBUF`).
const SMALL_BUFFER: u32 = 4096;

choices! {
    pub enum Build {
        Right = "as it should be",
        NoIds = "sends events without ids",
        ForgetsPlace = "ignores where a WebSocket's client was",
        NoPings = "sends no pings",
        NoLimit = "waits for slow clients without a limit",
    }
}

params! {
    /// Prices that are published before anything breaks.
    messages: u64 = 100 in 20..=300;
    /// Ticks from one poll to the next.
    poll_every: u64 = 5 in 2..=20;
    /// How often every connection is cut.
    cuts: u64 = 2 in 0..=4;
    /// What the server makes of its clients.
    server: Build = "as it should be" in ..;
}

pub struct WebsocketAndAlternatives;

#[derive(Serialize)]
pub struct Observed {
    carried: BTreeMap<Transport, Carried>,
    /// What was published while the connections were cut.
    while_cut: u64,
    frame: Frame,
    idle: Idle,
    wrong: Vec<Wrong>,
    slow: Slow,
}

/// What one client got, and what it took.
#[derive(Clone, Default, Serialize)]
struct Carried {
    published: u64,
    /// Ticks that had news, and requests that reached the server, before anything was cut.
    batches: u64,
    requests: u64,
    /// Bytes both ways behind the first answer's head, before anything was cut.
    bytes: u64,
    /// Prices that were there a tick or more when they arrived.
    late: u64,
    /// How often it lost its connection; what never came in all, and what came twice.
    lost: u64,
    missed: u64,
    repeated: u64,
}

/// A price each way, in bytes behind the handshake.
#[derive(Clone, Serialize)]
struct Frame {
    payload: u64,
    from_server: u64,
    from_client: u64,
}

/// Two WebSockets behind a proxy that closes what is idle.
#[derive(Clone, Serialize)]
struct Idle {
    rounds: u64,
    pongs: u64,
    silent_closed: bool,
    silent_got_news: bool,
    beating_closed: bool,
    beating_got_news: bool,
}

/// Something a client may not send, and the code with which it was closed.
#[derive(Clone, Serialize)]
struct Wrong {
    what: &'static str,
    code: u16,
    expected: u16,
}

/// One client reads, one doesn't.
#[derive(Clone, Serialize)]
struct Slow {
    published: u64,
    reader_got: u64,
    cut_off: u64,
    most_behind: u64,
}

impl Experiment for WebsocketAndAlternatives {
    type Params = Params;
    type Observed = Observed;

    fn predict(_: &Params) -> Prediction<Observed> {
        let ask = format!(
            "The server sends a price of {PRICE_BYTES} bytes to a page, over a WebSocket that is open. How many bytes go \
             over the connection for it?"
        );
        Prediction::number(ask, "bytes", |seen: &Observed| seen.frame.from_server).tempting(
            66,
            "That is what the same text takes the other way. Only a client masks its frames, and the mask takes 4 bytes.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let (carried, while_cut) = carry(lab, p).await?;
        Ok(Observed {
            carried,
            while_cut,
            frame: frame(lab, p).await?,
            idle: idle(lab, p).await?,
            wrong: wrong(lab, p).await?,
            slow: slow(lab, p).await?,
        })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        claims::all(seen)
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        claims::counterexamples()
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "send events without ids",
                set: &[("server", "sends events without ids")],
                refutes: &["events-resume"],
            },
            Fault {
                label: "forget what a client of a WebSocket says it has",
                set: &[("server", "ignores where a WebSocket's client was")],
                refutes: &["socket-resumes"],
            },
            Fault {
                label: "send no pings",
                set: &[("server", "sends no pings")],
                refutes: &["heartbeat-keeps-open"],
            },
            Fault {
                label: "wait for slow clients as long as they like",
                set: &[("server", "waits for slow clients without a limit")],
                refutes: &["slow-is-cut-off"],
            },
        ]
    }
}

/// A client of each kind behind a proxy of its own, at one server.
struct Side {
    proxies: BTreeMap<Transport, Proxy>,
    listening: BTreeMap<Transport, Listening>,
    poller: Client,
    polled: Vec<usize>,
    late: u64,
    /// Prices that were published before the last tick.
    settled: usize,
    feed: Feed,
    _server: Server,
}

/// Publishes, first in peace and then with cuts.
async fn carry(lab: &Lab, p: &Params) -> Result<(BTreeMap<Transport, Carried>, u64)> {
    lab.step(format_args!("{} prices to five clients, side by side", p.messages));
    let mut side = Side::open(lab, p).await?;
    let opened = side.bytes();
    let mut rng = lab.rng("ticks");
    let (mut ticks, mut batches) = (0, 0);
    while side.feed.published() < p.messages as usize {
        let count = rng.random_range(0..=3).min(p.messages as usize - side.feed.published());
        batches += u64::from(count > 0);
        side.tick(count).await?;
        ticks += 1;
        if ticks % p.poll_every == 0 {
            side.poll().await?;
        }
    }
    side.poll().await?;
    let (bytes, requests) = (side.bytes(), side.feed.seen.borrow().requests.clone());
    let late = side.late;

    let before = side.feed.published();
    for cut in 1..=p.cuts {
        lab.step(format_args!("Cut {cut}: prices come while nobody is connected"));
        side.cut().await?;
    }
    side.poll().await?;
    let while_cut = (side.feed.published() - before) as u64 / 2;

    let carried = Transport::ALL.map(|transport| {
        let (numbers, lost) = match side.listening.get(&transport) {
            Some(listening) => (listening.inbox.borrow().numbers.clone(), listening.inbox.borrow().lost),
            None => (side.polled.clone(), p.cuts),
        };
        let unique: BTreeSet<_> = numbers.iter().collect();
        let published = side.feed.published();
        // Both WebSockets are one route; in peace each opens it once.
        let sharers = if matches!(transport, Transport::Socket | Transport::NaiveSocket) { 2 } else { 1 };
        let route = if sharers == 2 { "WebSocket" } else { transport.name() };
        let it = Carried {
            published: published as u64,
            batches,
            requests: requests.get(route).copied().unwrap_or(0) / sharers,
            bytes: bytes[&transport] - opened[&transport],
            late: if transport == Transport::Polling { late } else { 0 },
            lost,
            missed: (published - unique.len()) as u64,
            repeated: (numbers.len() - unique.len()) as u64,
        };
        (transport, it)
    });
    Ok((carried.into(), while_cut))
}

impl Side {
    async fn open(lab: &Lab, p: &Params) -> Result<Self> {
        let feed = Feed::new(p.server);
        let server = lab.serve("server", feed.api())?;
        let mut proxies = BTreeMap::new();
        for transport in Transport::ALL {
            proxies.insert(transport, lab.proxy(transport.name(), "server", &server, proxy::Fault::none())?);
        }
        let listening = Transport::PUSHED
            .map(|transport| (transport, Listening::begin(lab, transport, proxies[&transport].addr())));
        let poller = lab.client(Transport::Polling.name(), &proxies[&Transport::Polling]);
        let (polled, late, settled) = (Vec::new(), 0, 0);
        let listening = listening.into();
        let mut side = Self { proxies, listening, poller, polled, late, settled, feed, _server: server };
        side.connected(1).await?;
        Ok(side)
    }

    /// Waits until all who are pushed to have been connected so often, and the long poll waits.
    async fn connected(&mut self, times: u64) -> Result<()> {
        for (transport, listening) in &mut self.listening {
            if *transport != Transport::LongPolling {
                listening.until("connect", |inbox| inbox.connected == times).await?;
            }
        }
        self.long_poll_waits().await
    }

    async fn long_poll_waits(&self) -> Result<()> {
        let last = self.feed.published();
        self.feed.until("the long poll waits", |seen| seen.waiting_after.contains(&last)).await
    }

    /// Publishes, and waits until all who are pushed to have one price more for each.
    async fn tick(&mut self, count: usize) -> Result<()> {
        let before = self.listening.values().map(|it| it.inbox.borrow().numbers.len()).collect::<Vec<_>>();
        self.settled = self.feed.published();
        self.feed.publish(count, PRICE_BYTES);
        for (listening, before) in self.listening.values_mut().zip(before) {
            listening.until("prices of a tick", |inbox| inbox.numbers.len() >= before + count).await?;
        }
        Ok(())
    }

    /// Polls once.
    async fn poll(&mut self) -> Result<()> {
        let since = self.polled.last().copied().unwrap_or(0);
        let reply = self.poller.get(format!("/poll?since={since}")).await?;
        let prices: Vec<String> = reply.json()?;
        for price in prices {
            let number = number(&price)?;
            self.late += u64::from(number <= self.settled);
            self.polled.push(number);
        }
        Ok(())
    }

    /// Cuts every connection, publishes before anybody is back, and then as much again.
    async fn cut(&mut self) -> Result<()> {
        // A long poll has to be under way to be cut.
        self.long_poll_waits().await?;
        let cut = self.listening[&Transport::Socket].inbox.borrow().lost + 1;
        for proxy in self.proxies.values() {
            proxy.hang_up();
        }
        for listening in self.listening.values_mut() {
            listening.until("notice the cut", |inbox| inbox.lost == cut).await?;
        }
        self.feed.publish(3, PRICE_BYTES);
        self.listening.values().for_each(Listening::reconnect);
        self.connected(cut + 1).await?;
        // Whoever was connected again hears these, and before them whatever it had missed.
        self.feed.publish(3, PRICE_BYTES);
        let last = self.feed.published();
        for listening in self.listening.values_mut() {
            listening.until("prices after a cut", |inbox| inbox.numbers.last() == Some(&last)).await?;
        }
        Ok(())
    }

    fn bytes(&self) -> BTreeMap<Transport, u64> {
        let both = |proxy: &Proxy| proxy.bytes(Way::Request) + proxy.bytes(Way::Answer);
        self.proxies.iter().map(|(transport, proxy)| (*transport, both(proxy))).collect()
    }
}

/// Sends one price to the server and gets it back, with a proxy that counts the bytes.
async fn frame(lab: &Lab, p: &Params) -> Result<Frame> {
    lab.step("One price each way over a WebSocket, in bytes");
    let feed = Feed::new(p.server);
    let server = lab.serve("server", feed.api())?;
    let proxy = lab.proxy("page", "server", &server, proxy::Fault::none())?;
    let mut socket = lab.websocket("page", &proxy, "/socket", &[]).await??;
    let before = [Way::Request, Way::Answer].map(|way| proxy.bytes(way));
    socket.send("x".repeat(PRICE_BYTES)).await?;
    socket.receive().await.context("the server sends back what it is told")?;
    let [from_client, from_server] =
        [(Way::Request, before[0]), (Way::Answer, before[1])].map(|(way, before)| proxy.bytes(way) - before);
    socket.close().await?;
    Ok(Frame { payload: PRICE_BYTES as u64, from_server, from_client })
}

/// Says nothing for some rounds; one server beats, the other doesn't.
async fn idle(lab: &Lab, p: &Params) -> Result<Idle> {
    lab.step("A pause, behind a proxy that closes what is idle: one server pings, the other doesn't");
    let quiet = |build| -> Result<_> {
        let feed = Feed::new(build);
        let server = lab.serve("server", feed.api())?;
        let proxy = lab.proxy("page", "server", &server, proxy::Fault::none())?;
        Ok((feed, server, proxy))
    };
    let (silent, beating) = (quiet(Build::NoPings)?, quiet(p.server)?);
    let mut silent_page = lab.websocket("page", &silent.2, "/socket", &[]).await??;
    let mut beating_page = lab.websocket("page", &beating.2, "/socket", &[]).await??;
    let (mut silent_closed, mut beating_closed) = (0, 0);
    for round in 1..=QUIET_ROUNDS {
        for (feed, page) in [(&silent.0, &mut silent_page), (&beating.0, &mut beating_page)] {
            feed.beats.send_modify(|beats| *beats += 1);
            // A page that is pinged answers while it listens.
            let answered = feed.until("a pong", |seen| seen.pongs >= round);
            let pinged = feed.pings() && page.ended().is_none();
            if pinged {
                tokio::select! {
                    _ = page.receive() => {}
                    answered = answered => answered?,
                }
            }
        }
        silent_closed += silent.2.close_idle();
        beating_closed += beating.2.close_idle();
    }
    let mut got = Vec::new();
    for (feed, page) in [(&silent.0, &mut silent_page), (&beating.0, &mut beating_page)] {
        feed.publish(1, PRICE_BYTES);
        got.push(page.receive().await.is_some());
    }
    let pongs = beating.0.seen.borrow().pongs;
    Ok(Idle {
        rounds: QUIET_ROUNDS,
        pongs,
        silent_closed: silent_closed > 0,
        silent_got_news: got[0],
        beating_closed: beating_closed > 0,
        beating_got_news: got[1],
    })
}

/// Says what a client may not say, byte by byte, each on a connection of its own.
async fn wrong(lab: &Lab, p: &Params) -> Result<Vec<Wrong>> {
    lab.step("Frames that a client must not send");
    let server = lab.serve("server", Feed::new(p.server).api())?;
    let unmasked = b"\x81\x02hi".to_vec();
    let overlong = [0x81, 0xfe, 0x00, 0x02, 0, 0, 0, 0, b'h', b'i'].to_vec();
    let tries: [(&'static str, Vec<u8>, u16); 7] = [
        ("frame without a mask", unmasked, 1002),
        ("reserved bit", RawFrame::masked(0xc1, b"hi"), 1002),
        ("ping in fragments", RawFrame::masked(0x09, b"hi"), 1002),
        ("length in too many bytes", overlong, 1002),
        ("close code 1005", RawFrame::close(1005, b""), 1002),
        ("text that isn't UTF-8", RawFrame::masked(0x81, b"\xff"), 1007),
        ("5000 bytes where 4096 may be", RawFrame::masked(0x82, &[0; 5000]), 1009),
    ];
    let mut seen = Vec::new();
    for (what, bytes, expected) in tries {
        let mut raw = lab.raw_websocket(&server, "/socket").await?;
        raw.write(&bytes).await?;
        lab.trace().message("client", "server", what);
        let code = raw.frame().await?.and_then(|frame| frame.close_code()).unwrap_or(1006);
        lab.trace().message("server", "client", format_args!("close {code}"));
        seen.push(Wrong { what, code, expected });
    }
    Ok(seen)
}

/// Publishes more than the kernel keeps for a client that doesn't read, beside one that does.
async fn slow(lab: &Lab, p: &Params) -> Result<Slow> {
    lab.step("One client stops reading, another one keeps up");
    let feed = Feed::new(p.server);
    let server = lab.serve("server", feed.api())?;
    let head = "GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let sleeper = RawSocket::open(server.addr(), Some(SMALL_BUFFER), head.as_bytes()).await?;
    let mut reader = lab.websocket("reader", &server, "/socket", &[]).await??;
    let mut got = 0;
    for _ in 0..BURSTS {
        feed.publish(BURST, LARGE);
        for _ in 0..BURST {
            got += u64::from(reader.receive().await.is_some());
        }
    }
    // The kernel takes some megabytes for it; behind by the rest, it is cut off or waited for.
    let stuck = |seen: &server::Seen| seen.cut_off > 0 || seen.most_behind > 3 * MOST_BEHIND;
    feed.until("the client that doesn't read is behind", stuck).await?;
    drop(sleeper);
    let seen = feed.seen.borrow().clone();
    Ok(Slow {
        published: feed.published() as u64,
        reader_got: got,
        cut_off: seen.cut_off,
        most_behind: seen.most_behind as u64,
    })
}

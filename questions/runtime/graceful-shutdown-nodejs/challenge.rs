//! Close the shop without losing a customer.
//!
//! A server on `PORT`, in any language, that ends well when it is told to with SIGTERM.
//!
//! ```text
//! GET  /work?ms=300          200 {"id": 7} after 300 ms; each answer has an id of its own
//! GET  /ready                200, and 503 from SIGTERM on
//! GET  /events               200, text/event-stream: an event every 200 ms, until the program closes
//! POST /audit {"line": "…"}  202; the text becomes a line at the end of the file AUDIT_FILE, by the program's end at last
//! ```
//!
//! **SIGTERM.** For about 500 ms (at least 300) everything goes on as before, new connections too: a load balancer needs
//! that time to see that `/ready` fails. Then new connections are refused, and what is in flight is finished. From SIGTERM
//! on every answer says `Connection: close`. An event stream gets one last event, `event: bye` with any data, and its
//! proper end. At last the buffered lines are written, and the program exits with code 0.
//!
//! **No waiting for nothing.** A request is in flight from when its head has come whole until its answer is sent. A
//! connection without one (idle, silent, with half a head) holds nothing up: with nothing in flight, the program ends
//! within 2 seconds of SIGTERM.
//!
//! **The deadline.** `GRACE_MS`, 2,000 or more, is the time from SIGTERM to the SIGKILL of the platform. By then the
//! program has exited, with code 0 and its lines written, even if a request that runs longer has to be cut.
//!
//! **Impatience.** A second SIGTERM ends it at once, whatever is in flight, with another code than 0; to be killed by the
//! signal will do.

use crate::prelude::*;
use backlab_parts::Exit;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[path = "reference.rs"]
mod reference;

pub struct GracefulShutdownNodejs;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    DefaultAction,
    TimerKeepsItAlive,
    WaitsForConnections,
    ExitsInHandler,
    ExitsAfterPause,
    ClosesFirst,
    StaysReady,
    KeepsAccepting,
    KeepsAlive,
    WaitsForStreams,
    CutsStreams,
    NeverFlushes,
    FlushesFirst,
    NoDeadline,
    DeadlineIsFailure,
    DeadlineForgetsLines,
    IgnoresSecondSignal,
    SecondIsSuccess,
}

/// A grace period that no stage uses up.
const LONG: u32 = 8000;
/// How long a program with nothing in flight may take.
const SOON: Duration = Duration::from_secs(2);
/// What a busy machine gets beyond that, and beyond the grace period.
const SLACK: Duration = Duration::from_secs(1);
/// How long requests take to be read at the other end.
const ARRIVE: Duration = Duration::from_millis(200);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

const DEFAULT: &str = "Nothing in the program handles SIGTERM, whose default action is to end it.";
const TIMER: &str =
    "Something that runs for ever keeps the process alive: a timer, a loop, a connection to elsewhere.";
const CONNECTIONS: &str = "The program waits until all connections are closed, also those on which nothing is in flight: \
                           clients keep them open.";
const CUT: &str = "The program ends while requests are in flight.";
const FIRST: &str = "The port is closed at SIGTERM, before anybody could see that /ready fails.";
const READY: &str = "/ready knows nothing of SIGTERM.";
const ACCEPTS: &str = "The port stays open while the program finishes its work: it gets more and more of it.";
const ALIVE: &str =
    "Kept connections go on as if nothing were: without `Connection: close` a busy client never leaves.";
const STREAMS: &str = "The program waits for event streams to end, and nobody ends them.";
const STREAMS_CUT: &str = "Event streams are cut by the exit: nobody has told their clients.";
const NEVER: &str = "Lines are buffered, and the exit drops the buffer.";
const EARLY: &str =
    "The buffer is written at SIGTERM, and not again: what is answered during the pause is lost.";
const NO_DEADLINE: &str = "The program waits for the longest request, however long it takes.";
const FAILURE: &str =
    "The program exits with a code that says it failed; to close when one is told to is none.";
const FORGETS: &str = "At the deadline the program exits on the spot, and drops what it should do last.";
const IGNORES: &str = "A handler for SIGTERM takes the place of its default action for good, and this one does nothing \
                       the second time.";
const SUCCESS: &str = "The second signal ends the program with code 0, as if all were well.";

impl Challenge for GracefulShutdownNodejs {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        vec![
            stage("an idle program exits with 0 soon after SIGTERM, whoever is connected", idle)
                .catches(Bug::DefaultAction, DEFAULT)
                .catches(Bug::TimerKeepsItAlive, TIMER)
                .catches(Bug::WaitsForConnections, CONNECTIONS)
                .hint(
                    "Count the requests in flight. When there are none, end the process yourself instead of waiting \
                     until nothing keeps it alive.",
                ),
            stage("ten requests in flight are all answered", in_flight)
                .catches(Bug::ExitsInHandler, "The handler of SIGTERM ends the process, and with it what is in flight.")
                .catches(
                    Bug::ExitsAfterPause,
                    "The program exits after a fixed time, and doesn't look whether all is answered.",
                )
                .hint("In the handler only begin to close. Exit when the last answer is sent."),
            stage("/ready fails while new connections are still served, then they are refused", announces)
                .catches(Bug::ClosesFirst, FIRST)
                .catches(Bug::StaysReady, READY)
                .catches(Bug::KeepsAccepting, ACCEPTS)
                .hint("Three steps: set a flag that /ready looks at, wait 500 ms, close the listening socket."),
            stage("a client that keeps sending on one connection is told to leave", told_to_leave)
                .catches(Bug::KeepsAlive, ALIVE)
                .hint("From SIGTERM on, put `Connection: close` on every answer."),
            stage("an event stream gets a last event and its end", streams)
                .catches(Bug::WaitsForStreams, STREAMS)
                .catches(Bug::CutsStreams, STREAMS_CUT)
                .hint("Keep a set of the open streams; when the pause is over, write `event: bye` to each and end it."),
            stage("every line that was answered with 202 is in AUDIT_FILE", audits)
                .catches(Bug::NeverFlushes, NEVER)
                .catches(Bug::FlushesFirst, EARLY)
                .hint("Flush last: when nothing can come any more, and before the exit."),
            stage("a request longer than GRACE_MS is cut, and nothing else is lost", deadline)
                .catches(Bug::NoDeadline, NO_DEADLINE)
                .catches(Bug::DeadlineIsFailure, FAILURE)
                .catches(Bug::DeadlineForgetsLines, FORGETS)
                .hint(
                    "Start a timer at SIGTERM that is a little shorter than GRACE_MS. Both ways out lead through the \
                     same last steps.",
                ),
            stage("a second SIGTERM ends it at once, and not as a success", twice)
                .catches(Bug::IgnoresSecondSignal, IGNORES)
                .catches(Bug::SecondIsSuccess, SUCCESS)
                .hint("Handle the first signal only and give the second back its default action, or exit with 1."),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        reference::run(bug).await
    }
}

/// Starts the program, and waits until it is ready.
async fn open(g: &Grader, grace: u32) -> Graded<Subject> {
    let it = g
        .start(&[("AUDIT_FILE", &audit_file(g).display().to_string()), ("GRACE_MS", &grace.to_string())])
        .await?;
    it.get("/ready").await?.status(200)?;
    Ok(it)
}

fn audit_file(g: &Grader) -> PathBuf {
    g.lab().dir().join("audit.log")
}

/// Sends SIGTERM: that was when.
fn terminate(it: &Subject) -> Graded<Instant> {
    it.signal(Signal::SIGTERM)?;
    Ok(Instant::now())
}

/// Holds the end of the program against what it should be: code 0, so long after SIGTERM at most.
async fn ends(it: &Subject, since: Instant, within: Duration, late: &str) -> Graded {
    let Ok(exit) = it.exit((within + SLACK).saturating_sub(since.elapsed())).await else {
        let expected = format!("exit code 0 within {within:?}");
        return Err(
            Finding::wrong("the end of your program after SIGTERM", expected, "it still runs").because(late)
        );
    };
    let why = match exit {
        Exit::Code(0) => return Ok(()),
        Exit::Code(_) => FAILURE,
        Exit::Signal(_) => DEFAULT,
    };
    Err(Finding::wrong("how your program ended after SIGTERM", "exit code 0", exit).because(why))
}

async fn idle(g: &Grader) -> Graded {
    let alone = open(g, LONG).await?;
    alone.hang_up();
    let since = terminate(&alone)?;
    ends(&alone, since, SOON, TIMER).await?;
    let visited = open(g, LONG).await?;
    for answer in join_all((0..3).map(|_| visited.get("/work?ms=50").into_future())).await {
        answer?.status(200)?;
    }
    g.note("the three connections stay open; two more send nothing, and half a request");
    g.line("sleep 60 | nc 127.0.0.1 $PORT2 & (printf 'GET /ready HTTP/1.1\\r\\nHost:'; sleep 60) | nc 127.0.0.1 $PORT2 &");
    let _silent = connect(&visited, "").await?;
    let _half = connect(&visited, "GET /ready HTTP/1.1\r\nHost:").await?;
    let since = terminate(&visited)?;
    ends(&visited, since, SOON, CONNECTIONS).await
}

/// A connection of the grader's own, on which this was sent.
async fn connect(it: &Subject, text: &str) -> Graded<TcpStream> {
    let sent = async {
        let mut stream = TcpStream::connect(it.addr()).await?;
        stream.write_all(text.as_bytes()).await?;
        std::io::Result::Ok(stream)
    };
    sent.await.map_err(|error| Finding::wrong("a new connection", "it is accepted", error))
}

async fn in_flight(g: &Grader) -> Graded {
    let it = open(g, LONG).await?;
    let ms = g.number(800..1000);
    let calls = (0..10).map(|_| it.get(format!("/work?ms={ms}")).outcome());
    let told = async {
        tokio::time::sleep(ARRIVE).await;
        terminate(&it)
    };
    let (answers, since) = tokio::join!(join_all(calls), told);
    let since = since?;
    let (mut ids, mut lost) = (BTreeSet::new(), 0);
    for answer in answers {
        let Ok(answer) = answer else {
            lost += 1;
            continue;
        };
        let answer = answer.status(200)?;
        ids.insert(answer.field("id")?.to_string());
        if answer.took() + LOOK < Duration::from_millis(ms.into()) {
            return Err(answer.wrong(
                "the time",
                format!("{ms} ms at least"),
                format!("{:?}", answer.took()),
            ));
        }
    }
    if lost > 0 {
        let found = format!("{lost} got none, and {} were answered", 10 - lost);
        return Err(g.wrong(
            "the answers to ten requests that were in flight at SIGTERM",
            "all of them",
            found,
        ));
    }
    g.expect(
        "the ids of ten answers",
        format!("{} different ones", ids.len()),
        "10 different ones".to_owned(),
    )?;
    ends(&it, since, Duration::from_millis(LONG.into()), CONNECTIONS).await
}

async fn announces(g: &Grader) -> Graded {
    for _ in 0..3 {
        if announces_it(g).await? {
            return Ok(());
        }
    }
    Err(anyhow!("this machine is too busy to look at a program several times in 500 ms").into())
}

/// Whether enough was seen of the pause to judge it.
async fn announces_it(g: &Grader) -> Graded<bool> {
    const WHAT: &str = "new connections after SIGTERM, while a request is in flight";
    let it = open(g, LONG).await?;
    let _work = tokio::spawn(it.get("/work?ms=4000").outcome());
    tokio::time::sleep(ARRIVE).await;
    let (since, mut fails, mut newest, mut served) = (terminate(&it)?, false, Duration::ZERO, false);
    let closed = loop {
        let asked = since.elapsed();
        if asked > Duration::from_secs(3) {
            let wrong = g.wrong(WHAT, "refused after about 500 ms", "still accepted after 3 s");
            return Err(wrong.because(ACCEPTS));
        }
        let Ok(ready) = it.fresh().get("/ready").outcome().await else { break since.elapsed() };
        newest = asked;
        fails |= ready.code() != 200;
        if fails {
            ready.status(503)?;
            if !served && let Ok(work) = it.fresh().get("/work?ms=1").outcome().await {
                work.status(200)?;
                served = true;
            }
        }
        tokio::time::sleep(LOOK).await;
    };
    if closed < Duration::from_millis(300) {
        let found = format!("refused after {} ms", closed.as_millis());
        return Err(g.wrong(WHAT, "accepted for about 500 ms, then refused", found).because(FIRST));
    }
    if !fails && newest > Duration::from_millis(250) {
        let found = "200, until new connections were refused";
        return Err(g.wrong("the status of GET /ready after SIGTERM", "503", found).because(READY));
    }
    Ok(fails)
}

async fn told_to_leave(g: &Grader) -> Graded {
    const WITHIN: Duration = Duration::from_secs(2);
    let grace = g.number(4000..5000);
    let it = open(g, grace).await?;
    let one_more = || it.get("/work?ms=20");
    for _ in 0..3 {
        one_more().await?.status(200)?;
    }
    g.note("on one connection");
    let (since, mut told) = (terminate(&it)?, Duration::ZERO);
    loop {
        let asked = since.elapsed();
        let Ok(answer) = one_more().outcome().await else {
            // Nobody keeps a silent connection for us: we have to speak within the pause to be told.
            if asked - told > ARRIVE {
                return Err(anyhow!("this machine is too busy to keep a connection busy").into());
            }
            let found = format!("closed after {} ms without it", since.elapsed().as_millis());
            let wrong =
                g.wrong("a connection on which requests follow each other", "Connection: close first", found);
            return Err(wrong.because("A kept connection is closed, and its client had not been told."));
        };
        told = since.elapsed();
        let answer = answer.status(200)?;
        let connection = answer.find_header("Connection").unwrap_or("no such header");
        if connection.eq_ignore_ascii_case("close") {
            break;
        }
        if since.elapsed() > WITHIN {
            let expected = format!("close, {WITHIN:?} after SIGTERM");
            return Err(answer.wrong("the header Connection", expected, connection).because(ALIVE));
        }
    }
    ends(&it, since, Duration::from_millis(grace.into()), CONNECTIONS).await
}

async fn streams(g: &Grader) -> Graded {
    let grace = g.number(2500..3000);
    let it = open(g, grace).await?;
    g.line("curl -i -N http://127.0.0.1:$PORT/events & sleep 1");
    let mut stream = connect(&it, "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await?;
    let mut came = Vec::new();
    let two_events = |came: &[u8]| came.windows(5).filter(|it| it == b"data:").count() >= 2;
    let more = read(&mut stream, &mut came, Duration::from_secs(3), two_events).await;
    let head = String::from_utf8_lossy(&came).to_lowercase();
    if more != Read::Enough || !head.contains(" 200 ") || !head.contains("text/event-stream") {
        let expected = "200, text/event-stream, an event every 200 ms";
        return Err(g.wrong("what came of GET /events in 3 s", expected, String::from_utf8_lossy(&came)));
    }
    let since = terminate(&it)?;
    let end = read(&mut stream, &mut came, Duration::from_millis(grace.into()) + SLACK, |_| false).await;
    let (events, whole) = events_of(&came);
    let wrong = |what, expected, found: &str| Err(g.wrong(what, expected, found));
    if end == Read::Late {
        return wrong("the event stream when the grace period is over", "closed", "still open")
            .because(STREAMS);
    }
    if !events.last().is_some_and(|it| it.lines().any(|line| line.replace(' ', "") == "event:bye")) {
        let found = events.last().map_or("nothing", String::as_str);
        let cause =
            if since.elapsed() + SLACK > Duration::from_millis(grace.into()) { STREAMS } else { STREAMS_CUT };
        return wrong("the last event of the stream", "event: bye", found).because(cause);
    }
    if !whole || end == Read::Reset {
        return wrong("the end of the stream", "the last chunk, then the connection is closed", "it is cut");
    }
    ends(&it, since, Duration::from_millis(grace.into()), STREAMS).await
}

/// How reading ended.
#[derive(PartialEq)]
enum Read {
    Enough,
    Closed,
    Reset,
    Late,
}

/// Reads until that is enough, the connection is closed, or it's late.
async fn read(
    stream: &mut TcpStream,
    came: &mut Vec<u8>,
    within: Duration,
    enough: impl Fn(&[u8]) -> bool,
) -> Read {
    let reading = async {
        loop {
            match stream.read_buf(came).await {
                Ok(0) => return Read::Closed,
                Ok(_) if enough(came) => return Read::Enough,
                Ok(_) => {}
                Err(_) => return Read::Reset,
            }
        }
    };
    tokio::time::timeout(within, reading).await.unwrap_or(Read::Late)
}

/// The events in an answer, and whether it is whole: a chunked one (RFC 9112, section 7.1) ends with an empty chunk.
fn events_of(answer: &[u8]) -> (Vec<String>, bool) {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let (mut text, mut whole, mut rest) = (String::new(), false, body);
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
            let Ok(size) = size else { break };
            whole |= size == 0;
            text.push_str(after.get(..size).unwrap_or(after));
            rest = after.get(size + 2..).unwrap_or_default();
        }
    } else {
        (text, whole) = (body.to_owned(), true);
    }
    let events = text.replace("\r\n", "\n");
    let events = events.split("\n\n").map(str::trim).filter(|it| !it.is_empty());
    (events.map(str::to_owned).collect(), whole)
}

async fn audits(g: &Grader) -> Graded {
    let before = g.word();
    std::fs::write(audit_file(g), format!("{before}\n")).context("write AUDIT_FILE")?;
    g.line("# AUDIT_FILE has a line already, which has to stay");
    let it = open(g, LONG).await?;
    let mut lines = vec![before];
    for _ in 0..6 {
        let some = g.words::<5>();
        for answer in join_all(some.iter().map(|line| audit(&it, line).into_future())).await {
            answer?.status(202)?;
        }
        lines.extend(some);
    }
    let (early, since) = (lines.len(), terminate(&it)?);
    while since.elapsed() < SOON + SLACK {
        let line = g.word();
        let Ok(answer) = audit(&it.fresh(), &line).outcome().await else { break };
        answer.status(202)?;
        lines.push(line);
        tokio::time::sleep(LOOK).await;
    }
    ends(&it, since, Duration::from_millis(LONG.into()), CONNECTIONS).await?;
    let missing = missing(g, &lines)?;
    g.line("cat $AUDIT_FILE");
    let Some((at, line)) = missing.first() else { return Ok(()) };
    let what = format!("how many of {} lines that were answered with 202 AUDIT_FILE lacks", lines.len() - 1);
    let found = format!("{}, such as `{line}`", missing.len());
    let cause = match at {
        0 => "The file is written anew; it has to be appended to.",
        at if *at < early => NEVER,
        _ => EARLY,
    };
    Err(g.wrong(what, "none", found).because(cause))
}

fn audit(it: &Subject, line: &str) -> Call {
    it.post("/audit").json(&json!({ "line": line }))
}

/// Those that aren't lines of `AUDIT_FILE`, with their places in the list.
fn missing<'a>(g: &Grader, lines: &'a [String]) -> Graded<Vec<(usize, &'a String)>> {
    let text = std::fs::read_to_string(audit_file(g)).unwrap_or_default();
    let written: BTreeSet<&str> = text.lines().collect();
    Ok(lines.iter().enumerate().filter(|(_, line)| !written.contains(line.as_str())).collect())
}

async fn deadline(g: &Grader) -> Graded {
    let grace = g.number(2200..2600);
    let it = open(g, grace).await?;
    let lines = g.words::<3>();
    for line in &lines {
        audit(&it, line).await?.status(202)?;
    }
    // Its client stays to the end: a program may forget a request whose client has left.
    let endless = async {
        let _ = it.get("/work?ms=60000").deadline(Duration::from_secs(60)).outcome().await;
        std::future::pending().await
    };
    let others = async {
        let calls = (0..5).map(|_| it.get("/work?ms=900").outcome());
        let told = async {
            tokio::time::sleep(ARRIVE).await;
            terminate(&it)
        };
        let (answers, since) = tokio::join!(join_all(calls), told);
        let answered = answers.iter().flatten().filter(|it| it.code() == 200).count();
        let what = "of five requests of 900 ms beside one of 60 s, those that were answered";
        g.expect(what, answered, 5).because(CUT)?;
        ends(&it, since?, Duration::from_millis(grace.into()), NO_DEADLINE).await
    };
    tokio::select! {
        biased;
        graded = endless => graded,
        graded = others => graded,
    }?;
    g.line("cat $AUDIT_FILE");
    let missing = missing(g, &lines)?;
    let Some((_, line)) = missing.first() else { return Ok(()) };
    let found = format!("{}, such as `{line}`", missing.len());
    let what = "how many of 3 lines that were answered with 202 AUDIT_FILE lacks after the deadline";
    Err(g.wrong(what, "none", found).because(FORGETS))
}

async fn twice(g: &Grader) -> Graded {
    const WHAT: &str = "the end of your program after a second SIGTERM";
    let it = open(g, 10_000).await?;
    let _work = tokio::spawn(it.get("/work?ms=8000").outcome());
    tokio::time::sleep(ARRIVE).await;
    let since = terminate(&it)?;
    // Two signals of one kind that wait for a program are one to it, so the first has to be seen to have arrived.
    while since.elapsed() < SOON && it.fresh().get("/ready").outcome().await.is_ok_and(|it| it.code() == 200)
    {
        tokio::time::sleep(LOOK).await;
    }
    if let Some(exit) = it.ended() {
        let expected = "it runs until the request in flight is answered";
        return Err(g.wrong("your program after one SIGTERM", expected, exit).because(CUT));
    }
    terminate(&it)?;
    match it.exit(SOON + SLACK).await {
        Ok(Exit::Code(0)) => Err(g.wrong(WHAT, "another exit code than 0", "exit code 0").because(SUCCESS)),
        Ok(_) => Ok(()),
        Err(_) => Err(g.wrong(WHAT, "at once", "it still runs after 3 s").because(IGNORES)),
    }
}

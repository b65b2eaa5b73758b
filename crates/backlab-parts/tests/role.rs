//! Roles are real processes. They are played by this test program itself: in a child, the first test that opens its
//! lab plays the role and ends the process.

use backlab_parts::role::{self, Role};
use backlab_parts::{Event, Exit, Fate, Lab, Trace};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

const ECHO: Role = Role { name: "test/echo", play: |args| Box::pin(echo(args)) };
const BROKEN: Role =
    Role { name: "test/broken", play: |_| Box::pin(async { anyhow::bail!("the disk is on fire") }) };
const PANICKY: Role = Role { name: "test/panicky", play: |_| Box::pin(async { panic!("oh no") }) };
const ABORTED: Role = Role { name: "test/aborted", play: |_| Box::pin(async { std::process::abort() }) };
const UNKNOWN: Role = Role { name: "test/unknown", play: |_| Box::pin(async { Ok(()) }) };

async fn echo(args: Vec<String>) -> anyhow::Result<()> {
    role::say(format_args!("ready with {args:?}, pid {}", std::process::id()));
    let trace = role::trace();
    while let Some(line) = role::hear().await {
        trace.message("starter", "echo", &line);
        trace.trouble("echo", "is tired");
        role::say(format_args!("heard {line}"));
    }
    Ok(())
}

fn lab() -> anyhow::Result<Lab> {
    role::play_if_asked([ECHO, BROKEN, PANICKY, ABORTED]);
    Lab::open(1, Trace::default())
}

#[tokio::test]
async fn a_role_is_a_process_that_hears_and_answers_and_ends_with_its_function() {
    let lab = lab().unwrap();
    let mut echo = lab.role("echo", &ECHO, ["a b", "\"c\"\n"]).await.unwrap();
    let ready = format!("ready with [\"a b\", \"\\\"c\\\"\\n\"], pid {}", echo.pid());
    echo.line(SOON, |line| (line == ready).then_some(())).await.unwrap();
    assert_ne!(echo.pid(), std::process::id().cast_signed());
    let played = echo.lines().iter().filter(|line| line.starts_with("ready")).count();
    assert_eq!(played, 1, "although each of these tests would play it");
    echo.say("hello").await.unwrap();
    echo.line(SOON, |line| (line == "heard hello").then_some(())).await.unwrap();
    let events = lab.trace().events(1);
    assert!(
        matches!(&events[..], [
            Event::Message { from, to, what, fate: Fate::Arrived, .. },
            Event::Note { at, fate: Fate::Refused, .. },
        ] if (&from[..], &to[..], &what[..], &at[..]) == ("starter", "echo", "hello", "echo")),
        "{events:?}"
    );
    echo.close_stdin();
    assert_eq!(echo.wait(SOON).await.unwrap(), Exit::Code(0));
    lab.close().await;
}

#[tokio::test]
async fn a_role_can_be_killed_and_ends_with_its_run() {
    let lab = lab().unwrap();
    let killed = lab.role("killed", &ECHO, ["1"]).await.unwrap();
    killed.line(SOON, |line| line.strip_prefix("ready").map(drop)).await.unwrap();
    assert_eq!(killed.kill().await.unwrap(), Exit::Signal(9));

    let left = lab.role("left", &ECHO, ["2"]).await.unwrap();
    left.line(SOON, |line| line.strip_prefix("ready").map(drop)).await.unwrap();
    lab.close().await;
    assert_eq!(left.wait(SOON).await.unwrap(), Exit::Signal(9));
}

#[tokio::test]
async fn a_role_that_fails_says_why() {
    let lab = lab().unwrap();
    let none: [&str; 0] = [];
    for (role, code, why) in [
        (&BROKEN, 1, "test/broken: the disk is on fire"),
        (&PANICKY, 101, ""),
        (&UNKNOWN, 2, "BACKLAB_ROLE asks for [\"test/unknown\"], which no experiment of this program has"),
    ] {
        let process = lab.role("broken", role, none).await.unwrap();
        assert_eq!(process.wait(SOON).await.unwrap(), Exit::Code(code), "{}", role.name);
        assert!(process.lines().iter().any(|line| line == why) || why.is_empty(), "{:?}", process.lines());
    }
    lab.close().await;
}

#[tokio::test]
async fn a_role_that_aborts_is_in_the_trace() {
    let lab = lab().unwrap();
    let none: [&str; 0] = [];
    let process = lab.role("doomed", &ABORTED, none).await.unwrap();
    assert_eq!(process.wait(SOON).await.unwrap(), Exit::Signal(6));
    let died = |event: &Event| matches!(event, Event::Note { at, what, .. } if at == "doomed" && what == "died: SIGABRT");
    assert!(lab.trace().events(0).iter().any(died), "{:?}", lab.trace().events(0));
    lab.close().await;
}

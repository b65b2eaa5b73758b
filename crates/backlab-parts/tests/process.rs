//! Processes end with their run, whatever they do about it.

use backlab_parts::{Exit, Lab, Spec, Trace};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_process_is_ready_when_it_says_so_and_ends_with_its_exit_code() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let spec = Spec::new("sh").args(["-c", "echo port=7; read line; echo got $line; exit 3"]);
    let mut child = lab.process("child", spec).await.unwrap();
    let port = child.line(SOON, |line| line.strip_prefix("port=")?.parse::<u16>().ok()).await.unwrap();
    assert_eq!(port, 7);
    child.say("hello").await.unwrap();
    child.line(SOON, |line| (line == "got hello").then_some(())).await.unwrap();
    assert_eq!(child.wait(SOON).await.unwrap(), Exit::Code(3));
    let late = child.line(SOON, |line| line.strip_prefix("never")?.parse::<u16>().ok()).await.unwrap_err();
    assert!(late.to_string().contains("ended before it was ready; it said:\nport=7\ngot hello"), "{late}");
    lab.close().await;
}

#[tokio::test]
async fn the_end_of_a_run_ends_even_what_left_its_process_group() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let dir = lab.dir().to_owned();
    let spec = Spec::new("sh").args(["-c", "setsid sleep 1000 & echo pid=$!; sleep 1000"]);
    let child = lab.process("parent", spec).await.unwrap();
    let escaped = child.line(SOON, |line| line.strip_prefix("pid=")?.parse::<u32>().ok()).await.unwrap();
    let alive =
        |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z "));
    assert!(alive(escaped));
    drop(child);
    lab.close().await;
    let gone = async {
        while alive(escaped) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the process in another session is gone too");
    assert!(!dir.exists(), "the run's directory is gone");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let error = lab.process("ghost", Spec::new("/no/such/program")).await.unwrap_err();
    assert!(format!("{error:#}").starts_with("start `/no/such/program` as ghost: No such file"), "{error:#}");
}

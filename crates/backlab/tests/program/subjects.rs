//! Programs that do the worst to the grader: it survives each, says what is the matter, and leaves nothing behind.

use crate::common::{command, stderr, stdout};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// Reads PORT and listens, for programs that go wrong only later; `talk(client)` has to follow.
const LISTENS: &str = r"
import os, socket, sys, threading, time
def serve(talk, port=None):
    server = socket.create_server(('127.0.0.1', port or int(os.environ['PORT'])), backlog=512)
    while True:
        client, _ = server.accept()
        threading.Thread(target=talk, args=(client,), daemon=True).start()
";

/// Writes a Python program and checks it.
fn check(home: &Path, program: &str, options: &[&str]) -> Value {
    let file = home.join("subject.py");
    std::fs::write(&file, format!("{LISTENS}{program}")).unwrap();
    let mut args = vec!["check", "http-methods", "--json"];
    args.extend(options);
    args.extend(["--", "python3", file.to_str().unwrap()]);
    let output = command(home, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// What the first stage found.
fn failure(grade: &Value) -> &Value {
    assert_eq!(grade["stages"][0]["verdict"], "failed", "{grade}");
    &grade["stages"][0]["failure"]
}

fn says(failure: &Value, member: &str, words: &str) {
    assert!(failure[member].to_string().contains(words), "`{member}` should say `{words}`: {failure:#}");
}

/// Processes that run a file of this directory.
fn left_behind(home: &Path) -> Vec<String> {
    let lines = |pid: std::path::PathBuf| std::fs::read(pid.join("cmdline")).ok();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|it| lines(it.path()));
    let lines = processes.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(home.to_str().unwrap())).collect()
}

#[test]
fn one_that_never_listens_is_told_so_with_what_it_printed() {
    let home = tempfile::tempdir().unwrap();
    let grade = check(
        home.path(),
        "print('waiting for the database', flush=True); time.sleep(60)",
        &["--patience", "1"],
    );
    says(failure(&grade), "found", "listens on no port after 1s");
    says(failure(&grade), "output", "waiting for the database");
    assert_eq!(left_behind(home.path()), [""; 0]);
}

#[test]
fn one_that_listens_elsewhere_is_told_where() {
    let home = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let grade = check(home.path(), &format!("serve(print, {port})"), &["--patience", "1"]);
    says(failure(&grade), "found", &format!("listens on port {port}"));
    says(failure(&grade), "causes", "read PORT from the environment");
}

#[test]
fn one_that_ends_at_once_is_told_its_exit_code_and_its_last_words() {
    let home = tempfile::tempdir().unwrap();
    let grade = check(home.path(), "sys.exit('no configuration')", &[]);
    says(failure(&grade), "found", "exit code 1");
    says(failure(&grade), "output", "no configuration");
}

#[test]
fn one_that_dies_in_the_middle_is_told_so() {
    let home = tempfile::tempdir().unwrap();
    let grade =
        check(home.path(), "serve(lambda client: (print('out of luck', flush=True), os._exit(3)))", &[]);
    says(failure(&grade), "found", "your program ended, exit code 3");
    says(failure(&grade), "output", "out of luck");
}

#[test]
fn one_that_prints_without_end_fills_no_memory() {
    let home = tempfile::tempdir().unwrap();
    let flood = "
def flood():
    while True:
        os.write(1, b'x' * 65536)
        os.write(2, b'a line\\n' * 1000)
threading.Thread(target=flood, daemon=True).start()
serve(lambda client: (client.recv(1000), client.close()))";
    let grade = check(home.path(), flood, &[]);
    says(failure(&grade), "found", "the connection was closed");
    let output = failure(&grade)["output"].as_array().unwrap();
    assert!(output.len() <= 30, "{} lines", output.len());
    assert!(output.iter().all(|line| line.as_str().unwrap().len() <= 500), "long lines are cut");
}

#[test]
fn one_that_forks_without_end_is_ended_with_all_its_children() {
    let home = tempfile::tempdir().unwrap();
    let bomb = "
def bomb(client):
    while True:
        if os.fork() == 0:
            os.setsid()
            time.sleep(100)
serve(bomb)";
    let grade = check(home.path(), bomb, &[]);
    says(failure(&grade), "found", "it may have 100; all of them were ended");
    assert_eq!(left_behind(home.path()), [""; 0]);
}

#[test]
fn one_that_takes_too_much_memory_is_ended() {
    let home = tempfile::tempdir().unwrap();
    let grade =
        check(home.path(), "serve(lambda client: [bytearray(50 << 20) for n in range(1000)] and None)", &[]);
    says(failure(&grade), "found", "MiB of memory; it may have 1024");
}

#[test]
fn one_that_answers_garbage_sees_what_came() {
    let home = tempfile::tempdir().unwrap();
    let grade = check(
        home.path(),
        "serve(lambda client: (client.recv(1000), client.sendall(b'hello there'), client.close()))",
        &[],
    );
    says(failure(&grade), "found", "hello there");
    says(failure(&grade), "causes", "isn't HTTP");
}

#[test]
fn one_that_answers_a_byte_a_second_is_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let slow = "
def drip(client):
    client.recv(1000)
    for byte in b'HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\n' + b'x' * 100:
        client.sendall(bytes([byte])); time.sleep(1)
serve(drip)";
    let began = Instant::now();
    let grade = check(home.path(), slow, &[]);
    says(failure(&grade), "expected", "a whole answer within 5s");
    assert!(began.elapsed() < Duration::from_secs(60), "it is bounded");
}

/// A stage that kills the program must not speak to what that left behind.
#[tokio::test(flavor = "multi_thread")]
async fn one_whose_child_keeps_the_port_is_told_so() {
    use backlab_parts::{Lab, Spec, Trace};
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keeper.py");
    let keeper = "
if os.fork() == 0:
    os.setsid()
    serve(lambda client: client.close())
time.sleep(100)";
    std::fs::write(&file, format!("{LISTENS}{keeper}")).unwrap();
    let lab = Lab::open(1, Trace::default()).unwrap();
    let subject =
        lab.subject("program", Spec::new("python3").arg(&file), Duration::from_secs(10)).await.unwrap();
    let error = subject.kill().await.unwrap_err().to_string();
    assert!(error.contains("left its process group"), "{error}");
    lab.close().await;
    assert_eq!(left_behind(home.path()), [""; 0]);
}

#[test]
fn a_program_that_isnt_there_is_no_failure_of_its_author() {
    let home = tempfile::tempdir().unwrap();
    let output =
        command(home.path(), &["check", "http-methods", "--", "pyhton3", "main.py"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("pyhton3") && said.contains("No such file"), "{said}");
}

/// What a failure says to type gives the answer that the grader got.
#[test]
fn what_a_failure_says_to_type_shows_the_fault_again() {
    let home = tempfile::tempdir().unwrap();
    let program = crate::common::BACKLAB;
    for bug in ["merges-fields", "truncates-first", "one-allow-for-all", "counts-writes"] {
        let args =
            ["check", "http-methods", "--json", "--", program, "reference", "http-methods", "--bug", bug];
        let output = command(home.path(), &args).output().unwrap();
        let grade: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let stages = grade["stages"].as_array().unwrap();
        let failure = stages.iter().find_map(|it| it["failure"].as_object()).unwrap();
        let lines: Vec<&str> =
            failure["script"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (last, before) = lines.split_last().unwrap();
        let script = format!("{}\nexec 3>&1 >/dev/null\n{last} >&3\nkill $P1", before.join("\n"));
        let script = script.replace("PORT=8080", &format!("PORT={port}"));
        let typed = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let typed = stdout(&typed).replace("\r\n", "\n");
        let seen = typed.rfind("HTTP/1.1").map_or("", |at| &typed[at..]);
        let without_date = |text: &str| {
            let lines = text.trim_end().lines().filter(|line| !line.starts_with("date: "));
            lines.map(|line| format!("{}\n", line.trim_end())).collect::<String>()
        };
        let came = without_date(failure["came"].as_str().unwrap_or_default());
        assert_eq!(without_date(seen), came, "{bug}: {script}");
    }
}

//! What must be true of every challenge: our own program passes, and each bug is caught by its stage, with a message
//! that was read by somebody.

use crate::common::{BACKLAB, backlab, stdout};
use backlab_engine::{Assignment, Command, ErasedStage, Grade, Mark};
use backlab_questions::{ALL, Challenge, Question};
use futures::StreamExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// All questions that have one, with their challenges; while one is written, `CHALLENGE=slug` is that one alone.
fn challenges() -> impl Iterator<Item = (&'static Question, &'static Challenge)> {
    let only = std::env::var("CHALLENGE").ok();
    let wanted = move |it: &&Question| only.as_ref().is_none_or(|slug| it.page.slug == slug);
    ALL.iter().filter(wanted).filter_map(|question| Some((question, question.challenge.as_ref()?)))
}

/// Grades a program in this process.
async fn grade(challenge: &Challenge, command: &[String], keep_going: bool) -> Grade {
    let assignment = Assignment {
        command: Command::of_words(command).unwrap(),
        seed: 11,
        only: None,
        keep_going,
        patience: Duration::from_secs(20),
        cancel: CancellationToken::new(),
        told: &mut |_, _| (),
        hold: None,
    };
    challenge.graded.grade(assignment).await.unwrap()
}

/// Our own program, as one starts it.
fn reference(question: &Question, bug: Option<&str>) -> Vec<String> {
    let words = [BACKLAB, "reference", question.page.slug];
    let bug = bug.map(|bug| ["--bug", bug]).into_iter().flatten();
    words.into_iter().chain(bug).map(str::to_owned).collect()
}

fn describe(grade: &Grade) -> String {
    let stages = grade.stages.iter().filter(|it| !matches!(it.mark, Mark::Passed | Mark::NotRun));
    stages.map(|it| format!("{}: {} {:?} {:?}", it.says, it.mark, it.failure, it.unsure)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_program_passes_every_stage() {
    for (question, challenge) in challenges() {
        let grade = grade(challenge, &reference(question, None), false).await;
        assert!(grade.is_complete(), "{}: {}", question.page.slug, describe(&grade));
    }
}

/// Right programs in other languages, so that the grader doesn't think in Rust.
#[tokio::test(flavor = "multi_thread")]
async fn solutions_in_other_languages_pass_every_stage() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/solutions");
    for (extension, interpreter) in [("mjs", "node"), ("py", "python3")] {
        let mut passed = 0;
        for (question, challenge) in challenges() {
            let file = folder.join(question.page.slug).with_extension(extension);
            if file.exists() {
                let command = [interpreter.to_owned(), file.display().to_string()];
                let grade = grade(challenge, &command, false).await;
                assert!(grade.is_complete(), "{}: {}", file.display(), describe(&grade));
                passed += 1;
            }
        }
        let alone = std::env::var_os("CHALLENGE").is_some();
        assert!(
            passed >= 3 || alone,
            "{passed} solutions for {interpreter}: {} needs three",
            folder.display()
        );
    }
}

/// With a bug, a program passes the stages before the one that catches it, and fails just there.
#[tokio::test(flavor = "multi_thread")]
async fn every_bug_is_caught_at_its_stage() {
    let bugs = challenges().flat_map(|(question, challenge)| {
        let stages = (challenge.graded.stages)().into_iter().enumerate();
        stages.flat_map(move |(at, stage)| {
            stage.bugs.into_iter().map(move |bug| (question, challenge, at, bug))
        })
    });
    let caught = futures::stream::iter(bugs).map(|(question, challenge, at, bug)| async move {
        let grade = grade(challenge, &reference(question, Some(&bug.name)), false).await;
        let name = format!("{} --bug {}", question.page.slug, bug.name);
        let first = grade.stages.iter().position(|it| it.mark != Mark::Passed);
        let told = describe(&grade);
        if first != Some(at) {
            let stage = first.map(|it| it + 1);
            return Some(format!("{name}: caught by stage {stage:?}, not by its own, {}: {told}", at + 1));
        }
        let Some(failure) = &grade.stages[at].failure else {
            return Some(format!("{name}: its stage must fail, and only couldn't tell: {told}"));
        };
        transcript(question, &bug.name, &failure.to_string())
    });
    let strays: Vec<String> = caught.buffer_unordered(4).filter_map(|it| async { it }).collect().await;
    assert!(
        strays.is_empty(),
        "(of a changed message, read it; UPDATE_TRANSCRIPTS=1 keeps it)\n{}",
        strays.join("\n")
    );
}

/// Holds a message against the one that was kept; says the difference. In a kept one `<any>` stands for what differs
/// from run to run within a line, and `<lines>` for any number of lines: requests that race come in no order.
fn transcript(question: &Question, bug: &str, told: &str) -> Option<String> {
    let told = steady(told);
    let file = transcripts().join(question.page.slug).join(format!("{bug}.txt"));
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if matches(&kept, &told) {
        return None;
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::create_dir_all(file.parent()?).unwrap();
        std::fs::write(&file, &told).unwrap();
        return None;
    }
    Some(format!("--- {}\n{kept}\n--- now\n{told}", file.display()))
}

/// Whether the text is what was kept, but for what stands for anything.
fn matches(kept: &str, text: &str) -> bool {
    let next = [kept.find("<any>").map(|at| (at, "<any>")), kept.find("<lines>").map(|at| (at, "<lines>"))];
    let Some((at, token)) = next.into_iter().flatten().min() else { return kept == text };
    let Some(rest) = text.strip_prefix(&kept[..at]) else { return false };
    let after = &kept[at + token.len()..];
    let end = if token == "<any>" { rest.find('\n').unwrap_or(rest.len()) } else { rest.len() };
    let mut ends = (0..=end).filter(|end| rest.is_char_boundary(*end));
    ends.any(|end| matches(after, &rest[end..]))
}

fn transcripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// The message without what differs from run to run: where the program lies, and what it drew at random.
fn steady(told: &str) -> String {
    // Of the names that a program draws, a few look as if a person had chosen them.
    let told = told.replace(BACKLAB, "backlab").replace("  # with what your program answered", "");
    told.lines().map(mask).collect::<Vec<_>>().join("\n") + "\n"
}

/// Long runs of hexadecimal digits are random values of the program, and ports of the grader's own servers vary.
fn mask(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        masked.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_hex = word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
        let is_port =
            masked.ends_with("127.0.0.1:") && word.len() == 5 && word.chars().all(|c| c.is_ascii_digit());
        masked.push_str(if is_hex {
            "<random>"
        } else if is_port {
            "<port>"
        } else {
            word
        });
        rest = after;
    }
    masked + rest
}

#[test]
fn every_stage_names_its_bugs_and_the_way_out() {
    for (question, challenge) in challenges() {
        let slug = question.page.slug;
        let stages = (challenge.graded.stages)();
        assert!((4..=8).contains(&stages.len()), "{slug}: 4 to 8 stages, not {}", stages.len());
        for stage in &stages {
            let says = stage.says;
            assert!(!stage.bugs.is_empty(), "{slug}: name the bug that `{says}` catches");
            assert!(stage.hint.ends_with(['.', '?']), "{slug}: a hint for `{says}`, in whole sentences");
            let sentence = |it: &backlab_engine::Bug| it.probably.ends_with('.');
            assert!(
                stage.bugs.iter().all(sentence),
                "{slug}: say in a sentence what the bug of `{says}` does"
            );
        }
        let names = |it: ErasedStage| it.bugs.into_iter().map(|bug| bug.name);
        let mut names: Vec<_> = stages.into_iter().flat_map(names).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{slug}: each bug belongs to one stage");
        assert!(!challenge.contract.is_empty(), "{slug}: the contract stands at the head of challenge.rs");
        assert!(
            !challenge.notes_html.is_empty(),
            "{slug}: say at the head of reference.rs what it trades away"
        );
    }
}

/// A program that gives one answer to everything gets through one stage at the most.
#[tokio::test(flavor = "multi_thread")]
async fn a_constant_answer_passes_no_second_stage() {
    const CONSTANTS: [&str; 4] = ["200 {}", "201 {\"id\": 1}", "404 ", "204 "];
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("constant.py");
    std::fs::write(&program, CONSTANT).unwrap();
    for (question, challenge) in challenges() {
        for constant in CONSTANTS {
            let command = ["python3", program.to_str().unwrap(), constant].map(str::to_owned);
            let grade = grade(challenge, &command, true).await;
            let passed: Vec<_> =
                grade.stages.iter().filter(|it| it.mark == Mark::Passed).map(|it| &it.says).collect();
            assert!(passed.len() <= 1, "{}: always `{constant}` passes {passed:?}", question.page.slug);
        }
    }
}

/// Answers everything alike, or prints one thing where it isn't given a port.
const CONSTANT: &str = r#"
import os, socket, sys, threading
status, _, body = sys.argv[1].partition(" ")
if "PORT" not in os.environ:
    sys.exit(print(body))
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=512)
answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nETag: \"1\"\r\nLocation: /1\r\nConnection: close\r\n\r\n{body}"
def talk(client):
    with client:
        head = client.recv(65536)
        if head:
            client.sendall(answer.encode())
while True:
    client, _ = server.accept()
    threading.Thread(target=talk, args=(client,), daemon=True).start()
"#;

#[test]
fn every_starter_starts_and_fails_the_first_stage() {
    const LANGUAGES: [(&str, &[&str]); 3] = [
        ("node", &["node", "main.mjs"]),
        ("python", &["python3", "main.py"]),
        ("rust", &["cargo", "run", "--quiet", "--offline"]),
    ];
    let home = tempfile::tempdir().unwrap();
    for (question, _) in challenges() {
        let slug = question.page.slug;
        for (language, command) in LANGUAGES {
            let dir = home.path().join(format!("{slug}-{language}"));
            let made = backlab(home.path(), &["new", slug, "--language", language, dir.to_str().unwrap()]);
            assert!(made.status.success(), "{made:?}");
            if language == "rust" {
                build(&dir);
            }
            let check = std::process::Command::new(BACKLAB)
                .args(["check", slug, "--json", "--"])
                .args(command)
                .current_dir(&dir)
                .env("BACKLAB_DATA", home.path())
                .env("CARGO_TARGET_DIR", starters())
                .output()
                .unwrap();
            let grade: serde_json::Value = serde_json::from_str(&stdout(&check)).unwrap();
            assert_eq!(check.status.code(), Some(1), "{slug} in {language}: {grade}");
            let first = &grade["stages"][0];
            assert_eq!(first["verdict"], "failed", "{slug} in {language}: {grade}");
            assert_ne!(
                first["failure"]["what"], "the start of your program",
                "{slug} in {language}: {grade}"
            );
        }
    }
}

/// Builds a starter in Rust with the crates that this workspace has fetched already.
fn build(dir: &Path) {
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock"), dir.join("Cargo.lock"))
        .unwrap();
    let cargo = std::process::Command::new("cargo")
        .args(["build", "--quiet", "--offline"])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", starters())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", crate::common::stderr(&cargo));
}

/// Where starters are built, so that their dependencies are built once.
fn starters() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("starters")
}

//! The page while the command line works beside it: what a check finds is on the page at the next load, and the lines
//! that the page gives to type do what it says.

use crate::common::{BACKLAB, backlab, command, stderr, stdout};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Generous, for a busy machine.
const SOON: Duration = Duration::from_secs(30);

struct Served {
    child: Child,
    /// `127.0.0.1:40123`
    at: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(home: &Path) -> Served {
    let mut child =
        command(home, &["serve", "--bind", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let at = line.trim().trim_start_matches("Backlab is at http://").trim_end_matches('/').to_owned();
    Served { child, at }
}

impl Served {
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.at).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.at);
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{path}: {text}");
        text
    }

    /// Loads the page until it shows something: what another process has written is noticed a moment later.
    fn shows(&self, path: &str, wanted: &str) -> String {
        let end = Instant::now() + SOON;
        loop {
            let page = self.get(path);
            if page.contains(wanted) {
                return page;
            }
            assert!(Instant::now() < end, "{path} never shows {wanted:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Checks our own program, and answers the exit code.
fn check(home: &Path, bug: &[&str]) -> Option<i32> {
    let args = [&["check", "7", "--seed", "4242", "--", BACKLAB, "reference", "7"], bug].concat();
    backlab(home, &args).status.code()
}

#[test]
fn a_check_is_on_the_page_of_a_server_that_runs() {
    const PAGE: &str = "/q/7-http-methods";
    let home = tempfile::tempdir().unwrap();
    let site = serve(home.path());
    assert!(!site.get(PAGE).contains("data-mark="));

    assert_eq!(check(home.path(), &["--bug", "head-without-headers"]), Some(1));
    let page = site.shows(PAGE, "data-mark=\"failed\"");
    assert!(page.contains("2 of 7 stages passed.") && page.contains("seed 4242"), "{page}");
    assert!(page.contains("HEAD has a handler of its own") && !page.contains("How we did it"), "{page}");

    assert_eq!(check(home.path(), &[]), Some(0));
    let page = site.shows(PAGE, "All 7 stages passed.");
    assert!(page.contains("How we did it") && page.contains("<span>built</span>"), "{page}");
    let list = site.shows("/", "<b>1</b> built");
    assert!(list.contains("data-status=\"built\""));

    assert_eq!(check(home.path(), &["--bug", "merges-fields"]), Some(1));
    let page = site.shows(PAGE, "0 of 7 stages passed.");
    assert!(page.contains("Passed all 7 stages of version 1 on <time"), "{page}");
}

/// The lines for a shell on a page, block by block.
fn blocks(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("<pre class=\"shell\"").skip(1).filter_map(|it| it.split("</pre>").next());
    let lines = |block: &str| {
        block.split("<span>").skip(1).filter_map(|it| it.split("</span>").next()).map(str::to_owned).collect()
    };
    blocks.map(lines).collect()
}

#[test]
fn the_lines_to_begin_with_do_what_the_page_says() {
    let home = tempfile::tempdir().unwrap();
    let blocks = blocks(&serve(home.path()).get("/q/7-http-methods"));
    assert_eq!(blocks.len(), 3, "{blocks:?}");
    let folder = Path::new(BACKLAB).parent().unwrap().display();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    for lines in blocks {
        let dir = tempfile::tempdir().unwrap();
        let shell = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).current_dir(dir.path()).env("BACKLAB_DATA", home.path());
            shell.env("PATH", &path).output().unwrap()
        };
        let [new, enter, check] = &lines[..] else { panic!("{lines:?}") };
        let made = shell(&format!("{new} && {enter}"));
        assert!(made.status.success() && stdout(&made).contains(check), "{}{}", stdout(&made), stderr(&made));
        // A starter in Rust is built with what it downloads; that it fails as it should is tested elsewhere.
        if !check.contains("cargo") {
            let checked = shell(&format!("{enter} && {check}"));
            assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
            assert!(stdout(&checked).contains("✗ 1. "), "{}", stdout(&checked));
        }
    }
}

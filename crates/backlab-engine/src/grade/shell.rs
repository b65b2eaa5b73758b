//! What was done, as lines for a POSIX shell that do it again.

use http::{HeaderMap, Method};
use std::fmt::Write;
use std::net::SocketAddr;

/// Bytes of a body that a line shows; what is longer is cut, and the line says so.
const LONGEST_BODY: usize = 4096;

/// A word that a shell reads as it is.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A request as curl(1) sends it to an address, whose port a variable names: `$PORT`. Where a value names the address
/// itself, it names the reader's.
pub(super) fn curl(
    (at, port): (SocketAddr, &str),
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> String {
    let quoted = |value: &str| {
        let word = quoted(value);
        let port = if word.starts_with('\'') { format!("'{port}'") } else { port.to_owned() };
        word.replace(&at.to_string(), &format!("{}:{port}", at.ip()))
    };
    let mut line = "curl -i".to_owned();
    match *method {
        Method::GET => {}
        Method::HEAD => line.push_str(" --head"),
        ref other => {
            let _ = write!(line, " -X {other}");
        }
    }
    let target = if target.chars().all(|c| c.is_ascii_alphanumeric() || "-_./~%".contains(c)) {
        target.to_owned()
    } else {
        quoted(target)
    };
    let _ = write!(line, " http://127.0.0.1:{port}{target}");
    if target.contains('{') || target.contains('[') {
        line.push_str(" --globoff");
    }
    if target.contains("/.") {
        line.push_str(" --path-as-is");
    }
    for (name, value) in headers {
        let header = format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        let _ = write!(line, " -H {}", quoted(&header));
    }
    if body.is_empty() {
        return line;
    }
    match std::str::from_utf8(&body[..body.len().min(LONGEST_BODY)]) {
        Ok(text) if text.len() == body.len() => {
            let _ = write!(line, " --data-binary {}", quoted(text));
        }
        Ok(text) => {
            let start: String = text.chars().take(80).collect();
            let _ =
                write!(line, " --data-binary {}  # … and more, {} bytes in all", quoted(&start), body.len());
        }
        Err(_) => {
            let octal: String = body.iter().take(LONGEST_BODY).map(|byte| format!("\\{byte:03o}")).collect();
            line = format!("printf '{octal}' | {line} --data-binary @-");
        }
    }
    line
}

/// Lines that are typed `times` times, one after another or all at once.
pub(super) fn repeated(lines: &[String], times: usize, at_once: bool) -> String {
    let lines = lines.join("; ");
    match (times, at_once) {
        (1, _) => lines,
        (_, false) => format!("for n in $(seq {times}); do {lines}; done"),
        (_, true) => format!("for n in $(seq {times}); do {lines} & done; wait"),
    }
}

/// A line that is typed `times` times and still at work when the next one is typed.
pub(super) fn meanwhile(line: &str, times: usize) -> String {
    match times {
        1 => format!("{line} & sleep 0.2"),
        _ => format!("for n in $(seq {times}); do {line} & done; sleep 0.2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the shell makes of a word.
    fn echoed(word: &str) -> Vec<u8> {
        let script = format!("printf %s {word}");
        std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout
    }

    #[test]
    fn a_shell_reads_every_quoted_word_as_it_is() {
        for word in
            ["plain", "", "it's", "$HOME `ls` \"x\" \\", "{\"a\": 'b'}", "line\nbreak", "*", "ü", "#x", "~"]
        {
            assert_eq!(echoed(&quoted(word)), word.as_bytes(), "{word}");
        }
    }
}

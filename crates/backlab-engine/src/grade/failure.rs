//! What an author is told of a stage that isn't passed.

use super::finding::Wrong;
use super::grader::Grader;
use crate::challenge::ErasedStage;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Characters of an expected or found value that are shown before the first difference.
const BEFORE: usize = 60;
/// Characters that are shown of either in all.
const WIDE: usize = 160;

/// Everything that helps to find the cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was looked at.
    pub what: String,
    pub expected: String,
    pub found: String,
    /// Lines for a shell that start the program and do again what was done to it; the last shows the fault.
    pub script: Vec<String>,
    /// The answer in which it showed.
    pub came: Option<String>,
    /// The newest output of the program.
    pub output: Vec<String>,
    /// What is probably the matter, likeliest first.
    pub causes: Vec<String>,
    pub hint: String,
}

impl Failure {
    pub(super) fn new(wrong: Wrong, stage: &ErasedStage, grader: &Grader) -> Self {
        let script = grader.journal.script(wrong.exchange.as_ref());
        let shown = wrong.exchange.or_else(|| grader.journal.last_sent());
        let came = shown.and_then(|it| it.came());
        let output = if wrong.said.is_empty() { grader.said() } else { wrong.said };
        let bugs = || stage.bugs.iter().map(|bug| bug.probably.to_owned()).collect();
        let causes = wrong.cause.map_or_else(bugs, |cause| vec![cause]);
        let (what, expected, found) = (wrong.what, wrong.expected, wrong.found);
        Self { what, expected, found, script, came, output, causes, hint: stage.hint.to_owned() }
    }

    /// The programs that the lines to type start, as a shell knows them: `$P1`.
    fn started(&self) -> Vec<String> {
        let starts = |number: &u16| {
            let start = format!(" P{number}=$(");
            self.script.iter().any(|line| line.contains(&start))
        };
        (1..).take_while(starts).map(|number| format!("$P{number}")).collect()
    }

    /// Both values around their first difference, and how far to the right that is; `None` where one look is enough.
    pub fn compared(&self) -> (String, String, Option<usize>) {
        let pairs = self.expected.chars().zip(self.found.chars());
        let alike = pairs.take_while(|(one, other)| one == other).count();
        let from = alike.saturating_sub(BEFORE);
        let (expected, found) = (cut(&self.expected, from), cut(&self.found, from));
        let at = alike - from + usize::from(from > 0);
        let pointed = self.expected != self.found && alike >= 4;
        (expected, found, pointed.then_some(at))
    }
}

/// The text from a character on, on one line.
fn cut(text: &str, from: usize) -> String {
    let visible = |c: char| match c {
        '\n' => '⏎',
        c if c.is_control() => '·',
        c => c,
    };
    let shown: String = text.chars().skip(from).take(WIDE).map(visible).collect();
    let start = if from > 0 { "…" } else { "" };
    let end = if text.chars().count() > from + WIDE { "…" } else { "" };
    format!("{start}{shown}{end}")
}

/// As plain text, for a terminal and a log alike. Without the hint, which is for those who ask.
impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found, differs) = self.compared();
        writeln!(to, "{}", self.what)?;
        writeln!(to, "  expected  {expected}")?;
        writeln!(to, "  found     {found}")?;
        if let Some(at) = differs {
            writeln!(to, "            {}^ the first difference", " ".repeat(at))?;
        }
        let head = match &self.started()[..] {
            [] => "To see it yourself, type:".to_owned(),
            some => format!("To see it yourself, type (`kill {}` ends it):", some.join(" ")),
        };
        block(to, &head, "  ", &self.script)?;
        let came: Vec<_> = self.came.iter().flat_map(|it| it.lines()).collect();
        block(to, "The answer to the last line:", "< ", &came)?;
        block(to, "Your program printed:", "| ", &self.output)?;
        block(to, "The likely cause:", "  ", &self.causes)
    }
}

fn block<S: AsRef<str>>(to: &mut fmt::Formatter<'_>, head: &str, prefix: &str, lines: &[S]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(to, "{head}")?;
    lines.iter().try_for_each(|line| writeln!(to, "  {prefix}{}", line.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(expected: &str, found: &str) -> Failure {
        Failure {
            what: "the body".into(),
            expected: expected.into(),
            found: found.into(),
            script: Vec::new(),
            came: None,
            output: Vec::new(),
            causes: Vec::new(),
            hint: String::new(),
        }
    }

    #[test]
    fn the_first_difference_is_pointed_at() {
        let told = failure("{\"id\":\"abc\"}", "{\"id\":\"abd\"}").to_string();
        let lines: Vec<&str> = told.lines().collect();
        let caret = lines[3].find('^').unwrap();
        assert_eq!(&lines[1][caret..=caret], "c");
        assert_eq!(&lines[2][caret..=caret], "d");
    }

    #[test]
    fn a_difference_far_inside_is_brought_into_sight() {
        let (long, other) = ("x".repeat(500) + "yes", "x".repeat(500) + "no");
        let (expected, found, at) = failure(&long, &other).compared();
        let at = at.unwrap();
        assert_eq!(expected.chars().nth(at), Some('y'));
        assert_eq!(found.chars().nth(at), Some('n'));
    }

    #[test]
    fn two_values_with_nothing_in_common_need_no_pointer() {
        assert_eq!(failure("201", "404 Not Found").compared().2, None);
    }
}

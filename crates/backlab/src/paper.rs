//! What is written to: a terminal with its width and its colours, or a pipe.

use anstyle::{AnsiColor, Style};
use backlab_figures::Look;
use std::fmt::Display;
use std::io::IsTerminal;

/// Widest line that is still pleasant to read.
const WIDEST: usize = 100;

/// How standard output wants its text.
#[derive(Debug, Clone, Copy)]
pub struct Paper {
    pub look: Look,
    /// A person looks at it now, so progress may be shown as it happens.
    pub live: bool,
}

impl Paper {
    /// As the environment says: a terminal check, `NO_COLOR` (no-color.org), `TERM=dumb`, and `COLUMNS`.
    pub fn of_stdout() -> Self {
        let live = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty())
            || std::env::var("TERM").is_ok_and(|it| it == "dumb");
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        let width = if live { terminal_width().or_else(columns).unwrap_or(80) } else { WIDEST };
        Self { look: Look { width: width.clamp(40, WIDEST), colour: live && !plain }, live }
    }

    pub fn strong(&self, text: impl Display) -> String {
        self.styled(Style::new().bold(), text)
    }

    pub fn soft(&self, text: impl Display) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    pub fn accent(&self, text: impl Display) -> String {
        self.styled(AnsiColor::Cyan.on_default(), text)
    }

    pub fn refuted(&self, text: impl Display) -> String {
        self.styled(AnsiColor::Red.on_default(), text)
    }

    fn styled(&self, style: Style, text: impl Display) -> String {
        if self.look.colour { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// Text wrapped to the width, each line with an indent.
    pub fn wrapped(&self, text: &str, indent: usize) -> String {
        let width = self.look.width.saturating_sub(indent).max(20);
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let line = lines.last_mut().map_or(0, |line| line.chars().count());
            if line > 0 && line + 1 + word.chars().count() > width {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
        }
        let indent = " ".repeat(indent);
        lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
    }
}

fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

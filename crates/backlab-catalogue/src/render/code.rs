//! Highlighting of code into four classes: `k` keyword, `s` string, `n` number or constant, `c` comment.
//!
//! A scanner of our own rather than a library of grammars: four inks want no more than comments, strings, numbers and
//! a list of words, and a debug build must colour the source of 150 experiments in a moment.

use super::answer::escaped;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    Sql,
    JavaScript,
    Python,
    Http,
    Json,
    Shell,
    Text,
}

impl Language {
    const ALL: [Self; 8] = [
        Self::Sql,
        Self::Rust,
        Self::JavaScript,
        Self::Python,
        Self::Http,
        Self::Json,
        Self::Shell,
        Self::Text,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// What a page's author may write after the fence.
    pub(super) fn allowed() -> String {
        format!("fence it as {} or pikchr", Self::ALL.map(Self::name).join(", "))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Sql => "sql",
            Self::JavaScript => "js",
            Self::Python => "python",
            Self::Http => "http",
            Self::Json => "json",
            Self::Shell => "sh",
            Self::Text => "text",
        }
    }

    fn line_comments(self) -> &'static [&'static str] {
        match self {
            Self::Rust | Self::JavaScript => &["//"],
            Self::Sql => &["--"],
            Self::Python | Self::Shell => &["#"],
            Self::Http | Self::Json | Self::Text => &[],
        }
    }

    fn quotes(self) -> &'static [&'static str] {
        match self {
            Self::Rust | Self::Json => &["\""],
            Self::Sql => &["'"],
            Self::JavaScript => &["\"", "'", "`"],
            Self::Python => &["\"\"\"", "'''", "\"", "'"],
            Self::Shell => &["\"", "'"],
            Self::Http | Self::Text => &[],
        }
    }

    /// Words separated by blanks; in lower case for SQL, which doesn't tell cases apart.
    fn keywords(self) -> &'static str {
        match self {
            Self::Rust => {
                "as async await break const continue dyn else enum extern fn for if impl in let loop match mod move \
                 mut pub ref return self Self static struct super trait type unsafe use where while"
            }
            Self::Sql => {
                "add all alter analyze and any as asc begin between by cascade case check column commit conflict \
                 constraint create cross database default delete desc distinct do drop else end except exists explain \
                 for foreign from full function grant group having if in index inner insert intersect into is \
                 isolation join key language lateral left level like limit lock locked not nothing nowait offset on or \
                 order outer over partition policy primary read references repeatable returning right role rollback \
                 row savepoint select serializable set share skip start table then to transaction trigger truncate \
                 union unique update using vacuum values view when where with write"
            }
            Self::JavaScript => {
                "async await break case catch class const continue default delete do else export extends finally for \
                 from function if import in instanceof let new of return static super switch this throw try typeof \
                 var void while with yield"
            }
            Self::Python => {
                "and as assert async await break class continue def del elif else except finally for from global if \
                 import in is lambda nonlocal not or pass raise return try while with yield"
            }
            Self::Http => "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE",
            Self::Shell => {
                "case do done elif else esac export fi for function if in local return set then trap until while"
            }
            Self::Json | Self::Text => "",
        }
    }

    fn constants(self) -> &'static str {
        match self {
            Self::Rust => "true false None",
            Self::JavaScript => "true false null undefined NaN Infinity",
            Self::Python => "True False None",
            Self::Sql | Self::Json => "true false null",
            Self::Http | Self::Shell | Self::Text => "",
        }
    }
}

/// A block of code; it scrolls by itself, so a keyboard must be able to reach it.
pub(super) fn block(language: Language, source: &str) -> String {
    let (name, html) = (language.name(), html(language, source));
    format!("<pre class=\"code\" tabindex=\"0\"><code class=\"language-{name}\">{html}</code></pre>\n")
}

/// The source with its tokens in `<span class="…">`.
pub(super) fn html(language: Language, source: &str) -> String {
    if language == Language::Http {
        return http(source);
    }
    let mut out = String::with_capacity(source.len() * 2);
    let mut rest = source;
    let mut plain = 0; // bytes at the start of `rest` that have no class
    while plain < rest.len() {
        match token(language, &rest[plain..], source.len() - rest.len() + plain, source) {
            (length, None) => plain += length,
            (length, Some(class)) => {
                out.push_str(&escaped(&rest[..plain]));
                span(&mut out, class, &rest[plain..plain + length]);
                rest = &rest[plain + length..];
                plain = 0;
            }
        }
    }
    out + &escaped(rest)
}

/// Length in bytes (never 0) and class of the token at the start of `rest`, which is not empty and starts at `at` of `source`.
fn token(language: Language, rest: &str, at: usize, source: &str) -> (usize, Option<&'static str>) {
    let before = source[..at].chars().next_back();
    if let Some(length) = comment(language, rest, before) {
        return (length, Some("c"));
    }
    if let Some(length) = string(language, rest) {
        return (length, Some("s"));
    }
    let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    let word = &rest[..length];
    let folded = if language == Language::Sql { word.to_ascii_lowercase() } else { word.to_owned() };
    let number = word.starts_with(|c: char| c.is_ascii_digit()) && language != Language::Text;
    let class = if number || listed(language.constants(), &folded) {
        Some("n")
    } else {
        listed(language.keywords(), &folded).then_some("k")
    };
    match length {
        0 => (rest.chars().next().map_or(1, char::len_utf8), None),
        length => (length, class),
    }
}

fn listed(words: &str, word: &str) -> bool {
    !word.is_empty() && words.split(' ').any(|it| it == word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn comment(language: Language, rest: &str, before: Option<char>) -> Option<usize> {
    // In a shell `#` begins a comment only where a word begins: `$#` and `a#b` don't.
    let within = language == Language::Shell && before.is_some_and(|c| !c.is_whitespace());
    if !within && language.line_comments().iter().any(|it| rest.starts_with(it)) {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    let blocks = matches!(language, Language::Rust | Language::JavaScript | Language::Sql);
    (blocks && rest.starts_with("/*")).then(|| rest.find("*/").map_or(rest.len(), |end| end + 2))
}

fn string(language: Language, rest: &str) -> Option<usize> {
    if language == Language::Rust
        && let Some(length) = rust_raw_string(rest).or_else(|| rust_character(rest))
    {
        return Some(length);
    }
    let quote = language.quotes().iter().find(|it| rest.starts_with(**it))?;
    // SQL doubles a quote instead of escaping it: the second half is read as a string of its own. So it looks the same.
    let escapes = language != Language::Sql && !(language == Language::Shell && *quote == "'");
    let mut at = quote.len();
    while at < rest.len() {
        if rest[at..].starts_with(quote) {
            return Some(at + quote.len());
        }
        let skip = if escapes && rest[at..].starts_with('\\') { 2 } else { 1 };
        at += rest[at..].chars().take(skip).map(char::len_utf8).sum::<usize>();
    }
    Some(rest.len())
}

/// `r"…"`, `r#"…"#` and so on.
fn rust_raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.bytes().take_while(|byte| *byte == b'#').count();
    let open = 1 + hashes;
    rest[open..].starts_with('"').then_some(())?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(rest[open + 1..].find(&close).map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// `'x'` or `'\n'`, but not the lifetime `'a`.
fn rust_character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let after = match first {
        '\\' => 1 + inside[1..].chars().next()?.len_utf8() + inside.get(2..)?.find('\'')?,
        _ => first.len_utf8(),
    };
    inside.get(after..)?.starts_with('\'').then_some(1 + after + 1)
}

/// Start lines and header names of HTTP messages; a body stays plain.
fn http(source: &str) -> String {
    let mut out = String::with_capacity(source.len() * 2);
    let mut in_body = false;
    for line in source.split_inclusive('\n') {
        let first = line.split([' ', '\n']).next().unwrap_or_default();
        let starts = listed(Language::Http.keywords(), first) || first.starts_with("HTTP/");
        in_body = !starts && (in_body || line.trim().is_empty());
        let name = line.split_once(':').map(|(name, _)| name).filter(|name| !name.contains(' '));
        match name {
            _ if starts => {
                span(&mut out, "k", first);
                out.push_str(&escaped(&line[first.len()..]));
            }
            Some(name) if !in_body => {
                span(&mut out, "n", name);
                out.push_str(&escaped(&line[name.len()..]));
            }
            _ => out.push_str(&escaped(line)),
        }
    }
    out
}

fn span(out: &mut String, class: &str, text: &str) {
    out.push_str("<span class=\"");
    out.push_str(class);
    out.push_str("\">");
    out.push_str(&escaped(text));
    out.push_str("</span>");
}

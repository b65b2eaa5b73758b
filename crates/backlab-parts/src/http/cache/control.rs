//! Cache-Control and other lists, read as RFC 9111 and RFC 9110 write them.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What a number of seconds counts as when it is too large to be one (RFC 9111, section 1.2.2).
const LONGEST: u64 = 1 << 31;

/// The directives of a message, in their order (RFC 9111, section 5.2).
#[derive(Debug, Clone, Default)]
pub(super) struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    pub fn of(headers: &HeaderMap) -> Self {
        let read = |member: String| match member.split_once('=') {
            Some((name, argument)) => (name.to_ascii_lowercase(), Some(unquoted(argument))),
            None => (member.to_ascii_lowercase(), None),
        };
        Self(members(headers, &header::CACHE_CONTROL, Quoting::Escapes).into_iter().map(read).collect())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(it, _)| it == name)
    }

    /// Whether it stands there for the whole message, not for some fields of it.
    pub fn has_unqualified(&self, name: &str) -> bool {
        let whole = |argument: &Option<String>| argument.as_ref().is_none_or(|it| it.trim().is_empty());
        self.0.iter().any(|(it, argument)| it == name && whole(argument))
    }

    /// The fields that a directive is about: `private="Set-Cookie"`.
    pub fn fields(&self, name: &str) -> Vec<HeaderName> {
        let arguments = self.0.iter().filter(|(it, _)| it == name).filter_map(|(_, it)| it.as_deref());
        arguments.flat_map(|it| it.split(',')).filter_map(|it| it.trim().parse().ok()).collect()
    }

    /// The seconds of the first such directive; what can't be read is no time at all (section 4.2.1).
    pub fn seconds(&self, name: &str) -> Option<u64> {
        let (_, argument) = self.0.iter().find(|(it, _)| it == name)?;
        Some(argument.as_deref().and_then(delta_seconds).unwrap_or(0))
    }

    /// Whether it stands there without a value, which for max-stale means without an end.
    pub fn is_bare(&self, name: &str) -> bool {
        self.0.iter().any(|(it, argument)| it == name && argument.is_none())
    }
}

/// Whole seconds, and nothing else (RFC 9111, section 1.2.2).
pub(super) fn delta_seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(LONGEST).min(LONGEST))
}

/// How the members of a list quote commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// As quoted strings: a backslash takes the next character as it is (RFC 9110, section 5.6.4).
    Escapes,
    /// As entity tags, in which a backslash is one (RFC 9110, section 8.8.3).
    Plain,
}

/// The members of a list that may stand on several lines; empty ones don't count (RFC 9110, section 5.6.1).
pub(super) fn members(headers: &HeaderMap, name: &HeaderName, quoting: Quoting) -> Vec<String> {
    let mut members = Vec::new();
    for line in headers.get_all(name) {
        let (mut member, mut quoted, mut escaped) = (String::new(), false, false);
        for c in text(line).chars() {
            match c {
                ',' if !quoted => members.push(std::mem::take(&mut member)),
                _ => {
                    quoted ^= c == '"' && !escaped;
                    escaped = quoting == Quoting::Escapes && quoted && c == '\\' && !escaped;
                    member.push(c);
                }
            }
        }
        members.push(member);
    }
    members.iter().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// The value, a character for each byte: not all of them need be ASCII.
pub(super) fn text(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

/// A token as it is, and what a quoted string says.
fn unquoted(argument: &str) -> String {
    let Some(inside) = argument.strip_prefix('"').and_then(|it| it.strip_suffix('"')) else {
        return argument.to_owned();
    };
    let mut escaped = false;
    let kept = |c: &char| {
        escaped = *c == '\\' && !escaped;
        !escaped
    };
    inside.chars().filter(kept).collect()
}

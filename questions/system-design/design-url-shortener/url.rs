//! Which URLs and aliases are good.

use super::super::Bug;

const LONGEST: usize = 2048;

/// Whether it is a web address of somebody else than `own`, the host and port by which one reaches us.
pub fn is_good(url: &str, own: &str, bug: Option<Bug>) -> bool {
    let printable = bug == Some(Bug::TakesLineBreaks) || url.bytes().all(|byte| byte.is_ascii_graphic());
    if bug == Some(Bug::TrustsThePrefix) {
        return url.to_lowercase().starts_with("http")
            && !url.contains(own)
            && url.len() <= LONGEST
            && printable;
    }
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let web = ["http", "https"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
    let ours = host.eq_ignore_ascii_case(own) && bug != Some(Bug::RedirectsToItself);
    web && printable && url.len() <= LONGEST && !host.is_empty() && !host.starts_with(':') && !ours
}

pub fn is_alias(alias: &str, bug: Option<Bug>) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let reserved = alias == "links" && bug != Some(Bug::GivesAwayItsPaths);
    (1..=32).contains(&alias.len()) && alias.bytes().all(good) && !reserved
}

/// What comes of a URL that is decoded and encoded again.
pub fn reencoded(url: &str) -> String {
    let (mut text, mut rest) = (String::new(), url);
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let byte = byte.unwrap_or(b'%');
        let plain = byte.is_ascii_graphic() && byte != b'%';
        text.push_str(&if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") });
        rest = after.get(2..).unwrap_or_default();
    }
    text + rest
}

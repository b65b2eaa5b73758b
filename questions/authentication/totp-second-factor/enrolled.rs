//! A user with an authenticator, as the grader plays one.

use super::reference::code_at;
use crate::prelude::*;
use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Seconds of a step.
pub const STEP_S: u64 = 30;
/// Seconds of a lock.
pub const LOCKED_S: u64 = 900;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// One name, at the program under test.
#[derive(Clone)]
pub struct User {
    it: Subject,
    name: String,
}

/// A user whose factor is active.
pub struct Enrolled {
    pub user: User,
    pub secret: Vec<u8>,
    pub recovery: Vec<String>,
    /// When the code was sent that confirmed.
    pub at: u64,
}

/// A time at the beginning of a step, by the seed.
pub fn base_time(g: &Grader) -> u64 {
    1_700_000_010 + u64::from(g.number(0..3_000_000)) * STEP_S
}

impl User {
    pub fn new(it: &Subject, g: &Grader) -> Self {
        let [name, host] = g.words();
        Self { it: it.clone(), name: format!("{name}@{host}.example") }
    }

    /// The same user at a program that was started anew.
    pub fn at(&self, it: &Subject) -> Self {
        Self { it: it.clone(), name: self.name.clone() }
    }

    pub fn start(&self, now: u64) -> Call {
        self.signed(self.it.post("/totp/start"), now)
    }

    /// A code to confirm, verify or recover.
    pub fn send(&self, path: &str, code: &str, now: u64) -> Call {
        self.signed(self.it.post(format!("/totp/{path}")), now).json(&json!({ "code": code }))
    }

    pub fn delete(&self, code: &str, now: u64) -> Call {
        self.signed(self.it.delete("/totp"), now).json(&json!({ "code": code }))
    }

    fn signed(&self, call: Call, now: u64) -> Call {
        call.header("X-User", &self.name).header("X-Now", now)
    }

    /// Starts an enrolment, and reads the secret as an authenticator does.
    pub async fn begin(&self, now: u64) -> Graded<Vec<u8>> {
        let answer = self.start(now).await?.status(200)?;
        let uri = answer.text("uri")?;
        let wrong = |what: &str, expected: &str, found: &str| {
            answer.wrong(format!("{what} in the URI"), expected, found)
        };
        let Some((label, query)) = uri.strip_prefix("otpauth://totp/").and_then(|it| it.split_once('?'))
        else {
            return Err(answer.wrong(
                "the URI",
                "otpauth://totp/ISSUER:USER?secret=SECRET&issuer=ISSUER",
                uri,
            ));
        };
        let decoded = |query: &str| {
            let uri: Option<Uri> = format!("/?{query}").parse().ok();
            let pairs = uri.and_then(|uri| Query::<HashMap<String, String>>::try_from_uri(&uri).ok());
            pairs.map(|Query(pairs)| pairs).unwrap_or_default()
        };
        let members = decoded(query);
        let member = |name: &str| members.get(name).map_or("", String::as_str);
        let label = decoded(&format!("label={label}")).remove("label").unwrap_or_default();
        let issuer = member("issuer");
        let (before, user) = label.split_once(':').unwrap_or(("", &label));
        if issuer.is_empty() || before != issuer {
            return Err(wrong(
                "the issuer",
                "the same before the colon and as a member",
                &format!("{label} and {issuer}"),
            ));
        }
        if user.trim_start() != self.name {
            return Err(wrong("the user", &self.name, user));
        }
        for (name, right) in [("algorithm", "SHA1"), ("digits", "6"), ("period", "30")] {
            if let Some(other) = members.get(name).filter(|it| *it != right) {
                return Err(wrong(name, right, other));
            }
        }
        let text = member("secret");
        let secret = from_base32(text).ok_or_else(|| {
            wrong("the secret", "base32: A to Z and 2 to 7, without padding", text).because(
                "Authenticators take capitals and the digits 2 to 7; some refuse padding and small letters.",
            )
        })?;
        if secret.len() < 16 {
            let found = format!("{} bits", secret.len() * 8);
            return Err(wrong("the secret", "128 bits or more", &found)
                .because("The secret has fewer than 128 bits; RFC 4226 demands them, and recommends 160."));
        }
        Ok(secret)
    }

    pub fn recovery_of(&self, answer: &Answer) -> Graded<Vec<String>> {
        let field = answer.field("recovery")?;
        let codes: Vec<String> = serde_json::from_value(field.clone()).unwrap_or_default();
        let different: BTreeSet<&String> = codes.iter().collect();
        if different.len() != 10 || codes.len() != 10 || codes.iter().any(|code| code.chars().count() < 10) {
            let expected = "ten different strings of ten characters or more";
            return Err(answer.wrong("the member \"recovery\"", expected, field));
        }
        Ok(codes)
    }

    pub async fn enrol(&self, now: u64) -> Graded<Enrolled> {
        let secret = self.begin(now).await?;
        let answer = self.send("confirm", &code_at(&secret, now / STEP_S), now).await?.status(200)?;
        Ok(Enrolled { user: self.clone(), recovery: self.recovery_of(&answer)?, secret, at: now })
    }
}

fn codes_around(secret: &[u8], now: u64, steps: u64) -> Vec<String> {
    let step = now / STEP_S;
    (step - steps..=step + steps).map(|step| code_at(secret, step)).collect()
}

pub fn is_right(code: &str, secret: &[u8], now: u64) -> bool {
    codes_around(secret, now, 1).iter().any(|it| it == code)
}

/// Six digits that are no code of this time or near it.
pub fn wrong_code(secret: &[u8], now: u64) -> String {
    let near = codes_around(secret, now, 100);
    let other = |it: &u64| !near.contains(&format!("{it:06}"));
    let code = (now % 899_981 + 100_000..1_000_000).find(other).unwrap_or_default();
    format!("{code:06}")
}

/// Whether this step and three to each side have seven different codes.
pub fn is_clear(secret: &[u8], step: u64) -> bool {
    codes_around(secret, step * STEP_S, 3).into_iter().collect::<BTreeSet<_>>().len() == 7
}

pub fn clear_step(secret: &[u8], from: u64) -> u64 {
    (from..).find(|step| is_clear(secret, *step)).unwrap_or(from)
}

/// The secret in all forms in which one might store it.
pub fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let texts = [
        to_base32(secret),
        to_base32(secret).to_lowercase(),
        hex(secret),
        hex(secret).to_uppercase(),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ];
    texts.map(String::into_bytes).into_iter().chain([secret.to_vec()]).collect()
}

/// RFC 4648, section 6, without padding.
pub fn to_base32(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let value = |five: &[u8]| (0..5).fold(0, |value, at| value << 1 | usize::from(five.get(at) == Some(&1)));
    bits.chunks(5).map(|five| char::from(BASE32[value(five)])).collect()
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for c in text.bytes() {
        let value = BASE32.iter().position(|it| *it == c)?;
        bits.extend((0..5).rev().map(|at| value >> at & 1 == 1));
    }
    let byte = |eight: &[bool]| eight.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    Some(bits.chunks_exact(8).map(byte).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn the_published_base32_comes_out() {
        for (bytes, text) in [("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(to_base32(bytes.as_bytes()), text);
            assert_eq!(from_base32(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(from_base32("MZXQ===="), None);
    }
}

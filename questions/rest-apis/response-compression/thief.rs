//! BREACH: a page that holds a secret and repeats what was searched for, and a thief who chooses the search term and sees
//! the length of the answer, nothing else (Gluck, Harris and Prado, 2013).

use super::coding::Coding;
use crate::prelude::*;
use rand::RngExt;
use rand::rngs::StdRng;

const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
/// Filling that appears nowhere else. Lengths are whole bytes and codes are bits, so each amount of it lets another one of
/// two lengths tell; a further kind is tried while no digit leads.
const FILLINGS: [&str; 4] = ["~!#$%", "|^`?*", "QXZJV", "+[]&W"];
/// What stands before the secret on everybody's page: the thief has an account too.
const BEFORE: &str = "token=";
/// Characters that are known and stand before the one that is sought.
const LEAD: usize = 6;

/// An account whose page is asked for: its secret, and whether each answer shows it under a mask of its own.
pub struct Account {
    pub secret: String,
    pub masked: bool,
    pub rng: StdRng,
}

/// What a thief made out.
#[derive(Clone, Serialize)]
pub struct Theft {
    pub secret: String,
    pub guessed: String,
    pub requests: u64,
    /// Bytes that each digit saved at the first place, all paddings together.
    pub saved: Vec<(char, i64)>,
}

impl Theft {
    pub fn found(&self) -> u64 {
        self.secret.chars().zip(self.guessed.chars()).filter(|(is, said)| is == said).count() as u64
    }
}

pub fn secret(rng: &mut StdRng, digits: u64) -> String {
    (0..digits).map(|_| DIGITS[rng.random_range(0..DIGITS.len())]).collect()
}

impl Account {
    /// The length of the compressed page, as anybody on the way sees it.
    fn length(&mut self, term: &str) -> Result<i64> {
        Ok(Coding::Gzip.encode(self.page(term).as_bytes())?.len() as i64)
    }

    fn page(&mut self, term: &str) -> String {
        let token = if self.masked { self.mask() } else { self.secret.clone() };
        format!(
            "<!doctype html><html><head><title>Orders</title></head><body><p>Results for: {term}</p>\
             <ul><li>tea, 2 units, 14.50</li><li>coffee, 1 unit, 9.90</li><li>cups, 6 units, 31.00</li></ul>\
             <form method=\"post\" action=\"/orders\"><input type=\"hidden\" name=\"csrf\" value=\"{BEFORE}{token}\">\
             <button>Order</button></form></body></html>"
        )
    }

    /// The secret XOR a mask that is drawn for this answer, and the mask, so that the server can undo it.
    fn mask(&mut self) -> String {
        let (mut hidden, mut masks) = (String::new(), String::new());
        for digit in self.secret.chars().filter_map(|it| it.to_digit(16)) {
            let mask = self.rng.random_range(0..16_u32);
            hidden.extend(char::from_digit(digit ^ mask, 16));
            masks.extend(char::from_digit(mask, 16));
        }
        format!("{hidden}.{masks}")
    }
}

/// Tries every digit at every place. The right one continues a string that the page holds already, and so costs less than
/// the same characters in another order.
pub fn steal(account: &mut Account) -> Result<Theft> {
    let (mut known, mut requests, mut first) = (BEFORE.to_owned(), 0, Vec::new());
    while known.len() < BEFORE.len() + account.secret.len() {
        let lead = known[known.len() - LEAD..].to_owned();
        let mut saved = DIGITS.map(|digit| (digit, 0));
        for filling in FILLINGS {
            for (digit, bytes) in &mut saved {
                for amount in 0..=filling.len() {
                    let padding = &filling[..amount];
                    let away = account.length(&format!("{lead}@{digit}{padding}"))?;
                    *bytes += away - account.length(&format!("{lead}{digit}@{padding}"))?;
                    requests += 2;
                }
            }
            if leads(&saved) {
                break;
            }
        }
        let best = saved.iter().max_by_key(|(_, bytes)| *bytes).context("sixteen digits were tried")?.0;
        known.push(best);
        if first.is_empty() {
            first = saved.into();
        }
    }
    let guessed = known[BEFORE.len()..].to_owned();
    Ok(Theft { secret: account.secret.clone(), guessed, requests, saved: first })
}

/// Whether one digit saved more than any other.
fn leads(saved: &[(char, i64)]) -> bool {
    let most = saved.iter().map(|(_, bytes)| *bytes).max();
    saved.iter().filter(|(_, bytes)| Some(*bytes) == most).count() == 1
}

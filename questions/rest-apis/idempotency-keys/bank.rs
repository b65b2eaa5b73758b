//! The bank that the program asks for each charge: it honours keys of its own.

use crate::prelude::*;
use std::sync::{MutexGuard, PoisonError};

/// What the bank does with charges that it doesn't know yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Books,
    Declines,
    Breaks,
}

pub struct Bank {
    pub server: Upstream,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    mood: Mood,
    /// By the key that the program sent; a charge without one gets a key that nobody else has.
    decided: BTreeMap<String, Decided>,
}

#[derive(Debug, Clone)]
struct Decided {
    content: Value,
    status: StatusCode,
    answer: String,
}

impl Bank {
    pub fn open(g: &Grader) -> Graded<Self> {
        let book = Arc::new(Mutex::new(Book { mood: Mood::Books, decided: BTreeMap::new() }));
        let (at_desk, salt) = (book.clone(), g.word());
        let server = g.upstream("BANK", move |request| {
            let mut book = at_desk.lock().unwrap_or_else(PoisonError::into_inner);
            book.decide(request, &salt)
        })?;
        Ok(Self { server, book })
    }

    /// From now on; the author of the program is told.
    pub fn turns(&self, g: &Grader, mood: Mood) {
        g.note(match mood {
            Mood::Books => "from here on, BANK books again",
            Mood::Declines => "from here on, BANK declines with 402",
            Mood::Breaks => "from here on, BANK answers 500 and books nothing",
        });
        self.book().mood = mood;
    }

    /// How often it was asked to charge this account, booked or not.
    pub fn asked(&self, account: &str) -> usize {
        self.server.count(|it| is_for(&it.body, account))
    }

    /// How many charges it has booked for this account.
    pub fn booked(&self, account: &str) -> usize {
        let book = self.book();
        let booked = book.decided.values().filter(|it| it.status == StatusCode::CREATED);
        booked.filter(|it| it.content["account"] == account).count()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_for(body: &[u8], account: &str) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|it| it["account"] == account)
}

impl Book {
    fn decide(&mut self, request: &Received, salt: &str) -> (StatusCode, String) {
        let refuse = |status, why: &str| (status, json!({ "error": why }).to_string());
        if (&request.method, request.path.as_str()) != (&Method::POST, "/charge") {
            return refuse(StatusCode::NOT_FOUND, "BANK has POST /charge and nothing else");
        }
        let content: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if !content["account"].is_string() || !content["amount"].is_number() {
            return refuse(StatusCode::BAD_REQUEST, "a charge is JSON: {\"account\": \"…\", \"amount\": 5}");
        }
        let key = request.headers.get("Idempotency-Key").map(|key| key.as_bytes().escape_ascii().to_string());
        let number = self.decided.len() + 1;
        let key = key.unwrap_or_else(|| format!("no key, charge {number}"));
        if let Some(before) = self.decided.get(&key) {
            let same = ["account", "amount"].iter().all(|it| before.content[it] == content[it]);
            return match same {
                true => (before.status, before.answer.clone()),
                false => refuse(StatusCode::UNPROCESSABLE_ENTITY, "this key came with another charge before"),
            };
        }
        let (status, answer) = match self.mood {
            Mood::Books => (StatusCode::CREATED, json!({ "charge": format!("{salt}-{number}") }).to_string()),
            Mood::Declines => refuse(StatusCode::PAYMENT_REQUIRED, "declined"),
            Mood::Breaks => return refuse(StatusCode::INTERNAL_SERVER_ERROR, "try again"),
        };
        self.decided.insert(key, Decided { content, status, answer: answer.clone() });
        (status, answer)
    }
}

//! The source behind the cache: it has items, counts calls, and breaks when it is told to.

use crate::prelude::*;
use std::sync::{MutexGuard, PoisonError};

pub struct Source {
    pub server: Upstream,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// What each item says now.
    items: BTreeMap<String, String>,
    broken: bool,
}

impl Source {
    pub fn open(g: &Grader) -> Graded<Self> {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let at_desk = shelf.clone();
        let server = g.upstream("SOURCE", move |request| lock(&at_desk).answer(request))?;
        Ok(Self { server, shelf })
    }

    /// Creates an item, or changes what it says; the author of the program is told.
    pub fn put(&self, g: &Grader, id: &str, word: &str) {
        g.note(format_args!("SOURCE has item {id} from here on: {}", body(id, word)));
        lock(&self.shelf).items.insert(id.to_owned(), body(id, word));
    }

    /// Creates items that all say the same.
    pub fn put_all<'a>(&self, g: &Grader, ids: impl IntoIterator<Item = &'a String>, word: &str) {
        let ids: Vec<&str> = ids.into_iter().map(String::as_str).collect();
        g.note(format_args!("SOURCE has these items from here on: {}", ids.join(", ")));
        lock(&self.shelf).items.extend(ids.iter().map(|id| ((*id).to_owned(), body(id, word))));
    }

    pub fn breaks(&self, g: &Grader, broken: bool) {
        g.note(if broken { "SOURCE answers 500 from here on" } else { "SOURCE is well again" });
        lock(&self.shelf).broken = broken;
    }

    /// How often it was asked for this item.
    pub fn calls(&self, id: &str) -> usize {
        let path = target(id);
        self.server.count(|it| it.path == path)
    }

    /// Waits until this item was asked for so often, or for five seconds.
    pub async fn until_called(&self, id: &str, times: usize) {
        let path = target(id);
        self.server.arrivals_of(|it| it.path == path, times, Duration::from_secs(5)).await;
    }
}

/// The path of an item, here and at the source.
pub fn target(id: &str) -> String {
    format!("/item/{id}")
}

/// What the source says of an item.
pub fn body(id: &str, word: &str) -> String {
    json!({ "id": id, "word": word }).to_string()
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    fn answer(&self, request: &Received) -> (StatusCode, String) {
        let item = request.path.strip_prefix("/item/").and_then(|id| self.items.get(id));
        match item {
            _ if self.broken => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": "broken" }).to_string()),
            Some(item) => (StatusCode::OK, item.clone()),
            None => (StatusCode::NOT_FOUND, json!({ "error": "no such item" }).to_string()),
        }
    }
}

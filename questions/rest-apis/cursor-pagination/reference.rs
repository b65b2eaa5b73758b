//! An ordered map for each owner is what an index on `(owner, ts DESC, id DESC)` is in a database: a place is found in
//! logarithmic time, and the page is read from there. Over a table, the same page is
//!
//! ```sql
//! SELECT id, ts, title FROM items
//! WHERE owner = ? AND (ts, id) < (?, ?) ORDER BY ts DESC, id DESC LIMIT ? + 1
//! ```
//!
//! where the one row more says whether anything follows; for `prev` it is `>`, both columns ascending, and the page is
//! turned round.
//!
//! The cursor holds the place itself, signed together with the owner; nothing is kept for it on the server, so it costs
//! nothing and lives as long as the key: here until a restart, elsewhere until the key is rotated. There is no jump to
//! page 40 and no cheap total. An item that is stamped in the past comes to rest behind readers who have passed, and they
//! miss it. Stripe's `starting_after` is the bare id of an item; Relay's connections for GraphQL give
//! every item of a page a cursor of its own.

use super::Bug;
use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::cmp::Reverse;
use std::ops::Bound::{Excluded, Unbounded};

/// Where an item stands: the newest first, and of equals the one that came last.
type Place = (Reverse<i64>, Reverse<u64>);

#[derive(Default)]
struct Items {
    lists: HashMap<Arc<str>, BTreeMap<Place, String>>,
    owners: HashMap<u64, (Arc<str>, Place)>,
    newest_id: u64,
}

#[derive(Clone)]
struct Store {
    bug: Option<Bug>,
    key: [u8; 64],
    items: Arc<Mutex<Items>>,
}

#[derive(Deserialize)]
struct New {
    ts: i64,
    owner: Arc<str>,
    title: String,
}

#[derive(Deserialize)]
struct Wanted {
    owner: String,
    limit: String,
    cursor: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// To the older.
    Next,
    /// To the newer.
    Prev,
}

#[derive(Clone, Copy)]
struct Cursor {
    way: Way,
    place: Place,
}

pub fn router(bug: Option<Bug>) -> Router {
    let store = Store { bug, key: rand::random(), items: Arc::default() };
    Router::new()
        .route("/items", post(create).get(list))
        .route("/items/{id}", delete(remove))
        .with_state(store)
}

impl Store {
    fn items(&self) -> std::sync::MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn create(State(store): State<Store>, body: bytes::Bytes) -> Response {
    let several = serde_json::from_slice::<Vec<New>>(&body);
    let one = || serde_json::from_slice::<New>(&body);
    let mut items = store.items();
    if let Ok(several) = several {
        let ids: Vec<u64> = several.into_iter().map(|new| items.add(new)).collect();
        return (StatusCode::CREATED, Json(HashMap::from([("ids", ids)]))).into_response();
    }
    match one() {
        Ok(new) => (StatusCode::CREATED, Json(json!({ "id": items.add(new) }))).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

impl Items {
    fn add(&mut self, new: New) -> u64 {
        self.newest_id += 1;
        let place = (Reverse(new.ts), Reverse(self.newest_id));
        self.owners.insert(self.newest_id, (new.owner.clone(), place));
        self.lists.entry(new.owner).or_default().insert(place, new.title);
        self.newest_id
    }
}

async fn remove(State(store): State<Store>, Path(id): Path<u64>) -> StatusCode {
    let mut items = store.items();
    let Some((owner, place)) = items.owners.remove(&id) else { return StatusCode::NOT_FOUND };
    if let Some(list) = items.lists.get_mut(&owner) {
        list.remove(&place);
    }
    StatusCode::NO_CONTENT
}

async fn list(State(store): State<Store>, Query(wanted): Query<Wanted>) -> Response {
    let limit = match limit(&wanted.limit, store.bug) {
        Ok(limit) => limit,
        Err(status) => return (status, "limit is a whole number from 1 to 100").into_response(),
    };
    let from = match &wanted.cursor {
        None => None,
        Some(text) => match store.opened(text, &wanted.owner) {
            Some(cursor) => Some(cursor),
            None => return (StatusCode::BAD_REQUEST, "this is no cursor of this list").into_response(),
        },
    };
    let items = store.items();
    let empty = BTreeMap::new();
    let list = items.lists.get(&*wanted.owner).unwrap_or(&empty);
    let places = page(list, from, limit, store.bug);
    let (first, last) = (places.first().copied(), places.last().copied());
    let older = last.and_then(|last| list.range((Excluded(last), Unbounded)).next());
    let newer = first.and_then(|first| list.range(..first).next_back());
    let mut next = last.filter(|_| older.is_some());
    match store.bug {
        Some(Bug::SkipsOne) => next = older.map(|(place, _)| *place),
        Some(Bug::EndsWithAnEmptyPage) => next = last.filter(|_| places.len() == limit),
        Some(Bug::NumbersPages) => {
            let shown = from.map_or(0, |cursor| cursor.place.0.0);
            next = next.map(|_| (Reverse(shown + limit as i64), Reverse(0)));
        }
        _ => {}
    }
    let sealed =
        |way, place: Option<Place>| place.map(|place| store.sealed(Cursor { way, place }, &wanted.owner));
    let shown = places.iter().map(
        |place| json!({ "id": place.1.0, "ts": place.0.0, "owner": wanted.owner, "title": list.get(place) }),
    );
    Json(json!({
        "items": shown.collect::<Vec<_>>(),
        "next": sealed(Way::Next, next),
        "prev": sealed(Way::Prev, first.filter(|_| newer.is_some())),
    }))
    .into_response()
}

/// The places of a page, the newest first.
fn page(list: &BTreeMap<Place, String>, from: Option<Cursor>, limit: usize, bug: Option<Bug>) -> Vec<Place> {
    let Some(Cursor { way, mut place }) = from else { return list.keys().take(limit).copied().collect() };
    match (bug, way) {
        (Some(Bug::NoTieBreaker), Way::Next) => place.1 = Reverse(0),
        (Some(Bug::LooksUpTheRow), _) if !list.contains_key(&place) => return Vec::new(),
        (Some(Bug::NumbersPages), Way::Next) => {
            return list.keys().skip(place.0.0 as usize).take(limit).copied().collect();
        }
        (Some(Bug::CountsItsWay), Way::Next) => {
            return list.keys().skip_while(|it| **it <= place).take(limit).copied().collect();
        }
        (Some(Bug::StartsFromTheTop), Way::Prev) => {
            return list.range(..place).take(limit).map(|(place, _)| *place).collect();
        }
        _ => {}
    }
    if way == Way::Next {
        return list.range((Excluded(place), Unbounded)).take(limit).map(|(place, _)| *place).collect();
    }
    let mut places: Vec<Place> = list.range(..place).rev().take(limit).map(|(place, _)| *place).collect();
    if bug != Some(Bug::ReversesThePage) {
        places.reverse();
    }
    places
}

fn limit(text: &str, bug: Option<Bug>) -> Result<usize, StatusCode> {
    let digits = match bug {
        Some(Bug::ClampsTheLimit) => match text.parse::<i64>() {
            Ok(number) => return Ok(number.clamp(1, 100) as usize),
            Err(_) => text,
        },
        Some(Bug::FailsOnText) if text.parse::<i64>().is_err() => {
            return Err(StatusCode::INTERNAL_SERVER_ERROR);
        }
        Some(Bug::ReadsLeadingDigits) => text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default(),
        _ => text,
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let limit = digits.parse().ok().filter(|limit| is_number && (1..=100).contains(limit));
    limit.ok_or(StatusCode::BAD_REQUEST)
}

impl Store {
    /// A place as text that nobody else can make.
    fn sealed(&self, cursor: Cursor, owner: &str) -> String {
        let mut bytes = vec![u8::from(cursor.way == Way::Prev)];
        bytes.extend(cursor.place.0.0.to_be_bytes());
        bytes.extend(cursor.place.1.0.to_be_bytes());
        let seal = self.seal(&bytes, owner).finalize().into_bytes();
        bytes.extend(&seal[..16]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What is signed begins with 17 bytes of a place, so that the owner's name can't run into it.
    fn seal(&self, place: &[u8], owner: &str) -> Hmac<Sha256> {
        let mut seal = <Hmac<Sha256> as KeyInit>::new(&self.key.into());
        seal.update(place);
        if self.bug != Some(Bug::ForgetsTheOwner) {
            seal.update(owner.as_bytes());
        }
        seal
    }

    fn opened(&self, text: &str, owner: &str) -> Option<Cursor> {
        let bytes: [u8; 33] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (place, seal) = bytes.split_at(17);
        let is_ours = self.seal(place, owner).verify_truncated_left(seal).is_ok();
        let way = match place[0] {
            0 => Way::Next,
            1 => Way::Prev,
            _ => return None,
        };
        let ts = i64::from_be_bytes(place[1..9].try_into().ok()?);
        let id = u64::from_be_bytes(place[9..17].try_into().ok()?);
        let cursor = Cursor { way, place: (Reverse(ts), Reverse(id)) };
        (is_ours || self.bug == Some(Bug::TrustsTheCursor)).then_some(cursor)
    }
}

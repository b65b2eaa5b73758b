//! One map of users under one lock, written whole to a file beside it, synced and renamed into place, before any success
//! or failure is answered. That is exact and simple, and each request costs a write of everything; a service keeps a row
//! for each user and lets the database decide: `UPDATE … SET step = $2 WHERE name = $1 AND step < $2`.
//!
//! Secrets are sealed with AES-256-GCM under `KEK`, bound to the user's name, so that a row copied to another user opens
//! nothing. Real systems keep such a key outside the machine's disks: a key service wraps a data key, and rotating the
//! one doesn't touch the data. Recovery codes carry 80 random bits, which is why a fast keyed hash is enough for them; a
//! password would need a slow one. Failures are kept for every name that was ever tried, which a service has to bound.
//!
//! A lock for each user lets anyone who knows the password keep the user out; large services slow guessers down by
//! device and network besides, and offer a factor that can't be guessed or relayed at all: WebAuthn.

use super::Bug;
use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;

const STEP_S: u64 = 30;
const MOST_FAILURES: u32 = 5;
const LOCKED_S: u64 = 900;
/// How long a program that checks first and stores later may take in between.
const SLOW: Duration = Duration::from_millis(30);

#[derive(Default, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    users: BTreeMap<String, User>,
    /// Also of those who aren't users.
    failures: BTreeMap<String, Failures>,
}

#[derive(Default, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    /// Sealed, as the active one is.
    pending: Option<String>,
    active: Option<String>,
    /// The latest step of which a code was accepted.
    last_step: u64,
    last_code: String,
    /// Keyed hashes of those that are left.
    recovery: BTreeSet<String>,
}

#[derive(Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Failures {
    in_a_row: u32,
    locked_until: u64,
}

#[derive(Clone)]
struct Server {
    bug: Option<Bug>,
    file: PathBuf,
    key: [u8; 32],
    state: Arc<Mutex<Kept>>,
}

#[derive(Deserialize)]
struct Body {
    code: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Act {
    Verify,
    Recover,
    Delete,
}

/// What a right code uses up, and whose it is.
enum Spends {
    Step(u64),
    Recovery { of: String, hash: String },
}

/// RFC 6238 with SHA-1 and six digits.
pub fn code_at(secret: &[u8], step: u64) -> String {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret), &step.to_be_bytes());
    let mac = mac.as_ref();
    // RFC 4226, section 5.3: four bytes from where the last half byte says, without the sign bit.
    let at = usize::from(mac[mac.len() - 1] & 0xf);
    let number =
        mac[at..at + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

pub fn router(bug: Option<Bug>) -> Result<Router> {
    let dir: PathBuf = crate::reference::env("DATA_DIR")?;
    let kek: String = crate::reference::env("KEK")?;
    let file = dir.join("users.json");
    let mut state: Kept = match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => Kept::default(),
    };
    if bug == Some(Bug::MemoryInRam) {
        state.users.values_mut().for_each(|user| user.last_step = 0);
    }
    let key = if bug == Some(Bug::KeyBesideTheLock) { [7; 32] } else { from_hex(&kek)? };
    let server = Server { bug, file, key, state: Arc::new(Mutex::new(state)) };
    Ok(Router::new()
        .route("/totp/start", post(start))
        .route("/totp/confirm", post(confirm))
        .route(
            "/totp/verify",
            post(|State(it): State<Server>, headers, body| attempt(it, Act::Verify, headers, body)),
        )
        .route(
            "/totp/recover",
            post(|State(it): State<Server>, headers, body| attempt(it, Act::Recover, headers, body)),
        )
        .route(
            "/totp",
            delete(|State(it): State<Server>, headers, body| attempt(it, Act::Delete, headers, body)),
        )
        .with_state(server))
}

async fn start(State(it): State<Server>, headers: HeaderMap) -> Response {
    let Some((name, _)) = caller(&headers) else { return StatusCode::BAD_REQUEST.into_response() };
    let mut secret = [0; 20];
    rand::fill(&mut secret);
    if it.has(Bug::OneSecretForAll) {
        secret = [42; 20];
    }
    let length = match it.bug {
        Some(Bug::PaddedSecret) => 16,
        Some(Bug::ShortSecret) => 10,
        _ => secret.len(),
    };
    let secret = &secret[..length];
    let text = super::enrolled::to_base32(secret);
    let padding = if it.has(Bug::PaddedSecret) { "%3D%3D%3D%3D%3D%3D" } else { "" };
    let uri = format!("otpauth://totp/Backlab:{name}?secret={text}{padding}&issuer=Backlab");
    let replaces = it.has(Bug::SecondStartReplaces);
    let begun = it.change(|state| {
        let user = state.users.entry(name.clone()).or_default();
        if user.active.is_some() && !replaces {
            return false;
        }
        (user.pending, user.active) = (Some(it.sealed(&name, secret)), None);
        true
    });
    match begun {
        Ok(true) => Json(json!({ "uri": uri })).into_response(),
        Ok(false) => StatusCode::CONFLICT.into_response(),
        Err(error) => failed(&error),
    }
}

async fn confirm(State(it): State<Server>, headers: HeaderMap, Json(body): Json<Body>) -> Response {
    let Some((name, now)) = caller(&headers) else { return StatusCode::BAD_REQUEST.into_response() };
    let codes: Vec<String> =
        (0..10).map(|_| super::enrolled::to_base32(&rand::random::<[u8; 10]>())).collect();
    let confirmed = it.change(|state| {
        let Some(user) = state.users.get_mut(&name) else { return false };
        let step = user.pending.as_ref().and_then(|sealed| it.step(&name, sealed, user, &body.code, now));
        let Some(step) = step else { return false };
        let keeps = it.has(Bug::RecoveryOutlives);
        user.recovery.retain(|_| keeps);
        user.recovery.extend(codes.iter().map(|code| it.hash(&name, code)));
        (user.active, user.last_step) = (user.pending.take(), step);
        user.last_code.clone_from(&body.code);
        true
    });
    match confirmed {
        Ok(true) => Json(json!({ "recovery": codes })).into_response(),
        Ok(false) => StatusCode::UNAUTHORIZED.into_response(),
        Err(error) => failed(&error),
    }
}

/// Whatever needs a right code comes through here.
async fn attempt(it: Server, act: Act, headers: HeaderMap, Json(body): Json<Body>) -> Response {
    let Some((name, now)) = caller(&headers) else { return StatusCode::BAD_REQUEST.into_response() };
    let counter = match (it.bug, headers.get("X-Forwarded-For")) {
        (Some(Bug::CountsPerAddress), address) => {
            address.and_then(|it| it.to_str().ok()).unwrap_or("127.0.0.1").to_owned()
        }
        _ => name.clone(),
    };
    let look = |state: &Kept| it.spends(state, act, &name, &body.code, now);
    let early = match (it.bug, act) {
        (Some(Bug::ChecksThenMarks), Act::Verify) | (Some(Bug::RecoveryRace), Act::Recover) => {
            let early = look(&it.state());
            tokio::time::sleep(SLOW).await;
            early
        }
        _ => None,
    };
    let status = it.change(|state| {
        let is_known = state.users.get(&name).is_some_and(|user| user.active.is_some());
        if !is_known && it.has(Bug::UnknownIsNotFound) {
            return StatusCode::NOT_FOUND;
        }
        let failures = state.failures.entry(counter.clone()).or_default();
        if now < failures.locked_until {
            if it.has(Bug::KnockingProlongs) {
                failures.locked_until = now + LOCKED_S;
            }
            return StatusCode::LOCKED;
        }
        let before = *failures;
        if let Some(spends) = early.or_else(|| look(state)) {
            let forgives = !it.has(Bug::SuccessForgivesNothing);
            state.failures.insert(counter, if forgives { Failures::default() } else { before });
            it.spend(state, act, &name, &body.code, spends);
            return StatusCode::NO_CONTENT;
        }
        let counts = (act != Act::Delete || !it.has(Bug::DeleteIsNotCounted))
            && (is_known || !it.has(Bug::UnknownIsNeverLocked));
        let in_a_row = before.in_a_row + u32::from(counts);
        let failures = match in_a_row {
            MOST_FAILURES.. => Failures { in_a_row: 0, locked_until: now + LOCKED_S },
            _ => Failures { in_a_row, ..before },
        };
        state.failures.insert(counter, failures);
        StatusCode::UNAUTHORIZED
    });
    status.map_or_else(|error| failed(&error), IntoResponse::into_response)
}

impl Server {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the state, and keeps it on disk before anybody hears of it.
    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> Result<T> {
        let mut state = self.state();
        let mut next = state.clone();
        let result = change(&mut next);
        if next == *state {
            return Ok(result);
        }
        let beside = self.file.with_extension("new");
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&next)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.file)?;
        *state = next;
        Ok(result)
    }

    /// What the code would use up; `None` where it isn't right.
    fn spends(&self, state: &Kept, act: Act, name: &str, code: &str, now: u64) -> Option<Spends> {
        let user = state.users.get(name)?;
        if act == Act::Recover {
            let has = |of: &String, user: &User| user.recovery.contains(&self.hash(of, code));
            let of = match self.bug {
                Some(Bug::RecoveryOfAnybody) => {
                    state.users.iter().find(|(of, user)| has(of, user))?.0.clone()
                }
                _ => name.to_owned(),
            };
            let is_active = user.active.is_some() || self.has(Bug::RecoveryOutlives);
            let hash = self.hash(&of, code);
            return (is_active && has(&of, state.users.get(&of)?)).then_some(Spends::Recovery { of, hash });
        }
        let early = user.pending.as_ref().filter(|_| self.has(Bug::ActiveAtOnce));
        self.step(name, user.active.as_ref().or(early)?, user, code, now).map(Spends::Step)
    }

    fn spend(&self, state: &mut Kept, act: Act, name: &str, code: &str, spends: Spends) {
        match spends {
            Spends::Recovery { of, hash } => {
                if let Some(user) = state.users.get_mut(&of).filter(|_| !self.has(Bug::RecoveryAgain)) {
                    user.recovery.remove(&hash);
                }
            }
            Spends::Step(step) => {
                let Some(user) = state.users.get_mut(name) else { return };
                (user.last_step, user.last_code) = (step, code.to_owned());
                if act == Act::Delete {
                    user.active = None;
                    let keeps = self.has(Bug::RecoveryOutlives);
                    user.recovery.retain(|_| keeps);
                }
            }
        }
    }

    /// The step of the window whose code this is, if no code as late was accepted before.
    fn step(&self, name: &str, sealed: &str, user: &User, code: &str, now: u64) -> Option<u64> {
        let secret = self.opened(name, sealed)?;
        let present = now / STEP_S;
        let window: RangeInclusive<u64> = match self.bug {
            Some(Bug::WideWindow) => present.saturating_sub(2)..=present + 2,
            _ => present.saturating_sub(1)..=present + 1,
        };
        let is_new = |step: &u64| match self.bug {
            Some(Bug::NoMemory) => true,
            Some(Bug::RemembersTheCode) => code != user.last_code,
            _ => *step > user.last_step,
        };
        let same = |step: &u64| match (self.bug, code.parse::<u32>()) {
            (Some(Bug::CodesAreNumbers), Ok(number)) => code_at(&secret, *step).parse() == Ok(number),
            _ => code_at(&secret, *step) == code,
        };
        window.into_iter().filter(is_new).find(same)
    }

    fn hash(&self, name: &str, code: &str) -> String {
        if self.has(Bug::RecoveryInPlain) {
            return code.to_owned();
        }
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.key), b"recovery codes");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        BASE64.encode(hmac::sign(&key, format!("{name}\0{code}").as_bytes()))
    }

    fn aead(&self) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.key).ok()?))
    }

    /// A nonce drawn anew, then the secret under it.
    fn sealed(&self, name: &str, secret: &[u8]) -> String {
        if self.has(Bug::SecretInPlain) {
            return BASE64.encode(secret);
        }
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = secret.to_vec();
        let done = self.aead().and_then(|key| {
            key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed)
                .ok()
        });
        // An empty text opens to nothing.
        done.map(|()| BASE64.encode([&nonce[..], &sealed].concat())).unwrap_or_default()
    }

    fn opened(&self, name: &str, sealed: &str) -> Option<Vec<u8>> {
        let mut bytes = BASE64.decode(sealed).ok()?;
        if self.has(Bug::SecretInPlain) {
            return Some(bytes);
        }
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        self.aead()?.open_in_place(nonce, Aad::from(name), sealed).ok().map(|secret| secret.to_vec())
    }
}

/// User and time.
fn caller(headers: &HeaderMap) -> Option<(String, u64)> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    Some((header("X-User")?.to_owned(), header("X-Now")?.parse().ok()?))
}

fn failed(error: &anyhow::Error) -> Response {
    eprintln!("{error:#}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn from_hex(text: &str) -> Result<[u8; 32]> {
    ensure!(text.len() == 64 && text.is_ascii(), "KEK isn't 64 hexadecimal digits");
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B: the values for SHA-1 have eight digits, of which six are the last six.
    #[test]
    fn the_published_codes_come_out() {
        let published = [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ];
        for (time, code) in published {
            assert_eq!(code_at(b"12345678901234567890", time / STEP_S), code[2..], "at {time}");
        }
    }
}

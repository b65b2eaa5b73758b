//! Enrol, verify, recover.
//!
//! A server on `PORT` keeps the second factor of users: codes of six digits after RFC 6238 (TOTP), with HMAC-SHA-1 and
//! steps of 30 seconds since 1970.
//!
//! - `DATA_DIR` is a directory. What was answered there survives `SIGKILL`: factors, used codes, failures.
//! - `KEK` is a key of 256 bits in 64 hexadecimal digits. Secrets are encrypted with it: neither a secret nor a recovery
//!   code stands in any file of `DATA_DIR`, and started there with another `KEK` the server accepts no code (or doesn't
//!   start).
//! - Every request carries `X-User`, a name that a gateway vouches for after the password, and `X-Now`, the time in whole
//!   seconds since 1970. There is no other clock; other headers mean nothing. Bodies are JSON.
//!
//! ```text
//! POST   /totp/start                    200 {"uri": "otpauth://totp/…"}; 409 where a factor is active
//! POST   /totp/confirm  {"code": "…"}   200 {"recovery": [ten codes]}: it is active now; 401
//! POST   /totp/verify   {"code": "…"}   204; 401; 423
//! POST   /totp/recover  {"code": "…"}   204 for a recovery code; 401; 423
//! DELETE /totp          {"code": "…"}   204 for a right code, not for a recovery code: it is gone; 401; 423
//! ```
//!
//! **The URI** is `otpauth://totp/ISSUER:USER?secret=SECRET&issuer=ISSUER`, percent-encoded where needed, with any issuer.
//! The secret is base32 (RFC 4648) in capitals without padding, of 128 bits or more, and a fresh one for each start; the
//! start before, if it isn't confirmed, no longer counts. Of `algorithm`, `digits` and `period` a client assumes SHA1, 6
//! and 30; if you name them, name those.
//!
//! **A code is right** if it is, as a string of six digits, that of the present step, the one before or the one after;
//! and if that step is later than every step of which a code was accepted before, in `confirm`, `verify` or `DELETE`.
//! Everything else is a wrong code: 401, always with the same body. Of one code sent many times at once, one is accepted.
//!
//! **Recovery codes** are ten different ones of 10 characters or more, made in `confirm`. Each works once, also when sent
//! many times at once. With the factor they go.
//!
//! **The lock.** Wrong codes to `verify`, `recover` and `DELETE` are counted for each user, together. The fifth in a row is
//! answered 401 too, and from its `X-Now` on these three answer 423 to everything for 900 seconds; that second the lock is
//! open, and the count 0. What comes during a lock changes nothing. A success sets the count to 0. `confirm` isn't locked
//! and counts nothing.
//!
//! **Nobody learns who has a factor**: to verify, recover and delete, a user without an active one, known or unknown, is
//! answered like one who sends wrong codes, 423 included.

use crate::prelude::*;
use enrolled::{Enrolled, LOCKED_S, STEP_S, User, base_time};
use reference::code_at;
use std::path::PathBuf;
use std::time::Instant;

#[path = "enrolled.rs"]
mod enrolled;
#[path = "reference.rs"]
mod reference;

pub struct TotpSecondFactor;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    PaddedSecret,
    ShortSecret,
    OneSecretForAll,
    ActiveAtOnce,
    SecondStartReplaces,
    CodesAreNumbers,
    WideWindow,
    NoMemory,
    RemembersTheCode,
    MemoryInRam,
    ChecksThenMarks,
    CountsPerAddress,
    SuccessForgivesNothing,
    KnockingProlongs,
    RecoveryAgain,
    RecoveryRace,
    RecoveryInPlain,
    SecretInPlain,
    KeyBesideTheLock,
    DeleteIsNotCounted,
    RecoveryOutlives,
    UnknownIsNotFound,
    UnknownIsNeverLocked,
    RecoveryOfAnybody,
}

/// What a program does that has it.
fn probably(bug: Bug) -> &'static str {
    match bug {
        Bug::PaddedSecret => "Your base32 encoder pads with =; authenticators want none.",
        Bug::ShortSecret => "The secret has fewer than 128 bits; RFC 4226 demands them, and recommends 160.",
        Bug::OneSecretForAll => {
            "The secret isn't drawn anew for each start: it is constant, or made from the name."
        }
        Bug::ActiveAtOnce => {
            "The secret counts from the start on: a user who never scanned it is locked out."
        }
        Bug::SecondStartReplaces => {
            "A second start overwrites the active secret: whoever has the password gets rid of the factor."
        }
        Bug::CodesAreNumbers => {
            "Codes are compared as numbers, or written without the zeros at their beginning."
        }
        Bug::WideWindow => {
            "The window is two steps or more to a side: each step more is one more guess that hits."
        }
        Bug::NoMemory => {
            "What was accepted isn't remembered: whoever looks over a shoulder has a minute to use it."
        }
        Bug::RemembersTheCode => {
            "Only the last code is remembered, so one of an earlier step is still good after a later one."
        }
        Bug::MemoryInRam => "Used steps are kept in memory alone, and a restart forgets them.",
        Bug::ChecksThenMarks => {
            "The step is read, compared and stored in separate moments; requests side by side all see the old one."
        }
        Bug::CountsPerAddress => {
            "Failures are counted for each address, or whatever X-Forwarded-For claims; a guesser has many."
        }
        Bug::SuccessForgivesNothing => "A success doesn't set the count back, so old typing errors add up.",
        Bug::KnockingProlongs => {
            "An attempt during the lock starts it anew: whoever knocks every minute keeps the user out for ever."
        }
        Bug::RecoveryAgain => "A recovery code isn't struck off when it has worked.",
        Bug::RecoveryRace => {
            "The code is looked up and struck off in separate moments; both of two requests find it."
        }
        Bug::RecoveryInPlain => "Recovery codes are stored as they are; a hash is enough to know them again.",
        Bug::SecretInPlain => "The secret is stored as it is, in base32 or another spelling.",
        Bug::KeyBesideTheLock => {
            "The secret is encrypted with a key that lies in DATA_DIR or in the program; KEK isn't used."
        }
        Bug::DeleteIsNotCounted => {
            "Only verify counts failures: a guesser goes through DELETE, and the factor is gone."
        }
        Bug::RecoveryOutlives => "The secret is deleted, but its recovery codes still work.",
        Bug::UnknownIsNotFound => {
            "A user without a factor gets another answer: so a guesser learns whom to attack."
        }
        Bug::UnknownIsNeverLocked => {
            "Only users with a factor are ever locked; five wrong codes tell who has one."
        }
        Bug::RecoveryOfAnybody => "A recovery code is looked for among those of all users.",
    }
}

impl Challenge for TotpSecondFactor {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        let mut stages = of_enrolment();
        stages.extend(of_codes());
        stages.extend(of_recovery());
        stages
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        crate::reference::serve(reference::router(bug)?).await
    }
}

fn of_enrolment() -> Vec<Stage<Bug>> {
    vec![
        stage("the URI carries a fresh, long secret, whose code confirms it", enrols)
            .catches(Bug::PaddedSecret, probably(Bug::PaddedSecret))
            .catches(Bug::ShortSecret, probably(Bug::ShortSecret))
            .catches(Bug::OneSecretForAll, probably(Bug::OneSecretForAll))
            .hint("Draw 20 bytes from the system's random source: they need no padding in base32."),
        stage(
            "nothing is active before a right code has confirmed it, and nothing replaces what is active",
            activates,
        )
        .catches(Bug::ActiveAtOnce, probably(Bug::ActiveAtOnce))
        .catches(Bug::SecondStartReplaces, probably(Bug::SecondStartReplaces))
        .hint("Keep the pending secret apart from the active one, and move it on confirmation."),
    ]
}

fn of_codes() -> Vec<Stage<Bug>> {
    vec![
        stage("codes of one step before to one step after are right, with all their digits", window)
            .catches(Bug::CodesAreNumbers, probably(Bug::CodesAreNumbers))
            .catches(Bug::WideWindow, probably(Bug::WideWindow))
            .hint("The step is floor(now / 30). A code is a string of six digits, zeros at its beginning included."),
        stage("an accepted code is used up, and so is every earlier step, also after a crash", used_up)
            .catches(Bug::NoMemory, probably(Bug::NoMemory))
            .catches(Bug::RemembersTheCode, probably(Bug::RemembersTheCode))
            .catches(Bug::MemoryInRam, probably(Bug::MemoryInRam))
            .catches(Bug::ChecksThenMarks, probably(Bug::ChecksThenMarks))
            .hint(
                "Keep the last accepted step, and raise it in one step that can fail: UPDATE … SET step = :new WHERE \
                 step < :new, or under one lock.",
            ),
        stage("five wrong codes in a row lock the user for 900 seconds, and nobody else", locks)
            .catches(Bug::CountsPerAddress, probably(Bug::CountsPerAddress))
            .catches(Bug::SuccessForgivesNothing, probably(Bug::SuccessForgivesNothing))
            .catches(Bug::KnockingProlongs, probably(Bug::KnockingProlongs))
            .hint("Keep for each user a count and the end of the lock; during a lock change neither."),
    ]
}

fn of_recovery() -> Vec<Stage<Bug>> {
    vec![
        stage("each recovery code works once, and DATA_DIR gives nothing away", recovers)
            .catches(Bug::RecoveryAgain, probably(Bug::RecoveryAgain))
            .catches(Bug::RecoveryRace, probably(Bug::RecoveryRace))
            .catches(Bug::RecoveryInPlain, probably(Bug::RecoveryInPlain))
            .catches(Bug::SecretInPlain, probably(Bug::SecretInPlain))
            .catches(Bug::KeyBesideTheLock, probably(Bug::KeyBesideTheLock))
            .hint(
                "Encrypt each secret with an AEAD such as AES-256-GCM under KEK, with a nonce of its own. Delete a \
                 recovery code and look whether a row was deleted, in one statement.",
            ),
        stage("turning it off needs a right code, failed attempts count, and nothing of it stays", turns_off)
            .catches(Bug::DeleteIsNotCounted, probably(Bug::DeleteIsNotCounted))
            .catches(Bug::RecoveryOutlives, probably(Bug::RecoveryOutlives))
            .hint("Let all three go through one function: locked? right? count. Delete the codes with the factor."),
        stage("users don't touch each other, and nobody learns who has a factor", strangers)
            .catches(Bug::UnknownIsNotFound, probably(Bug::UnknownIsNotFound))
            .catches(Bug::UnknownIsNeverLocked, probably(Bug::UnknownIsNeverLocked))
            .catches(Bug::RecoveryOfAnybody, probably(Bug::RecoveryOfAnybody))
            .hint("Count failures by name, whether there is such a user or not, and look up codes by user and code."),
    ]
}

async fn enrols(g: &Grader) -> Graded {
    let it = start(g).await?;
    let now = base_time(g);
    let [one, other] = [User::new(&it, g), User::new(&it, g)];
    let first = one.begin(now).await?;
    let second = one.begin(now + 1).await?;
    let third = other.begin(now + 1).await?;
    for (what, secret) in [("of two starts of one user", &first), ("of two users", &third)] {
        if *secret == second {
            let found = "they are the same";
            return Err(g
                .wrong(format!("the secrets {what}"), "they differ", found)
                .because(probably(Bug::OneSecretForAll)));
        }
    }
    let cause = "Codes aren't computed as RFC 6238 says; its appendix B has values to compare with.";
    let answer = one.send("confirm", &code_at(&second, now / STEP_S), now + 2).await?;
    if answer.code() == 401 {
        return Err(answer
            .status(200)
            .err()
            .map_or_else(|| anyhow!("401 isn't 200").into(), |it| it.because(cause)));
    }
    one.recovery_of(&answer.status(200)?)?;
    Ok(())
}

async fn activates(g: &Grader) -> Graded {
    let it = start(g).await?;
    let user = User::new(&it, g);
    let mut now = base_time(g);
    let old = user.begin(now).await?;
    let secret = user.begin(now).await?;
    let right = |now: u64| code_at(&secret, now / STEP_S);
    let wrong = enrolled::wrong_code(&secret, now);
    user.send("confirm", &wrong, now).await?.status(401).because("A wrong code confirms the factor.")?;
    refused(&user.send("verify", &right(now), now).await?).because(probably(Bug::ActiveAtOnce))?;
    refused(&user.delete(&right(now), now).await?).because(probably(Bug::ActiveAtOnce))?;
    let stale = code_at(&old, now / STEP_S);
    if !enrolled::is_right(&stale, &secret, now) {
        let cause = "The secret of an earlier start still counts; the newest start has replaced it.";
        user.send("confirm", &stale, now).await?.status(401).because(cause)?;
    }
    let confirmed = user.send("confirm", &right(now), now).await?.status(200)?;
    user.recovery_of(&confirmed)?;
    now += 2 * STEP_S;
    user.send("verify", &right(now), now).await?.status(204)?;
    now += 2 * STEP_S;
    user.start(now).await?.status(409).because(probably(Bug::SecondStartReplaces))?;
    let cause = "There is nothing to confirm: the factor is active.";
    user.send("confirm", &right(now), now).await?.status(401).because(cause)?;
    user.send("verify", &right(now), now).await?.status(204).because(probably(Bug::SecondStartReplaces))?;
    Ok(())
}

/// That it isn't let in; how it is told so is for the last stage.
fn refused(answer: &Answer) -> Graded {
    if (400..500).contains(&answer.code()) {
        return Ok(());
    }
    Err(answer.wrong("the status", "401", answer.code()))
}

async fn window(g: &Grader) -> Graded {
    let it = start(g).await?;
    for (within, offsets) in [(0, [-1, 0, 1]), (STEP_S - 1, [-1, 1, 0]), (15, [1, -1, 0])] {
        for offset in offsets {
            let Enrolled { user, secret, at, .. } = enrol(&it, g).await?;
            // A step whose neighbours have codes of their own, far from what was accepted before.
            let step = enrolled::clear_step(&secret, at / STEP_S + 10);
            let now = step * STEP_S + within;
            for far in [-2, 2] {
                let code = code_at(&secret, step.saturating_add_signed(far));
                user.send("verify", &code, now).await?.status(401).because(off(far))?;
            }
            let code = code_at(&secret, step.saturating_add_signed(offset));
            user.send("verify", &code, now).await?.status(204).because(off(offset))?;
        }
    }
    let Enrolled { user, secret, at, .. } = enrol(&it, g).await?;
    let starts = |step: &u64| code_at(&secret, *step).starts_with('0') && enrolled::is_clear(&secret, *step);
    let step = (at / STEP_S + 10..).find(starts).context("a code that begins with 0")?;
    let (code, now) = (code_at(&secret, step), step * STEP_S);
    let short = code.trim_start_matches('0');
    user.send("verify", short, now).await?.status(401).because(probably(Bug::CodesAreNumbers))?;
    user.send("verify", &code, now).await?.status(204).because(probably(Bug::CodesAreNumbers))?;
    Ok(())
}

/// Says of which step the code was.
fn off(steps: i64) -> String {
    match steps {
        0 => "This is the code of the present step.".to_owned(),
        -1 | 1 => {
            format!(
                "This is the code of the neighbouring step, {steps:+}; floor(now / 30) is the present one."
            )
        }
        _ => format!(
            "This is the code of step {steps:+}; the window is one step to each side of floor(now / 30)."
        ),
    }
}

async fn used_up(g: &Grader) -> Graded {
    let it = start(g).await?;
    let Enrolled { user, secret, at, .. } = enrol(&it, g).await?;
    let cause = "The code that confirmed is used up by that, and must be remembered like any other.";
    user.send("verify", &code_at(&secret, at / STEP_S), at).await?.status(401).because(cause)?;

    let mut step = enrolled::clear_step(&secret, at / STEP_S + 10);
    let now = step * STEP_S + 7;
    let [before, present, after] = [step - 1, step, step + 1].map(|step| code_at(&secret, step));
    user.send("verify", &present, now).await?.status(204)?;
    user.send("verify", &present, now + 1).await?.status(401).because(probably(Bug::NoMemory))?;
    user.send("verify", &before, now + 2).await?.status(401).because(probably(Bug::RemembersTheCode))?;
    user.send("verify", &after, now + 3).await?.status(204)?;
    user.send("verify", &present, now + 4).await?.status(401).because(probably(Bug::RemembersTheCode))?;
    it.kill().await?;
    let it = g.start_again(&it).await?;
    let user = user.at(&it);
    user.send("verify", &after, now + 5).await?.status(401).because(probably(Bug::MemoryInRam))?;

    let began = Instant::now();
    for _ in 0..20 {
        if began.elapsed() > RACING {
            break;
        }
        // Far enough for any lock to be over.
        step = enrolled::clear_step(&secret, step + 2 * LOCKED_S / STEP_S);
        once(g, &user, "verify", &code_at(&secret, step), step * STEP_S, Bug::ChecksThenMarks).await?;
    }
    Ok(())
}

/// How long rounds go on: a narrow race isn't lost in every one, and a slow program loses wide ones in the first.
const RACING: Duration = Duration::from_secs(2);

/// Sends one code thirty times at once; one is accepted. The others may lock the user.
async fn once(g: &Grader, user: &User, path: &str, code: &str, now: u64, otherwise: Bug) -> Graded {
    // Thirty writes to a busy disk take their time.
    let calls = (0..30).map(|_| user.send(path, code, now).deadline(Duration::from_secs(20)));
    let mut accepted = 0;
    for answer in Call::at_once(calls).await? {
        accepted += u32::from(answer.one_of(&[204, 401, 423])?.code() == 204);
    }
    let what = format!("how often a code is accepted that is sent to {path} 30 times at once");
    g.expect(what, accepted, 1).because(probably(otherwise))
}

async fn locks(g: &Grader) -> Graded {
    let it = start(g).await?;
    let Enrolled { user, secret, at, .. } = enrol(&it, g).await?;
    let other = User::new(&it, g).enrol(at).await?;
    let mut step = at / STEP_S;
    for _ in 0..2 {
        step += 3;
        let now = step * STEP_S;
        for _ in 0..4 {
            let wrong = enrolled::wrong_code(&secret, now);
            user.send("verify", &wrong, now)
                .await?
                .status(401)
                .because(probably(Bug::SuccessForgivesNothing))?;
        }
        let right = code_at(&secret, step);
        user.send("verify", &right, now).await?.status(204).because(probably(Bug::SuccessForgivesNothing))?;
    }
    let now = (step + 3) * STEP_S;
    for address in 1..=5 {
        let call = user.send("verify", &enrolled::wrong_code(&secret, now), now);
        call.header("X-Forwarded-For", format!("198.51.100.{address}")).await?.status(401)?;
    }
    let right = |now: u64| user.send("verify", &code_at(&secret, now / STEP_S), now);
    right(now + 1).await?.status(423).because(probably(Bug::CountsPerAddress))?;
    let apart = other.user.send("verify", &code_at(&other.secret, now / STEP_S), now + 1).await?;
    apart.status(204).because("The lock of one user locks another, who shares the address.")?;
    right(now + LOCKED_S / 2).await?.status(423)?;
    let cause = "The lock is for verify alone; recover and DELETE are doors to the same house.";
    user.send("recover", &g.word(), now + LOCKED_S / 2).await?.status(423).because(cause)?;
    it.kill().await?;
    let it = g.start_again(&it).await?;
    let right = |now: u64| user.at(&it).send("verify", &code_at(&secret, now / STEP_S), now);
    let cause = "The lock isn't kept in DATA_DIR, or is shorter than 900 seconds.";
    right(now + LOCKED_S - 1).await?.status(423).because(cause)?;
    right(now + LOCKED_S).await?.status(204).because(probably(Bug::KnockingProlongs))?;
    Ok(())
}

async fn recovers(g: &Grader) -> Graded {
    let it = start(g).await?;
    let Enrolled { user, secret, recovery, at } = enrol(&it, g).await?;
    user.send("recover", &recovery[0], at).await?.status(204)?;
    user.send("recover", &recovery[0], at).await?.status(401).because(probably(Bug::RecoveryAgain))?;
    user.send("recover", &recovery[9], at).await?.status(204)?;
    user.send("recover", &code_at(&secret, at / STEP_S + 1), at).await?.status(401)?;
    let mut now = at;
    for code in &recovery[1..5] {
        now += 2 * LOCKED_S;
        once(g, &user, "recover", code, now, Bug::RecoveryRace).await?;
    }
    now += 2 * LOCKED_S;
    it.kill().await?;
    let files = files_in(&g.dir("data")?)?;
    for code in &recovery {
        let bare: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        let spellings = [code.clone(), code.to_lowercase(), bare].map(String::into_bytes);
        hidden(g, &files, "a recovery code", &spellings, Bug::RecoveryInPlain)?;
    }
    hidden(g, &files, "the secret", &enrolled::spellings(&secret), Bug::SecretInPlain)?;

    let again = g.start_again(&it).await?;
    let user = user.at(&again);
    let cause = "After a restart a used recovery code works again.";
    user.send("recover", &recovery[9], now).await?.status(401).because(cause)?;
    user.send("recover", &recovery[8], now).await?.status(204)?;
    user.send("verify", &code_at(&secret, now / STEP_S), now).await?.status(204)?;
    again.kill().await?;
    sealed_with_kek(g, &user, &secret, now + 2 * LOCKED_S).await
}

/// Starts with another key, which must not open what the first one sealed. The program may refuse to start, which is
/// fine.
async fn sealed_with_kek(g: &Grader, user: &User, secret: &[u8], now: u64) -> Graded {
    let tried = async {
        let it = start_with(g, &key(g, "another key")).await?;
        user.at(&it).send("verify", &code_at(secret, now / STEP_S), now).await
    };
    match tried.await {
        Ok(answer) if answer.code() < 300 => {
            let expected = "401: started with another KEK, it can't read the secret";
            Err(answer.wrong("the status", expected, answer.code()).because(probably(Bug::KeyBesideTheLock)))
        }
        Ok(_) | Err(Finding::Wrong(_)) => Ok(()),
        Err(unsure) => Err(unsure),
    }
}

/// All files below a directory, with what stands in them.
fn files_in(dir: &std::path::Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_in(&path)?);
        } else if path.is_file() {
            let bytes = std::fs::read(&path)?;
            files.push((path, bytes));
        }
    }
    Ok(files)
}

fn hidden(
    g: &Grader,
    files: &[(PathBuf, Vec<u8>)],
    what: &str,
    spellings: &[Vec<u8>],
    otherwise: Bug,
) -> Graded {
    for (path, bytes) in files {
        let is_there = |it: &Vec<u8>| bytes.windows(it.len()).any(|window| window == it);
        if spellings.iter().any(is_there) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let found = format!("{what} stands in {name}, for whoever gets a copy of it");
            let wrong = g.wrong("the files in DATA_DIR", format!("{what} isn't in them"), found);
            return Err(wrong.because(probably(otherwise)));
        }
    }
    Ok(())
}

async fn turns_off(g: &Grader) -> Graded {
    let it = start(g).await?;
    let Enrolled { user, secret, recovery, at } = enrol(&it, g).await?;
    let cause = "DELETE takes a recovery code; it must be one of the authenticator.";
    user.delete(&recovery[0], at).await?.status(401).because(cause)?;
    user.send("recover", &recovery[0], at).await?.status(204)?;
    let now = at + 3 * STEP_S;
    let wrong = enrolled::wrong_code(&secret, now);
    user.send("verify", &wrong, now).await?.status(401)?;
    user.send("recover", &g.word(), now).await?.status(401)?;
    for _ in 0..3 {
        user.delete(&wrong, now).await?.status(401)?;
    }
    let right = code_at(&secret, now / STEP_S);
    user.delete(&right, now).await?.status(423).because(probably(Bug::DeleteIsNotCounted))?;

    let now = now + LOCKED_S;
    user.delete(&code_at(&secret, now / STEP_S), now).await?.status(204)?;
    refused(&user.send("recover", &recovery[1], now).await?).because(probably(Bug::RecoveryOutlives))?;
    let after = user.send("verify", &code_at(&secret, now / STEP_S + 1), now).await?;
    refused(&after).because("The factor is still active after DELETE.")?;
    let anew = user.enrol(now + STEP_S).await?;
    let now = now + 5 * STEP_S;
    user.send("recover", &recovery[2], now).await?.status(401).because(probably(Bug::RecoveryOutlives))?;
    let old = code_at(&secret, now / STEP_S);
    if !enrolled::is_right(&old, &anew.secret, now) {
        user.send("verify", &old, now).await?.status(401).because("The deleted secret still counts.")?;
    }
    user.send("verify", &code_at(&anew.secret, now / STEP_S), now).await?.status(204)?;
    Ok(())
}

async fn strangers(g: &Grader) -> Graded {
    let it = start(g).await?;
    let one = enrol(&it, g).await?;
    let other = User::new(&it, g).enrol(one.at).await?;
    let now = one.at + 10 * STEP_S;
    let code = code_at(&one.secret, now / STEP_S);
    if !enrolled::is_right(&code, &other.secret, now) {
        let cause = "The code of one user is accepted for another.";
        other.user.send("verify", &code, now).await?.status(401).because(cause)?;
    }
    let taken = other.user.send("recover", &one.recovery[0], now).await?;
    taken.status(401).because(probably(Bug::RecoveryOfAnybody))?;
    one.user
        .send("recover", &one.recovery[0], now)
        .await?
        .status(204)
        .because(probably(Bug::RecoveryOfAnybody))?;
    one.user.delete(&code, now).await?.status(204)?;
    let cause = "What one user turns off is off for another.";
    let right = code_at(&other.secret, now / STEP_S);
    other.user.send("verify", &right, now).await?.status(204).because(cause)?;

    let [nobody, begun] = [User::new(&it, g), User::new(&it, g)];
    begun.begin(now).await?;
    let strangers = [("was never seen", nobody), ("has only begun", begun), ("has turned it off", one.user)];
    for (turn, (who, stranger)) in (1..).zip(strangers) {
        // Beside one who has a factor, until both are locked; the next turn comes after that lock.
        let now = now + turn * 2 * LOCKED_S;
        alike(&other, &stranger, who, now).await?;
    }
    Ok(())
}

/// Sends wrong codes of one who has a factor and of a stranger, and holds the answers against each other.
async fn alike(known: &Enrolled, stranger: &User, who: &str, now: u64) -> Graded {
    let wrong = enrolled::wrong_code(&known.secret, now);
    let paths = ["verify", "recover", "DELETE", "verify", "recover", "verify"];
    for (count, path) in paths.into_iter().enumerate() {
        let send = |user: &User| match path {
            "DELETE" => user.delete(&wrong, now),
            _ => user.send(path, &wrong, now),
        };
        let (status, bug) = match count {
            0..5 => (401, Bug::UnknownIsNotFound),
            _ => (423, Bug::UnknownIsNeverLocked),
        };
        let answer = send(&known.user).await?.status(status)?;
        let cause = format!("{} This user {who}.", probably(bug));
        send(stranger).await?.same_as(&answer).because(&cause)?;
    }
    Ok(())
}

async fn start(g: &Grader) -> Graded<Subject> {
    start_with(g, &key(g, "key")).await
}

async fn start_with(g: &Grader, key: &str) -> Graded<Subject> {
    let dir = g.dir("data")?;
    g.start(&[("DATA_DIR", &dir.display().to_string()), ("KEK", key)]).await
}

/// 256 bits, by the seed.
fn key(g: &Grader, purpose: &str) -> String {
    let mut bytes = [0; 32];
    rand::Rng::fill_bytes(&mut g.rng_for(purpose), &mut bytes);
    hex(&bytes)
}

async fn enrol(it: &Subject, g: &Grader) -> Graded<Enrolled> {
    User::new(it, g).enrol(base_time(g)).await
}

//! A forger sends eight tokens that deserve no belief to two servers: one lets the token say how it is to be verified,
//! the other has decided that before any token came.
//!
//! `verifiers.rs` has the two verifiers, `forger.rs` makes the tokens, `workshop.rs` the servers. Keys are fresh in each
//! run, signatures are real, and the servers' clock is set by the experiment.

use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use forger::{FORGERIES, START, forgeries, genuine, search, sign_with_secret, user, word_list};
use rand::RngExt;
use rand::seq::IndexedRandom;
use verifiers::{Believer, Forgotten, Key, Payload, Strict, decoded, parts, signature_fits};
use workshop::{Workshop, send, serve};

#[path = "figures.rs"]
mod figures;
#[path = "forger.rs"]
mod forger;
#[path = "verifiers.rs"]
mod verifiers;
#[path = "workshop.rs"]
mod workshop;

pub struct JwtStructureAndAttacks;

choices! {
    /// Whom the forger tries first.
    pub enum Which { Believer = "believes the token", Strict = "strict" }
}

choices! {
    /// Where the secret of the HS256 service comes from.
    pub enum Secret { Word = "from a word list", Random = "32 random bytes" }
}

params! {
    /// The verifier that the prediction is about.
    verifier: Which = "believes the token" in ..;
    /// Where the secret of the HS256 service comes from.
    hmac_secret: Secret = "from a word list" in ..;
    /// Seconds by which the strict verifier lets clocks differ.
    leeway_s: u64 = 60 in 0..=120;
    /// The check that the strict verifier leaves out.
    forgets: Forgotten = "nothing" in ..;
}

const BELIEVER: &str = "believes the token";
const STRICT: &str = "strict";

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    token: String,
    /// What the issuer put in, and what was read without any key.
    put_in: Payload,
    read: Option<Payload>,
    changes: Changes,
    /// The genuine token, then the eight others.
    tried: Vec<Tried>,
    guess: Guess,
    around_exp: Vec<Moved>,
}

/// One change at a time to the genuine token.
#[derive(Debug, Clone, Default, Serialize)]
struct Changes {
    signature_bits: u64,
    /// Characters of header and payload.
    characters: u64,
    accepted_by_believer: u64,
    accepted_by_strict: u64,
}

/// One token at both servers.
#[derive(Debug, Clone, Serialize)]
struct Tried {
    what: &'static str,
    believer: Answer,
    strict: Answer,
}

#[derive(Debug, Clone, Serialize)]
struct Answer {
    status: u16,
    /// As the server says it; empty where it accepts.
    why: String,
}

/// The search for the secret of a service that signs with HS256.
#[derive(Debug, Clone, Serialize)]
struct Guess {
    words_tried: u64,
    found: bool,
    /// Requests that reached the service while the words were tried.
    requests: u64,
    /// Its answer to a token that the forger signed with the secret; 0 where there was none.
    forged: u16,
}

/// The servers' answers to the genuine token, with their clock so many seconds after its `exp`.
#[derive(Debug, Clone, Serialize)]
struct Moved {
    after_exp_s: i64,
    believer: u16,
    strict: u16,
}

impl Answer {
    fn accepts(&self) -> bool {
        self.status == 200
    }
}

impl Observed {
    fn genuine(&self) -> Option<&Tried> {
        self.tried.first()
    }

    fn forgeries(&self) -> &[Tried] {
        self.tried.get(1..).unwrap_or_default()
    }

    fn accepted_by(&self, which: Which) -> u64 {
        let answer =
            |it: &Tried| if which == Which::Strict { it.strict.accepts() } else { it.believer.accepts() };
        self.forgeries().iter().filter(|it| answer(it)).count() as u64
    }
}

impl Experiment for JwtStructureAndAttacks {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        match p.verifier {
            Which::Believer => Prediction::number(
                "Eight forged or stale tokens are sent to a server that takes algorithm and key from the token's own \
                 header and is content when the signature fits. How many does it accept?",
                "tokens",
                |seen: &Observed| seen.accepted_by(Which::Believer),
            )
            .tempting(
                1,
                "“alg: none” is the famous one, and libraries refuse it by now. But each member of the header that the \
                 server obeys is a door: alg, jwk, jku and kid. And a signature that fits says nothing about time or \
                 audience.",
            ),
            Which::Strict => Prediction::number(
                "Eight forged or stale tokens are sent to a server that knows issuer, key, algorithm and audience before \
                 any token comes. How many does it accept?",
                "tokens",
                |seen: &Observed| seen.accepted_by(Which::Strict),
            )
            .tempting(
                3,
                "Three of the eight were truly signed by the issuer: expired, not yet valid, for another audience. The \
                 signature is only the first of the checks.",
            ),
        }
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let workshop = Workshop::open(lab, p).await?;
        let token = genuine(&workshop.issuer)?;
        let changes = tokio::spawn({
            let (token, believer, strict) =
                (token.clone(), workshop.believer.clone(), workshop.strict.clone());
            async move { try_changes(&token, believer, strict).await }
        });
        lab.step("The genuine token, at both servers");
        let mut tried = vec![workshop.try_both("the genuine token", &token).await?];
        for (what, forged) in forgeries(&workshop.issuer, &workshop.forger, &workshop.site.url("/jwks.json"))?
        {
            lab.step(what);
            tried.push(workshop.try_both(what, &forged).await?);
        }
        let around_exp = workshop.around_exp(lab, &token, p.leeway_s).await?;
        lab.step("A service that signs with HS256: the forger holds one token of it");
        let guess = guess(lab, p, &workshop.clock).await?;
        let read = token.split('.').nth(1).and_then(|part| decoded(part).ok());
        Ok(Observed { token, put_in: user(), read, changes: changes.await??, tried, guess, around_exp })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [of_the_token(seen), of_the_verifiers(seen), of_secret_and_clock(p, seen)].concat()
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        vec![
            figures::token_in_parts(seen),
            figures::forgeries_by_verifier(seen),
            figures::clock_strip(p, seen),
        ]
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken = |change: &dyn Fn(&mut Observed)| {
            let mut seen = sound(p);
            change(&mut seen);
            seen
        };
        vec![
            broken(&|seen| seen.read = None),
            broken(&|seen| seen.changes.accepted_by_believer = 1),
            broken(&|seen| seen.tried[1].believer.status = 401),
            broken(&|seen| seen.tried[2].strict.status = 200),
            broken(&|seen| seen.guess.requests = 10_000),
            broken(&|seen| seen.around_exp.iter_mut().for_each(|it| it.strict = 200)),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let the strict verifier take the algorithm from the header",
                set: &[("forgets", "the algorithm")],
                refutes: &["strict-refuses"],
            },
            Fault {
                label: "let it accept tokens for any audience",
                set: &[("forgets", "the audience")],
                refutes: &["strict-refuses"],
            },
            Fault {
                label: "let it ignore exp and nbf",
                set: &[("forgets", "the times")],
                refutes: &["strict-refuses", "leeway"],
            },
        ]
    }
}

fn of_the_token(seen: &Observed) -> Vec<Claim> {
    let (changes, readable) = (&seen.changes, seen.read.as_ref() == Some(&seen.put_in));
    let accepted = changes.accepted_by_believer + changes.accepted_by_strict;
    vec![
        claim(
            "readable",
            "Anyone reads the payload of a signed token, without any key",
            "the token is encrypted (JWE), not only signed",
        )
        .witness(seen.token.matches('.').count() == 2, "three parts, decoded from base64url")
        .that(
            readable,
            if readable { "read as it was put in" } else { "not readable" },
            "read as it was put in",
        ),
        claim(
            "changes-refused",
            "A token with one bit or one character changed is refused",
            "a verifier skips the signature, or decodes more than one text to the same bytes",
        )
        .witness(
            changes.signature_bits > 0 && changes.characters > 0,
            format!(
                "{} bits and {} characters changed, each alone",
                changes.signature_bits, changes.characters
            ),
        )
        .that(
            accepted == 0,
            format_args!("{accepted} accepted of {}", changes.signature_bits + changes.characters),
            "0 accepted",
        ),
    ]
}

fn of_the_verifiers(seen: &Observed) -> Vec<Claim> {
    let (believed, let_in) = (seen.accepted_by(Which::Believer), seen.accepted_by(Which::Strict));
    let genuine =
        |accepts: bool| if accepts { "the genuine token is accepted" } else { "nothing is accepted" };
    let believer_works = seen.genuine().is_some_and(|it| it.believer.accepts());
    let strict_works = seen.genuine().is_some_and(|it| it.strict.accepts());
    vec![
        claim(
            "believer-accepts",
            "A verifier that lets the token choose algorithm and key accepts all eight forgeries",
            "it fixes algorithm and key, and checks times and audience",
        )
        .witness(believer_works, genuine(believer_works))
        .that(
            believed == FORGERIES as u64,
            format_args!("{believed} of {FORGERIES} accepted"),
            "all accepted",
        ),
        claim(
            "strict-refuses",
            "A verifier that has chosen algorithm, key, issuer and audience beforehand accepts none of them",
            "one of its checks is left out",
        )
        .witness(strict_works, genuine(strict_works))
        .that(let_in == 0, format_args!("{let_in} of {FORGERIES} accepted"), "none accepted"),
    ]
}

fn of_secret_and_clock(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (guess, in_list) = (&seen.guess, p.hmac_secret == Secret::Word);
    let (last, first) = edges(p, seen);
    vec![
        claim(
            "secret-guessed",
            if in_list {
                "An HMAC secret from a word list is found offline, without one request, and then signs anything"
            } else {
                "An HMAC secret of 32 random bytes isn't in the word list that is tried offline"
            },
            "the secret is random, or each guess had to ask the server",
        )
        .witness(guess.words_tried > 0, format!("{} words tried", guess.words_tried))
        .that(
            guess.found == in_list && guess.requests == 0 && (guess.forged == 200) == in_list,
            format_args!(
                "{} after {} words, {} requests",
                if guess.found { "found" } else { "not found" },
                guess.words_tried,
                guess.requests
            ),
            if in_list { "found, 0 requests" } else { "not found, 0 requests" },
        ),
        claim(
            "leeway",
            "The strict verifier accepts until exp + leeway, and not after",
            "it doesn't check exp, or grants the leeway twice",
        )
        .witness(last.is_some() && first.is_some(), "the clock was turned to both sides of exp + leeway")
        .that(
            last.is_some_and(|it| it.strict == 200) && first.is_some_and(|it| it.strict == 401),
            format_args!("{} a second before, {} a second after", status(last), status(first)),
            "200 a second before, 401 a second after",
        ),
    ]
}

/// The answers a second before and a second after exp + leeway.
fn edges<'a>(p: &Params, seen: &'a Observed) -> (Option<&'a Moved>, Option<&'a Moved>) {
    let at = |after_exp_s: i64| seen.around_exp.iter().find(|it| it.after_exp_s == after_exp_s);
    (at(p.leeway_s as i64 - 1), at(p.leeway_s as i64 + 1))
}

fn status(moved: Option<&Moved>) -> String {
    moved.map_or("nothing".to_owned(), |it| it.strict.to_string())
}

/// Asks both verifiers about each changed token, side by side.
async fn try_changes(token: &str, believer: Believer, strict: Arc<Strict>) -> Result<Changes> {
    let (bits, characters) = (with_a_bit_flipped(token), with_a_character_replaced(token));
    let (signature_bits, characters_changed) = (bits.len() as u64, characters.len() as u64);
    let all = Arc::new([bits, characters].concat());
    let accepted = |all: Arc<Vec<String>>, accepts: Box<dyn Fn(&str) -> bool + Send>| {
        tokio::task::spawn_blocking(move || all.iter().filter(|token| accepts(token)).count() as u64)
    };
    let by_believer = accepted(all.clone(), Box::new(move |token| believer.verify_offline(token).is_ok()));
    let by_strict = accepted(all, Box::new(move |token| strict.verify(token, START).is_ok()));
    Ok(Changes {
        signature_bits,
        characters: characters_changed,
        accepted_by_believer: by_believer.await?,
        accepted_by_strict: by_strict.await?,
    })
}

/// For each bit of the signature, the token with just that one changed.
fn with_a_bit_flipped(token: &str) -> Vec<String> {
    let Some((signed, signature)) = token.rsplit_once('.') else { return vec![] };
    let signature = BASE64URL.decode(signature).unwrap_or_default();
    let flipped = |bit: usize| {
        let mut changed = signature.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        format!("{signed}.{}", BASE64URL.encode(changed))
    };
    (0..signature.len() * 8).map(flipped).collect()
}

/// For each character of header and payload, the token with another one there.
fn with_a_character_replaced(token: &str) -> Vec<String> {
    let signed = token.rsplit_once('.').map_or("", |it| it.0);
    let replaced = |(at, c): (usize, char)| {
        let other = if c == 'A' { "B" } else { "A" };
        format!("{}{other}{}", &token[..at], &token[at + 1..])
    };
    signed.char_indices().filter(|it| it.1 != '.').map(replaced).collect()
}

/// A forger who holds one token of an HS256 service looks for the secret on its own machine.
async fn guess(lab: &Lab, p: &Params, clock: &Clock) -> Result<Guess> {
    let words = word_list();
    let mut rng = lab.rng("secret");
    let secret = match p.hmac_secret {
        Secret::Word => words.choose(&mut rng).context("the word list is empty")?.clone().into_bytes(),
        Secret::Random => rng.random::<[u8; 32]>().to_vec(),
    };
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let own = sign_with_secret(&header, &Payload { exp: u64::MAX, ..user() }, &secret)?;
    let service = serve(lab, "HS256 service", clock, move |token, _| {
        let believed = parts(&token).and_then(|parts| {
            let fits = parts.header.alg == "HS256" && signature_fits(&parts, &Key::Bytes(secret.clone()));
            if fits { decoded(parts.payload) } else { Err("signature") }
        });
        Box::pin(async move { believed })
    })?;
    let forger = lab.client("client", &service);
    send(&forger, &own).await?;

    let before = service.executed_of("GET /orders");
    let (words_tried, found) = tokio::task::spawn_blocking(move || search(&own, &words)).await?;
    let requests = service.executed_of("GET /orders") - before;
    let forged = match &found {
        Some(word) => {
            let admin = Payload { role: "admin".to_owned(), ..user() };
            send(&forger, &sign_with_secret(&header, &admin, word.as_bytes())?).await?.status
        }
        None => 0,
    };
    Ok(Guess { words_tried, found: found.is_some(), requests, forged })
}

/// What a run shows in which nothing is broken, whatever the knobs say.
fn sound(p: &Params) -> Observed {
    let answer = |accepts| Answer { status: if accepts { 200 } else { 401 }, why: String::new() };
    let tried = |what, strict| Tried { what, believer: answer(true), strict: answer(strict) };
    let mut all = vec![tried("the genuine token", true)];
    all.extend((0..FORGERIES).map(|_| tried("a forgery", false)));
    let found = p.hmac_secret == Secret::Word;
    let leeway = p.leeway_s as i64;
    let moved = |after_exp_s| Moved {
        after_exp_s,
        believer: 200,
        strict: if after_exp_s < leeway { 200 } else { 401 },
    };
    Observed {
        token: "header.payload.signature".to_owned(),
        put_in: user(),
        read: Some(user()),
        changes: Changes { signature_bits: 2048, characters: 200, ..Changes::default() },
        tried: all,
        guess: Guess { words_tried: 5000, found, requests: 0, forged: if found { 200 } else { 0 } },
        around_exp: vec![moved(leeway - 1), moved(leeway + 1)],
    }
}

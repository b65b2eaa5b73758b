//! A forger sends eight tokens that deserve no belief to two servers: one lets the token say how it is to be verified,
//! the other has decided that before any token came. Keys are fresh in each run, signatures are real, and the servers'
//! clock is set by the experiment.

use crate::prelude::*;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use futures::future::BoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, encode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use std::path::PathBuf;

pub struct JwtStructureAndAttacks;

choices! {
    /// Whom the forger tries first.
    pub enum Which { Believer = "believes the token", Strict = "strict" }
}

choices! {
    /// Where the secret of the HS256 service comes from.
    pub enum Secret { Word = "from a word list", Random = "32 random bytes" }
}

choices! {
    /// A check that the strict verifier leaves out.
    pub enum Forgotten {
        Nothing = "nothing",
        Algorithm = "the algorithm",
        Audience = "the audience",
        Times = "the times",
    }
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

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "https://orders.example";
const KID: &str = "2026-11";
/// The servers' clock at the start, in seconds since 1970.
const START: u64 = 1_800_000_000;
/// Seconds that the issuer's tokens live.
const LIFETIME: u64 = 300;
const FORGERIES: usize = 8;
const BELIEVER: &str = "believes the token";
const STRICT: &str = "strict";
/// Long enough to climb out of any directory.
const PATH_TO_NOTHING: &str = "../../../../../../../../../../dev/null";

/// What the issuer says of a user. RFC 7519, section 4.1 defines all but the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    role: String,
}

/// The members of a header that a verifier might look at. RFC 7515, section 4.1.
#[derive(Debug, Clone, Deserialize)]
struct JoseHeader {
    alg: String,
    kid: Option<String>,
    jwk: Option<Jwk>,
    jku: Option<String>,
    crit: Option<Value>,
}

/// An RSA public key as JSON. RFC 7517.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    n: String,
    e: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// Why a token isn't believed, in a word or two.
type Refusal = &'static str;
type Verdict = std::result::Result<Payload, Refusal>;

/// The three parts of a token, decoded.
struct Parts<'a> {
    header: JoseHeader,
    payload: &'a str,
    /// The first two parts as they were sent: that is what is signed.
    signed: &'a str,
    signature: &'a str,
}

fn parts(token: &str) -> std::result::Result<Parts<'_>, Refusal> {
    let (signed, signature) = token.rsplit_once('.').ok_or("malformed")?;
    let (header, payload) = signed.split_once('.').filter(|it| !it.1.contains('.')).ok_or("malformed")?;
    Ok(Parts { header: decoded(header)?, payload, signed, signature })
}

fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> std::result::Result<T, Refusal> {
    let json = BASE64URL.decode(part).map_err(|_| "malformed")?;
    serde_json::from_slice(&json).map_err(|_| "malformed")
}

/// Knows its issuer's keys, and one algorithm for them, before any token comes.
struct Strict {
    /// Public keys by their `kid`.
    keys: BTreeMap<String, RsaKey>,
    leeway_s: u64,
    forgets: Forgotten,
}

#[derive(Clone)]
struct RsaKey {
    key: DecodingKey,
    pem: String,
}

impl Strict {
    fn verify(&self, token: &str, now: u64) -> Verdict {
        let parts = parts(token)?;
        if parts.header.crit.is_some() {
            return Err("crit");
        }
        if parts.header.alg != "RS256" && self.forgets != Forgotten::Algorithm {
            return Err("algorithm");
        }
        let key = parts.header.kid.as_ref().and_then(|kid| self.keys.get(kid)).ok_or("unknown key")?;
        if !signature_fits(&parts, &Key::Rsa(key.clone())) {
            return Err("signature");
        }
        let payload: Payload = decoded(parts.payload)?;
        self.believe(payload, now)
    }

    /// The signature was the issuer's; what did it sign, for whom, and until when?
    fn believe(&self, it: Payload, now: u64) -> Verdict {
        let (checks_times, checks_audience) =
            (self.forgets != Forgotten::Times, self.forgets != Forgotten::Audience);
        match it {
            _ if it.iss != ISSUER => Err("issuer"),
            _ if checks_audience && it.aud != AUDIENCE => Err("audience"),
            _ if checks_times && now >= it.exp.saturating_add(self.leeway_s) => Err("expired"),
            _ if checks_times && now.saturating_add(self.leeway_s) < it.nbf => Err("not yet valid"),
            _ => Ok(it),
        }
    }
}

/// Lets the token name key and algorithm, and is content with a signature that fits.
#[derive(Clone)]
struct Believer {
    /// Keys as files, named by their `kid`.
    keys: PathBuf,
}

/// What a token can name as its key.
enum Named {
    Here(Key),
    /// To be fetched from there.
    At(String),
}

enum Key {
    Rsa(RsaKey),
    /// Whatever a file holds, or a key set.
    Bytes(Vec<u8>),
    Json(Jwk),
}

impl Believer {
    fn key_named_by(&self, header: &JoseHeader) -> std::result::Result<Named, Refusal> {
        if let Some(jwk) = &header.jwk {
            return Ok(Named::Here(Key::Json(jwk.clone())));
        }
        if let Some(jku) = &header.jku {
            return Ok(Named::At(jku.clone()));
        }
        let kid = header.kid.as_ref().ok_or("no key")?;
        let bytes = std::fs::read(self.keys.join(kid)).map_err(|_| "unknown key")?;
        Ok(Named::Here(Key::Bytes(bytes)))
    }

    fn verify_with(&self, token: &str, key: &Key) -> Verdict {
        let parts = parts(token)?;
        if signature_fits(&parts, key) { decoded(parts.payload) } else { Err("signature") }
    }

    /// Without the network: a token that names an address isn't believed here.
    fn verify_offline(&self, token: &str) -> Verdict {
        match self.key_named_by(&parts(token)?.header)? {
            Named::Here(key) => self.verify_with(token, &key),
            Named::At(_) => Err("unknown key"),
        }
    }

    async fn verify(&self, token: &str, lab: &Lab) -> Verdict {
        let header = parts(token)?.header;
        let key = match self.key_named_by(&header)? {
            Named::Here(key) => key,
            Named::At(url) => Key::Json(fetch(lab, &url).await.map_err(|_| "no key there")?),
        };
        self.verify_with(token, &key)
    }
}

/// Whether the signature fits key and *the header's* algorithm. A caller who hasn't compared that algorithm with its
/// own hands the choice to whoever wrote the token.
fn signature_fits(parts: &Parts, key: &Key) -> bool {
    let message = parts.signed.as_bytes();
    let fits = |key: &DecodingKey, algorithm| {
        crypto::verify(parts.signature, message, key, algorithm).unwrap_or(false)
    };
    match (parts.header.alg.as_str(), key) {
        ("none", _) => parts.signature.is_empty(),
        // Bytes are bytes: a public key in PEM is as good a secret as any, only that it is no secret.
        ("HS256", Key::Bytes(bytes)) => fits(&DecodingKey::from_secret(bytes), Algorithm::HS256),
        ("HS256", Key::Rsa(key)) => fits(&DecodingKey::from_secret(key.pem.as_bytes()), Algorithm::HS256),
        ("RS256", Key::Rsa(key)) => fits(&key.key, Algorithm::RS256),
        ("RS256", Key::Bytes(pem)) => {
            DecodingKey::from_rsa_pem(pem).is_ok_and(|key| fits(&key, Algorithm::RS256))
        }
        ("RS256", Key::Json(jwk)) => {
            DecodingKey::from_rsa_components(&jwk.n, &jwk.e).is_ok_and(|key| fits(&key, Algorithm::RS256))
        }
        _ => false,
    }
}

async fn fetch(lab: &Lab, url: &str) -> Result<Jwk> {
    let (address, path) = url.strip_prefix("http://").and_then(|it| it.split_once('/')).context("no URL")?;
    let client = lab.client(BELIEVER, address.parse::<std::net::SocketAddr>()?);
    let jwks: Jwks = client.get(format!("/{path}")).await?.json()?;
    jwks.keys.into_iter().next().context("an empty key set")
}

/// An RSA key pair.
struct Pair {
    private_pem: String,
    public_pem: String,
    jwk: Jwk,
}

impl Pair {
    /// `bits` is 2048 for an issuer (RFC 7518, section 3.3 allows no less); a forger may take fewer.
    fn generate(rng: StdRng, bits: usize) -> Result<Self> {
        let private = rsa::RsaPrivateKey::new(&mut OlderTraits(rng), bits)?;
        let public = private.to_public_key();
        let base64url = |number: &rsa::BigUint| BASE64URL.encode(number.to_bytes_be());
        Ok(Self {
            private_pem: private.to_pkcs1_pem(LineEnding::LF)?.to_string(),
            public_pem: public.to_pkcs1_pem(LineEnding::LF)?,
            jwk: Jwk { kty: "RSA".to_owned(), n: base64url(public.n()), e: base64url(public.e()) },
        })
    }

    fn sign(&self, header: &Value, payload: &Payload) -> Result<String> {
        let signed = signed_part(header, payload)?;
        let key = EncodingKey::from_rsa_pem(self.private_pem.as_bytes())?;
        Ok(format!("{signed}.{}", crypto::sign(signed.as_bytes(), &key, Algorithm::RS256)?))
    }
}

/// The seeded generator as the `rsa` crate, which is built on an older `rand_core`, wants it.
struct OlderTraits(StdRng);

impl rsa::rand_core::RngCore for OlderTraits {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> std::result::Result<(), rsa::rand_core::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for OlderTraits {}

/// Header and payload, encoded.
fn signed_part(header: &Value, payload: &Payload) -> Result<String> {
    let payload = BASE64URL.encode(serde_json::to_vec(payload)?);
    Ok(format!("{}.{payload}", BASE64URL.encode(serde_json::to_vec(header)?)))
}

fn sign_with_secret(header: &Value, payload: &Payload, secret: &[u8]) -> Result<String> {
    let signed = signed_part(header, payload)?;
    let signature = crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256)?;
    Ok(format!("{signed}.{signature}"))
}

fn user() -> Payload {
    Payload {
        iss: ISSUER.to_owned(),
        sub: "user-7".to_owned(),
        aud: AUDIENCE.to_owned(),
        exp: START + LIFETIME,
        nbf: START,
        iat: START,
        role: "reader".to_owned(),
    }
}

/// The issuer's own token for its user.
fn genuine(issuer: &Pair) -> Result<String> {
    let header = Header { kid: Some(KID.to_owned()), ..Header::new(Algorithm::RS256) };
    Ok(encode(&header, &user(), &EncodingKey::from_rsa_pem(issuer.private_pem.as_bytes())?)?)
}

/// Eight tokens that deserve no belief. The first five the forger makes alone; the last three the issuer signed, for
/// another time or another server.
fn forgeries(issuer: &Pair, forger: &Pair, jku: &str) -> Result<[(&'static str, String); FORGERIES]> {
    let admin = Payload { role: "admin".to_owned(), ..user() };
    let signed_by_issuer =
        |payload| issuer.sign(&json!({"alg": "RS256", "typ": "JWT", "kid": KID}), &payload);
    let none = signed_part(&json!({"alg": "none", "typ": "JWT", "kid": KID}), &admin)?;
    let confused = json!({"alg": "HS256", "typ": "JWT", "kid": KID});
    let nowhere = json!({"alg": "HS256", "typ": "JWT", "kid": PATH_TO_NOTHING});
    Ok([
        ("alg none, no signature", format!("{none}.")),
        (
            "HS256 keyed with the public key",
            sign_with_secret(&confused, &admin, issuer.public_pem.as_bytes())?,
        ),
        ("own key in jwk", forger.sign(&json!({"alg": "RS256", "typ": "JWT", "jwk": forger.jwk}), &admin)?),
        ("own address in jku", forger.sign(&json!({"alg": "RS256", "typ": "JWT", "jku": jku}), &admin)?),
        ("kid with a path to an empty file", sign_with_secret(&nowhere, &admin, b"")?),
        ("expired an hour ago", signed_by_issuer(Payload { exp: START - 3600, nbf: 0, ..user() })?),
        ("valid in an hour", signed_by_issuer(Payload { nbf: START + 3600, exp: START + 7200, ..user() })?),
        (
            "for another audience",
            signed_by_issuer(Payload { aud: "https://billing.example".to_owned(), ..user() })?,
        ),
    ])
}

/// Ten thousand words of two syllables; they stand for a list of leaked passwords.
fn word_list() -> Vec<String> {
    let syllables: Vec<String> = "bcdfghjklmnprstvwxyz"
        .chars()
        .flat_map(|c| "aeiou".chars().map(move |v| format!("{c}{v}")))
        .collect();
    syllables.iter().flat_map(|a| syllables.iter().map(move |b| format!("{a}{b}"))).collect()
}

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
        lab.step("The genuine token, at both servers");
        let mut tried = vec![workshop.try_both("the genuine token", &token).await?];
        let forged = forgeries(&workshop.issuer, &workshop.forger, &workshop.site.url("/jwks.json"))?;
        for (what, forged) in forged {
            lab.step(what);
            tried.push(workshop.try_both(what, &forged).await?);
        }
        let around_exp = workshop.around_exp(lab, &token, p.leeway_s).await?;
        lab.step("A service that signs with HS256: the forger holds one token of it");
        let guess = guess(lab, p, &workshop.clock).await?;
        let Workshop { believer, strict, .. } = workshop;
        Ok(Observed {
            put_in: user(),
            read: token.split('.').nth(1).and_then(|part| decoded(part).ok()),
            changes: tokio::task::spawn_blocking({
                let token = token.clone();
                move || change_everything(&token, &believer, &strict)
            })
            .await?,
            token,
            tried,
            guess,
            around_exp,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [of_the_token(seen), of_the_verifiers(seen), of_secret_and_clock(p, seen)].concat()
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        vec![token_in_parts(seen), forgeries_by_verifier(seen), clock_strip(p, seen)]
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

/// Both servers, the forger's own site, and a client for each server.
struct Workshop {
    clock: Clock,
    issuer: Pair,
    forger: Pair,
    believer: Believer,
    strict: Arc<Strict>,
    site: Server,
    to_believer: Client,
    to_strict: Client,
    believer_first: bool,
    _servers: [Server; 2],
}

impl Workshop {
    async fn open(lab: &Lab, p: &Params) -> Result<Self> {
        let (issuer_rng, forger_rng) = (lab.rng("issuer's key"), lab.rng("forger's key"));
        let pairs = tokio::task::spawn_blocking(move || {
            Ok::<_, anyhow::Error>((Pair::generate(issuer_rng, 2048)?, Pair::generate(forger_rng, 1024)?))
        });
        let (issuer, forger) = pairs.await??;
        let key = RsaKey {
            key: DecodingKey::from_rsa_pem(issuer.public_pem.as_bytes())?,
            pem: issuer.public_pem.clone(),
        };
        let strict =
            Strict { keys: [(KID.to_owned(), key)].into(), leeway_s: p.leeway_s, forgets: p.forgets };
        let strict = Arc::new(strict);
        let believer = Believer { keys: lab.dir().join("keys") };
        std::fs::create_dir_all(&believer.keys)?;
        std::fs::write(believer.keys.join(KID), &issuer.public_pem)?;

        let clock = Clock::frozen();
        lab.show_headers([WWW_AUTHENTICATE.as_str()]);
        let believing = {
            let (believer, owned) = (believer.clone(), lab.clone());
            serve(lab, BELIEVER, &clock, move |token, _| {
                let (believer, lab) = (believer.clone(), owned.clone());
                Box::pin(async move { believer.verify(&token, &lab).await })
            })?
        };
        let strictly = {
            let strict = strict.clone();
            serve(lab, STRICT, &clock, move |token, now| {
                let verdict = strict.verify(&token, now);
                Box::pin(async move { verdict })
            })?
        };
        let jwks = Jwks { keys: vec![forger.jwk.clone()] };
        let site =
            lab.serve("forger's site", Router::new().route("/jwks.json", get(|| async { Json(jwks) })))?;
        Ok(Self {
            clock,
            issuer,
            forger,
            believer,
            strict,
            site,
            to_believer: lab.client("client", &believing),
            to_strict: lab.client("client", &strictly),
            believer_first: p.verifier == Which::Believer,
            _servers: [believing, strictly],
        })
    }

    async fn try_both(&self, what: &'static str, token: &str) -> Result<Tried> {
        let (believer, strict) = if self.believer_first {
            let believer = send(&self.to_believer, token).await?;
            (believer, send(&self.to_strict, token).await?)
        } else {
            let strict = send(&self.to_strict, token).await?;
            (send(&self.to_believer, token).await?, strict)
        };
        Ok(Tried { what, believer, strict })
    }

    /// The genuine token's fate as the clock passes its `exp`.
    async fn around_exp(&self, lab: &Lab, token: &str, leeway_s: u64) -> Result<Vec<Moved>> {
        let leeway = leeway_s as i64;
        let offsets: BTreeSet<i64> = [-60, -1, 1, leeway - 1, leeway + 1, leeway + 60].into();
        let mut answers = vec![];
        for after_exp_s in offsets {
            let at = LIFETIME.saturating_add_signed(after_exp_s);
            self.clock.step(Duration::from_secs(at).saturating_sub(self.clock.now()));
            lab.step(format_args!("The clock is at {}", relative(after_exp_s)));
            let Tried { believer, strict, .. } = self.try_both("around exp", token).await?;
            answers.push(Moved { after_exp_s, believer: believer.status, strict: strict.status });
        }
        Ok(answers)
    }
}

fn relative(after_exp_s: i64) -> String {
    let sign = if after_exp_s < 0 { '−' } else { '+' };
    format!("exp {sign} {} s", after_exp_s.unsigned_abs())
}

type Verify = Arc<dyn Fn(String, u64) -> BoxFuture<'static, Verdict> + Send + Sync>;

/// A server whose `/orders` is for those with a token that `verify` believes.
fn serve(
    lab: &Lab,
    name: &str,
    clock: &Clock,
    verify: impl Fn(String, u64) -> BoxFuture<'static, Verdict> + Send + Sync + 'static,
) -> Result<Server> {
    let state: (Clock, Verify) = (clock.clone(), Arc::new(verify));
    lab.serve(name, Router::new().route("/orders", get(orders)).with_state(state))
}

/// Refuses as RFC 6750, section 3 wants it.
async fn orders(State((clock, verify)): State<(Clock, Verify)>, headers: HeaderMap) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()?.strip_prefix("Bearer "));
    let now = START + clock.now().as_secs();
    match verify(token.unwrap_or_default().to_owned(), now).await {
        Ok(payload) => Json(json!({"for": payload.sub, "role": payload.role})).into_response(),
        Err(why) => {
            let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
        }
    }
}

async fn send(client: &Client, token: &str) -> Result<Answer> {
    let reply = client.get("/orders").header(AUTHORIZATION.as_str(), format!("Bearer {token}")).await?;
    let challenge = reply.header(WWW_AUTHENTICATE.as_str()).unwrap_or_default();
    let why = challenge.rsplit_once("error_description=\"").map_or("", |it| it.1.trim_end_matches('"'));
    Ok(Answer { status: reply.status.as_u16(), why: why.to_owned() })
}

/// Changes each bit of the signature and each character before it, one at a time, and asks both verifiers.
fn change_everything(token: &str, believer: &Believer, strict: &Strict) -> Changes {
    let mut changes = Changes::default();
    let Some((signed, signature)) = token.rsplit_once('.') else { return changes };
    let signature = BASE64URL.decode(signature).unwrap_or_default();
    let mut ask = |token: String| {
        changes.accepted_by_believer += u64::from(believer.verify_offline(&token).is_ok());
        changes.accepted_by_strict += u64::from(strict.verify(&token, START).is_ok());
    };
    for bit in 0..signature.len() * 8 {
        let mut changed = signature.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        ask(format!("{signed}.{}", BASE64URL.encode(changed)));
    }
    let positions: Vec<usize> = (0..signed.len()).filter(|&at| signed.as_bytes()[at] != b'.').collect();
    for &at in &positions {
        let other = if signed.as_bytes()[at] == b'A' { "B" } else { "A" };
        ask(format!("{}{other}{}", &signed[..at], &token[at + 1..]));
    }
    Changes { signature_bits: signature.len() as u64 * 8, characters: positions.len() as u64, ..changes }
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

/// Signs the token's first two parts with each word until the signature is the token's.
fn search(token: &str, words: &[String]) -> (u64, Option<String>) {
    let Some((signed, signature)) = token.rsplit_once('.') else { return (0, None) };
    let fits = |word: &String| {
        let key = EncodingKey::from_secret(word.as_bytes());
        crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).is_ok_and(|it| it == signature)
    };
    match words.iter().position(fits) {
        Some(at) => (at as u64 + 1, Some(words[at].clone())),
        None => (words.len() as u64, None),
    }
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

fn token_in_parts(seen: &Observed) -> Figure {
    let json = |part: &str| -> String {
        let bytes = BASE64URL.decode(part).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut parts = seen.token.split('.');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (header, payload, signature) = (part(), part(), part());
    let bytes = BASE64URL.decode(&signature).map_or(0, |it| it.len());
    let rows = vec![
        vec!["header".to_owned(), header.clone(), json(&header)],
        vec!["payload".to_owned(), payload.clone(), json(&payload)],
        vec![
            "signature".to_owned(),
            signature,
            format!("{bytes} bytes over the two parts before it, as they were sent"),
        ],
    ];
    let columns = ["Part", "As it was sent", "What it says to anyone"].map(str::to_owned).to_vec();
    Figure::new(
        "token",
        "The genuine token: three parts in base64url, joined by dots.",
        Table { columns, rows },
    )
}

fn forgeries_by_verifier(seen: &Observed) -> Figure {
    let rows = seen.tried.iter().map(|it| it.what.to_owned()).collect();
    let cell = |answer: &Answer, genuine: bool| Cell {
        text: if answer.accepts() { "accepted".to_owned() } else { answer.why.clone() },
        tone: match (answer.accepts(), genuine) {
            (true, true) => Tone::Accent,
            (true, false) => Tone::Refuted,
            (false, _) => Tone::Plain,
        },
    };
    let row = |(i, it): (usize, &Tried)| vec![cell(&it.believer, i == 0), cell(&it.strict, i == 0)];
    let cells = seen.tried.iter().enumerate().map(row).collect();
    let columns = vec![BELIEVER.to_owned(), STRICT.to_owned()];
    let caption = "What each verifier says to each token: accepted, or why not.";
    Figure::new("forgeries", caption, Matrix { rows, columns, cells })
}

fn clock_strip(p: &Params, seen: &Observed) -> Figure {
    let lane = |name: &str, status: fn(&Moved) -> u16| Lane {
        name: name.to_owned(),
        spans: vec![],
        moments: seen
            .around_exp
            .iter()
            .map(|it| Moment {
                at: it.after_exp_s as f64,
                label: String::new(),
                tone: if status(it) == 200 { Tone::Accent } else { Tone::Refuted },
            })
            .collect(),
    };
    let lanes = vec![lane(BELIEVER, |it| it.believer), lane(STRICT, |it| it.strict)];
    let mark = |at: f64, label: &str| Mark { at, label: label.to_owned() };
    let mut marks = vec![mark(0.0, "exp")];
    if p.leeway_s > 0 {
        marks.push(mark(p.leeway_s as f64, "exp + leeway"));
    }
    let caption =
        "The genuine token as the servers' clock moves past its exp: dots are accepted, crosses refused.";
    Figure::new("around exp", caption, Timeline { unit: "s after exp".to_owned(), lanes, marks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Validation, decode};
    use rand::SeedableRng;
    use std::time::{SystemTime, UNIX_EPOCH};

    const LEEWAY: u64 = 30;

    fn library_believes(token: &str, key: &DecodingKey) -> bool {
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "nbf"]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY;
        decode::<Payload>(token, key, &rules).is_ok()
    }

    /// The library reads the machine's clock, so these tokens are dated by it, and no time lies near an edge.
    #[test]
    fn our_strict_verifier_decides_as_the_library_does() {
        let issuer = Pair::generate(StdRng::seed_from_u64(1), 2048).unwrap();
        let forger = Pair::generate(StdRng::seed_from_u64(2), 1024).unwrap();
        let key = DecodingKey::from_rsa_pem(issuer.public_pem.as_bytes()).unwrap();
        let ours = RsaKey { key: key.clone(), pem: issuer.public_pem.clone() };
        let strict =
            Strict { keys: [(KID.to_owned(), ours)].into(), leeway_s: LEEWAY, forgets: Forgotten::Nothing };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

        let mut tokens = vec![];
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": KID});
        for (exp, nbf) in
            [(300, 0), (-20, -300), (-40, -300), (300, 20), (300, 40), (-4000, -4000), (9000, 4000)]
        {
            let dated = |by: i64| now.saturating_add_signed(by);
            let payload = Payload { exp: dated(exp), nbf: dated(nbf), ..user() };
            for aud in [AUDIENCE, "https://billing.example", ""] {
                for iss in [ISSUER, "https://login.example/"] {
                    let payload = Payload { aud: aud.to_owned(), iss: iss.to_owned(), ..payload.clone() };
                    tokens.push(issuer.sign(&header, &payload).unwrap());
                }
            }
        }
        let dated = tokens.len();
        let valid = tokens[0].clone();
        tokens.extend(forgeries(&issuer, &forger, "http://127.0.0.1:1/jwks.json").unwrap().map(|it| it.1));
        let changed = |at: usize| {
            let other = if valid.as_bytes()[at] == b'-' { "A" } else { "-" };
            format!("{}{other}{}", &valid[..at], &valid[at + 1..])
        };
        tokens.extend((0..valid.len()).step_by(3).map(changed));
        tokens.extend([
            format!("{valid}."),
            valid.replace('.', ""),
            format!(" {valid}"),
            format!("{valid}="),
        ]);

        let ours: Vec<_> = tokens.iter().map(|token| strict.verify(token, now).is_ok()).collect();
        let library: Vec<_> = tokens.iter().map(|token| library_believes(token, &key)).collect();
        assert_eq!(ours, library);
        let believed = ours[..dated].iter().filter(|&&believed| believed).count();
        assert_eq!(believed, 3, "one dated well, two within the leeway");
    }

    /// RFC 7515, appendix A.1: an HMAC with a published key over a published header and payload.
    #[test]
    fn the_published_example_verifies() {
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let token = format!("{signed}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = Key::Bytes(BASE64URL.decode(key).unwrap());
        let parts = parts(&token).unwrap();
        assert!(signature_fits(&parts, &key));
        assert!(!signature_fits(&parts, &Key::Bytes(b"another".to_vec())));
    }
}

//! A verifier for hostile tokens.
//!
//! A command line program. It reads one JSON object from its standard input until the end, prints one JSON object to its
//! standard output, and ends. Its exit code isn't looked at.
//!
//! ```text
//! input
//!   token    a JSON Web Token in compact form: header.payload.signature
//!   jwks     {"keys": [...]}, JSON Web Keys (RFC 7517)
//!   algs     the algorithms that are allowed, of HS256, RS256, ES256, EdDSA (with Ed25519)
//!   iss      who must have issued the token; null: not checked
//!   aud      for whom it must be; null: not checked
//!   now      the time in whole seconds since 1970
//!   leeway   by how many seconds clocks may differ
//! output
//!   {"valid": true, "claims": {...}}      the claims as in the payload
//!   {"valid": false, "reason": "..."}     one of the eight below
//! ```
//!
//! The reason for refusing a token is the first of these that is so:
//!
//! 1. `malformed`: it isn't three parts of base64url (RFC 4648, section 5; no padding, no other characters, unused bits
//!    zero; a part may be empty). Or header or payload isn't one JSON object in UTF-8, or has an object with the same
//!    name twice in it, at any depth. Or the header has a `crit` (this program knows no extension), no `alg`, or an `alg`
//!    or `kid` that isn't a string. Or `exp` or `nbf` is there and isn't a number, `iss` is there and isn't a string,
//!    `aud` is there and is neither a string nor a list of strings.
//! 2. `alg`: the header's `alg` isn't in `algs`, to the letter.
//! 3. `key`: not exactly one key fits. A key fits an algorithm by its `kty`: oct HS256, RSA RS256, EC with `crv` P-256
//!    ES256, OKP with `crv` Ed25519 EdDSA; its own `alg` and `use`, where it has them, must be that algorithm and `sig`;
//!    and if the header has a `kid`, the key's must be the same. Keys come from `jwks` alone, and those that fit no
//!    algorithm are passed over.
//! 4. `signature`: it isn't that key's signature over the first two parts as they came (RFC 7515, section 5.2; of ES256
//!    the 64 bytes of RFC 7518, section 3.4). An empty one is none.
//! 5. `expired`: `exp` is there, and `now` isn't before `exp` + `leeway`.
//! 6. `not_yet`: `nbf` is there, and `now` is before `nbf` - `leeway`.
//! 7. `issuer`: `iss` isn't the wanted one, to the letter, or isn't there.
//! 8. `audience`: `aud` isn't the wanted one, nor a list that has it; or it isn't there.
//!
//! Times may have fractions and be of any size that a double holds. Other members of the header mean nothing here. No
//! token has two faults.

use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use issuer::{Key, flipped, in_plain_base64, parts, split, with_secret, with_trailing_bit};
use question::Rules;
use rand::seq::SliceRandom;

#[path = "issuer.rs"]
mod issuer;
#[path = "question.rs"]
mod question;
#[path = "reference.rs"]
mod reference;

pub struct JwtStructureAndAttacks;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    EncodesAnew,
    DerSignatures,
    NoneInCapitals,
    ComparesTheShorter,
    TrustsTheHeader,
    AnyKeyIsBytes,
    FallsBack,
    TakesTheFirst,
    BelievesTheJwk,
    LastSecond,
    CutsFractions,
    ZeroIsNothing,
    Coerces,
    PartOfTheAudience,
    AbsentIsFine,
    TrimsTheIssuer,
    AnyBase64,
    TrailingBits,
    LastMemberWins,
    IgnoresCrit,
}

/// What a program does that has it.
fn probably(bug: Bug) -> &'static str {
    match bug {
        Bug::EncodesAnew => {
            "Your program writes header and payload as JSON anew and verifies that; signed are the characters of the \
             token."
        }
        Bug::DerSignatures => {
            "Your library wants an ECDSA signature as an ASN.1 sequence in DER; in a token it is r and s, 32 bytes each."
        }
        Bug::NoneInCapitals => {
            "Your program forbids “none”, and finds the algorithm without regard to capitals: “nOnE” gets through."
        }
        Bug::ComparesTheShorter => {
            "The comparison ends with the shorter of both signatures, so that the beginning of one is enough."
        }
        Bug::TrustsTheHeader => "The header chooses the algorithm; `algs` isn't asked.",
        Bug::AnyKeyIsBytes => {
            "Whatever key is found serves as the secret of the HMAC; everybody knows a public key, so everybody can sign."
        }
        Bug::FallsBack => "Where no key has the token's kid, your program takes one that is at hand.",
        Bug::TakesTheFirst => "Where several keys fit, your program takes the first.",
        Bug::BelievesTheJwk => "Your program takes the key out of the token's own header: the forger's.",
        Bug::LastSecond => "At exp + leeway itself the token has ended already: `now` must be before it.",
        Bug::CutsFractions => "Times are cut to whole seconds before they are compared.",
        Bug::ZeroIsNothing => "An `exp` of 0 counts as false, and so as no `exp` at all.",
        Bug::Coerces => "What isn't a number is turned into one: \"2000000000\", true, null.",
        Bug::PartOfTheAudience => {
            "The audience is looked for within a text: “orders” is found in “orders-admin”."
        }
        Bug::AbsentIsFine => "The claim is checked only where there is one, so a token without it passes.",
        Bug::TrimsTheIssuer => {
            "Issuers are made alike before they are compared: a slash at the end is dropped."
        }
        Bug::AnyBase64 => {
            "Your decoder passes over what isn't base64url: padding, + and /, line breaks. Many tokens are then one, and \
             a list of revoked tokens knows only the other spelling."
        }
        Bug::TrailingBits => {
            "Your decoder passes over the unused bits of the last character, so the same bytes have several spellings."
        }
        Bug::LastMemberWins => {
            "Your JSON parser keeps the last of two members of one name; another program keeps the first, and reads \
             another token."
        }
        Bug::IgnoresCrit => {
            "`crit` isn't looked at; it names what a verifier must understand or else refuse."
        }
    }
}

impl Challenge for JwtStructureAndAttacks {
    type Bug = Bug;

    const DOOR: Door = Door::Reads;

    fn stages() -> Vec<Stage<Bug>> {
        let caught = |stage: Stage<Bug>, bugs: &[Bug]| {
            bugs.iter().fold(stage, |stage, bug| stage.catches(*bug, probably(*bug)))
        };
        vec![
            caught(
                stage("genuine tokens of all four algorithms are valid, RFC 7515's own among them", genuine),
                &[Bug::EncodesAnew, Bug::DerSignatures],
            )
            .hint(
                "Verify the token's text up to its last dot. For ES256 tell your library the form (IEEE P1363), or build \
                 the DER from r and s.",
            ),
            caught(
                stage("a token without a whole, right signature is refused", unsigned),
                &[Bug::NoneInCapitals, Bug::ComparesTheShorter],
            )
            .hint("Ask whether `algs` has the very string of the header. Compare signatures by your library's function."),
            caught(
                stage("the algorithm is one that is allowed, and the key one for that algorithm", confused),
                &[Bug::TrustsTheHeader, Bug::AnyKeyIsBytes],
            )
            .hint("First `algs`, then the keys whose type belongs to the algorithm; only then look at a key's bytes."),
            caught(
                stage("exactly one key of the set fits, or none is taken", keys),
                &[Bug::FallsBack, Bug::TakesTheFirst, Bug::BelievesTheJwk],
            )
            .hint("Filter the whole set by algorithm and kid, then count what is left."),
            caught(
                stage("exp and nbf hold to the second, with leeway, whatever number they are", times),
                &[Bug::LastSecond, Bug::CutsFractions, Bug::ZeroIsNothing, Bug::Coerces],
            )
            .hint("Ask whether the member is there, then whether it is a number, then compare: three questions."),
            caught(
                stage("issuer and audience are compared whole", parties),
                &[Bug::PartOfTheAudience, Bug::AbsentIsFine, Bug::TrimsTheIssuer],
            )
            .hint("Make a list of the one audience that is a string; then ask whether the list has an equal element."),
            caught(
                stage("what has more than one reading is refused", ambiguous),
                &[Bug::AnyBase64, Bug::TrailingBits, Bug::LastMemberWins, Bug::IgnoresCrit],
            )
            .hint(
                "Encode what you decoded, and compare it with what came. Give your JSON parser a hook that sees each \
                 member, or write a small scanner of names.",
            ),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        reference::run(bug)
    }
}

impl From<Bug> for &'static str {
    fn from(bug: Bug) -> Self {
        probably(bug)
    }
}

/// RFC 7515, appendices A.1 to A.3: a token, and its key without the private part.
const PUBLISHED: [(&str, &str, &str, Option<Bug>); 3] = [
    (
        "the token of RFC 7515, appendix A.1 (HS256)",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        Some(Bug::EncodesAnew),
    ),
    (
        "the token of RFC 7515, appendix A.2 (RS256)",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        None,
    ),
    (
        "the token of RFC 7515, appendix A.3 (ES256)",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        Some(Bug::DerSignatures),
    ),
];
/// An hour before these three expire.
const PUBLISHED_AT: u64 = 1_300_815_780;

async fn genuine(g: &Grader) -> Graded {
    for (what, token, jwk, bug) in PUBLISHED {
        let jwk = serde_json::from_str(jwk).context("a published key")?;
        let rules =
            Rules { iss: "joe".into(), aud: Value::Null, now: PUBLISHED_AT, ..Rules::new(g, vec![jwk]) };
        rules.accept(g, what, token, bug.map_or("", probably)).await?;
    }
    let mut issuer = all_four(g)?;
    issuer.shuffle(&mut g.rng_for("order"));
    let rules = Rules::new(g, issuer.iter().map(Key::jwk).collect());
    for key in &issuer {
        let what = format!("a genuine token of {}", key.alg);
        let token = key.token(&rules.claims(g))?;
        rules.accept(g, &what, &token, "").await?;
        let what =
            format!("a genuine token of {} without kid, where one of four keys fits its algorithm", key.alg);
        let token = key.token_with(&json!({ "alg": key.alg }), &rules.claims(g))?;
        rules
            .accept(g, &what, &token, "A key fits an algorithm by its type; only one key of this set does.")
            .await?;
    }
    Ok(())
}

fn all_four(g: &Grader) -> Result<[Key; 4]> {
    let mut rng = g.rng_for("keys");
    Ok([
        Key::hs256(&mut rng, g.word())?,
        Key::rs256(&mut rng, g.word())?,
        Key::es256(&mut rng, g.word())?,
        Key::eddsa(&mut rng, g.word())?,
    ])
}

async fn unsigned(g: &Grader) -> Graded {
    let issuer = all_four(g)?;
    let [hs256, _, es256, _] = &issuer;
    let rules = Rules::new(g, issuer.iter().map(Key::jwk).collect());
    let payload = rules.claims(g);
    let named = |alg: Value| json!({ "alg": alg, "typ": "JWT", "kid": hs256.kid });
    for alg in ["none", "None", "NONE", "nOnE"] {
        let token = parts(named(alg.into()).to_string(), payload.to_string()) + ".";
        let what = format!("a token of the algorithm {alg}, without a signature");
        rules.refuse(g, &what, &token, "alg", Bug::NoneInCapitals).await?;
    }
    for (alg, reason) in
        [(json!("hs256"), "alg"), (json!(null), "malformed"), (json!(["HS256"]), "malformed")]
    {
        let what = format!("an HS256 token whose header has \"alg\": {alg}");
        rules.refuse(g, &what, &hs256.token_with(&named(alg), &payload)?, reason, "").await?;
    }
    let token = hs256.token(&payload)?;
    let (signed, signature) = split(&token);
    for length in [0, 16, 31] {
        let begun = BASE64URL.encode(&BASE64URL.decode(signature).context("a signature")?[..length]);
        let what = format!("an HS256 token with {length} of the 32 bytes of its signature");
        rules.refuse(g, &what, &format!("{signed}.{begun}"), "signature", Bug::ComparesTheShorter).await?;
    }
    for key in &issuer {
        let what = format!("a token of {} with one bit of the signature changed", key.alg);
        rules.refuse(g, &what, &flipped(&key.token(&payload)?)?, "signature", UNVERIFIED).await?;
    }
    let zeros = format!("{}.{}", split(&es256.token(&payload)?).0, BASE64URL.encode([0; 64]));
    let cause = "With r = s = 0 the equation of ECDSA holds for everything: both must be from 1 to n - 1.";
    rules.refuse(g, "an ES256 token with a signature of zeros", &zeros, "signature", cause).await?;
    let other = parts(hs256.header().to_string(), rules.claims(g).to_string());
    let moved = format!("{other}.{signature}");
    rules.refuse(g, "a token with the signature of another one", &moved, "signature", UNVERIFIED).await?;
    let (header, middle) = signed.split_once('.').context("two parts")?;
    for (what, token) in [
        ("a token of two parts: header and payload", signed.to_owned()),
        ("a token of four parts: the last is empty", format!("{token}.")),
        (
            "a token of four parts: the payload stands twice",
            format!("{header}.{middle}.{middle}.{signature}"),
        ),
        ("an empty token", String::new()),
    ] {
        rules.refuse(g, what, &token, "malformed", "A token is three parts between two dots.").await?;
    }
    rules.accept(g, "the genuine token", &token, "").await
}

const UNVERIFIED: &str = "Your program doesn't verify the signature, or not over header and payload.";

async fn confused(g: &Grader) -> Graded {
    let [hs256, rs256, es256, eddsa] = all_four(g)?;
    let all = Rules::new(g, vec![hs256.jwk(), rs256.jwk()]);
    let payload = all.claims(g);
    for (key, algs) in [(&hs256, vec!["RS256"]), (&rs256, vec!["HS256", "ES256"]), (&rs256, vec![])] {
        let what = format!("a genuine token of {}, where algs is {}", key.alg, json!(algs));
        let rules = Rules { algs, ..all.clone() };
        rules.refuse(g, &what, &key.token(&payload)?, "alg", Bug::TrustsTheHeader).await?;
    }
    let rsa_alone = Rules { keys: vec![rs256.jwk()], ..all.clone() };
    let named = json!({ "alg": "HS256", "typ": "JWT", "kid": rs256.kid }).to_string();
    for (secret, bytes) in rs256.as_secrets()? {
        let token = with_secret(&parts(&named, payload.to_string()), &bytes)?;
        let what =
            format!("an HS256 token, its HMAC keyed with {secret}, where the set has an RSA key alone");
        rsa_alone.refuse(g, &what, &token, "key", Bug::AnyKeyIsBytes).await?;
    }
    let rules = Rules { keys: vec![eddsa.jwk()], ..all.clone() };
    let token = es256.token_with(&json!({ "alg": "ES256" }), &payload)?;
    let cause = "A key fits an algorithm by kty and crv; Ed25519 isn't P-256.";
    rules.refuse(g, "an ES256 token, where the set has an Ed25519 key alone", &token, "key", cause).await?;
    for key in [&hs256, &rs256] {
        all.accept(g, &format!("a genuine token of {}", key.alg), &key.token(&payload)?, "").await?;
    }
    Ok(())
}

async fn keys(g: &Grader) -> Graded {
    let mut rng = g.rng_for("more keys");
    let [one, _, es256, _] = all_four(g)?;
    let [two, stranger] = [Key::hs256(&mut rng, g.word())?, Key::hs256(&mut rng, g.word())?];
    let both = Rules::new(g, vec![one.jwk(), two.jwk()]);
    let payload = both.claims(g);
    both.accept(g, "a token whose kid is that of the second key", &two.token(&payload)?, "").await?;

    let unnamed = json!({ "alg": "HS256", "typ": "JWT" });
    let mut unknown = unnamed.clone();
    unknown["kid"] = g.word().into();
    let alone = Rules { keys: vec![one.jwk()], ..both.clone() };
    let token = one.token_with(&unknown, &payload)?;
    alone
        .refuse(g, "a token of the only key, but with an unknown kid", &token, "key", Bug::FallsBack)
        .await?;
    let empty = Rules { keys: vec![], ..both.clone() };
    empty.refuse(g, "a token where the set is empty", &one.token(&payload)?, "key", "").await?;

    let token = one.token_with(&unnamed, &payload)?;
    let what = "a token without kid, where two keys fit its algorithm";
    both.refuse(g, what, &token, "key", Bug::TakesTheFirst).await?;
    let twins = Rules { keys: vec![one.jwk(), two.with(json!({ "kid": one.kid }))], ..both.clone() };
    let what = "a token whose kid two keys have, both for its algorithm";
    twins.refuse(g, what, &one.token(&payload)?, "key", Bug::TakesTheFirst).await?;

    let kinds = Rules { keys: vec![es256.with(json!({ "kid": one.kid })), one.jwk()], ..both.clone() };
    let what = "a token whose kid two keys have, of which one is for its algorithm";
    kinds.accept(g, what, &one.token(&payload)?, "").await?;
    let strange = [
        json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "kid": one.kid }),
        json!({ "kty": g.word(), "kid": one.kid }),
        two.with(json!({ "alg": "HS512" })),
        two.with(json!({ "use": "enc" })),
    ];
    let others = Rules { keys: strange.into_iter().chain([one.jwk()]).collect(), ..both.clone() };
    let what = "a token without kid, where other keys are for other algorithms or for encryption";
    others
        .accept(g, what, &token, "Keys that fit no algorithm, by kty, crv, alg or use, are passed over.")
        .await?;

    let mut carried = one.header();
    carried["jwk"] = stranger.with(json!({}));
    let forged = stranger.token_with(&carried, &payload)?;
    both.refuse(
        g,
        "a token that carries its key in the header (jwk)",
        &forged,
        "signature",
        Bug::BelievesTheJwk,
    )
    .await
}

async fn times(g: &Grader) -> Graded {
    let key = Key::hs256(&mut g.rng_for("keys"), g.word())?;
    let rules = Rules::new(g, vec![key.jwk()]);
    let [ends, begins] = [rules.now - rules.leeway, rules.now + rules.leeway];
    let half = |at: u64, by: f64| json!(at as f64 + by);
    let cases: [(&str, Value, &str, &str); 13] = [
        ("exp", json!(ends + 1), "valid", probably(Bug::LastSecond)),
        ("exp", json!(ends), "expired", probably(Bug::LastSecond)),
        ("exp", half(ends, 0.5), "valid", probably(Bug::CutsFractions)),
        ("exp", half(ends, -0.5), "expired", probably(Bug::CutsFractions)),
        ("nbf", json!(begins), "valid", EARLY),
        ("nbf", json!(begins + 1), "not_yet", EARLY),
        ("nbf", half(begins, 0.5), "not_yet", probably(Bug::CutsFractions)),
        ("exp", json!(0), "expired", probably(Bug::ZeroIsNothing)),
        ("exp", json!(-1), "expired", "A time before 1970 is a time."),
        ("exp", json!(rules.now + 600).to_string().into(), "malformed", probably(Bug::Coerces)),
        ("exp", json!(true), "malformed", probably(Bug::Coerces)),
        ("exp", json!(null), "malformed", probably(Bug::Coerces)),
        ("nbf", json!(rules.now - 600).to_string().into(), "malformed", probably(Bug::Coerces)),
    ];
    for (name, value, verdict, cause) in cases {
        let mut payload = rules.claims(g);
        let what =
            format!("a token with {name} {value}, where now is {} and leeway {}", rules.now, rules.leeway);
        payload[name] = value;
        rules.judge(g, &what, &key.token(&payload)?, verdict, cause).await?;
    }
    let cause = "Your program takes times for whole numbers of 32 or 64 bits, and fails on larger ones.";
    for (name, number, verdict) in [
        ("exp", "1e300", "valid"),
        ("exp", "99999999999999999999", "valid"),
        ("nbf", "1e300", "not_yet"),
        ("nbf", "-1e300", "valid"),
    ] {
        let payload = format!("{{\"iss\":{},\"aud\":{},\"{name}\":{number}}}", rules.iss, rules.aud);
        let token = key.sealed(key.header().to_string(), payload)?;
        let what = format!("a token with {name} {number}");
        rules.judge(g, &what, &token, verdict, cause).await?;
    }
    Ok(())
}

const EARLY: &str =
    "The leeway counts for nbf too: from nbf - leeway on, that second included, the token is valid.";

async fn parties(g: &Grader) -> Graded {
    let key = Key::hs256(&mut g.rng_for("keys"), g.word())?;
    let rules = Rules::new(g, vec![key.jwk()]);
    let (iss, aud, other) =
        (rules.iss.as_str().unwrap_or_default(), rules.aud.as_str().unwrap_or_default(), g.word());
    let absent = Value::Null;
    let cases: [(&str, Value, &str, &str); 14] = [
        ("aud", json!([other, aud]), "valid", "A list of audiences is fine if it has the wanted one."),
        ("aud", json!(format!("{aud}-admin")), "audience", probably(Bug::PartOfTheAudience)),
        ("aud", json!([format!("{aud}-admin"), other]), "audience", probably(Bug::PartOfTheAudience)),
        ("aud", json!(&aud[..aud.len() - 1]), "audience", probably(Bug::PartOfTheAudience)),
        ("aud", json!(""), "audience", probably(Bug::PartOfTheAudience)),
        ("aud", json!([]), "audience", probably(Bug::AbsentIsFine)),
        ("aud", absent.clone(), "audience", probably(Bug::AbsentIsFine)),
        ("aud", json!(aud.to_uppercase()), "audience", "Audiences are compared to the letter, capitals too."),
        ("aud", json!({ aud: true }), "malformed", TYPES),
        ("aud", json!([aud, 7]), "malformed", TYPES),
        ("iss", absent.clone(), "issuer", probably(Bug::AbsentIsFine)),
        ("iss", json!(format!("{iss}/")), "issuer", probably(Bug::TrimsTheIssuer)),
        (
            "iss",
            json!(format!("{iss}.{other}.example")),
            "issuer",
            "An issuer that begins like the wanted one is another.",
        ),
        ("iss", json!([iss]), "malformed", TYPES),
    ];
    for (name, value, verdict, cause) in cases {
        let mut payload = rules.claims(g);
        let what = match value {
            Value::Null => format!("a token without {name}"),
            _ => format!(
                "a token with {name} {value}, where {} is wanted",
                if name == "aud" { &rules.aud } else { &rules.iss }
            ),
        };
        match (value, payload.as_object_mut()) {
            (Value::Null, Some(members)) => drop(members.remove(name)),
            (value, _) => payload[name] = value,
        }
        rules.judge(g, &what, &key.token(&payload)?, verdict, cause).await?;
    }
    let mut payload = rules.claims(g);
    payload["aud"] = other.into();
    let unchecked = Rules { iss: absent.clone(), aud: absent, ..rules };
    let cause = "Where iss and aud of the input are null, the token's are not checked.";
    unchecked
        .accept(g, "a token for another audience, where iss and aud are null", &key.token(&payload)?, cause)
        .await
}

const TYPES: &str = "The type isn't checked: iss is a string, aud a string or a list of strings.";

async fn ambiguous(g: &Grader) -> Graded {
    let key = Key::hs256(&mut g.rng_for("keys"), g.word())?;
    let rules = Rules::new(g, vec![key.jwk()]);
    spelled_twice(g, &key, &rules).await?;
    named_twice(g, &key, &rules).await?;
    let known = key.header();
    for crit in [json!(["x-limit"]), json!([]), json!(null)] {
        let mut header = known.clone();
        let what = format!("a token whose header has \"crit\": {crit}");
        (header["crit"], header["x-limit"]) = (crit, json!(1));
        let token = key.token_with(&header, &rules.claims(g))?;
        rules.refuse(g, &what, &token, "malformed", Bug::IgnoresCrit).await?;
    }
    let text = rules.claims(g).to_string();
    let bytes = [text.trim_end_matches('}').as_bytes(), b",\"name\":\"\xff\"}"].concat();
    let cause = "Your program puts a substitute in place of bytes that aren't UTF-8, and goes on.";
    let token = key.sealed(known.to_string(), bytes)?;
    rules
        .refuse(g, "a token whose payload isn't UTF-8: it has the byte ff", &token, "malformed", cause)
        .await?;
    for payload in [format!("{text}{{}}"), format!("[{text}]"), "null".to_owned(), String::new()] {
        let token = key.sealed(known.to_string(), &payload)?;
        let what = format!("a token whose payload is `{payload}`");
        let cause = "The payload has to be one JSON object, with nothing after it.";
        rules.refuse(g, &what, &token, "malformed", cause).await?;
    }
    Ok(())
}

/// The same bytes in another spelling of base64.
async fn spelled_twice(g: &Grader, key: &Key, rules: &Rules) -> Graded {
    // A payload whose last character has unused bits, and a signature that the alphabets spell differently.
    let mut payload = rules.claims(g);
    let (token, plain) = loop {
        payload["jti"] = format!("{}{}", payload["jti"].as_str().unwrap_or_default(), g.number(0..10)).into();
        let token = key.token(&payload)?;
        if let (1, Some(plain)) = (payload.to_string().len() % 3, in_plain_base64(split(&token).1)) {
            break (token, plain);
        }
    };
    rules.accept(g, "the genuine token", &token, "").await?;
    let (signed, signature) = split(&token);
    let (start, end) = signature.split_at(20);
    for (what, signature) in [
        ("with = at the end of its signature", format!("{signature}=")),
        ("whose signature is in the alphabet with + and /", plain),
        ("with a line break in its signature", format!("{start}\n{end}")),
        ("with a ! in its signature", format!("{start}!{end}")),
    ] {
        let what = format!("a genuine token {what}");
        rules.refuse(g, &what, &format!("{signed}.{signature}"), "malformed", Bug::AnyBase64).await?;
    }
    let what = "a token with == at the end of its payload, signed so";
    rules.refuse(g, what, &key.signed(&format!("{signed}=="))?, "malformed", Bug::AnyBase64).await?;
    let spelled = format!("{signed}.{}", with_trailing_bit(signature));
    let what = "a genuine token with unused bits set in the last character of its signature";
    rules.refuse(g, what, &spelled, "malformed", Bug::TrailingBits).await?;
    let spelled = key.signed(&with_trailing_bit(signed))?;
    let what = "a token with unused bits set in the last character of its payload, signed so";
    rules.refuse(g, what, &spelled, "malformed", Bug::TrailingBits).await
}

/// The same name in one object, in several spellings, and where it's no fault.
async fn named_twice(g: &Grader, key: &Key, rules: &Rules) -> Graded {
    let (header, payload) = (key.header().to_string(), rules.claims(g).to_string());
    let with = |text: &str, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    for member in ["\"sub\":\"root\"", "\"s\\u0075b\":\"root\"", "\"a\":[{\"b\":1,\"b\":2}]"] {
        let token = key.sealed(&header, with(&payload, member))?;
        let what = format!("a token whose payload ends with {member}}}");
        rules.refuse(g, &what, &token, "malformed", Bug::LastMemberWins).await?;
    }
    let token = key.sealed(with(&header, "\"alg\":\"HS256\""), &payload)?;
    rules.refuse(g, "a token whose header has alg twice", &token, "malformed", Bug::LastMemberWins).await?;
    let fine = "\"a\":{\"sub\":1},\"b\":[{\"sub\":2},{\"sub\":3}],\"c\":\"\\\"sub\\\":\"";
    let token = key.sealed(&header, with(&payload, fine))?;
    let what = format!("a token whose payload ends with {fine}}}: one name in different objects");
    rules.accept(g, &what, &token, "Each object may have the name once; text in a string is none.").await
}

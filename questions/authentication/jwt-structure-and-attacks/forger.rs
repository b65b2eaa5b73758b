//! Tokens: the issuer's genuine one, eight that deserve no belief, and the search for a secret.

use super::verifiers::{AUDIENCE, ISSUER, KID, Payload};
use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode};
use rand::Rng;
use rand::rngs::StdRng;
use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use rsa::traits::PublicKeyParts;

/// The servers' clock at the start, in seconds since 1970.
pub const START: u64 = 1_800_000_000;
/// Seconds that the issuer's tokens live.
pub const LIFETIME: u64 = 300;
/// Tokens that deserve no belief.
pub const FORGERIES: usize = 8;
/// Long enough to climb out of any directory.
const PATH_TO_NOTHING: &str = "../../../../../../../../../../dev/null";

/// An RSA public key as JSON. RFC 7517.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Jwk {
    pub kty: String,
    pub n: String,
    pub e: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// An RSA key pair.
pub struct Pair {
    pub private_pem: String,
    pub public_pem: String,
    pub jwk: Jwk,
}

impl Pair {
    /// `bits` is 2048 for an issuer (RFC 7518, section 3.3 allows no less); a forger may take fewer.
    pub fn generate(rng: StdRng, bits: usize) -> Result<Self> {
        let private = rsa::RsaPrivateKey::new(&mut OlderTraits(rng), bits)?;
        let public = private.to_public_key();
        let base64url = |number: &rsa::BigUint| BASE64URL.encode(number.to_bytes_be());
        Ok(Self {
            private_pem: private.to_pkcs1_pem(LineEnding::LF)?.to_string(),
            public_pem: public.to_pkcs1_pem(LineEnding::LF)?,
            jwk: Jwk { kty: "RSA".to_owned(), n: base64url(public.n()), e: base64url(public.e()) },
        })
    }

    pub fn sign(&self, header: &Value, payload: &Payload) -> Result<String> {
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

pub fn sign_with_secret(header: &Value, payload: &Payload, secret: &[u8]) -> Result<String> {
    let signed = signed_part(header, payload)?;
    let signature = crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256)?;
    Ok(format!("{signed}.{signature}"))
}

pub fn user() -> Payload {
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
pub fn genuine(issuer: &Pair) -> Result<String> {
    let header = Header { kid: Some(KID.to_owned()), ..Header::new(Algorithm::RS256) };
    Ok(encode(&header, &user(), &EncodingKey::from_rsa_pem(issuer.private_pem.as_bytes())?)?)
}

/// Eight tokens that deserve no belief. The first five the forger makes alone; the last three the issuer signed, for
/// another time or another server.
pub fn forgeries(issuer: &Pair, forger: &Pair, jku: &str) -> Result<[(&'static str, String); FORGERIES]> {
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
pub fn word_list() -> Vec<String> {
    let syllables: Vec<String> = "bcdfghjklmnprstvwxyz"
        .chars()
        .flat_map(|c| "aeiou".chars().map(move |v| format!("{c}{v}")))
        .collect();
    syllables.iter().flat_map(|a| syllables.iter().map(move |b| format!("{a}{b}"))).collect()
}

/// Signs the token's first two parts with each word until the signature is the token's.
pub fn search(token: &str, words: &[String]) -> (u64, Option<String>) {
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

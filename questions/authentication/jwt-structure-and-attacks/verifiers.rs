//! The two verifiers: one that lets the token say how it is to be verified, and one that has decided that before.

use super::BELIEVER;
use super::forger::{Jwk, Jwks};
use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use std::path::PathBuf;

choices! {
    /// A check that the strict verifier leaves out.
    pub enum Forgotten {
        Nothing = "nothing",
        Algorithm = "the algorithm",
        Audience = "the audience",
        Times = "the times",
    }
}

pub const ISSUER: &str = "https://login.example";
pub const AUDIENCE: &str = "https://orders.example";
pub const KID: &str = "2026-11";

/// What the issuer says of a user. RFC 7519, section 4.1 defines all but the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub exp: u64,
    pub nbf: u64,
    pub iat: u64,
    pub role: String,
}

/// The members of a header that a verifier might look at. RFC 7515, section 4.1.
#[derive(Debug, Clone, Deserialize)]
pub struct JoseHeader {
    pub alg: String,
    kid: Option<String>,
    jwk: Option<Jwk>,
    jku: Option<String>,
    crit: Option<Value>,
}

/// Why a token isn't believed, in a word or two.
pub type Refusal = &'static str;
pub type Verdict = std::result::Result<Payload, Refusal>;

/// The three parts of a token, decoded.
pub struct Parts<'a> {
    pub header: JoseHeader,
    pub payload: &'a str,
    /// The first two parts as they were sent: that is what is signed.
    pub signed: &'a str,
    pub signature: &'a str,
}

pub fn parts(token: &str) -> std::result::Result<Parts<'_>, Refusal> {
    let (signed, signature) = token.rsplit_once('.').ok_or("malformed")?;
    let (header, payload) = signed.split_once('.').filter(|it| !it.1.contains('.')).ok_or("malformed")?;
    Ok(Parts { header: decoded(header)?, payload, signed, signature })
}

pub fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> std::result::Result<T, Refusal> {
    let json = BASE64URL.decode(part).map_err(|_| "malformed")?;
    serde_json::from_slice(&json).map_err(|_| "malformed")
}

/// Knows its issuer's keys, and one algorithm for them, before any token comes.
pub struct Strict {
    /// Public keys by their `kid`.
    pub keys: BTreeMap<String, RsaKey>,
    pub leeway_s: u64,
    pub forgets: Forgotten,
}

#[derive(Clone)]
pub struct RsaKey {
    pub key: DecodingKey,
    pub pem: String,
}

impl Strict {
    pub fn verify(&self, token: &str, now: u64) -> Verdict {
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
pub struct Believer {
    /// Keys as files, named by their `kid`.
    pub keys: PathBuf,
}

/// What a token can name as its key.
enum Named {
    Here(Key),
    /// To be fetched from there.
    At(String),
}

pub enum Key {
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
    pub fn verify_offline(&self, token: &str) -> Verdict {
        match self.key_named_by(&parts(token)?.header)? {
            Named::Here(key) => self.verify_with(token, &key),
            Named::At(_) => Err("unknown key"),
        }
    }

    pub async fn verify(&self, token: &str, lab: &Lab) -> Verdict {
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
pub fn signature_fits(parts: &Parts, key: &Key) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::forger::{Pair, forgeries, user};
    use super::*;
    use jsonwebtoken::{Validation, decode};
    use rand::SeedableRng;
    use rand::rngs::StdRng;
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

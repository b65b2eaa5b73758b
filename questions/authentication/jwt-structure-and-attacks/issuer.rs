//! Who makes the tokens: a key pair for each algorithm, drawn by the seed, and signatures over whatever text is wanted.

use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use rsa::pkcs8::EncodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey};
use sha2::Sha256;

/// The primes of RSA keys of 2048 bits, for tests alone: to look for such primes takes a second, and three keys to
/// choose from are enough where the key isn't the point.
const PRIMES: [[&str; 2]; 3] = [
    [
        "2habB4Ql4tvZWCLap1yEpUN8JWncMdVNXAUdQNfXMe48n4qbyfJeUM1kM2Mbz6zElN3Zm3wu5SzLYsH4O_fJYHcXikFFuTWvjIgV94GmrCk0nXtDyQx6U6iOA27sa4-fN1YlXJDoM8X8je6EVBw7lrDJTShE8xsUpqQqXbTL8u0",
        "xtOamw1d6Mwq1mxlz8oZwdCIpVE2sFiTEqD-4o1zuExFWE9yCL4IS91TPlQkdGBsBS5XiXUePYbcAgpK3L91XyGd8OigaaIUmh8GSdfyZ-3mYTXS-7Ttn6GOBD-Qp1TKHhlDHN0_rPlm5IFlRyBRslWDLrA-SnIvcSVYAX1zwfs",
    ],
    [
        "y1qTygbziX35BRvZQCb1Kw2vDIzNIR0-APTAoUelNYKn-vKVMYQJo1AkGkPyabPMopcCr3PnleJ9mmW-INgun3gSaOcjJsCrptogRjskWp3lA6kfRLRFdFZ6xzNhWBKmIIR4a4Oy_7jc1W7LdQ349Eow2BIaosKIHAqAND13bd0",
        "t3__phMK83WZv3RCal4My9qBawZDo1nhwAoV26tRtW4mjcUdQ_wH4Gu2ykG05ej7vZ2GTJX4Tdy5hb5zQnbQAb1mzW_LtYlKk5FJtSHhCilX8U9H672adWNfNi_ntk82Anw4SJmcnIaeL5eLDEF9S3rEwY34K0ZLB5EnYnhmApM",
    ],
    [
        "9Jz6thuG1cYd9BWwquwRWFJPmiXiiTUvf-lRPov86baJI-Iq3GZkb1LWTiQgsP7vcZhNPZTXHUOpGcVJj0R4cBWYtNr2lUbSfVjlvry6ZXvA2E2N72XYSZrfK4ssHGoE9vSZ7RQrMg8-fRP7dH-h2VbNRUoEpPS3-MrPaTNGMwk",
        "yJrmM--tjCGev-Va82_peFSubzXEh-6keHJF-BD87pl21gVdnoYwN75Q377APiszPhKpJL2xSfOEPpmIIKqAl5DJGxJIO04sd3eN1fUT3oxlwsUtI1y-wEKrxEhvcx2WIaOWEi7XpEUTbj1kN1rbjqfsOOArncVgFkhBUab9OZ0",
    ],
];

/// A PKCS #8 private key (RFC 5958) up to its 32 secret bytes: Ed25519 as in RFC 8410, P-256 as in RFC 5915.
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const P256: &[u8] =
    b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\
    \x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";

/// A key that signs, and what a verifier is given of it.
#[derive(Clone)]
pub struct Key {
    pub alg: &'static str,
    pub kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    /// As JSON, without `kid`.
    public: Value,
}

impl Key {
    pub fn hs256(rng: &mut StdRng, kid: String) -> Result<Self> {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self::new("HS256", Algorithm::HS256, kid, EncodingKey::from_secret(&secret))
    }

    pub fn rs256(rng: &mut StdRng, kid: String) -> Result<Self> {
        let [p, q] = PRIMES[rng.random_range(0..PRIMES.len())];
        let [p, q] = [number(p)?, number(q)?];
        let private = RsaPrivateKey::from_p_q(p, q, BigUint::from(65_537_u32))?.to_pkcs1_der()?;
        Self::new("RS256", Algorithm::RS256, kid, EncodingKey::from_rsa_der(private.as_bytes()))
    }

    pub fn es256(rng: &mut StdRng, kid: String) -> Result<Self> {
        let private = EncodingKey::from_ec_der(&pkcs8(P256, rng));
        Self::new("ES256", Algorithm::ES256, kid, private)
    }

    pub fn eddsa(rng: &mut StdRng, kid: String) -> Result<Self> {
        let private = EncodingKey::from_ed_der(&pkcs8(ED25519, rng));
        Self::new("EdDSA", Algorithm::EdDSA, kid, private)
    }

    fn new(alg: &'static str, algorithm: Algorithm, kid: String, private: EncodingKey) -> Result<Self> {
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm)?)?;
        if let Some(members) = public.as_object_mut() {
            members.remove("alg");
        }
        Ok(Self { alg, kid, algorithm, private, public })
    }

    /// The key for the verifier: of a pair, the public one.
    pub fn jwk(&self) -> Value {
        self.with(json!({ "kid": self.kid }))
    }

    /// The key for the verifier without its `kid`, and with these members instead.
    pub fn with(&self, members: Value) -> Value {
        let mut jwk = self.public.clone();
        if let (Some(jwk), Value::Object(members)) = (jwk.as_object_mut(), members) {
            jwk.extend(members);
        }
        jwk
    }

    pub fn header(&self) -> Value {
        json!({ "alg": self.alg, "typ": "JWT", "kid": self.kid })
    }

    pub fn token(&self, claims: &Value) -> Result<String> {
        self.token_with(&self.header(), claims)
    }

    pub fn token_with(&self, header: &Value, claims: &Value) -> Result<String> {
        self.sealed(header.to_string(), claims.to_string())
    }

    /// A token of texts that need not be JSON.
    pub fn sealed(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Result<String> {
        self.signed(&parts(header, payload))
    }

    /// A token of these first two parts.
    pub fn signed(&self, parts: &str) -> Result<String> {
        let signature = crypto::sign(parts.as_bytes(), &self.private, self.algorithm)?;
        Ok(format!("{parts}.{signature}"))
    }

    /// The public key in all forms that a careless program might take for the secret of an HMAC.
    pub fn as_secrets(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let member = |name: &str| self.public[name].as_str().unwrap_or_default();
        let public = rsa::RsaPublicKey::new(number(member("n"))?, number(member("e"))?)?;
        let pem = public.to_public_key_pem(LineEnding::LF)?;
        Ok(vec![
            ("the RSA key as PEM (BEGIN PUBLIC KEY)", pem.clone().into_bytes()),
            ("the RSA key as PEM without the last line break", pem.trim_end().as_bytes().to_vec()),
            ("the RSA key as PEM (BEGIN RSA PUBLIC KEY)", public.to_pkcs1_pem(LineEnding::LF)?.into_bytes()),
            ("the RSA key as DER (SubjectPublicKeyInfo)", public.to_public_key_der()?.into_vec()),
            ("the bytes of the member n of the RSA key", public.n().to_bytes_be()),
            ("no bytes at all", Vec::new()),
        ])
    }
}

fn pkcs8(start: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut secret = [0; 32];
    rng.fill_bytes(&mut secret);
    // The order of P-256 begins with 32 one-bits: whatever begins otherwise is below it.
    secret[0] &= 0x7f;
    [start, &secret].concat()
}

fn number(base64url: &str) -> Result<BigUint> {
    Ok(BigUint::from_bytes_be(&BASE64URL.decode(base64url)?))
}

/// The first two parts of a token.
pub fn parts(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload))
}

/// A token whose signature is an HMAC keyed with these bytes.
pub fn with_secret(parts: &str, secret: &[u8]) -> Result<String> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret)?;
    hmac.update(parts.as_bytes());
    Ok(format!("{parts}.{}", BASE64URL.encode(hmac.finalize().into_bytes())))
}

/// First two parts and signature.
pub fn split(token: &str) -> (&str, &str) {
    token.rsplit_once('.').unwrap_or((token, ""))
}

/// The payload of a token that we made.
pub fn claims(token: &str) -> Result<Value> {
    let payload = token.split('.').nth(1).context("a token without a payload")?;
    Ok(serde_json::from_slice(&BASE64URL.decode(payload)?)?)
}

/// The token with the first bit of its signature changed.
pub fn flipped(token: &str) -> Result<String> {
    let (parts, signature) = split(token);
    let mut signature = BASE64URL.decode(signature)?;
    *signature.first_mut().context("an empty signature")? ^= 0x80;
    Ok(format!("{parts}.{}", BASE64URL.encode(signature)))
}

/// The text with its unused last bits set, so that it looks different and decodes to the same bytes. Its length isn't
/// a multiple of four.
pub fn with_trailing_bit(base64url: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = base64url.split_at(base64url.len() - 1);
    let at = ALPHABET.iter().position(|it| last.as_bytes() == [*it]).unwrap_or(0);
    format!("{start}{}", char::from(ALPHABET[at | 1]))
}

/// The text in the other alphabet, where that makes a difference.
pub fn in_plain_base64(base64url: &str) -> Option<String> {
    let bytes = BASE64URL.decode(base64url).ok()?;
    let text = STANDARD.encode(bytes).trim_end_matches('=').to_owned();
    (text != base64url).then_some(text)
}

//! The order is the defence: what the text is, then what is allowed, then which key, then the signature, and only then
//! what the claims say. Nothing of the token chooses anything but a key among those that are trusted already. The JSON
//! parser refuses what others read in two ways, which costs a pass of our own over each value.
//!
//! Real services don't write this. They take a library and set it up as strictly: `jose` for Node.js never accepts
//! `none` and refuses a `crit` that it wasn't told of, but allows every algorithm that suits the key unless `algorithms`
//! narrows it. Two things are missing here that a service needs: the key set comes over HTTPS, is cached, and is fetched
//! anew for an unknown `kid`, though not more than once in a while; and whoever verifies access tokens also looks at
//! `typ` (RFC 9068: `at+jwt`), so that an ID token doesn't pass for one.

use super::Bug;
use crate::prelude::*;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{NO_PAD, STANDARD_NO_PAD, URL_SAFE_NO_PAD as BASE64URL};
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use rsa::pkcs8::EncodePublicKey;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde_json::Map;
use sha2::Sha256;
use std::fmt;

#[derive(Deserialize)]
struct Input {
    token: String,
    jwks: Jwks,
    algs: Vec<String>,
    iss: Option<String>,
    aud: Option<String>,
    now: f64,
    leeway: f64,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

const ALGORITHMS: [&str; 4] = ["HS256", "RS256", "ES256", "EdDSA"];

type Refusal = &'static str;
type Object = Map<String, Value>;

pub fn run(bug: Option<Bug>) -> Result<()> {
    let input: Input = serde_json::from_reader(std::io::stdin())?;
    let verdict = match (Verifier { input, bug }).verify() {
        Ok(claims) => json!({ "valid": true, "claims": claims }),
        Err(reason) => json!({ "valid": false, "reason": reason }),
    };
    println!("{verdict}");
    Ok(())
}

struct Verifier {
    input: Input,
    bug: Option<Bug>,
}

/// The claims that are checked, each of the type that it must have.
struct Checked {
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Vec<String>>,
}

impl Verifier {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn verify(&self) -> std::result::Result<Object, Refusal> {
        let (signed, signature) = self.input.token.rsplit_once('.').ok_or("malformed")?;
        let (header, payload) = signed.split_once('.').ok_or("malformed")?;
        let [header_bytes, payload_bytes, signature] =
            [self.decoded(header)?, self.decoded(payload)?, self.decoded(signature)?];
        let header = self.object(&header_bytes)?;
        let payload = self.object(&payload_bytes)?;
        if header.contains_key("crit") && !self.has(Bug::IgnoresCrit) {
            return Err("malformed");
        }
        let alg = header.get("alg").and_then(Value::as_str).ok_or("malformed")?;
        let kid = header.get("kid").map(|it| it.as_str().ok_or("malformed")).transpose()?;
        let checked = self.checked(&payload)?;
        if self.has(Bug::NoneInCapitals) && alg != "none" && alg.eq_ignore_ascii_case("none") {
            return Ok(payload);
        }
        let allowed = self.input.algs.iter().any(|it| it == alg);
        if !(allowed || self.has(Bug::TrustsTheHeader) && ALGORITHMS.contains(&alg)) {
            return Err("alg");
        }
        let carried: Option<Jwk> = header.get("jwk").and_then(|it| serde_json::from_value(it.clone()).ok());
        let key = match &carried {
            Some(jwk) if self.has(Bug::BelievesTheJwk) => jwk,
            _ => self.key(alg, kid)?,
        };
        let anew = [&header, &payload].map(|it| BASE64URL.encode(json!(it).to_string())).join(".");
        let signed = if self.has(Bug::EncodesAnew) { &anew } else { signed };
        if !self.fits(alg, key, signed, &signature).unwrap_or(false) {
            return Err("signature");
        }
        self.believe(&checked)?;
        Ok(payload)
    }

    fn decoded(&self, part: &str) -> std::result::Result<Vec<u8>, Refusal> {
        const TRAILING: GeneralPurposeConfig = NO_PAD.with_decode_allow_trailing_bits(true);
        if self.has(Bug::AnyBase64) {
            let known = |c: &char| c.is_ascii_alphanumeric() || "+/-_".contains(*c);
            let plain = |c| match c {
                '-' => '+',
                '_' => '/',
                c => c,
            };
            let text: String = part.chars().filter(known).map(plain).collect();
            return STANDARD_NO_PAD.decode(text).map_err(|_| "malformed");
        }
        if self.has(Bug::TrailingBits) {
            return GeneralPurpose::new(&alphabet::URL_SAFE, TRAILING).decode(part).map_err(|_| "malformed");
        }
        BASE64URL.decode(part).map_err(|_| "malformed")
    }

    fn object(&self, bytes: &[u8]) -> std::result::Result<Object, Refusal> {
        let value = if self.has(Bug::LastMemberWins) {
            serde_json::from_slice(bytes)
        } else {
            serde_json::from_slice(bytes).map(|Unique(value)| value)
        };
        if let Ok(Value::Object(object)) = value { Ok(object) } else { Err("malformed") }
    }

    fn checked(&self, payload: &Object) -> std::result::Result<Checked, Refusal> {
        let time = |name: &str| {
            let time = payload.get(name).map(|it| self.number(it).ok_or("malformed")).transpose()?;
            Ok::<_, Refusal>(if self.has(Bug::CutsFractions) { time.map(f64::trunc) } else { time })
        };
        let text = |it: &Value| it.as_str().map(str::to_owned).ok_or("malformed");
        let aud = payload.get("aud").map(|aud| match aud {
            Value::Array(list) => list.iter().map(text).collect(),
            one => Ok(vec![text(one)?]),
        });
        let exp = time("exp")?.filter(|exp| *exp != 0.0 || !self.has(Bug::ZeroIsNothing));
        Ok(Checked {
            exp,
            nbf: time("nbf")?,
            iss: payload.get("iss").map(text).transpose()?,
            aud: aud.transpose()?,
        })
    }

    fn number(&self, value: &Value) -> Option<f64> {
        match value {
            Value::String(text) if self.has(Bug::Coerces) => text.parse().ok(),
            Value::Bool(_) | Value::Null if self.has(Bug::Coerces) => Some(0.0),
            _ => value.as_f64(),
        }
    }

    /// The one key that the token can mean.
    fn key(&self, alg: &str, kid: Option<&str>) -> std::result::Result<&Jwk, Refusal> {
        let keys = &self.input.jwks.keys;
        let for_alg: Vec<&Jwk> = keys.iter().filter(|key| key.is_for(alg)).collect();
        let named = |key: &Jwk| kid.is_none() || key.kid.as_deref() == kid;
        let left: Vec<&Jwk> = for_alg.iter().copied().filter(|key| named(key)).collect();
        match left[..] {
            [key] => Ok(key),
            [first, ..] if self.has(Bug::TakesTheFirst) => Ok(first),
            [] if self.has(Bug::FallsBack) => for_alg.first().copied().ok_or("key"),
            [] if self.has(Bug::AnyKeyIsBytes) => keys.iter().find(|key| named(key)).ok_or("key"),
            _ => Err("key"),
        }
    }

    fn fits(&self, alg: &str, key: &Jwk, signed: &str, signature: &[u8]) -> Option<bool> {
        let (algorithm, public) = match alg {
            "HS256" => return self.hmac_fits(key, signed, signature),
            "RS256" => {
                (Algorithm::RS256, DecodingKey::from_rsa_components(key.n.as_ref()?, key.e.as_ref()?).ok()?)
            }
            "ES256" if self.has(Bug::DerSignatures) && signature.first() != Some(&0x30) => return None,
            "ES256" => {
                (Algorithm::ES256, DecodingKey::from_ec_components(key.x.as_ref()?, key.y.as_ref()?).ok()?)
            }
            _ => (Algorithm::EdDSA, DecodingKey::from_ed_components(key.x.as_ref()?).ok()?),
        };
        crypto::verify(&BASE64URL.encode(signature), signed.as_bytes(), &public, algorithm).ok()
    }

    fn hmac_fits(&self, key: &Jwk, signed: &str, signature: &[u8]) -> Option<bool> {
        let secret = if self.has(Bug::AnyKeyIsBytes) && key.kty == "RSA" {
            key.pem()?.into_bytes()
        } else {
            BASE64URL.decode(key.k.as_ref()?).ok()?
        };
        let mut hmac = Hmac::<Sha256>::new_from_slice(&secret).ok()?;
        hmac.update(signed.as_bytes());
        if self.has(Bug::ComparesTheShorter) {
            let right = hmac.finalize().into_bytes();
            return Some(right.iter().zip(signature).all(|(one, other)| one == other));
        }
        Some(hmac.verify_slice(signature).is_ok())
    }

    /// The signature was the issuer's; what did it sign, for whom, and until when?
    fn believe(&self, it: &Checked) -> std::result::Result<(), Refusal> {
        let Input { iss, aud, now, leeway, .. } = &self.input;
        let over = |exp: f64| {
            if self.has(Bug::LastSecond) { *now > exp + leeway } else { *now >= exp + leeway }
        };
        let same = |one: &str, other: &str| match self.bug {
            Some(Bug::TrimsTheIssuer) => one.trim_end_matches('/') == other.trim_end_matches('/'),
            _ => one == other,
        };
        let is_among = |wanted: &String, auds: &[String]| match self.bug {
            Some(Bug::PartOfTheAudience) => auds.iter().any(|it| it.contains(wanted)),
            _ => auds.contains(wanted),
        };
        let absent = self.has(Bug::AbsentIsFine);
        match it {
            _ if it.exp.is_some_and(over) => Err("expired"),
            _ if it.nbf.is_some_and(|nbf| *now < nbf - leeway) => Err("not_yet"),
            _ if !iss.as_ref().is_none_or(|want| it.iss.as_ref().map_or(absent, |iss| same(iss, want))) => {
                Err("issuer")
            }
            _ if !aud
                .as_ref()
                .is_none_or(|want| it.aud.as_ref().map_or(absent, |aud| is_among(want, aud))) =>
            {
                Err("audience")
            }
            _ => Ok(()),
        }
    }
}

impl Jwk {
    fn is_for(&self, alg: &str) -> bool {
        let kind = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => "HS256",
            ("RSA", _) => "RS256",
            ("EC", Some("P-256")) => "ES256",
            ("OKP", Some("Ed25519")) => "EdDSA",
            _ => return false,
        };
        kind == alg
            && self.alg.as_ref().is_none_or(|it| it == alg)
            && self.r#use.as_ref().is_none_or(|it| it == "sig")
    }

    fn pem(&self) -> Option<String> {
        let number =
            |it: &Option<String>| Some(rsa::BigUint::from_bytes_be(&BASE64URL.decode(it.as_ref()?).ok()?));
        let public = rsa::RsaPublicKey::new(number(&self.n)?, number(&self.e)?).ok()?;
        public.to_public_key_pem(rsa::pkcs8::LineEnding::LF).ok()
    }
}

/// JSON in which no object has the same name twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_any(UniqueVisitor).map(Unique)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, it: bool) -> std::result::Result<Value, E> {
        Ok(it.into())
    }

    fn visit_i64<E>(self, it: i64) -> std::result::Result<Value, E> {
        Ok(it.into())
    }

    fn visit_u64<E>(self, it: u64) -> std::result::Result<Value, E> {
        Ok(it.into())
    }

    fn visit_f64<E>(self, it: f64) -> std::result::Result<Value, E> {
        Ok(it.into())
    }

    fn visit_str<E>(self, it: &str) -> std::result::Result<Value, E> {
        Ok(it.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, _>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} stands twice")));
            }
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

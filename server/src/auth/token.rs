//! Tokens: JWTs (RFC 7519), each signed with one key of a set (RFC 7517).
//!
//! | claim | must be |
//! |---|---|
//! | `iss` | the configured issuer |
//! | `aud` | the configured audience, or a list that contains it |
//! | `exp` | present, and in the future |
//! | `nbf` | in the past, if present |
//! | `sub` | a user id |
//! | `scope` | names separated by spaces (RFC 8693), if present |
//!
//! There is no leeway for clocks that differ. The key determines the algorithm, never the token: a
//! header that names another algorithm, or `none`, is refused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, decode, decode_header,
    errors::{Error, ErrorKind},
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations,
        PublicKeyUse,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{caller::Caller, crypto, refusal::Refusal};

/// The claims of a token.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audience: the service that the token is for.
    #[serde(skip_deserializing)]
    pub aud: String,
    /// The user.
    pub sub: String,
    /// The scopes, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// When the token expires, in seconds of Unix time. Some issuers write a fraction.
    pub exp: f64,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::ExpiredSignature => Refusal::Expired,
            _ => Refusal::Invalid(error.to_string()),
        }
    }
}

/// The keys that verify tokens, and those of the same set that cannot be used.
#[derive(Debug, Default)]
pub struct Keys {
    usable: Vec<Key>,
    left_out: Vec<String>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

impl Keys {
    /// Reads a JWKS. Each key is read by itself: one that is damaged, symmetric or of another
    /// algorithm is left out, and never keeps the others out, or a withdrawn key in (RFC 7517,
    /// section 5). Keys for encryption are ignored.
    ///
    /// # Errors
    /// The reason: it is not a JWKS.
    pub fn parse(jwks: &[u8], issuer: &str, audience: &str) -> Result<Self, String> {
        crypto::install();
        let set: Map<String, Value> = serde_json::from_slice(jwks).map_err(|error| {
            format!("it is no JSON object (line {}, column {})", error.line(), error.column())
        })?;
        let Some(Value::Array(jwks)) = set.get("keys") else {
            return Err("it is not a JWKS: it has no array `keys`".to_owned());
        };
        let mut keys = Self::default();
        for (jwk, number) in jwks.iter().zip(1..).filter(|(jwk, _)| jwk["use"] != "enc") {
            match Key::parse(jwk, issuer, audience) {
                Ok(key) => keys.usable.push(key),
                Err(problem) => {
                    let id = jwk["kid"].as_str().map(|id| format!(", \"{}\"", id.escape_debug()));
                    let id = id.unwrap_or_default();
                    keys.left_out.push(format!("key {number}{id}: {problem}"));
                }
            }
        }
        Ok(keys)
    }

    /// Whether no token can be verified.
    pub fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }

    /// The keys that cannot be used, by number and id, each with the reason.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Verifies a token and returns its caller.
    ///
    /// # Errors
    /// The token has expired or cannot be trusted.
    pub fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let header = decode_header(token)?;
        if header.crit.is_some() {
            return Err(Refusal::Invalid(
                "it has critical extensions, of which none is supported".to_owned(),
            ));
        }
        let claims = self.claims(token, &header)?;
        let expires = expiry(claims.exp).ok_or(Refusal::Expired)?;
        Caller::new(&claims.sub, claims.scope.split(' '), expires)
            .ok_or_else(|| Refusal::Invalid("its sub is not a user id".to_owned()))
    }

    /// The claims, if one of the keys that the token may mean has signed it. Several keys may have
    /// the same id (RFC 7517, section 4.5).
    fn claims(&self, token: &str, header: &Header) -> Result<Claims, Refusal> {
        let id = header.kid.as_deref();
        let named = |key: &&Key| id.is_some() && key.id.as_deref() == id;
        let only = |_: &&Key| id.is_none() && self.usable.len() == 1;
        let mut keys = self.usable.iter().filter(|key| named(key) || only(key)).peekable();
        if keys.peek().is_none() {
            return Err(Refusal::Invalid("no key has the id that it names".to_owned()));
        }
        let mut refused =
            Refusal::Invalid("its algorithm is not that of the key it names".to_owned());
        for key in keys.filter(|key| key.algorithm == header.alg) {
            match decode::<Map<String, Value>>(token, &key.key, &key.validation) {
                Ok(token) => return Claims::of(token.claims),
                // The signature is that of this key: no other key can do better.
                Err(error) if *error.kind() != ErrorKind::InvalidSignature => {
                    return Err(error.into());
                }
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }
}

impl Claims {
    /// The claims of an object; an array has none (RFC 7519, section 7.2, step 10). `null` is the
    /// same as absent.
    fn of(mut claims: Map<String, Value>) -> Result<Self, Refusal> {
        claims.retain(|_, claim| !claim.is_null());
        let begins = claims.get("nbf").map_or(Some(0.0), Value::as_f64);
        if begins.is_none_or(|begins| begins > since_epoch().as_secs_f64()) {
            return Err(Refusal::Invalid("it is not valid yet (nbf)".to_owned()));
        }
        let invalid = |_| Refusal::Invalid("a claim has another type than it should".to_owned());
        serde_json::from_value(Value::Object(claims)).map_err(invalid)
    }
}

impl Key {
    /// Reads a key of a set.
    ///
    /// # Errors
    /// Why it cannot be used. It quotes nothing of the key.
    fn parse(jwk: &Value, issuer: &str, audience: &str) -> Result<Self, &'static str> {
        match jwk["kty"].as_str() {
            Some("OKP" | "EC" | "RSA") => {}
            Some("oct") => {
                return Err("it is symmetric: every reader of the set could sign tokens");
            }
            Some(_) => return Err("its type (`kty`) is not known"),
            None => return Err("it has no type (`kty`)"),
        }
        let jwk = Jwk::deserialize(jwk).map_err(|_| "a member has another type than it should")?;
        let algorithm = algorithm_of(&jwk)
            .ok_or("it is not a whole key for EdDSA, ES256 or RS256 signatures")?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| "a member is not in base64url")?;
        if !crypto::has_valid_size(algorithm, &key) {
            return Err("its size is not one that its algorithm has");
        }
        let validation = validation(algorithm, issuer, audience);
        Ok(Self { id: jwk.common.key_id, algorithm, key, validation })
    }
}

/// The algorithm of a key, if the key is for signatures that are verified here.
fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    let CommonParameters { public_key_use, key_operations, key_algorithm, .. } = &key.common;
    let for_signatures = public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
        && key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let (algorithm, named) = match &key.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return None,
    };
    let fits = for_signatures && key_algorithm.is_none_or(|name| name == named);
    fits.then_some(algorithm)
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// An expiry further away counts as never: no process runs for that long.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The instant of `exp` on the clock of this process. `None` if it has passed, `Some(None)` if it
/// never comes.
fn expiry(exp: f64) -> Option<Option<Instant>> {
    let exp = Duration::try_from_secs_f64(exp.max(0.0)).unwrap_or(Duration::MAX);
    let left = exp.checked_sub(since_epoch())?;
    let expires = (left < NEVER).then(|| Instant::now() + left);
    (!left.is_zero()).then_some(expires)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::json;

    use super::*;

    /// The modulus of an RSA key, and a token signed by it with RS256. Both were made with OpenSSL.
    const MODULUS: &str = "\
        9GuGYbg5EMCZy3O7CGGOmdZRhDvlOkl-ZTIIEwsAmAUaVx1tLk8x-ILBQzhGvuFjt8jFQeiT2ZW5Pta6aRP0TwDf\
        FhfZoJMFFpCa4Fe6MGxTD4z6ZkfjGS_A4HDAwRQuUutOnUdRLj6a38LkALIS7vCl5RPzk0RwdiJllgEY6S4Yg2_7\
        pM7WsQb9OiuXqxk9rIzO7PHHbsEjy-uuZt5S-Z3fhl-N1HZaylNrJIW9k-AlI4-LUNFR3a-FTHW04P3hq_SoLPuX\
        0pnXYg3IFXd85N_3swMbYfWQBqN6x37TfA8Y-LyVmNu2l3slP9WUUr1x5ADq1CS6R5ViZXK6GoKYRQ";
    const RS256: &str = "\
        eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6IjEiLCJzY29wZSI6I\
        nBvc3RzLnJlYWQiLCJleHAiOjQxMDI0NDQ4MDB9.NkSLVj2IZ1pSd4b40QCzxna1kpoUABgT_B1sciLTlEc_I8pA\
        yyMsDBPuVKzJ_p8-yKRJRxTfXzsipiIWU6KZUOWDvNAW7A2NaxUh1YecntSySSW7JRiXgglFRIPsGB1id_b3NNYM\
        vgxgFRuSzJeQZ3gFt8mtieStlEuY2PYH2YODhGY5_qp5OcBq7ocgsLPMzZYoBSoMHuRRqOw-orYvhxJquchKZ6Gj\
        S12uI4NnH1jcIgj3756CSyzK-YjcjW79Q2a_Wse7WHJJaUjNXoIAiX0z-qPp0583noDkCl6WcoZ3qS2rp0YDHVWW\
        2ppbgqZIHFoC2chr7AuUOGcuugFDyw";

    fn keys(keys: &[Value]) -> Keys {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes(), "i", "a").unwrap()
    }

    fn rsa() -> Value {
        json!({ "kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB" })
    }

    /// A key on P-256, and a token signed by it with ES256.
    fn ecdsa() -> (Value, String) {
        let claims = json!({ "iss": "i", "aud": ["b", "a"], "sub": "1", "exp": 4_102_444_800_u64 });
        signed_by_ecdsa(&claims)
    }

    fn signed_by_ecdsa(claims: &Value) -> (Value, String) {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|point| URL_SAFE_NO_PAD.encode(point));
        let header = json!({ "alg": "ES256", "kid": "e" });
        let [header, claims] =
            [header, claims.clone()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        (json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": x, "y": y }), token)
    }

    #[test]
    fn rs256_and_es256_tokens_are_verified_only_by_their_own_key() {
        let (ec, es256) = ecdsa();
        let both = keys(&[rsa(), ec.clone()]);
        let caller = both.verify(RS256).unwrap();
        assert_eq!((&*caller.user_id, caller.scopes.len()), ("1", 1));
        assert!(both.verify(&es256).unwrap().scopes.is_empty());
        for (token, other) in [(RS256, &ec), (es256.as_str(), &rsa())] {
            let alone = keys(std::slice::from_ref(other));
            assert!(matches!(alone.verify(token), Err(Refusal::Invalid(_))), "another key");
        }
        // The right id, but an algorithm that is not the key's.
        let mut impostor = ec;
        impostor["kid"] = "r".into();
        let refused = keys(&[impostor]).verify(RS256).unwrap_err();
        assert_eq!(refused.to_string(), "its algorithm is not that of the key it names");
    }

    #[test]
    fn a_token_must_name_its_key_if_there_are_several() {
        let nameless = |keys: &Keys| keys.claims(RS256, &Header::new(Algorithm::RS256));
        let named = |keys: &Keys, id: &str| {
            let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::RS256) };
            keys.claims(RS256, &header)
        };
        let two = keys(&[rsa(), ecdsa().0]);
        assert!(nameless(&two).is_err() && named(&two, "x").is_err());
        assert!(named(&two, "r").is_ok());
        assert!(nameless(&keys(&[rsa()])).is_ok());
    }

    /// RFC 7517, section 4.5: ids may repeat while a key is replaced.
    #[test]
    fn every_key_of_an_id_is_tried_whatever_its_type_and_place() {
        let (mut first, _) = ecdsa();
        let (second, token) = ecdsa();
        first["kid"] = "e".into();
        let mut other_type = rsa();
        other_type["kid"] = "e".into();
        for set in [
            vec![first.clone(), other_type.clone(), second.clone()],
            vec![second, other_type, first],
        ] {
            assert!(keys(&set).verify(&token).is_ok());
        }
    }

    /// RFC 7517, section 5: a reader ignores the keys of a set that it does not understand.
    #[test]
    fn a_key_that_cannot_be_used_is_left_out_with_its_reason_and_keeps_no_other_out() {
        let with = |mut key: Value, member: &str, value: Value| {
            key[member] = value;
            key
        };
        let ec = ecdsa().0;
        let cut = URL_SAFE_NO_PAD.encode([7; 31]);
        for (bad, problem) in [
            (json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }), "symmetric"),
            (
                json!({ "kty": "XYZ", "kid": "new" }),
                "key 1, \"new\": its type (`kty`) is not known",
            ),
            (json!({ "kid": "k\n" }), "key 1, \"k\\n\": it has no type"),
            (json!(["EC"]), "key 1: it has no type"),
            (json!(null), "it has no type"),
            (json!({ "kty": "EC", "crv": "P-256" }), "not a whole key"),
            (with(ec.clone(), "crv", "P-384".into()), "not a whole key for EdDSA, ES256 or RS256"),
            (with(ec.clone(), "x", 7.into()), "not a whole key"),
            (with(ec.clone(), "x", "*".into()), "base64url"),
            (with(ec.clone(), "x", cut.into()), "size"),
            (with(ec, "key_ops", json!(["encrypt"])), "not a whole key"),
            (with(rsa(), "n", MODULUS[..340].into()), "size"),
            (with(rsa(), "alg", "RS512".into()), "not a whole key"),
        ] {
            let keys = keys(&[bad, rsa()]);
            assert!(keys.verify(RS256).is_ok(), "{problem}");
            let [left_out] = keys.left_out() else { panic!("{problem}: {:?}", keys.left_out()) };
            assert!(left_out.contains(problem), "{left_out}");
        }
        let for_encryption = keys(&[with(rsa(), "use", "enc".into())]);
        assert!(for_encryption.is_empty() && for_encryption.left_out().is_empty());
    }

    #[test]
    fn a_set_without_keys_withdraws_them_all_and_what_is_no_set_is_refused() {
        assert!(keys(&[]).is_empty() && keys(&[]).verify(RS256).is_err());
        for (set, problem) in [
            ("{", "no JSON object (line 1, column 1)"),
            ("[]", "no JSON object"),
            ("{}", "no array `keys`"),
            (r#"{"keys": {}}"#, "no array `keys`"),
        ] {
            let refused = Keys::parse(set.as_bytes(), "i", "a").unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
    }

    /// RFC 7519, section 7.2: the claims are a JSON object.
    #[test]
    fn claims_are_an_object_and_null_is_the_same_as_absent() {
        let verify = |claims: &Value| {
            let (key, token) = signed_by_ecdsa(claims);
            keys(&[key]).verify(&token)
        };
        let exp = 4_102_444_800_u64;
        let mut claims = json!({ "iss": "i", "aud": "a", "sub": "1", "exp": exp });
        for absent in ["scope", "nbf", "jti"] {
            claims[absent] = Value::Null;
        }
        assert!(verify(&claims).is_ok());
        for required in ["iss", "aud", "sub", "exp"] {
            let mut claims = claims.clone();
            claims[required] = Value::Null;
            assert!(matches!(verify(&claims), Err(Refusal::Invalid(_))), "{required}");
        }
        assert!(matches!(verify(&json!(["i", "1", "", exp])), Err(Refusal::Invalid(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn every_number_is_a_valid_expiry_and_none_overflows() {
        for exp in [0.0, -1.0, 1.5, f64::NEG_INFINITY] {
            assert_eq!(expiry(exp), None, "{exp}");
        }
        for exp in [1e12, 1e300, f64::INFINITY, f64::MAX] {
            assert_eq!(expiry(exp), Some(None), "{exp}");
        }
        assert!(expiry(4_102_444_800.0).is_some_and(|expires| expires > Some(Instant::now())));
    }
}

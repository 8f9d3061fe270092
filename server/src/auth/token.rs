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
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::{Error, ErrorKind},
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde::{Deserialize, Serialize};
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

/// The keys that verify tokens.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

impl Keys {
    /// Reads a JWKS. Keys for encryption and for other algorithms are ignored.
    ///
    /// # Errors
    /// The reason: it is not a JWKS, it contains a secret key, or it has no usable key.
    pub fn parse(jwks: &[u8], issuer: &str, audience: &str) -> Result<Self, String> {
        crypto::install();
        let jwks: JwkSet =
            serde_json::from_slice(jwks).map_err(|error| format!("it is not a JWKS: {error}"))?;
        if jwks.keys.iter().any(|key| matches!(key.algorithm, AlgorithmParameters::OctetKey(_))) {
            return Err("it has a symmetric key: every reader of it could sign tokens".to_owned());
        }
        let mut keys = Vec::new();
        for jwk in &jwks.keys {
            let Some(algorithm) = algorithm_of(jwk) else { continue };
            let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("a key: {error}"))?;
            let validation = validation(algorithm, issuer, audience);
            keys.push(Key { id: jwk.common.key_id.clone(), key, validation });
        }
        if keys.is_empty() {
            return Err("it has no key for EdDSA, ES256 or RS256".to_owned());
        }
        Ok(Self(keys))
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
        let key = self.find(header.kid.as_deref())?;
        let claims = decode::<Claims>(token, &key.key, &key.validation)?.claims;
        let expires = expiry(claims.exp).ok_or(Refusal::Expired)?;
        Caller::new(&claims.sub, claims.scope.split(' '), expires)
            .ok_or_else(|| Refusal::Invalid("its sub is not a user id".to_owned()))
    }

    /// The key with this id. A token may omit the id if there is only one key.
    fn find(&self, id: Option<&str>) -> Result<&Key, Refusal> {
        let found = match (id, self.0.as_slice()) {
            (None, [key]) => Some(key),
            (None, _) => None,
            (Some(_), keys) => keys.iter().find(|key| key.id.as_deref() == id),
        };
        found.ok_or_else(|| Refusal::Invalid("no key has the id that it names".to_owned()))
    }
}

/// The algorithm of a key, if the key is for signatures that are verified here.
fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    if key.common.public_key_use.as_ref().is_some_and(|what| *what != PublicKeyUse::Signature) {
        return None;
    }
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
    key.common.key_algorithm.is_none_or(|name| name == named).then_some(algorithm)
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation
}

/// An expiry further away counts as never: no process runs for that long.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The instant of `exp` on the clock of this process. `None` if it has passed, `Some(None)` if it
/// never comes.
fn expiry(exp: f64) -> Option<Option<Instant>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left =
        Duration::try_from_secs_f64(exp.max(0.0)).unwrap_or(Duration::MAX).checked_sub(now)?;
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
    use serde_json::{Value, json};

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

    fn keys(keys: &[Value]) -> Result<Keys, String> {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes(), "i", "a")
    }

    fn rsa() -> Value {
        json!({ "kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB" })
    }

    /// A key on P-256, and a token signed by it with ES256.
    fn ecdsa() -> (Value, String) {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|point| URL_SAFE_NO_PAD.encode(point));
        let claims = json!({ "iss": "i", "aud": ["b", "a"], "sub": "1", "exp": 4_102_444_800_u64 });
        let header = json!({ "alg": "ES256", "kid": "e" });
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        (json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": x, "y": y }), token)
    }

    #[test]
    fn rs256_and_es256_tokens_are_verified_only_by_their_own_key() {
        let (ec, es256) = ecdsa();
        let both = keys(&[rsa(), ec.clone()]).unwrap();
        let caller = both.verify(RS256).unwrap();
        assert_eq!((&*caller.user_id, caller.scopes.len()), ("1", 1));
        assert!(both.verify(&es256).unwrap().scopes.is_empty());
        for (token, other) in [(RS256, &ec), (es256.as_str(), &rsa())] {
            let alone = keys(std::slice::from_ref(other)).unwrap();
            assert!(matches!(alone.verify(token), Err(Refusal::Invalid(_))), "another key");
        }
        // The right id, but an algorithm that is not the key's.
        let mut impostor = ec;
        impostor["kid"] = "r".into();
        let refused = keys(&[impostor]).unwrap().verify(RS256).unwrap_err();
        assert_eq!(refused.to_string(), "InvalidAlgorithm");
    }

    #[test]
    fn a_token_must_name_its_key_if_there_are_several() {
        let two = keys(&[rsa(), ecdsa().0]).unwrap();
        assert!(two.find(None).is_err() && two.find(Some("x")).is_err());
        assert!(two.find(Some("r")).is_ok());
        assert!(keys(&[rsa()]).unwrap().find(None).is_ok());
    }

    #[test]
    fn a_jwks_with_a_secret_key_or_without_a_usable_key_is_refused_with_a_reason() {
        let [mut for_encryption, mut other_algorithm] = [rsa(), rsa()];
        for_encryption["use"] = "enc".into();
        other_algorithm["alg"] = "RS512".into();
        let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" });
        for (set, problem) in [
            (vec![], "no key for"),
            (vec![for_encryption], "no key for"),
            (vec![other_algorithm], "no key for"),
            (vec![rsa(), secret], "symmetric"),
        ] {
            let refused = keys(&set).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
        assert!(Keys::parse(b"{", "i", "a").unwrap_err().contains("not a JWKS"));
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

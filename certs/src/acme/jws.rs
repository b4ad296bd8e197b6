//! Signed requests (RFC 8555 section 6.2): keys and what they sign.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidegate_config::ExternalAccount;

/// An ECDSA key on P-256 (`ES256`).
pub(super) struct SigningKey(EcdsaKeyPair);

/// Why a key does not sign.
#[derive(Debug, thiserror::Error)]
#[error("the key is not usable: it has to be ECDSA on P-256 in PKCS #8")]
pub(crate) struct BadKey;

impl SigningKey {
    /// A new key, in PKCS #8.
    pub(super) fn generate() -> Result<Vec<u8>, BadKey> {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        key.map(|key| key.as_ref().to_vec()).map_err(|_| BadKey)
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, BadKey> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        key.map(Self).map_err(|_| BadKey)
    }

    /// The public key (RFC 7517), its fields in the order of RFC 7638.
    pub(super) fn jwk(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "crv": "P-256", "kty": "EC", "x": BASE64.encode(x), "y": BASE64.encode(y) })
    }

    /// What a challenge's answer is made of (RFC 8555 section 8.1).
    pub(super) fn key_authorization(&self, token: &str) -> String {
        let thumbprint = BASE64.encode(Sha256::digest(self.jwk().to_string()));
        format!("{token}.{thumbprint}")
    }

    fn sign(&self, protected: &Value, payload: &str) -> Result<Value, BadKey> {
        let protected = BASE64.encode(protected.to_string());
        let signed = format!("{protected}.{payload}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| BadKey)?;
        Ok(json!({
            "protected": protected, "payload": payload, "signature": BASE64.encode(signature),
        }))
    }
}

/// Who a request is from.
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    /// An account, by its URL.
    Account { key: &'a SigningKey, url: &'a str },
    /// A key that speaks for itself: of an account to be found, or of a certificate.
    Key(&'a SigningKey),
}

impl Signer<'_> {
    /// The request for `url`. Without a payload it is a POST-as-GET (section 6.3).
    pub(super) fn sign(
        &self,
        url: &str,
        nonce: &str,
        payload: Option<&Value>,
    ) -> Result<Value, BadKey> {
        let payload = payload.map(|payload| BASE64.encode(payload.to_string()));
        let (key, protected) = match self {
            Self::Account { key, url: kid } => {
                (key, json!({ "alg": "ES256", "kid": kid, "nonce": nonce, "url": url }))
            }
            Self::Key(key) => {
                (key, json!({ "alg": "ES256", "jwk": key.jwk(), "nonce": nonce, "url": url }))
            }
        };
        key.sign(&protected, &payload.unwrap_or_default())
    }
}

/// The new key's word that it replaces the old one of `account` (RFC 8555 section 7.3.5).
pub(super) fn key_change(
    new: &SigningKey,
    old: &SigningKey,
    account: &str,
    url: &str,
) -> Result<Value, BadKey> {
    let protected = json!({ "alg": "ES256", "jwk": new.jwk(), "url": url });
    let payload = json!({ "account": account, "oldKey": old.jwk() });
    new.sign(&protected, &BASE64.encode(payload.to_string()))
}

/// The account's key, signed with what ties it to the customer's account (section 7.3.4).
pub(super) fn bind(
    key: &SigningKey,
    external: &ExternalAccount,
    url: &str,
) -> Result<Value, &'static str> {
    let secret = hmac_key(external)?;
    let protected = json!({ "alg": "HS256", "kid": external.kid, "url": url });
    let protected = BASE64.encode(protected.to_string());
    let payload = BASE64.encode(key.jwk().to_string());
    let tag = hmac::sign(&secret, format!("{protected}.{payload}").as_bytes());
    Ok(json!({ "protected": protected, "payload": payload, "signature": BASE64.encode(tag) }))
}

/// The external account's key. Some authorities hand it out with padding.
pub(super) fn hmac_key(external: &ExternalAccount) -> Result<hmac::Key, &'static str> {
    let bytes = BASE64
        .decode(external.hmac_key.reveal().trim().trim_end_matches('='))
        .map_err(|_| "`hmac_key` of `eab` is not base64url: copy it as the authority shows it")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn decoded(value: &Value) -> Value {
        serde_json::from_slice(&BASE64.decode(value.as_str().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_request_carries_its_nonce_and_url_and_a_signature_that_verifies() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let signer = Signer::Account { key: &key, url: "https://ca/acct/1" };
        let jws = signer.sign("https://ca/order", "n-1", Some(&json!({ "a": 1 }))).unwrap();
        let protected = decoded(&jws["protected"]);
        assert_eq!(protected["nonce"], "n-1");
        assert_eq!(protected["url"], "https://ca/order");
        assert_eq!(protected["kid"], "https://ca/acct/1");
        assert_eq!(decoded(&jws["payload"]), json!({ "a": 1 }));
        let signed =
            format!("{}.{}", jws["protected"].as_str().unwrap(), jws["payload"].as_str().unwrap());
        let signature = BASE64.decode(jws["signature"].as_str().unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.0.public_key().as_ref());
        public.verify(signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn a_post_as_get_has_an_empty_payload_and_an_unknown_key_shows_itself() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let jws = Signer::Key(&key).sign("https://ca/x", "n", None).unwrap();
        assert_eq!(jws["payload"], "");
        assert_eq!(decoded(&jws["protected"])["jwk"], key.jwk());
    }

    #[test]
    fn a_thumbprint_is_over_the_fields_in_order() {
        // serde_json sorts the fields of an object, which is what RFC 7638 wants.
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let jwk = key.jwk().to_string();
        assert!(jwk.starts_with(r#"{"crv":"P-256","kty":"EC","x":""#), "{jwk}");
        assert!(key.key_authorization("token").starts_with("token."));
    }
}

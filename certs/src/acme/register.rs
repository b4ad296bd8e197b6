//! Registration of an account with a key that is already ours (RFC 8555 section 7.3).
//!
//! instant-acme makes the key itself when a contact or an external account is given, and a
//! crash before its answer is stored loses the account; some authorities take an external
//! account once only. Here the key is stored first, and registering it again finds the account.

use super::{
    failure::{Failure, Scope},
    http::{HttpError, Transport},
};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use instant_acme::Problem;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_config::ExternalAccount;

/// Attempts with a nonce the authority no longer takes.
const NONCES: u32 = 3;
const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
}

/// Registers `key` (PKCS #8) at `directory`, or finds the account it has; returns its URL.
pub(super) async fn register(
    transport: &Transport,
    directory: &str,
    key: &[u8],
    email: Option<&str>,
    external: Option<&ExternalAccount>,
) -> Result<String, Failure> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key)
        .map_err(|_| Failure::new(Scope::Authority, "the account's key is not usable"))?;
    let answer = send(transport, Method::GET, directory, None).await?;
    let urls: Directory = serde_json::from_slice(answer.body()).map_err(|_| {
        let text = format!("`{directory}` is not an ACME directory: is the URL right?");
        Failure::new(Scope::Authority, text)
    })?;
    let contact: Vec<String> = email.iter().map(|email| format!("mailto:{email}")).collect();
    let mut payload = json!({ "contact": contact, "termsOfServiceAgreed": true });
    if let Some(external) = external {
        payload["externalAccountBinding"] = bind(&key, external, &urls.new_account)?;
    }
    let payload = BASE64.encode(payload.to_string());
    for _ in 0..NONCES {
        let head = send(transport, Method::HEAD, &urls.new_nonce, None).await?;
        let nonce = text(&head, "replay-nonce")
            .ok_or_else(|| Failure::new(Scope::Authority, "the authority gives no nonce"))?;
        let protected = json!({
            "alg": "ES256", "jwk": jwk(&key), "nonce": nonce, "url": urls.new_account,
        });
        let protected = BASE64.encode(protected.to_string());
        let signature = key
            .sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes())
            .map_err(|_| Failure::new(Scope::Authority, "the account's key cannot sign"))?;
        let jws = json!({
            "protected": protected, "payload": payload, "signature": BASE64.encode(signature),
        });
        let answer = send(transport, Method::POST, &urls.new_account, Some(jws)).await?;
        match (answer.status().is_success(), text(&answer, header::LOCATION.as_str())) {
            (true, Some(url)) => return Ok(url),
            (true, None) => {
                return Err(Failure::new(Scope::Authority, "the authority names no account URL"));
            }
            (false, _) => {
                let problem: Problem = serde_json::from_slice(answer.body()).map_err(|_| {
                    let status = answer.status();
                    Failure::new(
                        Scope::Authority,
                        format!("the registration was answered {status}"),
                    )
                })?;
                let stale =
                    problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":badNonce"));
                if !(stale && answer.status() == StatusCode::BAD_REQUEST) {
                    return Err(Failure::of_problem(&problem, None));
                }
            }
        }
    }
    Err(Failure::new(Scope::Authority, format!("the authority refused {NONCES} nonces of its own")))
}

/// The key, signed with what ties it to the customer's account (RFC 8555 section 7.3.4).
fn bind(key: &EcdsaKeyPair, external: &ExternalAccount, url: &str) -> Result<Value, Failure> {
    let secret = hmac_key(external).map_err(|text| Failure::new(Scope::Authority, text))?;
    let protected = json!({ "alg": "HS256", "kid": external.kid, "url": url });
    let protected = BASE64.encode(protected.to_string());
    let payload = BASE64.encode(jwk(key).to_string());
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

/// The public key (RFC 7517), its fields in the order of RFC 7638.
fn jwk(key: &EcdsaKeyPair) -> Value {
    // An uncompressed point: 4, x, y.
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    json!({ "crv": "P-256", "kty": "EC", "x": BASE64.encode(x), "y": BASE64.encode(y) })
}

async fn send(
    transport: &Transport,
    method: Method,
    url: &str,
    body: Option<Value>,
) -> Result<Response<Bytes>, Failure> {
    let mut request = Request::builder().method(method).uri(url).header(header::USER_AGENT, AGENT);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/jose+json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let failed = |error: HttpError| Failure::of(&instant_acme::Error::Other(error.into()), None);
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| failed(HttpError::Url(url.to_owned())))?;
    transport.send(request).await.map_err(failed)
}

fn text(answer: &Response<Bytes>, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

//! Revocation (RFC 8555 section 7.6).

use super::{
    Orders,
    client::WireError,
    failure::{Failure, Scope},
    jws::{Signer, SigningKey},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use serde_json::json;
use tidegate_config::{Acme, Issuer};

/// Why a certificate is revoked (RFC 5280 section 5.3.1), as far as authorities take it from
/// subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// None is given.
    #[default]
    Unspecified = 0,
    /// Somebody else has the key, or had it.
    KeyCompromise = 1,
    /// The names belong to somebody else now.
    AffiliationChanged = 3,
    /// Another certificate has taken its place.
    Superseded = 4,
    /// The names are no longer in use.
    CessationOfOperation = 5,
}

impl Orders {
    /// Revokes `certificate` (DER) at `issuer`: with our account, or with its own `key` (PEM) where
    /// the account did not order it. One that is revoked already is no fault.
    pub(crate) async fn revoke(
        &self,
        acme: &Acme,
        issuer: &Issuer,
        certificate: &[u8],
        key: &str,
        reason: RevocationReason,
    ) -> Result<(), Failure> {
        let failed = |error: WireError| Failure::of(&error, None);
        let client = self.client(issuer).await?;
        let directory = client.directory().await.map_err(failed)?;
        let url = directory.revoke_cert.as_ref().ok_or_else(|| {
            Failure::new(Scope::Authority, "the authority revokes no certificates")
        })?;
        let payload = json!({ "certificate": BASE64.encode(certificate), "reason": reason as u8 });
        let email = acme.email.as_deref();
        let registrar = self.registrar(&client, issuer, email);
        let asked = match registrar.account(None).await {
            Ok(account) => account.post(url, Some(&payload)).await,
            Err(failure) => return Err(failure),
        };
        let done = |error: &WireError| error.kind() == "alreadyRevoked";
        match asked {
            Ok(_) => Ok(()),
            Err(error) if done(&error) => Ok(()),
            Err(error) if matches!(error.kind(), "unauthorized" | "accountDoesNotExist") => {
                let unusable = |_| Failure::new(Scope::Node, "the certificate's key cannot sign");
                let der = PrivateKeyDer::from_pem_slice(key.as_bytes());
                let der = der.map_err(|_| Failure::new(Scope::Node, "the key is not readable"))?;
                let key = SigningKey::from_pkcs8(der.secret_der()).map_err(unusable)?;
                match client.post(&Signer::Key(&key), url, Some(&payload)).await {
                    Ok(_) => Ok(()),
                    Err(error) if done(&error) => Ok(()),
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }
}

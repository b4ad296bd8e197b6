//! A certificate chain with its key, read and checked once.

use crate::{clock::after, ocsp::Question};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc, time::Duration};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// Certificates in one chain at most.
const MAX_CHAIN: usize = 16;

/// What is needed of a certificate to serve, renew and show it. `Debug` shows no key.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// Subject alternative names, in lower case: DNS names and addresses.
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// What its OCSP responder is asked, if it names one.
    pub(crate) question: Option<Question>,
    /// Clients that know what it says refuse it without an OCSP answer (RFC 7633).
    pub(crate) must_staple: bool,
    /// How the authority calls it in renewal information (RFC 9773 section 4.1): key identifier
    /// of its issuer and serial number. None without an authority key identifier.
    pub(crate) renewal_id: Option<String>,
}

/// Why a chain and a key make no usable certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCertificate {
    #[error("holds no certificate")]
    NoCertificate,
    #[error("is not a readable certificate chain ({0})")]
    Chain(String),
    #[error("names no host: it has no subject alternative names")]
    NoNames,
    #[error("holds no private key")]
    NoKey,
    #[error("is encrypted with a passphrase")]
    Encrypted,
    #[error("is not a usable private key ({0})")]
    Key(String),
    #[error("does not belong to the certificate")]
    Mismatch,
}

impl BadCertificate {
    /// Whether the key, not the chain, is at fault.
    pub(crate) fn is_about_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::Encrypted | Self::Key(_) | Self::Mismatch)
    }
}

impl Certificate {
    /// Reads PEM: the server's certificate first, then its issuers; and the key.
    pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, BadCertificate> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .take(MAX_CHAIN + 1)
            .collect::<Result<_, _>>()
            .map_err(|error| BadCertificate::Chain(error.to_string()))?;
        if chain.len() > MAX_CHAIN {
            return Err(BadCertificate::Chain(format!("more than {MAX_CHAIN} certificates")));
        }
        let leaf = chain.first().ok_or(BadCertificate::NoCertificate)?;
        let unreadable = |error: &dyn std::fmt::Display| BadCertificate::Chain(error.to_string());
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| unreadable(&error))?;
        let san = parsed.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let names: Vec<String> = san
            .map(|san| san.value.general_names.iter().filter_map(name).collect())
            .unwrap_or_default();
        if names.is_empty() {
            return Err(BadCertificate::NoNames);
        }
        let issuer = parsed.issuer().to_string();
        let serial = parsed.raw_serial_as_string();
        let not_before = parsed.validity().not_before.to_datetime();
        let not_after = parsed.validity().not_after.to_datetime();
        let question = Question::about(&chain);
        let renewal_id = renewal_id(&parsed);
        let must_staple = must_staple(&parsed);
        let key = CertifiedKey::new(chain, signing_key(key)?);
        key.keys_match().map_err(|_| BadCertificate::Mismatch)?;
        let key = Arc::new(key);
        Ok(Self {
            key,
            names,
            issuer,
            serial,
            not_before,
            not_after,
            question,
            must_staple,
            renewal_id,
        })
    }

    /// When renewal begins: when `percent` of the lifetime is left, or up to a tenth of that
    /// time sooner. How much is a matter of the serial number: certificates that were issued
    /// together are not renewed together, and all nodes agree.
    pub(crate) fn renew_at(&self, percent: u8) -> OffsetDateTime {
        let left = self.lifetime() / 100 * u32::from(percent.min(100));
        let spread = left / 10 / 256 * u32::from(Sha256::digest(&self.serial)[0]);
        after(self.not_before, self.lifetime().saturating_sub(left + spread))
    }

    /// When renewal cannot wait, whatever an authority suggests: a twentieth of the lifetime is
    /// left.
    pub(crate) fn renew_by(&self) -> OffsetDateTime {
        after(self.not_before, self.lifetime() / 20 * 19)
    }

    pub(crate) fn lifetime(&self) -> Duration {
        Duration::try_from(self.not_after - self.not_before).unwrap_or_default()
    }
}

/// The TLS feature `status_request` (RFC 7633 section 4).
fn must_staple(certificate: &X509Certificate<'_>) -> bool {
    const FEATURE: &str = "1.3.6.1.5.5.7.1.24";
    const STATUS_REQUEST: [u8; 3] = [2, 1, 5];
    let mut extensions = certificate.iter_extensions();
    let found = extensions.find(|extension| extension.oid.to_id_string() == FEATURE);
    found.is_some_and(|found| found.value.windows(3).any(|value| value == STATUS_REQUEST))
}

fn renewal_id(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut extensions = certificate.iter_extensions();
    let key = extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref(),
        _ => None,
    })?;
    Some(format!("{}.{}", BASE64.encode(key.0), BASE64.encode(certificate.raw_serial())))
}

/// Reads a PEM key of any kind rustls can sign with.
fn signing_key(pem: &[u8]) -> Result<Arc<dyn SigningKey>, BadCertificate> {
    if is_encrypted(pem) {
        return Err(BadCertificate::Encrypted);
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => any_supported_type(&key).map_err(|error| BadCertificate::Key(error.to_string())),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => Err(BadCertificate::NoKey),
        // Its text could quote the file.
        Err(_) => Err(BadCertificate::Key("malformed PEM".to_owned())),
    }
}

/// PKCS #8 says it in the label, the traditional format in a header.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some(dns.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => match *octets {
            [a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d]).to_string()),
            octets => <[u8; 16]>::try_from(octets).ok().map(|v6| IpAddr::from(v6).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    /// A self-signed chain and key for `names`, from `not_before` for `days`.
    pub(crate) fn pem(names: &[&str], not_before: OffsetDateTime, days: i64) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = not_before;
        params.not_after = not_before + time::Duration::days(days);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_that_has_to_be_stapled_is_known() {
        let key = KeyPair::generate().unwrap();
        for must in [false, true] {
            let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
            if must {
                let oid = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
                let content = vec![0x30, 3, 2, 1, 5];
                let feature = rcgen::CustomExtension::from_oid_content(oid, content);
                params.custom_extensions.push(feature);
            }
            let chain = params.self_signed(&key).unwrap().pem();
            let read = Certificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes());
            assert_eq!(read.unwrap().must_staple, must);
        }
    }

    #[test]
    fn names_and_validity_are_read() {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (chain, key) = pem(&["Shop.example.com", "*.example.com", "::1"], start, 90);
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(certificate.names, ["shop.example.com", "*.example.com", "::1"]);
        assert_eq!(certificate.not_before, start);
        let left = certificate.not_after - certificate.renew_at(33);
        assert!((29.0..33.0).contains(&(left.as_seconds_f64() / 86_400.0)), "{left}");
        assert!(!format!("{certificate:?}").contains("PRIVATE"));
    }

    #[test]
    fn every_fault_has_its_name() {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (chain, key) = pem(&["a.test"], start, 1);
        let (_, other) = pem(&["a.test"], start, 1);
        let (nameless, nameless_key) = pem(&[], start, 1);
        let fault = |chain: &str, key: &str| {
            Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
        };
        assert_eq!(fault("", &key), BadCertificate::NoCertificate);
        assert_eq!(fault(&chain, ""), BadCertificate::NoKey);
        assert_eq!(fault(&chain, &other), BadCertificate::Mismatch);
        assert_eq!(fault(&nameless, &nameless_key), BadCertificate::NoNames);
        let locked =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(fault(&chain, locked), BadCertificate::Encrypted);
        let cut = &chain[..chain.len() / 2];
        assert!(matches!(fault(cut, &key), BadCertificate::Chain(_)));
        let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(fault(&chain, broken), BadCertificate::Key(_)));
    }
}

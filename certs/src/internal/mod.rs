//! The internal CA: certificates for local names, at once and without anybody else.
//!
//! A root that clients trust for ten years signs nothing but an intermediate a year; that one
//! signs leaves of a week. The root's key is in memory only while an intermediate is made.

mod authority;
mod identity;
mod obtain;

pub(crate) use identity::Identity;
pub(crate) use obtain::obtain;

use crate::{
    certificate::Certificate, clock::after, error::CertsError, held::Held, save::Leaf,
    stored::StoredCertificate,
};
use authority::Authority;
use identity::Shown;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 3600);
const LEAF_LIFETIME: Duration = DAY.saturating_mul(7);
/// For clients whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Leaves, and the intermediate, are renewed when this part of their life is left, in percent.
pub(crate) const RENEW_AT_PERCENT: u8 = 33;

/// The intermediate in use, with the root it hangs from.
pub(crate) struct InternalCa {
    issuer: Issuer<'static, KeyPair>,
    /// What a leaf's chain goes on with.
    chain: String,
    root_pem: String,
    serial: String,
    not_after: OffsetDateTime,
    renew_at: OffsetDateTime,
}

impl InternalCa {
    /// The intermediate out of the store, where its chain ends in the root.
    pub(crate) fn read(stored: &StoredCertificate) -> Result<Self, String> {
        let intermediate = Authority::read(stored)?;
        let (chain, root_pem) = intermediate.split_chain(&stored.chain)?;
        Ok(Self {
            chain,
            root_pem,
            renew_at: intermediate.renew_at(),
            serial: intermediate.serial,
            not_after: intermediate.not_after,
            issuer: intermediate.issuer,
        })
    }

    /// This one, which could not be stored: due until it is replaced by one that is.
    fn until_stored(self, now: OffsetDateTime) -> Self {
        Self { renew_at: now, ..self }
    }

    /// Whether a new intermediate is better made.
    pub(crate) fn is_due(&self, now: OffsetDateTime) -> bool {
        now >= self.renew_at
    }

    /// The root, for trust stores.
    pub(crate) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Whether `leaf` was issued by this intermediate, not by one before it.
    pub(crate) fn issued(&self, leaf: &StoredCertificate) -> bool {
        leaf.authority == self.serial
    }

    /// A leaf for `name`: a DNS name, a wildcard or an address.
    pub(crate) fn issue(&self, name: &str, now: OffsetDateTime) -> Result<Leaf, CertsError> {
        let make = || -> Result<_, rcgen::Error> {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(vec![name.to_owned()])?;
            params.distinguished_name = DistinguishedName::new();
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.use_authority_key_identifier_extension = true;
            params.not_before = now - BACKDATE;
            params.not_after = after(now, LEAF_LIFETIME).min(self.not_after);
            let leaf = params.signed_by(&key, &self.issuer)?.pem();
            Ok((leaf + &self.chain, key.serialize_pem()))
        };
        let (chain, key) = make().map_err(|error| internal(name, &error))?;
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes())
            .map_err(|cause| internal(name, &format!("the leaf {cause}")))?;
        let stored = StoredCertificate { authority: self.serial.clone(), chain, key, issued: None };
        Ok(Leaf { held: Held::new(certificate), stored })
    }
}

impl InternalCa {
    /// What the node `name` shows to upstreams: its name is the subject's, and a URI.
    fn issue_client(&self, name: &str, now: OffsetDateTime) -> Result<Shown, CertsError> {
        let (since, until) = (now - BACKDATE, after(now, LEAF_LIFETIME).min(self.not_after));
        let make = || -> Result<_, rcgen::Error> {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.subject_alt_names.push(SanType::URI(format!("tidegate://{name}").try_into()?));
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.use_authority_key_identifier_extension = true;
            (params.not_before, params.not_after) = (since, until);
            Ok((params.signed_by(&key, &self.issuer)?, key))
        };
        let (leaf, key) = make().map_err(|error| internal(name, &error))?;
        let failed = |error: &dyn std::fmt::Display| internal(name, error);
        let above = CertificateDer::pem_slice_iter(self.chain.as_bytes());
        let chain: Result<Vec<_>, _> =
            std::iter::once(Ok(leaf.der().clone())).chain(above).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_supported_type(&key).map_err(|error| failed(&error))?;
        let key = CertifiedKey::new(chain.map_err(|error| failed(&error))?, key);
        Ok(Shown { key: Arc::new(key), since, until })
    }
}

fn internal(name: &str, cause: &dyn std::fmt::Display) -> CertsError {
    CertsError::Internal { name: name.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(now: OffsetDateTime) -> StoredCertificate {
        let root = Authority::root(now).unwrap();
        Authority::read(&root).unwrap().intermediate(&root.chain, now).unwrap()
    }

    #[test]
    fn an_intermediate_survives_storage_and_its_leaves_are_known() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let stored = made(now);
        let (first, again) =
            (InternalCa::read(&stored).unwrap(), InternalCa::read(&stored).unwrap());
        assert_eq!(again.root_pem(), first.root_pem());
        let other = InternalCa::read(&made(now)).unwrap();
        for name in ["localhost", "*.localhost", "127.0.0.1", "::1"] {
            let leaf = again.issue(name, now).unwrap();
            assert!(leaf.held.certificate.names.contains(&name.to_owned()));
            assert!(first.issued(&leaf.stored) && !other.issued(&leaf.stored));
            // The leaf and the intermediate; the root is the client's.
            assert_eq!(leaf.stored.chain.matches("BEGIN CERTIFICATE").count(), 2);
            assert!(!leaf.stored.chain.contains(first.root_pem().trim()));
        }
        assert!(!first.is_due(now + time::Duration::days(240)));
        assert!(first.is_due(now + time::Duration::days(250)));
    }

    #[test]
    fn an_intermediate_with_a_foreign_key_or_without_a_root_is_refused() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let mut stored = made(now);
        stored.key = made(now).key;
        assert!(InternalCa::read(&stored).is_err());
        let mut stored = made(now);
        let end = stored.chain.find("-----END CERTIFICATE-----\n").unwrap() + 26;
        stored.chain.truncate(end);
        assert!(InternalCa::read(&stored).is_err());
    }
}

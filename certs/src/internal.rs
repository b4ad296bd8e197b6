//! The internal CA: certificates for local names, at once and without anybody else.

use crate::{
    certificate::Certificate, clock::after, error::CertsError, held::Held,
    stored::StoredCertificate,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOT_LIFETIME: Duration = DAY.saturating_mul(3650);
/// A root this close to its end is replaced at the next start.
const ROOT_REST: Duration = DAY.saturating_mul(30);
const LEAF_LIFETIME: Duration = DAY.saturating_mul(7);
/// For clients whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Leaves are renewed when this part of their life is left, in percent.
pub(crate) const RENEW_AT_PERCENT: u8 = 33;

/// A root that signs leaves directly: ECDSA P-256, ten years.
pub(crate) struct InternalCa {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
    serial: String,
    not_after: OffsetDateTime,
}

impl InternalCa {
    /// Makes a root, and how it is stored.
    pub(crate) fn generate(now: OffsetDateTime) -> Result<(Self, StoredCertificate), CertsError> {
        let make = || -> Result<_, rcgen::Error> {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(Vec::new())?;
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "Tidegate");
            // Tells the roots of several nodes apart in a trust store.
            let short = hex::encode(&params.key_identifier(&key)[..4]);
            let name = format!("Tidegate internal CA {short}");
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.not_before = now - BACKDATE;
            params.not_after = after(now, ROOT_LIFETIME);
            Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
        };
        let (chain, key) = make().map_err(|error| internal("its root", &error))?;
        let stored = StoredCertificate { authority: String::new(), chain, key, issued: None };
        let ca = Self::read(&stored).map_err(|cause| internal("its root", &cause))?;
        Ok((ca, stored))
    }

    /// The root out of the store.
    pub(crate) fn read(stored: &StoredCertificate) -> Result<Self, String> {
        let key = KeyPair::from_pem(&stored.key).map_err(|_| "its key is not readable")?;
        let der = CertificateDer::from_pem_slice(stored.chain.as_bytes())
            .map_err(|_| "its certificate is not readable")?;
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|_| "its certificate is not readable")?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err("its key does not belong to its certificate".to_owned());
        }
        let serial = parsed.raw_serial_as_string();
        let not_after = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|error| error.to_string())?;
        Ok(Self { issuer, root_pem: stored.chain.clone(), serial, not_after })
    }

    /// Whether a new root is better made.
    pub(crate) fn is_ending(&self, now: OffsetDateTime) -> bool {
        after(now, ROOT_REST) >= self.not_after
    }

    /// The root, for trust stores.
    pub(crate) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Whether `leaf` was issued by this root, not by one before it.
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
            Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
        };
        let (chain, key) = make().map_err(|error| internal(name, &error))?;
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes())
            .map_err(|cause| internal(name, &format!("the leaf {cause}")))?;
        let stored = StoredCertificate { authority: self.serial.clone(), chain, key, issued: None };
        Ok(Leaf { held: Held::new(certificate), stored })
    }
}

/// A leaf just issued.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) held: Arc<Held>,
    pub(crate) stored: StoredCertificate,
}

fn internal(name: &str, cause: &dyn std::fmt::Display) -> CertsError {
    CertsError::Internal { name: name.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_survives_storage_and_its_leaves_are_known() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (first, stored) = InternalCa::generate(now).unwrap();
        let again = InternalCa::read(&stored).unwrap();
        assert_eq!(again.root_pem(), first.root_pem());
        for name in ["localhost", "*.localhost", "127.0.0.1", "::1"] {
            let leaf = again.issue(name, now).unwrap();
            assert!(leaf.held.certificate.names.contains(&name.to_owned()));
            assert!(first.issued(&leaf.stored));
            let (other, _) = InternalCa::generate(now).unwrap();
            assert!(!other.issued(&leaf.stored));
        }
        assert!(!first.is_ending(now));
        assert!(first.is_ending(now + time::Duration::days(3649)));
    }

    #[test]
    fn a_root_with_a_foreign_key_is_refused() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (_, mut stored) = InternalCa::generate(now).unwrap();
        stored.key = InternalCa::generate(now).unwrap().1.key;
        assert!(InternalCa::read(&stored).is_err());
    }
}

//! A certificate that signs others, with its key: the root, or an intermediate.

use super::{BACKDATE, DAY, RENEW_AT_PERCENT};
use crate::{clock::after, stored::StoredCertificate};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::time::Duration;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

const ROOT_LIFETIME: Duration = DAY.saturating_mul(3650);
const INTERMEDIATE_LIFETIME: Duration = DAY.saturating_mul(365);
const END: &str = "-----END CERTIFICATE-----";

/// ECDSA P-256.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) serial: String,
    pub(super) not_after: OffsetDateTime,
    not_before: OffsetDateTime,
    /// Certificates of authorities that may stand below it (RFC 5280 section 4.2.1.9).
    depth: Option<u32>,
}

impl Authority {
    /// A new root, as it is stored.
    pub(super) fn root(now: OffsetDateTime) -> Result<StoredCertificate, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = params("CA", 1, &key, now)?;
        params.not_after = after(now, ROOT_LIFETIME);
        let chain = params.self_signed(&key)?.pem();
        Ok(stored(String::new(), chain, &key))
    }

    /// A new intermediate below this root, as it is stored: its chain ends in the root.
    pub(super) fn intermediate(
        &self,
        root_pem: &str,
        now: OffsetDateTime,
    ) -> Result<StoredCertificate, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = params("intermediate", 0, &key, now)?;
        params.use_authority_key_identifier_extension = true;
        params.not_after = after(now, INTERMEDIATE_LIFETIME).min(self.not_after);
        let chain = params.signed_by(&key, &self.issuer)?.pem() + root_pem;
        Ok(stored(self.serial.clone(), chain, &key))
    }

    /// One out of the store.
    pub(super) fn read(stored: &StoredCertificate) -> Result<Self, String> {
        let key = KeyPair::from_pem(&stored.key).map_err(|_| "its key is not readable")?;
        let der = CertificateDer::from_pem_slice(stored.chain.as_bytes())
            .map_err(|_| "its certificate is not readable")?;
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|_| "its certificate is not readable")?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err("its key does not belong to its certificate".to_owned());
        }
        let constraints = parsed.basic_constraints().ok().flatten();
        let validity = parsed.validity();
        Ok(Self {
            serial: parsed.raw_serial_as_string(),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            depth: constraints.and_then(|constraints| constraints.value.path_len_constraint),
            issuer: Issuer::from_ca_cert_der(&der, key).map_err(|error| error.to_string())?,
        })
    }

    /// Whether an intermediate may stand below it; roots of the first days allow none.
    pub(super) fn carries_intermediates(&self) -> bool {
        self.depth != Some(0)
    }

    pub(super) fn renew_at(&self) -> OffsetDateTime {
        let life = self.not_after - self.not_before;
        self.not_after - life * i32::from(RENEW_AT_PERCENT) / 100
    }

    /// The chain up to the root, and the root.
    pub(super) fn split_chain(&self, chain: &str) -> Result<(String, String), String> {
        let end = chain.find(END).map(|at| at + END.len()).ok_or("it has no certificate")?;
        let (own, root) = chain.split_at(end);
        match CertificateDer::from_pem_slice(root.as_bytes()) {
            Ok(_) => Ok((format!("{own}\n"), root.trim_start().to_owned())),
            Err(_) => Err("it comes without its root".to_owned()),
        }
    }
}

fn params(
    what: &str,
    depth: u8,
    key: &KeyPair,
    now: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Tidegate");
    // Tells the authorities of several nodes apart in a trust store.
    let short = hex::encode(&params.key_identifier(key)[..4]);
    params.distinguished_name.push(DnType::CommonName, format!("Tidegate internal {what} {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - BACKDATE;
    Ok(params)
}

fn stored(authority: String, chain: String, key: &KeyPair) -> StoredCertificate {
    StoredCertificate { authority, chain, key: key.serialize_pem(), issued: None }
}

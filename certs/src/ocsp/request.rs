//! Which responder to ask about a certificate, and the question (RFC 6960 section 4.1).

use rustls_pki_types::CertificateDer;
use sha1::{Digest, Sha1};
use x509_parser::{
    oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_OCSP,
    prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate},
};
use yasna::{DERWriter, models::ObjectIdentifier};

/// The identifier of a certificate that responders know it by, hashed with SHA-1: the only one
/// that all of them take (RFC 5019 section 2.1.1), and nothing hangs on its strength.
const SHA1: &[u64] = &[1, 3, 14, 3, 2, 26];

/// A certificate that can be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The responder, as the certificate names it.
    pub(super) url: String,
    /// Who issued it, and answers or appoints who does.
    pub(super) issuer: CertificateDer<'static>,
    pub(super) name_hash: Vec<u8>,
    pub(super) key_hash: Vec<u8>,
    pub(super) serial: Vec<u8>,
}

impl Question {
    /// The question about the first certificate of a chain; `None` if it names no responder or
    /// its issuer is not in the chain.
    pub(crate) fn about(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let [leaf, issuer, ..] = chain else { return None };
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let (_, above) = X509Certificate::from_der(issuer).ok()?;
        Some(Self {
            url: responder(&parsed)?,
            issuer: issuer.clone(),
            name_hash: Sha1::digest(parsed.issuer().as_raw()).to_vec(),
            key_hash: Sha1::digest(&above.public_key().subject_public_key.data).to_vec(),
            serial: parsed.raw_serial().to_vec(),
        })
    }

    /// The request, in DER. Without a nonce: answers are made ahead, and cached.
    pub(super) fn der(&self) -> Vec<u8> {
        yasna::construct_der(|writer| {
            sequence(writer, |request| {
                sequence(request, |tbs| {
                    sequence(tbs, |list| {
                        sequence(list, |single| {
                            single.write_sequence(|id| {
                                id.next().write_sequence(|algorithm| {
                                    let sha1 = ObjectIdentifier::from_slice(SHA1);
                                    algorithm.next().write_oid(&sha1);
                                    algorithm.next().write_null();
                                });
                                id.next().write_bytes(&self.name_hash);
                                id.next().write_bytes(&self.key_hash);
                                id.next().write_bigint_bytes(&self.serial, true);
                            });
                        });
                    });
                });
            });
        })
    }
}

/// A sequence of one.
fn sequence(writer: DERWriter<'_>, inside: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|members| inside(members.next()));
}

/// Authority Information Access (RFC 5280 section 4.2.2.1).
fn responder(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            return None;
        };
        access.accessdescs.iter().find_map(|description| match description.access_location {
            GeneralName::URI(url)
                if description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP =>
            {
                Some(url.to_owned())
            }
            _ => None,
        })
    })
}

//! Who a client is by its certificate, in the words that rules and upstreams read.

use crate::{client_auth::ClientAuth, distinguished_name};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use tidegate_config::ClientField;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A client's certificate chain, as verified in a handshake. All its texts are printable ASCII.
#[derive(Debug)]
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    pub(crate) names: Names,
    /// SHA-256 in hexadecimal digits.
    pub(crate) fingerprint: String,
    subject: String,
    /// When what the client sent ends, each in seconds since 1970.
    ends: Vec<u64>,
    /// By which [`ClientAuth`], and until when that holds; both 0 before.
    verified_by: AtomicU64,
    verified_until: AtomicU64,
}

/// What rules look at.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// In lower case.
    pub(crate) dns: Vec<String>,
    pub(crate) uris: Vec<String>,
    pub(crate) emails: Vec<String>,
    addresses: Vec<String>,
    pub(crate) common: Vec<String>,
}

impl ClientIdentity {
    /// Reads a chain, the client's own certificate first. `None` if that is no certificate.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?;
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let ends = chain.iter().filter_map(|certificate| {
            let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
            u64::try_from(parsed.validity().not_after.timestamp()).ok()
        });
        let ends = ends.collect();
        Some(Self {
            names: Names::of(&parsed)?,
            fingerprint: hex::encode(Sha256::digest(leaf)),
            subject: distinguished_name::to_string(parsed.subject()),
            ends,
            verified_by: AtomicU64::new(0),
            verified_until: AtomicU64::new(0),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        })
    }

    /// The client's own certificate and what it sent with it.
    pub(crate) fn chain(&self) -> (&CertificateDer<'static>, &[CertificateDer<'static>]) {
        self.chain.split_first().expect("`of` takes none without a certificate")
    }

    /// `auth` has just accepted it.
    pub(crate) fn verified(&self, auth: &ClientAuth, now: UnixTime) {
        // What has ended already was no part of what was accepted; a client may send anything.
        let ends = self.ends.iter().copied().filter(|end| *end > now.as_secs()).min();
        self.verified_until.store(ends.unwrap_or(0).min(auth.lists_until), Relaxed);
        self.verified_by.store(auth.id, Relaxed);
    }

    pub(crate) fn is_verified_by(&self, id: u64, now: u64) -> bool {
        self.verified_by.load(Relaxed) == id && now < self.verified_until.load(Relaxed)
    }

    /// The subject (RFC 4514), for logs.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The value of a field; `None` where there is nothing to tell.
    pub fn tell(&self, field: ClientField) -> Option<String> {
        let (leaf, rest) = self.chain();
        let text = match field {
            ClientField::Certificate => byte_sequence(leaf),
            ClientField::Chain => {
                let sequences: Vec<String> = rest.iter().map(byte_sequence).collect();
                sequences.join(", ")
            }
            ClientField::Subject => self.subject.clone(),
            ClientField::San => self.names.to_string(),
            ClientField::Fingerprint => self.fingerprint.clone(),
        };
        (!text.is_empty()).then_some(text)
    }
}

/// A byte sequence of structured fields (RFC 9651 section 3.3.5).
fn byte_sequence(certificate: &CertificateDer<'_>) -> String {
    format!(":{}:", BASE64_STANDARD.encode(certificate))
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let mut names = Self::default();
        let common = certificate.subject().iter_common_name();
        names.common.extend(common.filter_map(|name| name.as_str().ok()).map(str::to_owned));
        // An extension that stands twice is an error, not "none".
        let san = certificate.subject_alternative_name().ok()?;
        for name in san.map(|san| san.value.general_names.as_slice()).unwrap_or_default() {
            match name {
                GeneralName::DNSName(dns) => names.dns.push(dns.to_ascii_lowercase()),
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(email) => names.emails.push((*email).to_owned()),
                GeneralName::IPAddress(octets) => {
                    let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
                    let v6 = || <[u8; 16]>::try_from(*octets).map(IpAddr::from);
                    names.addresses.extend(v4.or_else(|_| v6()).map(|address| address.to_string()));
                }
                _ => {}
            }
        }
        Some(names)
    }
}

impl std::fmt::Display for Names {
    /// `DNS:a.example,URI:spiffe://b`: what could be taken for a separator, or is not printable
    /// ASCII, is percent-encoded.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [
            ("DNS", &self.dns),
            ("URI", &self.uris),
            ("email", &self.emails),
            ("IP", &self.addresses),
        ];
        let names = kinds.iter().flat_map(|(kind, names)| names.iter().map(move |n| (kind, n)));
        for (index, (kind, name)) in names.enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            write!(f, "{kind}:")?;
            for byte in name.bytes() {
                match byte {
                    b',' | b'%' => write!(f, "%{byte:02X}")?,
                    _ if byte.is_ascii_graphic() => f.write_char(byte.into())?,
                    _ => write!(f, "%{byte:02X}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn hostile_names_stay_one_line_and_one_name() {
        let mut params = CertificateParams::new(vec!["Api.Corp.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "a,O=evil\r\nX-Admin: 1 ä");
        params.distinguished_name.push(DnType::OrganizationName, "Corp");
        let uri = "spiffe://corp/a,DNS:evil.test".to_owned();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let identity = ClientIdentity::of(&[certificate.der().clone()]).unwrap();
        assert_eq!(
            identity.tell(ClientField::Subject).unwrap(),
            "O=Corp,CN=a\\,O=evil\\0D\\0AX-Admin: 1 \\C3\\A4"
        );
        assert_eq!(
            identity.tell(ClientField::San).unwrap(),
            "DNS:api.corp.example,URI:spiffe://corp/a%2CDNS:evil.test"
        );
        assert_eq!(identity.tell(ClientField::Chain), None);
        let told = identity.tell(ClientField::Certificate).unwrap();
        let inner = told.strip_prefix(':').and_then(|told| told.strip_suffix(':')).unwrap();
        assert_eq!(BASE64_STANDARD.decode(inner).unwrap(), certificate.der().to_vec());
    }

    #[test]
    fn what_is_no_certificate_is_nobody() {
        assert!(ClientIdentity::of(&[]).is_none());
        assert!(ClientIdentity::of(&[CertificateDer::from(vec![1, 2, 3])]).is_none());
    }
}

//! Which client certificates are accepted: the authorities, revocation lists and rules of one
//! `[client_auth.NAME]`.
//!
//! rustls verifies in full handshakes only: a resumed session brings the certificate along in its
//! ticket. So every identity remembers who has verified it and until when that holds, and is
//! verified again, before a request is answered, where that is not enough.

use crate::{
    client_identity::ClientIdentity,
    error::CertsError,
    files::{MAX_FILE, at_fault, read},
    pattern::fits,
    policy::provider,
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tidegate_config::{ClientAuth as Document, ClientAuthMode, ClientField, ClientRule, CrlDepth};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// The largest revocation list, in bytes.
const MAX_CRL: u64 = 64 * 1024 * 1024;
/// Certificates a client may send with its own.
const MAX_INTERMEDIATES: usize = 8;

/// Accepts or refuses client certificates. Other settings, or other content of a file, make
/// another one; nothing of it changes, but the time.
#[derive(Debug)]
pub struct ClientAuth {
    document: Document,
    /// Of the files' content.
    digest: [u8; 32],
    /// Tells whether an identity was verified by this very one. Never 0.
    pub(crate) id: u64,
    /// When the first revocation list becomes too old, in seconds since 1970.
    pub(crate) lists_until: u64,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientAuth {
    /// Reads the files; `known` is taken if nothing has changed.
    pub(crate) fn load(
        document: &Document,
        known: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, CertsError> {
        let (ca, _) = read(&document.ca, MAX_FILE)?;
        let mut digest = Sha256::new();
        digest.update(Sha256::digest(&ca));
        let mut lists = Vec::new();
        for path in &document.crls {
            let (bytes, _) = read(path, MAX_CRL)?;
            digest.update(Sha256::digest(&bytes));
            lists.push((path.as_path(), bytes));
        }
        let digest: [u8; 32] = digest.finalize().into();
        if let Some(known) = known.filter(|k| k.digest == digest && k.document == *document) {
            return Ok(Arc::clone(known));
        }
        let roots = Arc::new(roots(&document.ca, &ca)?);
        let (mut crls, mut lists_until) = (Vec::new(), u64::MAX);
        for (path, bytes) in lists {
            for crl in revocation_lists(path, &bytes)? {
                lists_until = lists_until.min(next_update(path, &crl)?);
                // Alone first, so that a fault names its file.
                verifier(document, &roots, vec![crl.clone()])
                    .map_err(|error| not_a_list(path, &error))?;
                crls.push(crl);
            }
        }
        let verifier =
            verifier(document, &roots, crls).map_err(|error| not_a_list(&document.ca, &error))?;
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let id = COUNTER.fetch_add(1, Relaxed);
        Ok(Arc::new(Self { document: document.clone(), digest, id, lists_until, verifier }))
    }

    /// What upstreams are told of an identity.
    pub fn forward(&self) -> &[ClientField] {
        &self.document.forward
    }

    /// What makes it accept others than another: the settings, and a digest of the files.
    pub(crate) fn content(&self) -> (&Document, &[u8; 32]) {
        (&self.document, &self.digest)
    }

    /// Whether a client without certificate is refused.
    pub(crate) fn is_required(&self) -> bool {
        self.document.mode == ClientAuthMode::Require
    }

    /// Whether a certificate that was accepted once still is. Says why not.
    pub(crate) fn confirm(&self, client: &ClientIdentity, now: UnixTime) -> Result<(), String> {
        if client.is_verified_by(self.id, now.as_secs()) {
            return Ok(());
        }
        let (leaf, intermediates) = client.chain();
        self.verify_client_cert(leaf, intermediates, now).map_err(|error| error.to_string())?;
        client.verified(self, now);
        Ok(())
    }

    fn is_allowed(&self, client: &ClientIdentity) -> bool {
        self.document.allow.is_empty() || self.document.allow.iter().any(|rule| rule.is_met(client))
    }
}

trait IsMet {
    /// Whether a certificate fits every key of the rule.
    fn is_met(&self, client: &ClientIdentity) -> bool;
}

impl IsMet for ClientRule {
    fn is_met(&self, client: &ClientIdentity) -> bool {
        let Self { dns, uri, email, common_name, fingerprint } = self;
        let any = |pattern: &Option<String>, names: &[String]| {
            pattern.as_ref().is_none_or(|pattern| names.iter().any(|name| fits(pattern, name)))
        };
        any(dns, &client.names.dns)
            && any(uri, &client.names.uris)
            && any(email, &client.names.emails)
            && any(common_name, &client.names.common)
            && fingerprint.as_ref().is_none_or(|digits| *digits == client.fingerprint)
    }
}

impl ClientCertVerifier for ClientAuth {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(rustls::CertificateError::UnknownIssuer.into());
        }
        let verified = self.verifier.verify_client_cert(leaf, intermediates, now)?;
        let client = ClientIdentity::of(std::slice::from_ref(leaf))
            .ok_or(rustls::CertificateError::BadEncoding)?;
        match self.is_allowed(&client) {
            true => Ok(verified),
            false => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn verifier(
    document: &Document,
    roots: &Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
        .with_crls(crls)
        // Off by default, and then a list that nobody renews would never be missed.
        .enforce_revocation_expiration();
    if document.crl_depth == CrlDepth::Leaf {
        builder = builder.only_check_end_entity_revocation();
    }
    if document.mode == ClientAuthMode::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build()
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, CertsError> {
    const REMEDY: &str = "it has to hold PEM blocks `CERTIFICATE` of authorities";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let failed = |error: &dyn std::fmt::Display| {
            at_fault(path, format!("is not readable as certificates ({error})"), REMEDY)
        };
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    match roots.is_empty() {
        true => Err(at_fault(path, "holds no certificate", REMEDY)),
        false => Ok(roots),
    }
}

/// Of a PEM file, which may hold several, or a DER file, which is one.
fn revocation_lists(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, CertsError> {
    const SEQUENCE: u8 = 0x30;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.map_err(|error| not_a_list(path, &error))?;
    if lists.is_empty() { Err(not_a_list(path, &"nothing found")) } else { Ok(lists) }
}

/// When a list becomes too old. One that is already is served with: it refuses everyone it speaks
/// for, which is what it is for, and a warning says so.
fn next_update(path: &Path, crl: &CertificateRevocationListDer<'_>) -> Result<u64, CertsError> {
    let (_, parsed) =
        CertificateRevocationList::from_der(crl).map_err(|error| not_a_list(path, &error))?;
    let next = parsed.next_update().map_or(0, |next| next.timestamp());
    let next = u64::try_from(next).unwrap_or(0);
    if next <= UnixTime::now().as_secs() {
        let path = path.display();
        tracing::warn!(%path, "this revocation list is too old: every client it speaks for is refused until a newer one replaces it");
    }
    Ok(next)
}

fn not_a_list(path: &Path, error: &dyn std::fmt::Display) -> CertsError {
    let remedy = "it has to hold PEM blocks `X509 CRL`, or one list in DER";
    at_fault(path, format!("is not readable as revocation list ({error})"), remedy)
}

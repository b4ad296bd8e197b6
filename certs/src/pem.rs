//! PEM as this program writes it: one block for each thing, and nothing between them that
//! somebody else put there.

use crate::certificate::BadCertificate;
use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Characters of a line (RFC 7468 section 2).
const LINE: usize = 64;

/// The certificates of a chain.
pub(crate) fn chain(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|certificate| block("CERTIFICATE", certificate)).collect()
}

/// The first key in `text`.
pub(crate) fn key(text: &str) -> Result<String, BadCertificate> {
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| BadCertificate::NoKey)?;
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Ok(block(label, key.secret_der()))
}

fn block(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut block = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        block.push_str(line);
        block.push('\n');
        rest = after;
    }
    block + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Certificate, tests::pem};
    use time::OffsetDateTime;

    #[test]
    fn what_is_written_is_what_was_read_and_nothing_else() {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (one, secret) = pem(&["a.example.com"], start, 90);
        let mixed = format!("root:x:0:0\n{secret}{one}\n* * * * * root reboot\n");
        let read = Certificate::from_pem(mixed.as_bytes(), mixed.as_bytes()).unwrap();
        assert_eq!(chain(&read.key.cert), one.replace('\r', ""));
        assert_eq!(key(&mixed).unwrap(), secret.replace('\r', ""));
    }
}

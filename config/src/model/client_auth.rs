//! `[client_auth.NAME]`: which certificates clients have to show.

use super::host::no_spaces;
use crate::shape::{Misfit, Reader, TextShape, Written, optional, set, table, text, words};
use std::path::PathBuf;

table! {
    /// `[client_auth.NAME]`: which client certificates are accepted (mutual TLS). In force where a
    /// listener's `tls.client_auth`, or one of its `tls.hosts`, names it. Its files are read again
    /// when they change; open connections and resumed sessions are then verified anew.
    pub struct ClientAuth {
        /// PEM file of the authorities that may sign client certificates.
        ca: PathBuf,
        /// What becomes of a client without certificate: `require` (default) refuses it in the
        /// handshake, `optional` serves it without an identity. One that is not accepted is
        /// refused either way.
        mode: ClientAuthMode = "require",
        /// Revocation lists, PEM or DER, of the issuers of accepted certificates. Without any,
        /// revocation is not looked at. From its `nextUpdate` on a list refuses everyone it
        /// speaks for (RFC 5280 section 6.3.3).
        crls: Vec<PathBuf> = [] as set(PathBuf::shape()),
        /// Whose revocation is looked at: of the `chain` (default; every authority but the root
        /// needs a list) or of the `leaf` alone.
        crl_depth: CrlDepth = "chain",
        /// Whose certificates are accepted: those that fit one of the rules; without any, all that
        /// the authorities signed.
        allow: Vec<ClientRule> = [],
        /// What upstreams are told of an accepted certificate. Clients cannot send these fields.
        forward: Vec<ClientField> = ["certificate"] as set(ClientField::shape()),
    }
}

impl Eq for ClientAuth {}

words! {
    /// Whether a client needs a certificate.
    pub enum ClientAuthMode: "mode" {
        /// Without one there is no connection.
        Require = "require",
        /// Without one a client is served as a stranger.
        Optional = "optional",
    }
}

words! {
    /// Of which certificates of a chain the revocation is looked at.
    pub enum CrlDepth: "depth" {
        /// Of all but the root.
        Chain = "chain",
        /// Of the client's own.
        Leaf = "leaf",
    }
}

words! {
    /// A field in which upstreams are told of a client certificate.
    pub enum ClientField: "fact about a client certificate" {
        /// `Client-Cert`: the certificate (RFC 9440 section 2.2).
        Certificate = "certificate",
        /// `Client-Cert-Chain`: the certificates the client sent with it, if any (RFC 9440
        /// section 2.3).
        Chain = "chain",
        /// `X-Client-Cert-Subject`: the subject (RFC 4514).
        Subject = "subject",
        /// `X-Client-Cert-San`: the alternative names, as `DNS:a.example,URI:spiffe://b`.
        San = "san",
        /// `X-Client-Cert-Fingerprint`: SHA-256 of the certificate, in hexadecimal digits.
        Fingerprint = "fingerprint",
    }
}

table! {
    /// Certificates that fit every key given. In names `*` stands for any characters.
    pub struct ClientRule {
        /// A DNS name among the alternative names, in lower case: `*.corp.example`.
        dns: Option<String> as optional(lower_pattern()),
        /// A URI among the alternative names: `spiffe://corp.example/prod/*`.
        uri: Option<String> as optional(pattern()),
        /// An e-mail address among the alternative names: `*@corp.example`.
        email: Option<String> as optional(pattern()),
        /// The subject's common name.
        common_name: Option<String> as optional(phrase()),
        /// SHA-256 of the certificate: 64 hexadecimal digits, with or without colons.
        fingerprint: Option<String> as optional(fingerprint()),
    }
    check = says_something;
}

impl Eq for ClientRule {}

fn says_something(_: &ClientRule, reader: &mut Reader<'_, '_, '_>) {
    let keys = ["dns", "uri", "email", "common_name", "fingerprint"];
    if reader.present(&keys).is_empty() {
        reader
            .fault_at(None, "this rule fits every certificate")
            .help("give `dns`, `uri`, `email`, `common_name` or `fingerprint`, or remove it");
    }
}

fn pattern() -> TextShape<String> {
    text("a name such as `*@corp.example`, `*` for any characters", no_spaces)
}

fn lower_pattern() -> TextShape<String> {
    text("a DNS name such as `*.corp.example`, `*` for any characters", |text| {
        match no_spaces(text)? {
            text if text.bytes().any(|b| b.is_ascii_uppercase()) => Err(Misfit::form()
                .help(format!("write it in lower case: `{}`", text.to_ascii_lowercase()))),
            text => Ok(text),
        }
    })
}

/// Common names may hold spaces.
fn phrase() -> TextShape<String> {
    text("a name such as `ops-*`, `*` for any characters", |text| match text {
        "" => Err(Misfit::form()),
        text if text.chars().any(char::is_control) => Err(Misfit::form()),
        text => Ok(text.to_owned()),
    })
}

/// Kept as 64 digits in lower case.
fn fingerprint() -> TextShape<String> {
    text("the SHA-256 of a certificate in 64 hexadecimal digits", |text| {
        let digits: String =
            text.chars().filter(|&c| c != ':').map(|c| c.to_ascii_lowercase()).collect();
        match digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => Ok(digits),
            false => Err(Misfit::form()
                .help("`openssl x509 -noout -fingerprint -sha256 -in client.pem` prints it")),
        }
    })
}

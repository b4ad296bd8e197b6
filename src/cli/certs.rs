//! `tidegate certs`

use super::{
    Failure, Remote,
    table::{Table, maybe},
    verbs,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use serde_json::json;
use tidegate_control::client::Call;

#[derive(Deserialize)]
struct All {
    certificates: Vec<Certificate>,
}

#[derive(Deserialize)]
struct Certificate {
    names: Vec<String>,
    source: String,
    state: String,
    not_after: Option<String>,
    next_renewal: Option<String>,
    last_error: Option<String>,
}

/// `tidegate certs`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Certs {
    /// What to do; shows all of them without
    #[command(subcommand)]
    command: Option<Command>,
}

/// What `tidegate certs` does beside showing them.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print the internal CA's root as PEM, and on stderr how machines come to trust it
    Trust,
}

pub(super) async fn execute(remote: &Remote, certs: &Certs) -> Result<String, Failure> {
    match certs.command {
        None => show(remote).await,
        Some(Command::Trust) => trust(remote).await,
    }
}

/// Nothing is installed: which machines are to trust the root is for their owners to say.
const INSTALL: &str = "\
Whoever trusts this root accepts what the internal CA signs for any name. Save it as tidegate.crt, then
  Debian, Ubuntu, Alpine  cp tidegate.crt /usr/local/share/ca-certificates/ && update-ca-certificates
  Fedora, RHEL            cp tidegate.crt /etc/pki/ca-trust/source/anchors/ && update-ca-trust
  macOS                   sudo security add-trusted-cert -d -r trustRoot \\
                            -k /Library/Keychains/System.keychain tidegate.crt
  Windows                 certutil -addstore -f ROOT tidegate.crt
  Firefox                 Settings, Privacy & Security, View Certificates, Authorities, Import
  Java                    keytool -importcert -cacerts -alias tidegate -file tidegate.crt
  one program             curl --cacert, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE
";

async fn trust(remote: &Remote) -> Result<String, Failure> {
    let pem = remote.client()?.text(Call::get("/v1/certificates/root")).await?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| Failure::Other(format!("the answer holds no certificate: {error}")))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let digits: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let fingerprint = digits.join(":");
    if remote.json {
        return verbs::json(&json!({ "pem": pem, "sha256": fingerprint }));
    }
    // The certificate alone is what `> tidegate.crt` is to hold.
    eprint!("SHA-256 {fingerprint}\n{INSTALL}");
    Ok(pem)
}

async fn show(remote: &Remote) -> Result<String, Failure> {
    let call = Call::get("/v1/certificates");
    let answer = remote.client()?.call::<serde_json::Value>(call).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let All { certificates } = verbs::view(answer.content)?;
    let mut table = Table::new(&["NAMES", "SOURCE", "STATE", "EXPIRES", "RENEWS", "REMARKS"]);
    for certificate in certificates {
        table.row([
            certificate.names.join(", "),
            certificate.source,
            certificate.state,
            maybe(certificate.not_after),
            maybe(certificate.next_renewal),
            maybe(certificate.last_error),
        ]);
    }
    Ok(table.to_string())
}

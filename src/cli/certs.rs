//! `tidegate certs`

use crate::sealing;

use super::{
    Failure, Remote,
    table::{Table, maybe},
    verbs,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use serde_json::json;
use std::{
    fmt,
    path::{Path, PathBuf},
};
use tidegate_control::client::{Call, escape};
use tidegate_store::Sqlite;

#[derive(Deserialize)]
struct All {
    certificates: Vec<Certificate>,
}

#[derive(Deserialize)]
struct Certificate {
    names: Vec<String>,
    source: String,
    #[serde(default)]
    on_demand: bool,
    state: String,
    not_after: Option<String>,
    next_renewal: Option<String>,
    last_error: Option<String>,
    remark: Option<String>,
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
    /// Show what happened to certificates lately, step by step
    Events {
        /// Only what came after the event with this number
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Tell what would be ordered, and why something cannot be had; nothing is ordered
    ///
    /// Looks as an authority would: at the names' addresses, CAA records and zones, and through
    /// them at this node. Exit code 1 if a name cannot be had.
    Plan {
        /// These names, whether they would be ordered now or not; by default what would be
        names: Vec<String>,
    },
    /// Order a certificate anew now, or again after failures
    Renew {
        /// The name, as `tidegate certs` shows it
        name: String,
    },
    /// Revoke a certificate at the authority that issued it, and order another
    Revoke {
        /// The name, as `tidegate certs` shows it
        name: String,
        /// `unspecified`, `key_compromise`, `affiliation_changed`, `superseded` or
        /// `cessation_of_operation`
        #[arg(long, default_value = "unspecified")]
        reason: String,
    },
    /// Give the ACME account at an issuer another key
    Rollover {
        /// The issuer, as `[acme] issuers` names it
        issuer: String,
    },
    /// Serve a certificate that somebody else obtained, until ACME renews it
    Import {
        /// The chain, the leaf first, in PEM
        chain: PathBuf,
        /// The key, in PEM
        key: PathBuf,
    },
    /// Write the certificates of authorities, with their keys, to files
    ///
    /// Reads the state directory itself: run it as the user the process runs as.
    Export {
        /// Configuration files, for the state directory and its keys
        #[arg(short, long = "config", value_name = "FILE", required = true)]
        config: Vec<PathBuf>,
        /// Where to; existing files are replaced
        directory: PathBuf,
    },
}

pub(super) async fn execute(remote: &Remote, certs: &Certs) -> Result<String, Failure> {
    match &certs.command {
        None => show(remote).await,
        Some(Command::Trust) => trust(remote).await,
        Some(Command::Events { after }) => events(remote, *after).await,
        Some(Command::Plan { names }) => plan(remote, names).await,
        Some(Command::Renew { name }) => {
            act(remote, &format!("/v1/certificates/{}:renew", escape(name)), json!({})).await
        }
        Some(Command::Revoke { name, reason }) => {
            let path = format!("/v1/certificates/{}:revoke", escape(name));
            act(remote, &path, json!({ "reason": reason })).await
        }
        Some(Command::Rollover { issuer }) => {
            act(remote, &format!("/v1/issuers/{}:rollover", escape(issuer)), json!({})).await
        }
        Some(Command::Import { chain, key }) => import(remote, chain, key).await,
        Some(Command::Export { config, directory }) => export(config, directory).await,
    }
}

#[derive(Deserialize)]
struct Done {
    name: String,
    done: String,
}

async fn act(remote: &Remote, path: &str, body: serde_json::Value) -> Result<String, Failure> {
    let call = Call::new(http::Method::POST, path).body(body);
    let answer = remote.client()?.call::<serde_json::Value>(call).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let Done { name, done } = verbs::view(answer.content)?;
    Ok(format!("{name}: {done}\n"))
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    id: u64,
    at: String,
    kind: String,
    name: String,
    text: String,
}

async fn events(remote: &Remote, after: u64) -> Result<String, Failure> {
    let call = Call::get(format!("/v1/certificates/events?after={after}"));
    let answer = remote.client()?.call::<serde_json::Value>(call).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let Events { events } = verbs::view(answer.content)?;
    let mut table = Table::new(&["ID", "AT", "KIND", "NAME", "WHAT"]);
    for Event { id, at, kind, name, text } in events {
        table.row([id.to_string(), at, kind, name, text]);
    }
    Ok(table.to_string())
}

#[derive(Deserialize)]
struct Plan {
    names: Vec<Planned>,
    left_out: usize,
    issuers: Vec<Check>,
}

#[derive(Deserialize)]
struct Planned {
    name: String,
    reason: Option<String>,
    at: Option<String>,
    issuer: Option<String>,
    obtainable: bool,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    check: String,
    passed: bool,
    found: String,
}

async fn plan(remote: &Remote, names: &[String]) -> Result<String, Failure> {
    let call = Call::new(http::Method::POST, "/v1/certificates:plan");
    let call = call.body(json!({ "names": names }));
    let answer = remote.client()?.call::<serde_json::Value>(call).await?;
    let plan: Plan = verbs::view(answer.content.clone())?;
    let can = plan.names.iter().all(|planned| planned.obtainable);
    let text = if remote.json { verbs::json(&answer.content)? } else { told(plan) };
    if can { Ok(text) } else { Err(Failure::Found(text)) }
}

fn told(plan: Plan) -> String {
    if plan.names.is_empty() {
        return "nothing would be ordered\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "WHY", "AT", "FROM", "CAN BE HAD"]);
    let mut looks = Table::new(&["NAME", "CHECK", "PASSED", "FOUND"]);
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    for issuer in plan.issuers {
        looks.row([String::new(), issuer.check, word(issuer.passed), issuer.found]);
    }
    for planned in plan.names {
        for look in planned.checks {
            looks.row([planned.name.clone(), look.check, word(look.passed), look.found]);
        }
        table.row([
            planned.name,
            maybe(planned.reason),
            maybe(planned.at),
            maybe(planned.issuer),
            word(planned.obtainable),
        ]);
    }
    let mut text = format!("{table}\n{looks}");
    if plan.left_out > 0 {
        text.push_str(&format!("and {} more names, not looked at\n", plan.left_out));
    }
    text
}

#[derive(Deserialize)]
struct Imported {
    names: Vec<String>,
    unused: Vec<String>,
    not_after: String,
}

async fn import(remote: &Remote, chain: &Path, key: &Path) -> Result<String, Failure> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path);
        text.map_err(|error| Failure::Other(format!("`{}`: {error}", path.display())))
    };
    let body = json!({ "chain": read(chain)?, "key": read(key)? });
    let call = Call::new(http::Method::POST, "/v1/certificates").body(body);
    let answer = remote.client()?.call::<serde_json::Value>(call).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let Imported { names, unused, not_after } = verbs::view(answer.content)?;
    let mut text = format!("{}: until {not_after}\n", names.join(", "));
    for name in unused {
        text.push_str(&format!("{name} is kept: no listener has a use for it now\n"));
    }
    Ok(text)
}

async fn export(config: &[PathBuf], directory: &Path) -> Result<String, Failure> {
    let failed = |error: &dyn fmt::Display| Failure::Other(error.to_string());
    let loaded = tidegate_config::load(config).map_err(|faults| failed(&faults))?;
    let control = loaded.config.control;
    if !control.state.is_dir() {
        let state = control.state.display();
        return Err(Failure::Other(format!("there is no state directory `{state}`")));
    }
    let state = control.state.clone();
    let opened = tokio::task::spawn_blocking(move || Sqlite::open(&state)).await;
    let (store, _) = opened.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let sealed = sealing::open(&store, &control).await.map_err(|error| failed(&error))?;
    let exported = tidegate_certs::export(&sealed, directory).await;
    store.close().await;
    let exported = exported.map_err(|error| failed(&error))?;
    Ok(exported
        .iter()
        .map(|one| format!("{}: {}, {}\n", one.name, one.chain.display(), one.key.display()))
        .collect())
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
            certificate.source + if certificate.on_demand { ", on demand" } else { "" },
            certificate.state,
            maybe(certificate.not_after),
            maybe(certificate.next_renewal),
            maybe(certificate.last_error.or(certificate.remark)),
        ]);
    }
    Ok(table.to_string())
}

//! `tidegate certs`

use super::{
    Failure, Remote,
    table::{Table, maybe},
    verbs,
};
use serde::Deserialize;
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

pub(super) async fn show(remote: &Remote) -> Result<String, Failure> {
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

//! `tidegate reload`

use super::{Failure, Remote, verbs};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_control::{RevisionRecord, client::Call};

/// `tidegate reload`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Reload {
    /// Why, for those who read it later
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Outcome {
    outcome: String,
    revision: RevisionRecord,
    #[serde(default)]
    diff_text: String,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Reads the configuration files again; the answer comes when they are in force.
pub(super) async fn execute(remote: &Remote, args: &Reload) -> Result<String, Failure> {
    let call = Call::new(Method::POST, "/v1/config:reload").body(json!({ "reason": args.reason }));
    let answer = remote.client()?.call::<Value>(call).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    let Outcome { outcome, revision, diff_text, warnings } = verbs::view(answer.content)?;
    let mut text = format!("{outcome}: revision {}\n", revision.number);
    for line in diff_text.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    for warning in warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    Ok(text)
}

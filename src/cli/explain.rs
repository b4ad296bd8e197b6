//! `tidegate explain URL`

use super::{Failure, Remote, table::printable, verbs};
use serde::Deserialize;
use std::fmt::Write;
use tidegate_control::client::{Call, escape};

/// `tidegate explain`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Explain {
    /// The URL a client would ask for, such as `https://shop.example.com/cart`
    url: String,
    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// A header, such as `x-user: anna`; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    client: Option<std::net::IpAddr>,
}

#[derive(Deserialize)]
struct Explanation {
    steps: Vec<Step>,
    outcome: String,
    route: Option<String>,
    service: Option<String>,
    version: Option<String>,
    endpoints: Vec<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Step {
    stage: String,
    says: String,
}

pub(super) async fn show(remote: &Remote, args: &Explain) -> Result<String, Failure> {
    let mut path = format!("/v1/explain?url={}&method={}", escape(&args.url), escape(&args.method));
    for header in &args.header {
        path.push_str(&format!("&header={}", escape(header)));
    }
    if let Some(client) = args.client {
        path.push_str(&format!("&client={}", escape(&client.to_string())));
    }
    let answer = remote.client()?.call::<serde_json::Value>(Call::get(path)).await?;
    if remote.json {
        return verbs::json(&answer.content);
    }
    Ok(render(&verbs::view(answer.content)?))
}

fn render(explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut say = |key: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key:<10} {}", printable(value));
    };
    for step in &explanation.steps {
        say(&step.stage, &step.says);
    }
    let endpoints = explanation.endpoints.join(", ");
    let result = [
        ("reason", explanation.reason.as_deref()),
        ("route", explanation.route.as_deref()),
        ("service", explanation.service.as_deref()),
        ("version", explanation.version.as_deref()),
        ("endpoints", Some(endpoints.as_str()).filter(|endpoints| !endpoints.is_empty())),
    ];
    say("=>", &explanation.outcome);
    for (key, value) in result {
        if let Some(value) = value {
            say(key, value);
        }
    }
    text
}

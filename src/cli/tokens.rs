//! `tidegate token create|list|revoke`

use super::{
    Failure, Remote,
    table::{Table, maybe},
    verbs,
};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tidegate_config::{Name, parse_duration};
use tidegate_control::{
    Role,
    client::{Call, escape},
};

/// `tidegate token`
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it: the only time it is shown
    Create(Create),
    /// List tokens, without their secrets
    List,
    /// Revoke a token, at once
    Revoke {
        /// The token's id, from `token list`
        id: String,
    },
}

/// `tidegate token create`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Create {
    /// Who will hold it: the author of what is done with it
    name: Name,
    /// What it allows: viewer, deployer or admin
    #[arg(long)]
    role: Role,
    /// When it ends by itself, such as 720h; never if left out
    #[arg(long, value_name = "DURATION", value_parser = at_least_a_second)]
    expires: Option<Duration>,
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.as_secs() > 0 { Ok(duration) } else { Err("expected a second or more".to_owned()) }
}

#[derive(Deserialize)]
struct Made {
    token: View,
    secret: String,
}

#[derive(Deserialize)]
struct Listed {
    tokens: Vec<View>,
}

#[derive(Deserialize)]
struct View {
    id: String,
    name: String,
    role: String,
    created: String,
    created_by: String,
    expires: Option<String>,
}

#[derive(Deserialize)]
struct Revoked {
    revoked: String,
    durable: bool,
}

pub(super) async fn execute(remote: &Remote, token: &Token) -> Result<String, Failure> {
    let call = match token {
        Token::Create(create) => {
            let seconds = create.expires.map(|duration| duration.as_secs());
            Call::new(Method::POST, "/v1/tokens").body(json!({
                "name": create.name, "role": create.role, "expires_in_seconds": seconds,
            }))
        }
        Token::List => Call::get("/v1/tokens"),
        Token::Revoke { id } => Call::new(Method::DELETE, format!("/v1/tokens/{}", escape(id))),
    };
    let answer = remote.client()?.call::<Value>(call).await?.content;
    if remote.json {
        return verbs::json(&answer);
    }
    Ok(match token {
        Token::Create(_) => {
            let Made { token, secret } = verbs::view(answer)?;
            // The secret stands alone on stdout, so that it can be piped into a secret store.
            eprintln!(
                "token {} for {} ({}): shown this once only",
                token.id, token.name, token.role
            );
            secret
        }
        Token::List => list(&verbs::view::<Listed>(answer)?.tokens),
        Token::Revoke { .. } => {
            let Revoked { revoked, durable } = verbs::view(answer)?;
            let durable = if durable { "" } else { " (in force, but not on disk yet)" };
            format!("revoked {revoked}{durable}")
        }
    })
}

fn list(tokens: &[View]) -> String {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "CREATED", "BY", "EXPIRES"]);
    for token in tokens {
        table.row([
            token.id.clone(),
            token.name.clone(),
            token.role.clone(),
            token.created.clone(),
            token.created_by.clone(),
            maybe(token.expires.as_ref()),
        ]);
    }
    table.to_string()
}

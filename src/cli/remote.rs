//! Which control API a verb talks to, and as whom.

use super::Failure;
use std::path::PathBuf;
use tidegate_control::client::{Client, Target};

/// Options every verb has.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Remote {
    /// The control API: http://HOST:PORT or unix:/PATH
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_CONTROL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9180"
    )]
    pub(crate) control: Target,
    /// An API token; others on the machine can see it on the command line, so prefer
    /// --token-file or the environment
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
    /// A file that contains an API token
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Remote {
    /// A client of that API.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.clone()).filter(|token| !token.is_empty()),
            (None, Some(file)) => {
                let token = std::fs::read_to_string(file)
                    .map_err(|error| Failure::Other(format!("`{}`: {error}", file.display())))?;
                Some(token.trim().to_owned())
            }
            (None, None) => None,
        };
        Ok(Client::new(self.control.clone(), token))
    }
}

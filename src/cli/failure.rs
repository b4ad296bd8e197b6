//! Why a verb failed, in words that say what to do about it.

use std::fmt;
use tidegate_control::client::ClientError;

/// A verb that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that makes no sense: exit code 2.
    Usage(String),
    /// The API was not reached or said no: exit code 1.
    Client(Box<ClientError>),
    /// What was asked for, and it is bad news: printed like any answer, but with exit code 1.
    Found(String),
    /// Anything else: exit code 1.
    Other(String),
}

impl Failure {
    /// The process' exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Client(_) | Self::Found(_) | Self::Other(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Found(message) | Self::Other(message) => {
                f.write_str(message)
            }
            Self::Client(error) => client(error, f),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

fn client(error: &ClientError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    match error {
        ClientError::Connect { .. } => f.write_str(
            "\nis tidegate running? name another control address with --control or \
             TIDEGATE_CONTROL, such as http://127.0.0.1:9180 or \
             unix:/run/tidegate/control.sock",
        ),
        ClientError::Problem(problem) => {
            for fault in &problem.errors {
                write!(f, "\n  {fault}")?;
            }
            match problem.reason.as_str() {
                "unauthenticated" => f.write_str(
                    "\ngive a token with --token-file or TIDEGATE_TOKEN, or run this as root or \
                     as the user tidegate runs as, on its machine",
                ),
                "stale" => f.write_str("\nsomebody else was faster: look again, then try again"),
                _ => Ok(()),
            }
        }
        ClientError::Timeout { .. }
        | ClientError::Broken { .. }
        | ClientError::Foreign { .. }
        | ClientError::Unsendable(_) => Ok(()),
    }
}

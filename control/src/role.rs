//! What a caller may do.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Roles, each with all rights of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything but tokens.
    Viewer,
    /// Also moves traffic: weights, endpoints, reload.
    Deployer,
    /// Also makes and revokes tokens.
    Admin,
}

impl Role {
    /// All of them, from the least to the most powerful.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Deployer, Self::Admin];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a string is not a [`Role`].
#[derive(Debug, thiserror::Error)]
#[error("expected `viewer`, `deployer` or `admin`, found `{0}`")]
pub struct InvalidRole(String);

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let role = Self::ALL.into_iter().find(|role| role.word() == text);
        role.ok_or_else(|| InvalidRole(text.to_owned()))
    }
}

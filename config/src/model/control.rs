use crate::{
    Secret,
    shape::{Misfit, Shape, TextShape, Written, defaults, list, table, text},
};
use std::{fmt, net::SocketAddr, path::PathBuf};

table! {
    /// `[control]`: the control API and the state directory. Always from the file; read at
    /// start only.
    pub struct Control {
        /// Where the control API listens: an address and port, or `unix:` and a socket's path.
        /// Default `127.0.0.1:9180`.
        address: ControlAddress = "127.0.0.1:9180",
        /// `/livez`, `/readyz` and `/metrics` only, without authentication; off by default.
        probes: Option<SocketAddr>,
        /// The state directory. Default `/var/lib/tidegate`.
        state: PathBuf = "/var/lib/tidegate",
        /// Keys that encrypt the state at rest, each of 64 hexadecimal digits (`openssl rand -hex 32`): the first encrypts, all of them decrypt. Default: the state is written in the clear, readable by its owner only.
        encryption_keys: Vec<Secret> = [] as list(encryption_key()),
    }
}

defaults!(Control);

/// Where the control API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAddress {
    /// `127.0.0.1:9180`.
    Tcp(SocketAddr),
    /// `unix:/run/tidegate/control.sock`, an absolute path.
    Unix(PathBuf),
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Written for ControlAddress {
    fn shape() -> impl Shape<Value = Self> {
        let expected = "an address such as `127.0.0.1:9180` or `unix:/run/tidegate/control.sock`";
        text(expected, |text| match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(Misfit::form().help("the socket's path must be absolute")),
            None if text.starts_with('/') => {
                Err(Misfit::form().help(format!("for a socket write `unix:{text}`")))
            }
            None => text.parse().map(Self::Tcp).map_err(|_| Misfit::form()),
        })
    }
}

fn encryption_key() -> TextShape<Secret> {
    text("a key of 64 hexadecimal digits", |text| {
        let is_key = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_key {
            true => Ok(Secret::new(text)),
            false => Err(Misfit::form().help("make one with `openssl rand -hex 32`")),
        }
    })
    .secret()
}

//! The command line: what an operator can type. `run` and `demo` start a process and are
//! carried out by the boot code; everything else is a [`Verb`].

mod certs;
mod explain;
mod failure;
mod offline;
mod reload;
mod remote;
mod services;
mod status;
mod table;
mod tokens;
mod upstreams;
mod verbs;
mod waf;
mod weights;

pub(crate) use failure::Failure;
pub(crate) use remote::Remote;
pub(crate) use verbs::{Verb, execute};

use std::{net::SocketAddr, path::PathBuf};

/// Edge reverse proxy and traffic manager.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tidegate", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Which control API to talk to, and as whom.
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Serve traffic with the given configuration
    Run(Run),
    /// Serve a built-in example on local ports: nothing to write, nothing to install
    Demo(Demo),
    /// Everything that starts no process.
    #[command(flatten)]
    Verb(Verb),
}

/// `tidegate run`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Run {
    /// Configuration files; later ones override earlier ones
    #[arg(short, long = "config", value_name = "FILE", required = true)]
    pub(crate) config: Vec<PathBuf>,
    /// Take the sockets over from the running process, which then drains and ends
    #[arg(long)]
    pub(crate) upgrade: bool,
}

/// `tidegate demo`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Demo {
    /// Where plain HTTP is served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Where HTTPS is served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub(crate) https: SocketAddr,
}

impl Demo {
    /// Where the demo's control API is to be: the global `--control`, which for every other
    /// command says where it is.
    pub(crate) fn control(remote: &Remote) -> Result<SocketAddr, Failure> {
        let address = remote.control.address();
        address.ok_or_else(|| {
            Failure::Usage(format!(
                "the demo's control API needs an IP address and a port, not `{}`",
                remote.control
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn these_are_understood() {
        for line in [
            "run -c a.toml -c b.toml --upgrade",
            "demo --http 127.0.0.1:0 --control 127.0.0.1:0",
            "check -c a.toml",
            "diff old.toml new.toml",
            "schema",
            "status --json",
            "--control unix:/run/tidegate/control.sock status",
            "weights",
            "weights shop",
            "weights shop blue=50 green=50.5 --reason canary",
            "weights shop reset",
            "upstreams",
            "upstreams shop-blue",
            "upstreams shop-blue 10.0.0.11:8080 drain --reason patching",
            "certs",
            "certs trust --json",
            "certs renew shop.example.com",
            "certs revoke shop.example.com --reason key_compromise",
            "certs rollover letsencrypt",
            "certs import chain.pem key.pem",
            "certs export -c a.toml /etc/ssl/edge",
            "explain https://shop.example.com/cart --method POST -H x-user:anna",
            "reload",
            "token create ci --role deployer --expires 720h",
            "token list",
            "token revoke 0123456789abcdef",
            "waf eval -c a.toml --policy strict request.http",
            "waf eval --rules crs --paranoia 4 --batch",
            "waf exclude 0123abc --log waf.log",
        ] {
            let words = ["tidegate"].into_iter().chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn these_are_usage_errors() {
        for line in [
            "run",
            "weights shop blue",
            "weights shop blue=-1",
            "weights shop blue=0.001",
            "upstreams shop-blue 10.0.0.11:8080",
            "upstreams shop-blue 10.0.0.11:8080 gone",
            "upstreams shop-blue somewhere drain",
            "token create ci --role root",
            "token create ci --role viewer --expires soon",
            "--control ftp://x status",
            "waf eval request.http",
            "waf exclude 0123abc",
        ] {
            let words = ["tidegate"].into_iter().chain(line.split(' '));
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}

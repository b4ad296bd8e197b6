//! The process' own log: to standard error, for people or as JSON lines. Access lines go to
//! standard output or a file, by the data path's own writer.

use anyhow::Context;
use std::{
    fs::OpenOptions,
    io::{IsTerminal, Write},
};
use tidegate_config::{Log, LogFormat, LogLevel, LogTarget};
use tidegate_proxy::{AccessFormat, AccessLog, AuditLog};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Starts the log. `RUST_LOG` refines the document's level.
pub(crate) fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // What libraries tell at `warn` a client can cause at will; at `debug` we want to see it.
    let others = if level == "debug" || level == "trace" { "info" } else { "error" };
    let default = format!("{others},tidegate={level}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let human = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    let started = match log.format {
        LogFormat::Human => registry.with(human).try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
        }
    };
    if let Err(error) = started {
        eprintln!("tidegate: the log cannot be started: {error}");
    }
}

/// Opens the access log.
pub(crate) fn access(log: &Log) -> anyhow::Result<Option<AccessLog>> {
    let format = match log.format {
        LogFormat::Human => AccessFormat::Human,
        LogFormat::Json => AccessFormat::Json,
    };
    Ok(open(&log.access, "log.access")?.map(|sink| AccessLog::new(format, sink)))
}

/// Opens the WAF's audit log.
pub(crate) fn waf(log: &Log) -> anyhow::Result<Option<AuditLog>> {
    Ok(open(&log.waf, "log.waf")?.map(AuditLog::new))
}

fn open(target: &LogTarget, key: &str) -> anyhow::Result<Option<Box<dyn Write + Send>>> {
    Ok(match target {
        LogTarget::Off => None,
        LogTarget::Stdout => Some(Box::new(std::io::stdout())),
        LogTarget::File(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Some(Box::new(file.with_context(|| format!("{key}: `{}`", path.display()))?))
        }
    })
}

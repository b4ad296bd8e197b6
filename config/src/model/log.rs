use crate::{
    document::Node,
    shape::{Catalogue, Cx, Misfit, Shape, Written, defaults, table, words},
};
use serde_json::Value as Json;
use std::{fmt, path::PathBuf};

table! {
    /// `[log]`: what is logged, and how.
    pub struct Log {
        /// `human` (default) or `json`.
        format: LogFormat = "human",
        /// The least severe level written: `error`, `warn`, `info` (default), `debug`, `trace`.
        level: LogLevel = "info",
        /// Where access lines go: `stdout` (default), `off` or a file's path.
        access: LogTarget = "stdout",
        /// Where the WAF's audit records go, one JSON object a line: `off` (default), `stdout` or a file's path.
        waf: LogTarget = "off",
    }
}

defaults!(Log);

words! {
    /// How log lines look.
    pub enum LogFormat: "log format" {
        /// One line of text, for terminals.
        Human = "human",
        /// One JSON object a line, for collectors.
        Json = "json",
    }
}

words! {
    /// How severe an event is.
    pub enum LogLevel: "log level" {
        /// Something failed and stays so.
        Error = "error",
        /// Something is wrong but served around.
        Warn = "warn",
        /// A state changed.
        Info = "info",
        /// A decision and its reasons.
        Debug = "debug",
        /// Bytes.
        Trace = "trace",
    }
}

/// Where lines about requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The process' standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// A file, appended to.
    File(PathBuf),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Off => f.write_str("off"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Written for LogTarget {
    fn shape() -> impl Shape<Value = Self> {
        LogTargetShape
    }
}

struct LogTargetShape;

impl Shape for LogTargetShape {
    type Value = LogTarget;

    fn expected(&self) -> String {
        "`stdout`, `off` or a file's path".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        catalogue.text(&["stdout", "off", "/var/log/tidegate/access.log"])
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<LogTarget> {
        let text = cx.text(node, || self.expected())?;
        match text.value.as_str() {
            "stdout" => Some(LogTarget::Stdout),
            "off" => Some(LogTarget::Off),
            path if path.contains('/') => {
                Some(LogTarget::File(cx.files.resolve(node.at.file, path)))
            }
            name => {
                let help = format!("for a file beside this one write `./{name}`");
                cx.misfit(node.at, &self.expected(), &text, Misfit::form().help(help));
                None
            }
        }
    }
}

use super::host::no_spaces;
use crate::{
    document::{Node, Value},
    shape::{
        Catalogue, Cx, Flat, Key, Misfit, Reader, Shape, Table, TextShape, duration, optional,
        table, text, whole,
    },
};
use serde_json::{Value as Json, json};
use std::time::Duration;

table! {
    /// `[upstreams.NAME.health]`: active checks of every endpoint. HTTP when `path` is given,
    /// else TCP connect.
    pub struct Health {
        /// What is checked.
        check: HealthCheck as Flat::<HealthCheck>::new(),
        /// Between two checks of an endpoint, with +-10 % jitter. Default 2 s, 100 ms to 1 h.
        interval: Duration = "2s" as duration("100ms", "1h"),
        /// One check, connect included. Default 1 s, 1 ms to 1 h.
        timeout: Duration = "1s" as duration("1ms", "1h"),
        /// Successes in a row that make an unhealthy endpoint healthy. Default 2.
        healthy_after: u32 = 2 as whole(1..=1_000),
        /// Failures in a row that make a healthy endpoint unhealthy. Default 3.
        unhealthy_after: u32 = 3 as whole(1..=1_000),
    }
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// Connects and closes.
    Tcp,
    /// GET `path` with `host` (default: the endpoint's address); healthy if the status is in
    /// `status` (inclusive, default 200-399).
    Http {
        /// Path and query.
        path: String,
        /// The `Host` sent.
        host: Option<String>,
        /// The first and the last status that are healthy.
        status: (u16, u16),
    },
}

const ANY_SUCCESS: (u16, u16) = (200, 399);

impl Table for HealthCheck {
    fn keys(catalogue: &mut Catalogue, keys: &mut Vec<Key>) {
        let path = "Path and query to GET; without it a TCP connect is the check.";
        let host = "The `Host` sent; default the endpoint's address. Needs `path`.";
        let status = "The healthy statuses: `\"200-399\"` (default) or one, `200`. Needs `path`.";
        keys.extend([
            Key::new(catalogue, "path", path.to_owned(), None, &optional(check_path())),
            Key::new(catalogue, "host", host.to_owned(), None, &optional(check_host())),
            Key::new(catalogue, "status", status.to_owned(), None, &optional(StatusRange)),
        ]);
    }

    fn read(reader: &mut Reader<'_, '_, '_>) -> Option<Self> {
        let path = reader.field("path", None, &optional(check_path()))?;
        let host = reader.field("host", None, &optional(check_host()))?;
        let status = reader.field("status", None, &optional(StatusRange))?;
        let Some(path) = path else {
            let given = reader.present(&["path"]);
            for key in reader.present(&["host", "status"]) {
                if given.is_empty() {
                    reader
                        .fault_at(Some(key), "means nothing to a TCP check")
                        .help("add `path` for an HTTP check");
                }
            }
            return Some(Self::Tcp);
        };
        Some(Self::Http { path, host, status: status.unwrap_or(ANY_SUCCESS) })
    }
}

fn check_path() -> TextShape<String> {
    text("a path such as `/healthz`", |text| {
        let valid = text.starts_with('/')
            && !text.contains('#')
            && text.parse::<http::uri::PathAndQuery>().is_ok();
        if valid { Ok(text.to_owned()) } else { Err(Misfit::form()) }
    })
}

fn check_host() -> TextShape<String> {
    text("a host such as `shop.internal` or `shop.internal:8080`", |text| {
        let valid = text.parse::<http::uri::Authority>().is_ok() && !text.contains('@');
        if valid { no_spaces(text) } else { Err(Misfit::form()) }
    })
}

/// `"200-399"` or `200`.
struct StatusRange;

impl Shape for StatusRange {
    type Value = (u16, u16);

    fn expected(&self) -> String {
        "a status such as `200` or a range such as `\"200-399\"`, within 100 to 599".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        json!({ "anyOf": [
            catalogue.text(&["200-399"]),
            { "type": "integer", "minimum": 100, "maximum": 599 },
        ] })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<(u16, u16)> {
        if let Value::Integer(_) = node.value {
            return whole(100..=599).read(node, cx).map(|status| (status, status));
        }
        let text = cx.text(node, || self.expected())?;
        let (first, last) = text.value.split_once('-').unwrap_or((&text.value, &text.value));
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok())?.filter(|status| (100..=599).contains(status))
        };
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Some((first, last)),
            _ => {
                cx.misfit(node.at, &self.expected(), &text, Misfit::form());
                None
            }
        }
    }
}

use super::service::{cookie_name, header_name};
use crate::{
    Rate,
    document::Node,
    nearest::nearest,
    shape::{Catalogue, Cx, Misfit, Shape, Written, mapped},
};
use serde_json::Value as Json;
use std::fmt;

/// `[rate_limits.NAME]`: requests per key, GCRA.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// What is counted together; several make one combined key.
    pub key: Vec<LimitKey>,
    /// How many requests a key may make over time.
    pub rate: Rate,
    /// Requests accepted at once after a pause. Default: the rate's count.
    pub burst: u32,
}

/// Tables as written, where the model differs.
mod written {
    use super::LimitKey;
    use crate::{
        Rate,
        shape::{Written, one_or_more, optional, table, whole},
    };

    table! {
        /// `[rate_limits.NAME]`: requests per key; over it 429. Counted per node.
        pub(crate) struct RateLimit {
            /// What is counted together: `client_ip`, `path`, `header:NAME` or `cookie:NAME`;
            /// several in an array make one combined key.
            key: Vec<LimitKey> as one_or_more(LimitKey::shape()),
            /// How many requests a key may make over time.
            rate: Rate,
            /// Requests accepted at once after a pause. Default: the rate's count.
            burst: Option<u32> as optional(whole(1..=4_294_967_295)),
        }
    }
}

impl Written for RateLimit {
    fn shape() -> impl Shape<Value = Self> {
        mapped(written::RateLimit::shape(), |written| {
            let written::RateLimit { key, rate, burst } = written;
            Self { key, rate, burst: burst.unwrap_or(rate.count) }
        })
    }
}

/// A part of what a limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address (IPv6 by /64).
    ClientIp,
    /// A header's value.
    Header(http::HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// The request's path.
    Path,
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Path => f.write_str("path"),
        }
    }
}

impl Written for LimitKey {
    fn shape() -> impl Shape<Value = Self> {
        LimitKeyShape
    }
}

struct LimitKeyShape;

impl Shape for LimitKeyShape {
    type Value = LimitKey;

    fn expected(&self) -> String {
        "`client_ip`, `path`, `header:NAME` or `cookie:NAME`".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        catalogue.text(&["client_ip", "path", "header:x-api-key", "cookie:session"])
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<LimitKey> {
        let text = cx.text(node, || self.expected())?;
        let key = match text.value.split_once(':') {
            None if text.value == "client_ip" => Ok(LimitKey::ClientIp),
            None if text.value == "path" => Ok(LimitKey::Path),
            Some(("header", name)) => header_name().parse(name).map(LimitKey::Header),
            Some(("cookie", name)) => cookie_name().parse(name).map(LimitKey::Cookie),
            Some(("jwt", _)) => Err(Misfit::because(format!(
                "{} needs authentication, which this version does not have",
                text.shown
            ))),
            _ => Err(match nearest(&text.value, ["client_ip", "path"]) {
                Some(near) => Misfit::form().help(format!("did you mean `{near}`?")),
                None => Misfit::form(),
            }),
        };
        key.map_err(|why| cx.misfit(node.at, &self.expected(), &text, why)).ok()
    }
}

//! `crawlers`: who has to be whom it says.

use crate::{
    HostPattern,
    document::{Node, Value},
    shape::{Catalogue, Cx, Misfit, Shape, TextShape, Written, list, set, table, text},
};
use serde_json::{Value as Json, json};
use std::fmt;

/// Which crawlers a policy checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WafCrawlers {
    /// Those built in; docs/waf.md lists them.
    Known,
    /// These.
    These(Vec<WafCrawler>),
}

table! {
    /// An entry of `[waf.NAME] crawlers`: who says to be this crawler has to be it.
    pub struct WafCrawler {
        /// What its User-Agent contains, in any case.
        user_agent: String as user_agent(),
        /// The domains its operator documents: the name of its address lies in one of them and leads back to the address.
        domains: Vec<String> as set(domain()).some(),
    }
}

impl Eq for WafCrawler {}

fn user_agent() -> TextShape<String> {
    text("a part of a User-Agent such as `Googlebot`", |text| {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match text.trim() == text && (3..=256).contains(&text.len()) && printable {
            true => Ok(text.to_owned()),
            false => Err(Misfit::form()),
        }
    })
}

fn domain() -> TextShape<String> {
    text("a domain such as `googlebot.com`", |text| match text.parse() {
        Ok(HostPattern::Exact(domain)) if domain.contains('.') && !domain.starts_with('[') => {
            Ok(domain)
        }
        Ok(HostPattern::Wildcard(domain)) => Err(Misfit::form().help(format!(
            "names below it are meant anyway: write `{}`",
            domain.trim_start_matches('.')
        ))),
        _ => Err(Misfit::form()),
    })
}

impl fmt::Display for WafCrawlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known => f.write_str("known"),
            Self::These(crawlers) if crawlers.is_empty() => f.write_str("none"),
            Self::These(crawlers) => {
                let crawlers = crawlers.iter().map(|crawler| {
                    format!("{} in {}", crawler.user_agent, crawler.domains.join(", "))
                });
                f.write_str(&crawlers.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl Written for WafCrawlers {
    fn shape() -> impl Shape<Value = Self> {
        CrawlersShape
    }
}

struct CrawlersShape;

impl Shape for CrawlersShape {
    type Value = WafCrawlers;

    fn expected(&self) -> String {
        "`known`, or an array of crawlers".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        let these = list(WafCrawler::shape()).schema(catalogue);
        json!({ "anyOf": [{ "const": "known" }, these] })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<WafCrawlers> {
        match &node.value {
            Value::Text(word) if word == "known" => Some(WafCrawlers::Known),
            Value::Array(_) => list(WafCrawler::shape()).read(node, cx).map(WafCrawlers::These),
            _ => {
                cx.unexpected(node, &self.expected());
                None
            }
        }
    }
}

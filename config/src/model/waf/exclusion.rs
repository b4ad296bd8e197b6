//! `exclusions`: what the rules of a policy leave alone.

use super::super::PathPattern;
use crate::{
    document::{Node, Value},
    shape::{Catalogue, Cx, Misfit, Reader, Shape, TextShape, Written, optional, set, table, text},
};
use serde_json::{Value as Json, json};
use std::fmt;

table! {
    /// An entry of `[waf.NAME] exclusions`: rules that do not apply, or not to some values, or
    /// not on some paths.
    pub struct WafExclusion {
        /// Rules by id (`942100`) or ids (`"942100-942199"`).
        rules: Vec<RuleIds> = [] as set(RuleIds::shape()),
        /// Rules with one of these tags, such as `attack-sqli`.
        tags: Vec<String> = [] as set(String::shape()),
        /// The values they leave alone, such as `ARGS:comment`, `REQUEST_COOKIES` or `ARGS:/^utm_/` (a regular expression on the name); without it the rules do not apply at all.
        target: Option<String> as optional(target()),
        /// Only on these paths, written as a route's `path`.
        path: Option<PathPattern> as optional(PathPattern::shape()),
    }
    check = names_rules;
}

fn names_rules(_: &WafExclusion, reader: &mut Reader<'_, '_, '_>) {
    if reader.present(&["rules", "tags", "target"]).is_empty() {
        reader
            .fault_at(None, "an exclusion names `rules`, `tags` or a `target`")
            .help("leave out the route's `waf` to look at nothing");
    }
}

/// A variable of the rule language, perhaps with a name or a pattern of names.
pub(super) fn target() -> TextShape<String> {
    text("a variable such as `ARGS:comment` or `ARGS:/^utm_/`", |text| {
        let (variable, name) = text.split_once(':').unwrap_or((text, "x"));
        let is_variable = variable.starts_with(|first: char| first.is_ascii_uppercase())
            && variable.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        match is_variable && !name.is_empty() {
            true => Ok(text.to_owned()),
            false => Err(Misfit::form()),
        }
    })
}

/// Rules from the first to the last id, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleIds {
    /// The first.
    pub first: u64,
    /// The last; the first, if it is one rule.
    pub last: u64,
}

impl fmt::Display for RuleIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Written for RuleIds {
    fn shape() -> impl Shape<Value = Self> {
        RuleIdsShape
    }
}

struct RuleIdsShape;

impl Shape for RuleIdsShape {
    type Value = RuleIds;

    fn expected(&self) -> String {
        "a rule's id such as `942100`, or ids such as `\"942100-942199\"`".to_owned()
    }

    fn schema(&self, _: &mut Catalogue) -> Json {
        json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string" }] })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<RuleIds> {
        let ids = match &node.value {
            Value::Integer(id) => u64::try_from(*id).ok().map(|id| (id, id)),
            Value::Text(text) => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                first.trim().parse().ok().zip(last.trim().parse().ok())
            }
            _ => None,
        };
        match ids {
            Some((first, last)) if first > 0 && first <= last => Some(RuleIds { first, last }),
            _ => {
                cx.unexpected(node, &self.expected());
                None
            }
        }
    }
}

//! `rules`: where the rules of a policy are.

use crate::{
    document::{Node, Value},
    shape::{Catalogue, Cx, Shape, Written},
};
use serde_json::Value as Json;
use std::{fmt, path::PathBuf};

/// Where rules are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WafRules {
    /// An installed OWASP Core Rule Set; docs/waf.md lists the places.
    Crs,
    /// A file, or files if the last part is a glob.
    Files(PathBuf),
}

impl fmt::Display for WafRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crs => f.write_str("crs"),
            Self::Files(files) => files.display().fmt(f),
        }
    }
}

impl Written for WafRules {
    fn shape() -> impl Shape<Value = Self> {
        RulesShape
    }
}

struct RulesShape;

impl Shape for RulesShape {
    type Value = WafRules;

    fn expected(&self) -> String {
        "`crs`, or rule files or a glob".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        PathBuf::shape().schema(catalogue)
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<WafRules> {
        match &node.value {
            Value::Text(word) if word == "crs" => Some(WafRules::Crs),
            _ => PathBuf::shape().read(node, cx).map(WafRules::Files),
        }
    }
}

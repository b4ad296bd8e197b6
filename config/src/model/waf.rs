mod clients;
mod crawlers;
mod patch;

pub use clients::{Country, WafClients};
pub use crawlers::{WafCrawler, WafCrawlers};
pub use patch::WafPatch;

use super::{PathPattern, route::method};
use crate::{
    ByteSize,
    document::{Node, Value},
    shape::{
        Catalogue, Cx, Misfit, Reader, Shape, TextShape, Written, defaults, list, optional, set,
        size, table, text, whole, words,
    },
};
use http::Method;
use serde_json::{Value as Json, json};
use std::{fmt, path::PathBuf};

table! {
    /// `[waf.NAME]`: a policy over rules in SecLang, such as the OWASP Core Rule Set. Requests
    /// are looked at before an upstream is contacted.
    pub struct Waf {
        /// `block` (default) refuses with 403; `detect` only counts and logs.
        mode: WafMode = "block",
        /// Rules above this paranoia level are left out. Default 1, 1 to 4.
        paranoia: u8 = 1 as whole(1..=4),
        /// Where the rules are, in their order: `crs`, an installed Core Rule Set (default), rule files and globs; none with `[]`.
        rules: Vec<WafRules> = "crs" as set(WafRules::shape()).or_one(),
        /// The anomaly score from which a request is refused. Default: what the rules say (5 in the Core Rule Set).
        inbound_threshold: Option<u32> as optional(whole(1..=1_000_000)),
        /// The anomaly score from which a response is refused. Default: what the rules say (4 in the Core Rule Set).
        outbound_threshold: Option<u32> as optional(whole(1..=1_000_000)),
        /// Whether the bodies of responses are looked at: of text, and held in memory up to `response_limit` while they are. The upstream is then asked not to compress. Default false; the head of a response always is looked at.
        response_bodies: bool = false,
        /// Largest request body that is looked at, the content of uploaded files apart. Default 128 KiB.
        body_limit: ByteSize = "128KiB" as size("1KiB", "16MiB"),
        /// Largest multipart body with its files; held in memory while it is looked at. Default 12.5 MiB.
        upload_limit: ByteSize = "12.5MiB" as size("1KiB", "256MiB"),
        /// Largest response body that is looked at. Default 512 KiB.
        response_limit: ByteSize = "512KiB" as size("1KiB", "16MiB"),
        /// Arguments of the query and of the body that are looked at. Default 1,000 each.
        arguments: usize = 1_000 as whole(1..=100_000),
        /// Nesting of a JSON or XML body. Default 512.
        depth: usize = 512 as whole(1..=10_000),
        /// Parts of a multipart body. Default 1,000.
        parts: usize = 1_000 as whole(1..=100_000),
        /// Bytes that the rules look at for one request and its response, each time they do; 64 MiB take about a quarter of a second. Default 64 MiB.
        work: ByteSize = "64MiB" as size("1MiB", "4GiB"),
        /// What happens beyond each limit.
        on_limit: WafOnLimit = {},
        /// What the rules leave alone.
        exclusions: Vec<WafExclusion> = [] as list(WafExclusion::shape()),
        /// Clients whose requests the whole policy leaves alone.
        bypass: Option<WafClients> as optional(WafClients::shape()),
        /// Clients that are refused.
        deny: Option<WafClients> as optional(WafClients::shape()),
        /// Everyone else is refused.
        allow: Option<WafClients> as optional(WafClients::shape()),
        /// Other methods are refused. Default: none is.
        methods: Vec<Method> = [] as set(method()),
        /// Other paths are refused; written as a route's `path`. Default: none is.
        paths: Vec<PathPattern> = [] as set(PathPattern::shape()),
        /// A request with a body of another type is refused. Default: none is.
        content_types: Vec<String> = [] as set(content_type()),
        /// Who says to be one of these crawlers and is not is refused: `known` for those of the large search engines, or a list. Default: nobody is.
        crawlers: WafCrawlers = [],
        /// Refuses what exploits known faults of the service.
        patches: Vec<WafPatch> = [] as list(WafPatch::shape()),
    }
}

impl Waf {
    /// Whether it does anything beside running rules.
    pub fn has_checks(&self) -> bool {
        self.deny.is_some()
            || self.allow.is_some()
            || !self.methods.is_empty()
            || !self.paths.is_empty()
            || !self.content_types.is_empty()
            || self.crawlers != WafCrawlers::These(Vec::new())
            || !self.patches.is_empty()
    }
}

fn content_type() -> TextShape<String> {
    text("a content type such as `application/json` or `image/*`", |text| {
        let token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| {
                    byte.is_ascii_lowercase()
                        || byte.is_ascii_digit()
                        || b"!#$&^_.+-".contains(&byte)
                })
        };
        let parts = text.split_once('/');
        match parts.is_some_and(|(kind, sub)| token(kind) && (sub == "*" || token(sub))) {
            true => Ok(text.to_owned()),
            false if text.contains(';') => Err(Misfit::form().help("leave out the parameters")),
            false => Err(Misfit::form()),
        }
    })
}

defaults!(Waf);

words! {
    /// Whether a WAF policy stops requests.
    pub enum WafMode: "WAF mode" {
        /// Requests over the threshold are refused.
        Block = "block",
        /// Matches are counted and logged.
        Detect = "detect",
    }
}

table! {
    /// `[waf.NAME] on_limit`: what happens to a request beyond a limit. `block` refuses it where the
    /// policy's mode does, `pass` looks at what is within the limit; both are logged.
    pub struct WafOnLimit {
        /// Beyond `body_limit`: `block` (default) answers 413.
        body: WafOverLimit = "block",
        /// Beyond `upload_limit`: `block` (default) answers 413.
        upload: WafOverLimit = "block",
        /// Beyond `response_limit`: `block` answers 403, `pass` is the default.
        response: WafOverLimit = "pass",
        /// Beyond `arguments`: `block` (default) answers 400.
        arguments: WafOverLimit = "block",
        /// Beyond `depth`: `block` (default) answers 400.
        depth: WafOverLimit = "block",
        /// Beyond `parts`: `block` (default) answers 400.
        parts: WafOverLimit = "block",
        /// A body that is not what its content type says: `block` (default) answers 400.
        malformed: WafOverLimit = "block",
        /// Beyond `work`: `block` (default) answers 400.
        work: WafOverLimit = "block",
    }
}

defaults!(WafOnLimit);

words! {
    /// What happens beyond a limit of a WAF policy.
    pub enum WafOverLimit: "verdict" {
        /// The request is refused where the policy's mode refuses.
        Block = "block",
        /// What is within the limit is looked at, the rest passes.
        Pass = "pass",
    }
}

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

fn target() -> TextShape<String> {
    text("a variable such as `ARGS:comment` or `ARGS:/^utm_/`", |text| {
        let (variable, name) = text.split_once(':').unwrap_or((text, "x"));
        let is_variable = !variable.is_empty()
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

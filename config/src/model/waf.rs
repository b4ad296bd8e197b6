//! `[waf.NAME]`: a policy, with its limits. What its larger keys hold is beside it.

mod clients;
mod country;
mod crawlers;
mod exclusion;
mod patch;
mod rules;

pub use clients::WafClients;
pub use country::Country;
pub use crawlers::{WafCrawler, WafCrawlers};
pub use exclusion::{RuleIds, WafExclusion};
pub use patch::WafPatch;
pub use rules::WafRules;

use super::{PathPattern, route::method};
use crate::{
    ByteSize,
    shape::{
        Misfit, TextShape, Written, defaults, list, optional, set, size, table, text, whole, words,
    },
};
use http::Method;

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
        let lower = text.to_ascii_lowercase();
        match (is_content_type(&lower), lower == text) {
            (true, true) => Ok(lower),
            (true, false) => Err(Misfit::form().help(format!("did you mean `{lower}`?"))),
            _ if text.contains(';') => Err(Misfit::form().help("leave out the parameters")),
            _ => Err(Misfit::form()),
        }
    })
}

fn is_content_type(text: &str) -> bool {
    let is_token = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        !part.is_empty() && part.bytes().all(fits)
    };
    text.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && (sub == "*" || is_token(sub)))
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

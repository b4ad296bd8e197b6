//! The reason words of refusals, as header, log and metric show them. Written out here once
//! more, because they are part of the interface: renaming one must hurt.

pub const NO_ROUTE: &str = "no_route";
pub const MISDIRECTED: &str = "misdirected";
pub const NO_ENDPOINT: &str = "no_endpoint";
pub const CONNECT_FAILED: &str = "connect_failed";
pub const CONNECT_TIMEOUT: &str = "connect_timeout";
pub const RESPONSE_TIMEOUT: &str = "response_timeout";
pub const TOTAL_TIMEOUT: &str = "total_timeout";
pub const UPSTREAM_RESET: &str = "upstream_reset";
pub const UPSTREAM_MALFORMED: &str = "upstream_malformed";
pub const UPSTREAM_TRUNCATED: &str = "upstream_truncated";
pub const CLIENT_CERTIFICATE: &str = "client_certificate";
pub const WAF_BLOCKED: &str = "waf_blocked";
pub const WAF_LIMIT: &str = "waf_limit";
pub const OVERLOADED: &str = "overloaded";
pub const RATE_LIMITED: &str = "rate_limited";
pub const BODY_TOO_LARGE: &str = "body_too_large";
pub const HEADER_TOO_LARGE: &str = "header_too_large";
pub const URI_TOO_LONG: &str = "uri_too_long";
pub const HEADER_TIMEOUT: &str = "header_timeout";
pub const BODY_TIMEOUT: &str = "body_timeout";

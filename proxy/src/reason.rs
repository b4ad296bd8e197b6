//! The reason words: why Tidegate answered instead of an upstream.
//!
//! One word per cause, the same in the response header `x-tidegate-reason`, the access log and
//! the metric `tidegate_refusals_total`. Words are part of the interface: they are added, never
//! renamed.

use crate::h1::{BodyError, Malformed};
use http::StatusCode;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $word:literal, $status:ident;)*) => {
        /// Why a request did not get an upstream's answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, for metrics that exist before their first event.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word shown to clients, logs and metrics.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The status answered.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

reasons! {
    /// The bytes are not a request (RFC 9112), or not one that every parser reads alike.
    Malformed = "malformed_request", BAD_REQUEST;
    /// The path leaves the root, or hides a dot segment behind `;`.
    BadPath = "bad_path", BAD_REQUEST;
    /// The Host (or `:authority`) is missing, doubled or not a host.
    BadHost = "bad_host", BAD_REQUEST;
    /// The request body broke its framing.
    BadBody = "bad_body", BAD_REQUEST;
    /// The request line names an HTTP version this listener does not speak.
    Version = "http_version", HTTP_VERSION_NOT_SUPPORTED;
    /// A transfer coding other than `chunked`.
    Coding = "transfer_coding", NOT_IMPLEMENTED;
    /// `Expect` asks for something other than `100-continue`.
    Expectation = "expectation", EXPECTATION_FAILED;
    /// The head did not arrive in time.
    HeaderTimeout = "header_timeout", REQUEST_TIMEOUT;
    /// The request body paused for too long, or came too slowly to be held for a WAF policy.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT;
    /// The head has too many bytes or fields.
    HeaderTooLarge = "header_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The request target is too long.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// The body exceeds the route's limit, or that of its WAF policy.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE;
    /// CONNECT and TRACE are never forwarded.
    Method = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The Host is not one the connection's certificate was chosen for (RFC 9110 section 7.4).
    Misdirected = "misdirected", MISDIRECTED_REQUEST;
    /// The client's certificate is not accepted any more: revoked, out of date, or by authorities
    /// or rules that have changed since its handshake.
    ClientCertificate = "client_certificate", FORBIDDEN;
    /// No route matches.
    NoRoute = "no_route", NOT_FOUND;
    /// A rule or a check of the route's WAF policy refused the request or its response.
    WafBlocked = "waf_blocked", FORBIDDEN;
    /// The request is too intricate for the WAF policy to look at, or its body is not what it says.
    WafLimit = "waf_limit", BAD_REQUEST;
    /// What WAF policies hold takes all the memory it may, or all that one client may have.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// A rate limit is used up.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS;
    /// The version's upstream has no usable endpoint.
    NoEndpoint = "no_endpoint", SERVICE_UNAVAILABLE;
    /// No endpoint accepted a connection.
    ConnectFailed = "connect_failed", BAD_GATEWAY;
    /// No endpoint accepted a connection in time.
    ConnectTimeout = "connect_timeout", GATEWAY_TIMEOUT;
    /// The endpoint closed or reset the connection before its response.
    UpstreamReset = "upstream_reset", BAD_GATEWAY;
    /// The endpoint's answer is not HTTP.
    UpstreamMalformed = "upstream_malformed", BAD_GATEWAY;
    /// The endpoint sent no response head in time.
    ResponseTimeout = "response_timeout", GATEWAY_TIMEOUT;
    /// The exchange took longer than the upstream's total timeout.
    TotalTimeout = "total_timeout", GATEWAY_TIMEOUT;
    /// The response body paused for longer than the upstream's idle timeout, or broke off; its
    /// head had been sent, so clients see a broken connection and only log and metric the word.
    UpstreamTruncated = "upstream_truncated", BAD_GATEWAY;
    /// The client went away before its answer was complete (log and metric only).
    ClientClosed = "client_closed", REQUEST_TIMEOUT;
}

impl From<Malformed> for Reason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::RequestLine
            | Malformed::Target
            | Malformed::Header
            | Malformed::FramingConflict
            | Malformed::ContentLength
            | Malformed::TransferEncoding => Self::Malformed,
            Malformed::Version => Self::Version,
            Malformed::Method => Self::Method,
            Malformed::Host => Self::BadHost,
            Malformed::TransferCoding => Self::Coding,
            Malformed::Expectation => Self::Expectation,
            Malformed::HeaderTooLarge | Malformed::TooManyHeaders => Self::HeaderTooLarge,
            Malformed::UriTooLong => Self::UriTooLong,
            Malformed::HeaderTimeout => Self::HeaderTimeout,
        }
    }
}

impl From<BodyError> for Reason {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed => Self::BadBody,
            BodyError::Timeout => Self::BodyTimeout,
            BodyError::Truncated | BodyError::Disconnected | BodyError::Abandoned => {
                Self::ClientClosed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_are_distinct() {
        let words: HashSet<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
    }

    #[test]
    fn every_word_is_explained_to_operators() {
        let text = include_str!("../../docs/operations.md");
        for reason in Reason::ALL {
            let row = format!("| `{}` | {} |", reason.word(), reason.status().as_u16());
            assert!(text.contains(&row), "{row}");
        }
    }
}

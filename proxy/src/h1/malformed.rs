//! What the codec refuses by itself: bytes that never became a request.

use http::StatusCode;

/// Why a request was refused before anyone saw it. The connection is closed after
/// the answer, because the end of a malformed request is a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Not `method SP request-target SP HTTP-version CRLF` (RFC 9112 section 3).
    #[error("malformed request line")]
    RequestLine,
    /// A raw control byte, space, non-ASCII byte or `#`, a broken escape, an escaped
    /// NUL, CR or LF, or a form the method does not allow (RFC 9112 section 3.2).
    #[error("malformed request target")]
    Target,
    /// Neither HTTP/1.1 nor HTTP/1.0 (RFC 9110 section 15.6.6).
    #[error("unsupported HTTP version")]
    Version,
    /// CONNECT or TRACE, which an edge does not serve. The answer owes an `Allow`.
    #[error("method not allowed")]
    Method,
    /// A field line that is not `token ":" OWS value OWS CRLF`: bare LF, bare CR,
    /// NUL, obs-fold, space before the colon, no colon, no name (RFC 9112 section 5).
    #[error("malformed header field")]
    Header,
    /// No Host, more than one, one that is no `host [":" port]`, or one that differs
    /// from the authority of an absolute-form target (RFC 9112 section 3.2).
    #[error("missing, repeated, malformed or contradicted Host")]
    Host,
    /// Both Content-Length and Transfer-Encoding (RFC 9112 section 6.1).
    #[error("Content-Length beside Transfer-Encoding")]
    FramingConflict,
    /// Content-Length repeated, a list, not digits only, or out of range.
    #[error("malformed Content-Length")]
    ContentLength,
    /// Transfer-Encoding that is repeated, a list, no token, or in HTTP/1.0.
    #[error("malformed Transfer-Encoding")]
    TransferEncoding,
    /// A single well-formed transfer coding other than `chunked`.
    #[error("unknown transfer coding")]
    TransferCoding,
    /// An Expect other than one `100-continue` (RFC 9110 section 10.1.1).
    #[error("unknown expectation")]
    Expectation,
    /// The head is larger than [`Limits::header_bytes`](super::Limits::header_bytes).
    #[error("header section too large")]
    HeaderTooLarge,
    /// More field lines than [`Limits::headers`](super::Limits::headers).
    #[error("too many header fields")]
    TooManyHeaders,
    /// The target is longer than [`Limits::uri_bytes`](super::Limits::uri_bytes).
    #[error("request target too long")]
    UriTooLong,
    /// The head was not complete within
    /// [`Limits::header_timeout`](super::Limits::header_timeout).
    #[error("request head not complete in time")]
    HeaderTimeout,
}

impl Malformed {
    /// The status that answers it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::RequestLine
            | Self::Target
            | Self::Header
            | Self::Host
            | Self::FramingConflict
            | Self::ContentLength
            | Self::TransferEncoding => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::HeaderTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::HeaderTooLarge | Self::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    /// The reason word, the same in response header, log and metric.
    pub fn word(self) -> &'static str {
        match self {
            Self::RequestLine => "bad_request_line",
            Self::Target => "bad_target",
            Self::Version => "http_version",
            Self::Method => "method_not_allowed",
            Self::Header => "bad_header",
            Self::Host => "bad_host",
            Self::FramingConflict => "framing_conflict",
            Self::ContentLength => "bad_content_length",
            Self::TransferEncoding => "bad_transfer_encoding",
            Self::TransferCoding => "unknown_transfer_coding",
            Self::Expectation => "unknown_expectation",
            Self::HeaderTooLarge => "header_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::UriTooLong => "uri_too_long",
            Self::HeaderTimeout => "header_timeout",
        }
    }
}

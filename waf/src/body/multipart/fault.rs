//! Why a multipart body cannot be read.

/// The fault of a body, for `REQBODY_ERROR_MSG`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The content type is empty.
    #[error("Content-Type header not available")]
    NoContentType,
    /// It is longer than 1,024 bytes.
    #[error("invalid boundary in C-T (length)")]
    ContentTypeLength,
    /// It is another one.
    #[error("invalid MIME type")]
    MimeType,
    /// It has no usable boundary: what is wrong with it.
    #[error("invalid boundary in C-T ({0})")]
    Boundary(&'static str),
    /// It has several.
    #[error("multiple boundary parameters in C-T")]
    BoundaryTwice,
    /// It has none.
    #[error("boundary not found in C-T")]
    NoBoundary,
    /// A line of the body starts as the boundary does and goes on.
    #[error("invalid boundary ({0})")]
    BoundaryLine(&'static str),
    /// The body has data, but no boundary.
    #[error("no boundaries found in payload")]
    NoBoundaryLine,
    /// The body ends before its last boundary.
    #[error("final boundary missing")]
    Incomplete,
    /// A part's header line: what is wrong with it.
    #[error("invalid part header ({0})")]
    Header(&'static str),
    /// A part's header line is longer than 4,096 bytes.
    #[error("part header line over 4096 bytes long")]
    HeaderLength,
    /// A part has no `Content-Disposition`.
    #[error("part missing Content-Disposition header")]
    NoDisposition,
    /// Its `Content-Disposition` is not understood; the number is libmodsecurity's.
    #[error("invalid Content-Disposition header ({0})")]
    Disposition(i8),
    /// Its `Content-Disposition` names no field.
    #[error("Content-Disposition header missing name field")]
    NoName,
    /// It can be cut into parts in several ways: what makes it so.
    #[error("parts that can be read in several ways ({0})")]
    Ambiguous(&'static str),
    /// More parts than the limit.
    #[error("part limit exceeded")]
    Parts,
    /// More header lines in a part than the limit.
    #[error("part header limit exceeded")]
    PartHeaders,
}

impl Fault {
    /// Whether the body may be well-formed and only exceeds a limit.
    #[must_use]
    pub fn is_limit(self) -> bool {
        matches!(self, Self::Parts | Self::PartHeaders)
    }
}

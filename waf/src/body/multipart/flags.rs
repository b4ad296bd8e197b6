//! What is odd about a multipart body though it can be read.

/// Oddities, each a variable `MULTIPART_…` of the rule language. Clients of good
/// faith show none of them; where two parsers read such a body differently, the
/// attack is in the difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// The body could not be read to its end.
    pub error: bool,
    /// `BOUNDARY_QUOTED`: the boundary stood in quotes.
    pub boundary_quoted: bool,
    /// `BOUNDARY_WHITESPACE`: white space around its equals sign.
    pub boundary_whitespace: bool,
    /// `DATA_BEFORE`: bytes before the first boundary.
    pub data_before: bool,
    /// `DATA_AFTER`: bytes after the last boundary.
    pub data_after: bool,
    /// `HEADER_FOLDING`: a part's header went over several lines.
    pub header_folding: bool,
    /// `LF_LINE`: a line ended without CR.
    pub lf_line: bool,
    /// A line ended with CR LF, as it should.
    pub crlf_line: bool,
    /// `MISSING_SEMICOLON`: none before the boundary parameter.
    pub missing_semicolon: bool,
    /// `INVALID_QUOTING`: single quotes, or quotes inside a value.
    pub invalid_quoting: bool,
    /// `INVALID_PART`: a part without a name or without data.
    pub invalid_part: bool,
    /// `INVALID_HEADER_FOLDING`: folding with other bytes than blank and tab.
    pub invalid_header_folding: bool,
    /// `FILE_LIMIT_EXCEEDED`: more parts than [`Limits::parts`](super::Limits::parts).
    pub file_limit_exceeded: bool,
    /// `UNMATCHED_BOUNDARY`: 1 if a line looks like a boundary and is none, 2 if that
    /// was before a proper boundary or never: any body of two boundaries or more
    /// ends with 2, and rules ask for `@eq 1`.
    pub unmatched_boundary: u8,
}

impl Flags {
    /// `MULTIPART_STRICT_ERROR`: any oddity but an unmatched boundary.
    pub fn strict_error(&self) -> bool {
        self.error
            || self.boundary_quoted
            || self.boundary_whitespace
            || self.data_before
            || self.data_after
            || self.header_folding
            || self.lf_line
            || self.missing_semicolon
            || self.invalid_quoting
            || self.invalid_part
            || self.invalid_header_folding
            || self.file_limit_exceeded
    }

    /// `MULTIPART_CRLF_LF_LINES`: both line endings in one body.
    pub fn crlf_lf_lines(&self) -> bool {
        self.crlf_line && self.lf_line
    }
}

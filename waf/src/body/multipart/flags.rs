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
    /// They are more than the line ending that a boundary may begin with.
    pub preamble: bool,
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
    /// The boundary with its dashes stands where it separates no parts: inside of a line, of a
    /// part's header, where data should begin, or behind the last one.
    pub boundary_inside: bool,
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

    /// What makes back ends cut a body into other parts than we do, so that a field hides in
    /// what is a file's content here.
    ///
    /// Quotes around the boundary, blanks around its equals sign and bytes behind the last
    /// boundary are not among them: clients of good faith send these, and all parsers
    /// agree on what they mean.
    pub(super) fn ambiguity(&self) -> Option<&'static str> {
        [
            (self.boundary_inside, "a boundary inside of a part"),
            (self.invalid_part, "a part without a name or data"),
            (self.preamble, "data before the first boundary"),
            (self.header_folding || self.invalid_header_folding, "a folded header"),
            (self.invalid_quoting, "quotes of a header"),
            (self.crlf_lf_lines(), "two kinds of line endings"),
        ]
        .into_iter()
        .find_map(|(is_so, what)| is_so.then_some(what))
    }

    /// `MULTIPART_CRLF_LF_LINES`: both line endings in one body.
    pub fn crlf_lf_lines(&self) -> bool {
        self.crlf_line && self.lf_line
    }
}

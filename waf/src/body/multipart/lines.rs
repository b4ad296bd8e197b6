//! A multipart body in lines.

use memchr::memchr;

/// Longer lines come in pieces of this many bytes; only the first of them can be a
/// boundary, and a part's header must be a single one.
pub(super) const MAX_LINE: usize = 4_096;

/// A line with its ending, or a piece of a long one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    /// Where it stands in the body.
    pub(super) start: usize,
    /// It is the start of a line, not a further piece of one.
    pub(super) is_start: bool,
    /// The line before it ended without CR.
    pub(super) after_bare_lf: bool,
    /// It fills a whole piece, so it may not be all of its line.
    pub(super) is_cut: bool,
    /// The body ends in it, without a line ending.
    pub(super) is_tail: bool,
}

impl<'a> Line<'a> {
    /// How many bytes its ending takes: 2 for CR LF, 1 for LF, 0 for none.
    pub(super) fn ending(&self) -> usize {
        match self.text {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        }
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// What stands before the first NUL: a C parser sees no more of it.
    pub(super) fn before_nul(&self) -> &'a [u8] {
        &self.text[..memchr(0, self.text).unwrap_or(self.text.len())]
    }
}

/// Cuts a body into lines.
pub(super) struct Lines<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// Whether bytes are left.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.body.len()
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = &self.body[self.at..];
        if rest.is_empty() {
            return None;
        }
        let window = &rest[..rest.len().min(MAX_LINE)];
        let (length, ends) = match (memchr(b'\n', window), window.last()) {
            (Some(index), _) => (index + 1, true),
            // CR LF is never torn apart.
            (None, Some(b'\r')) if window.len() == MAX_LINE => (MAX_LINE - 1, false),
            (None, _) => (window.len(), false),
        };
        let before = &self.body[..self.at];
        let line = Line {
            text: &rest[..length],
            start: self.at,
            is_start: matches!(before, [] | [.., b'\n']),
            after_bare_lf: matches!(before, [.., b'\n']) && !matches!(before, [.., b'\r', b'\n']),
            is_cut: length == MAX_LINE || !ends && window.len() == MAX_LINE,
            is_tail: !ends && window.len() < MAX_LINE,
        };
        self.at += length;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_come_in_pieces_and_cr_lf_stays_whole() {
        let mut body = vec![b'a'; MAX_LINE - 1];
        body.extend_from_slice(b"\r\nb\n\nc");
        let lines: Vec<_> = Lines::new(&body).collect();
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                (line.text.len(), line.is_start, line.after_bare_lf, line.is_cut, line.is_tail)
            })
            .collect();
        assert_eq!(
            shown,
            [
                (MAX_LINE - 1, true, false, true, false),
                (2, false, false, false, false),
                (2, true, false, false, false),
                (1, true, true, false, false),
                (1, true, true, false, true),
            ]
        );
        assert_eq!(lines.last().map(Line::end), Some(body.len()));
    }
}

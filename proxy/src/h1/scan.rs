//! Finds the end of a field section (a request head, or trailers) as bytes arrive.
//!
//! Nothing is interpreted before a section is complete, so that a verdict cannot
//! depend on how the bytes were cut into packets. What would keep a section from
//! ever completing is found here, in byte order: a bare LF, a first line or a number
//! of lines over the limit.

use super::Malformed;

/// Where the search stands. Each byte is looked at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// Start of the line that is being searched for its end.
    line: usize,
    /// First byte not yet looked at.
    next: usize,
    /// Complete lines so far.
    lines: usize,
}

/// What a section may grow to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of the whole section, its empty line included.
    pub(super) bytes: usize,
    /// Bytes of the first line.
    pub(super) first_line: usize,
    /// Lines, the empty one excluded.
    pub(super) lines: usize,
}

impl Scan {
    /// The length of the section with its closing empty line, or `None` while more
    /// bytes are needed. `input` always starts at the section and only grows.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        bounds: &Bounds,
    ) -> Result<Option<usize>, Malformed> {
        // A section cut at its byte limit gets the verdict of those bytes alone.
        let seen = &input[..input.len().min(bounds.bytes)];
        if self.next > seen.len() {
            return Err(Malformed::HeaderTooLarge); // the limit was lowered meanwhile
        }
        while let Some(found) = memchr::memchr(b'\n', &seen[self.next..]) {
            let lf = self.next + found;
            if self.lines == 0 && lf + 1 > bounds.first_line {
                return Err(Malformed::UriTooLong);
            }
            if lf == self.line || seen[lf - 1] != b'\r' {
                return Err(self.fault());
            }
            if lf == self.line + 1 {
                return Ok(Some(lf + 1));
            }
            self.lines += 1;
            if self.lines > bounds.lines {
                return Err(Malformed::TooManyHeaders);
            }
            self.line = lf + 1;
            self.next = lf + 1;
        }
        self.next = seen.len();
        if self.lines == 0 && seen.len() >= bounds.first_line {
            return Err(Malformed::UriTooLong);
        }
        if input.len() >= bounds.bytes {
            return Err(Malformed::HeaderTooLarge);
        }
        Ok(None)
    }

    /// Complete lines so far: a capacity for the fields.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    fn fault(&self) -> Malformed {
        if self.lines == 0 { Malformed::RequestLine } else { Malformed::Header }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 64, first_line: 24, lines: 3 };

    fn whole(input: &[u8]) -> Result<Option<usize>, Malformed> {
        Scan::default().advance(input, &BOUNDS)
    }

    #[test]
    fn finds_the_empty_line() {
        assert_eq!(whole(b"a\r\nb\r\n\r\nrest"), Ok(Some(8)));
        assert_eq!(whole(b"\r\n"), Ok(Some(2)));
        assert_eq!(whole(b"a\r\nb\r\n\r"), Ok(None));
        assert_eq!(whole(b""), Ok(None));
    }

    #[test]
    fn refuses_bare_line_feeds_and_excess() {
        assert_eq!(whole(b"a\nb"), Err(Malformed::RequestLine));
        assert_eq!(whole(b"\n"), Err(Malformed::RequestLine));
        assert_eq!(whole(b"a\r\nb\n"), Err(Malformed::Header));
        assert_eq!(whole(b"a\r\n\n"), Err(Malformed::Header));
        assert_eq!(whole(b"0123456789012345678901234"), Err(Malformed::UriTooLong));
        assert_eq!(whole(b"01234567890123456789012\r\n"), Err(Malformed::UriTooLong));
        assert_eq!(whole(b"a\r\nb\r\nc\r\nd\r\n"), Err(Malformed::TooManyHeaders));
        assert_eq!(
            whole(&[b"a\r\n".as_slice(), &[b'x'; 70]].concat()),
            Err(Malformed::HeaderTooLarge)
        );
    }

    #[test]
    fn cutting_the_input_changes_nothing() {
        let inputs: [&[u8]; 5] = [
            b"a\r\nb\r\n\r\nrest",
            b"a\r\nb\nc\r\n\r\n",
            b"01234567890123456789012345\r\nb\n\r\n\r\n",
            b"a\r\nb\r\nc\r\nd\r\ne\n\r\n",
            &[b'x'; 90],
        ];
        for input in inputs {
            let expected = whole(input);
            let mut scan = Scan::default();
            let stepwise = (1..=input.len())
                .map(|end| scan.advance(&input[..end], &BOUNDS))
                .find(|verdict| *verdict != Ok(None))
                .unwrap_or(Ok(None));
            assert_eq!(stepwise, expected, "{input:?}");
        }
    }
}

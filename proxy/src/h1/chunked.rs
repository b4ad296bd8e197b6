//! The chunked coding (RFC 9112 section 7.1), decoded strictly.
//!
//! Sizes are one to sixteen hex digits, lines end in CRLF and nothing else, data is
//! followed by CRLF. Extensions are skipped, but bounded per chunk and per body;
//! whitespace before the `;` (which the RFC calls bad) is refused. Trailers are bound
//! by the limits of the head.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::{
    BodyError, Limits, fields,
    scan::{Bounds, Scan},
};

/// Bytes of one chunk's extensions.
const EXTENSION_MAX: usize = 256;
/// Bytes of all extensions of a body.
const EXTENSIONS_MAX: usize = 16 * 1024;
const DIGITS_MAX: usize = 16;

/// What one step of decoding yields.
#[derive(Debug)]
pub(super) enum Step {
    /// Data; never empty.
    Data(Bytes),
    /// The trailers that were kept; the body is over.
    Trailers(HeaderMap),
    /// The body is over.
    End,
    /// More input is needed.
    More,
}

/// Where in a chunked body the reader stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of extensions so far.
    extensions: usize,
}

#[derive(Debug)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers(Scan),
    Done,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size, extensions: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes what it can from the front of `input`.
    pub(super) fn decode(
        &mut self,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Step, BodyError> {
        loop {
            match &mut self.state {
                State::Size => {
                    let Some((size, extension, length)) = size_line(input)? else {
                        return Ok(Step::More);
                    };
                    self.extensions += extension;
                    if self.extensions > EXTENSIONS_MAX {
                        return Err(BodyError::Malformed);
                    }
                    input.advance(length);
                    self.state = match size {
                        0 => State::Trailers(Scan::default()),
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    let data = take(input, left);
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok(data.map_or(Step::More, Step::Data));
                }
                State::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    None if matches!(input.first(), None | Some(b'\r')) => return Ok(Step::More),
                    _ => return Err(BodyError::Malformed),
                },
                State::Trailers(scan) => {
                    let Some((length, lines)) = section(scan, input, limits)? else {
                        return Ok(Step::More);
                    };
                    self.state = State::Done;
                    return trailers(input.split_to(length).freeze(), lines);
                }
                State::Done => return Ok(Step::End),
            }
        }
    }
}

/// Up to `left` bytes from the front, or `None` if there are none.
pub(super) fn take(input: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    if length == 0 {
        return None;
    }
    *left -= length as u64;
    Some(input.split_to(length).freeze())
}

/// Size, bytes of extensions, and length of the size line.
fn size_line(input: &[u8]) -> Result<Option<(u64, usize, usize)>, BodyError> {
    const MAX: usize = DIGITS_MAX + EXTENSION_MAX + 2;
    let window = &input[..input.len().min(MAX)];
    let Some(lf) = memchr::memchr(b'\n', window) else {
        return if window.len() < MAX { Ok(None) } else { Err(BodyError::Malformed) };
    };
    let line = window[..lf].strip_suffix(b"\r").ok_or(BodyError::Malformed)?;
    let digits = memchr::memchr(b';', line).unwrap_or(line.len());
    let (digits, extension) = line.split_at(digits);
    if extension.len() > EXTENSION_MAX || !extension.iter().all(|b| is_extension_byte(*b)) {
        return Err(BodyError::Malformed);
    }
    Ok(Some((size(digits)?, extension.len(), lf + 1)))
}

fn size(digits: &[u8]) -> Result<u64, BodyError> {
    if !matches!(digits.len(), 1..=DIGITS_MAX) {
        return Err(BodyError::Malformed);
    }
    digits.iter().try_fold(0, |size: u64, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(BodyError::Malformed)?;
        // Sixteen digits fit.
        Ok(size << 4 | u64::from(digit))
    })
}

fn is_extension_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

/// Length and lines of the trailer section once it is complete.
fn section(
    scan: &mut Scan,
    input: &[u8],
    limits: &Limits,
) -> Result<Option<(usize, usize)>, BodyError> {
    let bounds = Bounds {
        bytes: limits.header_bytes,
        first_line: limits.header_bytes,
        lines: limits.headers,
    };
    match scan.advance(input, &bounds) {
        Ok(length) => Ok(length.map(|length| (length, scan.lines()))),
        Err(_) => Err(BodyError::Malformed),
    }
}

fn trailers(section: Bytes, lines: usize) -> Result<Step, BodyError> {
    let mut trailers = fields::parse(&section, 0, lines).map_err(|_| BodyError::Malformed)?;
    fields::retain_trailers(&mut trailers);
    Ok(if trailers.is_empty() { Step::End } else { Step::Trailers(trailers) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, trailers and what is left, fed `cut` bytes at a time.
    fn decode(input: &[u8], cut: usize) -> Result<Option<(Vec<u8>, usize, usize)>, BodyError> {
        let (mut chunked, mut buffer) = (Chunked::new(), BytesMut::new());
        let (mut data, mut fields, mut used) = (Vec::new(), 0, 0);
        loop {
            match chunked.decode(&mut buffer, &Limits::default())? {
                Step::Data(bytes) => data.extend_from_slice(&bytes),
                Step::Trailers(trailers) => fields = trailers.len(),
                Step::End => return Ok(Some((data, fields, buffer.len() + input.len() - used))),
                Step::More if used == input.len() => return Ok(None),
                Step::More => {
                    let next = (used + cut).min(input.len());
                    buffer.extend_from_slice(&input[used..next]);
                    used = next;
                }
            }
        }
    }

    fn whole(input: &[u8]) -> Result<Option<(Vec<u8>, usize, usize)>, BodyError> {
        let verdict = decode(input, usize::MAX / 2);
        for cut in 1..8 {
            assert_eq!(decode(input, cut), verdict, "cut into {cut}: {input:?}");
        }
        verdict
    }

    #[test]
    fn decodes_data_extensions_and_trailers() {
        assert_eq!(whole(b"0\r\n\r\n"), Ok(Some((vec![], 0, 0))));
        let body =
            b"3\r\nabc\r\nA;x=\"y z\";q\r\n0123456789\r\n00\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET";
        assert_eq!(whole(body), Ok(Some((b"abc0123456789".to_vec(), 1, 3))));
        assert_eq!(whole(b"0000000000000001\r\nx\r\n0\r\n\r\n"), Ok(Some((b"x".to_vec(), 0, 0))));
    }

    #[test]
    fn waits_for_more() {
        for input in
            [b"".as_slice(), b"3", b"3\r", b"3\r\nab", b"3\r\nabc\r", b"0\r\n", b"0\r\nA: b\r\n"]
        {
            assert_eq!(whole(input), Ok(None), "{input:?}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let bodies: [&[u8]; 19] = [
            b"3\nabc\r\n",
            b"\r\n",
            b"0x3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b"-1\r\n",
            b" 3\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"3 ;x\r\nabc\r\n",
            b"g\r\n",
            b"11111111111111111\r\n",
            b"00000000000000000\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabc\rx",
            b"3\r\nabcX\r\n",
            b"3;\x01\r\nabc\r\n",
            b"3;a\rb\r\nabc\r\n",
            b"0\r\n\n",
            b"0\r\nA\r\n\r\n",
        ];
        for body in bodies {
            assert_eq!(whole(body), Err(BodyError::Malformed), "{body:?}");
        }
    }

    #[test]
    fn extensions_are_bounded() {
        let long = [b"1;".as_slice(), &[b'x'; 256], b"\r\na\r\n0\r\n\r\n"].concat();
        assert_eq!(whole(&long), Err(BodyError::Malformed));
        let endless = [b"1;".as_slice(), &[b'x'; 9999]].concat();
        assert_eq!(whole(&endless), Err(BodyError::Malformed));
        let some = [b"1;".as_slice(), &[b'x'; 200], b"\r\na\r\n"].concat();
        assert_eq!(
            whole(&[some.repeat(50), b"0\r\n\r\n".to_vec()].concat()).unwrap().unwrap().0.len(),
            50
        );
        assert_eq!(whole(&some.repeat(90)), Err(BodyError::Malformed));
    }
}

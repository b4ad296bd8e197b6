//! The tokens of JSON, as yajl sees them.

use super::Fault;

/// One token; text is still as it stands in the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Comma,
    Colon,
    True,
    False,
    Null,
    Number(&'a [u8]),
    String(RawString<'a>),
    End,
}

/// Reads tokens. The body counts as followed by one blank, which is how yajl learns
/// that it is complete; an unfinished token therefore fails on that blank.
pub(super) struct Lexer<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// The byte at `at`, the blank after the body, or nothing.
    fn peek(&self) -> Option<u8> {
        match self.body.get(self.at) {
            Some(byte) => Some(*byte),
            None => (self.at == self.body.len()).then_some(b' '),
        }
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The next token. `End` inside of a token as well: more bytes could have
    /// completed it.
    pub(super) fn token(&mut self) -> Result<Token<'a>, Fault> {
        while matches!(self.peek(), Some(b' ' | b'\t'..=b'\r')) {
            self.at += 1;
        }
        let start = self.at;
        let Some(byte) = self.take() else { return Ok(Token::End) };
        match byte {
            b'{' => Ok(Token::ObjectStart),
            b'}' => Ok(Token::ObjectEnd),
            b'[' => Ok(Token::ArrayStart),
            b']' => Ok(Token::ArrayEnd),
            b',' => Ok(Token::Comma),
            b':' => Ok(Token::Colon),
            b't' => self.word(b"rue", Token::True),
            b'f' => self.word(b"alse", Token::False),
            b'n' => self.word(b"ull", Token::Null),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => {
                self.at = start;
                self.number()
            }
            b'/' => Err(Fault::Lexical(
                "probable comment found in input text, comments are not enabled.",
            )),
            _ => Err(Fault::Lexical("invalid char in json text.")),
        }
    }

    fn word(&mut self, rest: &[u8], token: Token<'a>) -> Result<Token<'a>, Fault> {
        for expected in rest {
            match self.take() {
                None => return Ok(Token::End),
                Some(byte) if byte != *expected => {
                    return Err(Fault::Lexical("invalid string in json text."));
                }
                Some(_) => {}
            }
        }
        Ok(token)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.body.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else if self.digits() == 0 {
            return Err(Fault::Lexical(
                "malformed number, a digit is required after the minus sign.",
            ));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(Fault::Lexical(
                    "malformed number, a digit is required after the decimal point.",
                ));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(Fault::Lexical(
                    "malformed number, a digit is required after the exponent.",
                ));
            }
        }
        Ok(Token::Number(&self.body[start..self.at]))
    }

    /// A string whose opening quote is taken.
    fn string(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.at;
        let mut escaped = false;
        loop {
            let plain = self.body.get(self.at..).unwrap_or_default();
            self.at += plain.iter().take_while(|byte| is_plain(**byte)).count();
            match self.take() {
                None => return Ok(Token::End),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    if !self.escape()? {
                        return Ok(Token::End);
                    }
                }
                Some(0..=0x1f) => return Err(Fault::Lexical("invalid character inside string.")),
                Some(lead) => {
                    if !self.continuation(lead)? {
                        return Ok(Token::End);
                    }
                }
            }
        }
        Ok(Token::String(RawString { text: &self.body[start..self.at - 1], escaped }))
    }

    /// What follows a backslash; whether the body goes on that far.
    fn escape(&mut self) -> Result<bool, Fault> {
        match self.take() {
            None => return Ok(false),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(true),
            Some(b'u') => {}
            Some(_) => {
                return Err(Fault::Lexical(
                    "inside a string, '\\' occurs before a character which it may not.",
                ));
            }
        }
        for _ in 0..4 {
            match self.take() {
                None => return Ok(false),
                Some(digit) if digit.is_ascii_hexdigit() => {}
                Some(_) => {
                    return Err(Fault::Lexical(
                        "invalid (non-hex) character occurs after '\\u' inside string.",
                    ));
                }
            }
        }
        Ok(true)
    }

    /// The continuation bytes of a lead byte; whether the body goes on that far.
    fn continuation(&mut self, lead: u8) -> Result<bool, Fault> {
        const INVALID: Fault = Fault::Lexical("invalid bytes in UTF8 string.");
        let length = match lead {
            ..=0x7f => 0,
            0xc0..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf7 => 3,
            _ => return Err(INVALID),
        };
        for _ in 0..length {
            match self.take() {
                None => return Ok(false),
                Some(0x80..=0xbf) => {}
                Some(_) => return Err(INVALID),
            }
        }
        Ok(true)
    }
}

/// Whether a byte of a string needs no look: most are.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7f) && byte != b'"' && byte != b'\\'
}

/// A valid string between its quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RawString<'a> {
    text: &'a [u8],
    escaped: bool,
}

impl RawString<'_> {
    /// The string's bytes with its escapes replaced.
    pub(super) fn decode(self) -> Vec<u8> {
        if !self.escaped {
            return self.text.to_vec();
        }
        let mut output = Vec::with_capacity(self.text.len());
        let mut rest = self.text;
        while let Some(index) = memchr::memchr(b'\\', rest) {
            output.extend_from_slice(&rest[..index]);
            rest = &rest[index..];
            if let Some(code) = unicode_escape(rest) {
                rest = &rest[6..];
                let low = unicode_escape(rest).filter(|low| matches!(low, 0xdc00..=0xdfff));
                match (code, low) {
                    (0xd800..=0xdbff, Some(low)) => {
                        rest = &rest[6..];
                        push_utf8(&mut output, 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00));
                    }
                    (0xd800..=0xdbff, None) => output.push(b'?'),
                    _ => push_utf8(&mut output, code),
                }
            } else {
                let letter = rest.get(1).copied().unwrap_or(b'\\');
                rest = rest.get(2..).unwrap_or_default();
                output.push(match letter {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    literal => literal,
                });
            }
        }
        output.extend_from_slice(rest);
        output
    }
}

/// The code of the `\u0041` that `text` starts with, if it does.
fn unicode_escape(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}

/// UTF-8, also of a surrogate, which `char` does not have.
fn push_utf8(output: &mut Vec<u8>, code: u32) {
    let tail = |shift: u32| 0x80 | (code >> shift & 0x3f) as u8;
    match code {
        ..0x80 => output.push(code as u8),
        0x80..0x800 => output.extend([0xc0 | (code >> 6) as u8, tail(0)]),
        0x800..0x1_0000 => output.extend([0xe0 | (code >> 12) as u8, tail(6), tail(0)]),
        _ => output.extend([0xf0 | (code >> 18) as u8, tail(12), tail(6), tail(0)]),
    }
}

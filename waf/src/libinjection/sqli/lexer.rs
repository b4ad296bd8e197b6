//! The lexer: cut the input into tokens as any of the common SQL engines might.
//!
//! It accepts every engine's literals at once, and never fails: what it does not know is a
//! [`Kind::Unknown`]. Each reader gets the input from its token's first byte on, and says how many
//! bytes the token takes; none looks at a byte more often than a constant number of times before
//! the input moves past it.

mod literals;
mod strings;
mod symbols;
mod words;

use super::bytes::{self, WHITE};
use super::token::{Kind, Token};

/// Where the engines differ about comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `--` begins a comment, whatever follows; `#` is an operator.
    Ansi,
    /// `--` begins a comment before white space only; `#` begins one.
    MySql,
}

pub(super) struct Lexer<'a> {
    input: &'a [u8],
    at: usize,
    /// The quote which the input, so far unread, is taken to be inside of.
    opened: Option<u8>,
    dialect: Dialect,
    dialect_matters: bool,
    token_count: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a [u8], opened: Option<u8>, dialect: Dialect) -> Self {
        Self { input, at: 0, opened, dialect, dialect_matters: false, token_count: 0 }
    }

    pub(super) fn input(&self) -> &'a [u8] {
        self.input
    }

    /// Was there anything the other dialect might read differently?
    pub(super) fn dialect_matters(&self) -> bool {
        self.dialect_matters
    }

    /// How many tokens were read so far, comments included.
    pub(super) fn token_count(&self) -> usize {
        self.token_count
    }

    fn read(&mut self, start: Start, rest: &'a [u8]) -> Read<'a> {
        match start {
            Start::Word => words::word(rest),
            Start::Number => literals::number(rest),
            Start::Quote(quote) => strings::quoted(rest, 1, quote),
            Start::Itself(kind) => symbols::one(kind, rest),
            Start::Operator => symbols::operator(rest),
            Start::Slash => symbols::slash(rest),
            Start::Dash => {
                self.dialect_matters |= symbols::dash_depends_on_dialect(rest);
                symbols::dash(rest, self.dialect)
            }
            Start::Hash => {
                self.dialect_matters = true;
                symbols::hash(rest, self.dialect)
            }
            Start::Backslash => symbols::backslash(rest),
            Start::Backtick => words::backtick(rest),
            Start::Bracket => words::bracketed(rest),
            Start::At => words::variable(rest),
            Start::Dollar => literals::dollar(rest),
            Start::BitString => literals::quoted_digits(rest, bytes::BINARY),
            Start::HexString => literals::quoted_digits(rest, bytes::HEX),
            Start::EscapeString => strings::escape(rest),
            Start::NationalString => strings::national(rest),
            Start::OracleString => strings::oracle(rest, 0),
            Start::UnicodeString => strings::unicode(rest),
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let Read { token, len } = if let Some(quote) = self.opened.take() {
            strings::continued(self.input, quote)
        } else {
            let rest = &self.input[self.at..];
            let mut starts = rest.iter().map(|&byte| STARTS[usize::from(byte)]).enumerate();
            let (skipped, start) = starts.find_map(|(at, start)| Some((at, start?)))?;
            self.at += skipped;
            self.read(start, &rest[skipped..])
        };
        self.at += len;
        self.token_count += 1;
        Some(token)
    }
}

/// A token, and how many bytes of the input it took.
struct Read<'a> {
    token: Token<'a>,
    len: usize,
}

impl<'a> Read<'a> {
    /// The first `len` bytes of `rest`.
    fn plain(kind: Kind, rest: &'a [u8], len: usize) -> Self {
        Self { token: Token::new(kind, &rest[..len]), len }
    }
}

/// What a byte may begin.
#[derive(Clone, Copy)]
enum Start {
    Word,
    Number,
    Quote(u8),
    /// A token of this byte alone.
    Itself(Kind),
    /// An operator of one to three bytes.
    Operator,
    Slash,
    Dash,
    Hash,
    Backslash,
    Backtick,
    Bracket,
    At,
    Dollar,
    BitString,
    HexString,
    EscapeString,
    NationalString,
    OracleString,
    UnicodeString,
}

/// What each byte begins; `None` is skipped. That is more than [`WHITE`]: no control character
/// begins a token.
static STARTS: [Option<Start>; 256] = {
    let mut starts = [None; 256];
    let mut byte = 0;
    while byte < 256 {
        starts[byte] = Some(match byte as u8 {
            0..=b' ' | 0x7f | 0xa0 => {
                byte += 1;
                continue;
            }
            b'0'..=b'9' | b'.' => Start::Number,
            quote @ (b'\'' | b'"') => Start::Quote(quote),
            b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => Start::Operator,
            b'%' | b'+' | b'^' | b'~' => Start::Itself(Kind::Operator),
            b'(' => Start::Itself(Kind::LeftParen),
            b')' => Start::Itself(Kind::RightParen),
            b'{' => Start::Itself(Kind::LeftBrace),
            b'}' => Start::Itself(Kind::RightBrace),
            b',' => Start::Itself(Kind::Comma),
            b';' => Start::Itself(Kind::Semicolon),
            b'?' | b']' => Start::Itself(Kind::Unknown),
            b'/' => Start::Slash,
            b'-' => Start::Dash,
            b'#' => Start::Hash,
            b'\\' => Start::Backslash,
            b'`' => Start::Backtick,
            b'[' => Start::Bracket,
            b'@' => Start::At,
            b'$' => Start::Dollar,
            b'b' | b'B' => Start::BitString,
            b'x' | b'X' => Start::HexString,
            b'e' | b'E' => Start::EscapeString,
            b'n' | b'N' => Start::NationalString,
            b'q' | b'Q' => Start::OracleString,
            b'u' | b'U' => Start::UnicodeString,
            _ => Start::Word,
        });
        byte += 1;
    }
    starts
};

fn is_white(byte: u8) -> bool {
    bytes::is(byte, WHITE)
}

//! Numbers, and what begins with a `$`.

use memchr::memmem;

use super::super::bytes::{AMOUNT, BINARY, HEX, LETTER, digits, find_pair, span};
use super::super::token::{Kind, Token};
use super::symbols::one;
use super::words::word;
use super::{Read, is_white};

/// `1`, `.5`, `1e3`, `0x1F`, `0b01`, with Oracle's suffixes `d` and `f`; or a lone `.`.
pub(super) fn number(rest: &[u8]) -> Read<'_> {
    let base = match rest {
        [b'0', b'x' | b'X', ..] => Some(HEX),
        [b'0', b'b' | b'B', ..] => Some(BINARY),
        _ => None,
    };
    if let Some(base) = base {
        let len = span(&rest[2..], base);
        let kind = if len == 0 { Kind::Bareword } else { Kind::Number };
        return Read::plain(kind, rest, 2 + len);
    }

    let mut len = digits(rest);
    if rest.get(len) == Some(&b'.') {
        len += 1 + digits(&rest[len + 1..]);
        if len == 1 {
            return one(Kind::Dot, rest);
        }
    }
    let mut kind = Kind::Number;
    if let Some(b'e' | b'E') = rest.get(len) {
        len += 1;
        if let Some(b'+' | b'-') = rest.get(len) {
            len += 1;
        }
        let exponent = digits(&rest[len..]);
        len += exponent;
        if exponent == 0 {
            kind = Kind::Bareword;
        }
    }
    // Not in `1FROM`; but `1fUNION` is `1f UNION`.
    if let [b'd' | b'D' | b'f' | b'F', after @ ..] = &rest[len..]
        && after.first().is_none_or(|&next| is_white(next) || matches!(next, b';' | b'u' | b'U'))
    {
        len += 1;
    }
    Read::plain(kind, rest, len)
}

/// `B'01'` or `X'1F'`.
pub(super) fn quoted_digits(rest: &[u8], base: u8) -> Read<'_> {
    if let [_, b'\'', body @ ..] = rest {
        let len = span(body, base);
        if body.get(len) == Some(&b'\'') {
            return Read::plain(Kind::Number, rest, len + 3);
        }
    }
    word(rest)
}

/// An amount like `$1,000.00`, PostgreSQL's `$$...$$` and `$tag$...$tag$`, or just a `$`.
pub(super) fn dollar(rest: &[u8]) -> Read<'_> {
    let after = &rest[1..];
    match span(after, AMOUNT) {
        0 => {}
        1 if after[0] == b'.' => return word(rest),
        len => return Read::plain(Kind::Number, rest, 1 + len),
    }
    let tag = span(after, LETTER);
    if after.get(tag) != Some(&b'$') {
        return one(Kind::Bareword, rest);
    }
    let (delimiter, body) = rest.split_at(tag + 2);
    let end = match delimiter {
        b"$$" => find_pair(body, b'$', b'$'),
        _ => memmem::find(body, delimiter),
    };
    match end {
        Some(end) => Read {
            token: Token::string(&body[..end], Some(b'$'), Some(b'$')),
            len: delimiter.len() * 2 + end,
        },
        None => Read { token: Token::string(body, Some(b'$'), None), len: rest.len() },
    }
}

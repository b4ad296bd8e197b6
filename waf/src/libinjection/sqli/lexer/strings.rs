//! Strings, in the notations of the engines.

use memchr::memchr;

use super::super::bytes::find_pair;
use super::super::token::Token;
use super::Read;
use super::words::word;

/// A string whose delimiter is the last of the `skip` bytes before its text.
pub(super) fn quoted(rest: &[u8], skip: usize, quote: u8) -> Read<'_> {
    let body = &rest[skip..];
    let Read { mut token, len } = continued(body, quote);
    token.open = Some(quote);
    Read { token, len: skip + len }
}

/// The rest of a string that began before the input.
pub(super) fn continued(body: &[u8], quote: u8) -> Read<'_> {
    match end_of_string(body, quote) {
        Some(end) => Read { token: Token::string(&body[..end], None, Some(quote)), len: end + 1 },
        None => Read { token: Token::string(body, None, None), len: body.len() },
    }
}

/// The first `quote` that is neither behind a backslash nor doubled.
fn end_of_string(body: &[u8], quote: u8) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr(quote, body.get(from..)?)?;
        if is_escaped(&body[..at]) {
            from = at + 1;
        } else if body.get(at + 1) == Some(&quote) {
            from = at + 2;
        } else {
            return Some(at);
        }
    }
}

/// An odd number of backslashes escapes what follows them.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// PostgreSQL's `E'...'`.
pub(super) fn escape(rest: &[u8]) -> Read<'_> {
    match rest {
        [_, b'\'', _, ..] => quoted(rest, 2, b'\''),
        _ => word(rest),
    }
}

/// MySQL's `N'...'`, or Oracle's `NQ'[...]'`.
pub(super) fn national(rest: &[u8]) -> Read<'_> {
    match rest {
        [_, b'\'', _, ..] => quoted(rest, 2, b'\''),
        _ => oracle(rest, 1),
    }
}

/// Oracle's `Q'[...]'`, with a delimiter of the author's choice, after `prefix` bytes.
pub(super) fn oracle(rest: &[u8], prefix: usize) -> Read<'_> {
    let [b'q' | b'Q', b'\'', opening, ..] = rest[prefix..] else { return word(rest) };
    let closing = match opening {
        b'(' => b')',
        b'[' => b']',
        b'{' => b'}',
        b'<' => b'>',
        b'!'..=0x7f => opening,
        _ => return word(rest),
    };
    let body = &rest[prefix + 3..];
    match find_pair(body, closing, b'\'') {
        Some(end) => Read {
            token: Token::string(&body[..end], Some(b'q'), Some(b'q')),
            len: prefix + 3 + end + 2,
        },
        None => Read { token: Token::string(body, Some(b'q'), None), len: rest.len() },
    }
}

/// The standard's `U&'...'`.
pub(super) fn unicode(rest: &[u8]) -> Read<'_> {
    if !matches!(rest, [_, b'&', b'\'', ..]) {
        return word(rest);
    }
    let Read { mut token, len } = quoted(rest, 3, b'\'');
    token.open = Some(b'u');
    token.close = token.close.map(|_| b'u');
    Read { token, len }
}

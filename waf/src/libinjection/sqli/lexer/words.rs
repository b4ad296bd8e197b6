//! Words, names and variables.

use memchr::memchr;

use super::super::bytes::{VARIABLE_END, WORD_END, span_until};
use super::super::keywords::keyword;
use super::super::token::{Kind, MAX_TEXT, clip};
use super::Read;
use super::strings::quoted;

/// A keyword or a name.
pub(super) fn word(rest: &[u8]) -> Read<'_> {
    // Only a word that a token can hold may be a keyword, and how long a longer one is matters
    // only if no keyword begins it: this keeps `and.and.and` linear.
    let head = &rest[..rest.len().min(MAX_TEXT + 1)];
    let len = span_until(head, WORD_END);
    if let Some(read) = keyword_before_separator(rest, clip(&rest[..len])) {
        return read;
    }
    if len > MAX_TEXT {
        let len = len + span_until(&rest[len..], WORD_END);
        return Read::plain(Kind::Bareword, rest, len);
    }
    let kind = keyword(&rest[..len]).map_or(Kind::Bareword, |keyword| keyword.kind);
    Read::plain(kind, rest, len)
}

/// The `SELECT` of ``SELECT`column` `` and of `SELECT.1`.
fn keyword_before_separator<'a>(rest: &'a [u8], word: &[u8]) -> Option<Read<'a>> {
    word.iter().enumerate().filter(|(_, byte)| matches!(byte, b'.' | b'`')).find_map(|(len, _)| {
        let keyword = keyword(&word[..len])?;
        (keyword.kind != Kind::Bareword).then(|| Read::plain(keyword.kind, rest, len))
    })
}

/// MySQL's quoted name, which may be that of a function.
pub(super) fn backtick(rest: &[u8]) -> Read<'_> {
    let Read { token, len } = quoted(rest, 1, b'`');
    let kind = match keyword(token.text()) {
        Some(keyword) if keyword.kind == Kind::Function => Kind::Function,
        _ => Kind::Bareword,
    };
    Read { token: token.with_kind(kind), len }
}

/// SQL Server's quoted name.
pub(super) fn bracketed(rest: &[u8]) -> Read<'_> {
    Read::plain(Kind::Bareword, rest, memchr(b']', rest).map_or(rest.len(), |end| end + 1))
}

/// `@name`, `@@name`, and their quoted forms.
pub(super) fn variable(rest: &[u8]) -> Read<'_> {
    let skip = if rest.get(1) == Some(&b'@') { 2 } else { 1 };
    let name = &rest[skip..];
    let Read { token, len } = match name.first() {
        Some(&quote @ (b'`' | b'\'' | b'"')) => quoted(name, 1, quote),
        _ => Read::plain(Kind::Variable, name, span_until(name, VARIABLE_END)),
    };
    Read { token: token.with_kind(Kind::Variable), len: skip + len }
}

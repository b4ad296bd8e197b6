//! Operators and comments.

use memchr::memchr;

use super::super::bytes::find_pair;
use super::super::token::Kind;
use super::{Dialect, Read, is_white};

pub(super) fn one(kind: Kind, rest: &[u8]) -> Read<'_> {
    Read::plain(kind, rest, 1)
}

pub(super) fn operator(rest: &[u8]) -> Read<'_> {
    match rest {
        [b'<', b'=', b'>', ..] => Read::plain(Kind::Operator, rest, 3),
        [b'&', b'&', ..] | [b'|', b'|', ..] => Read::plain(Kind::Logic, rest, 2),
        [b'!', b'!' | b'<' | b'=' | b'>', ..]
        | [b'&' | b'*', b'=', ..]
        | [b':', b':' | b'=', ..]
        | [b'<', b'<' | b'=' | b'>' | b'@', ..]
        | [b'>', b'=' | b'>', ..]
        | [b'|', b'/' | b'=', ..] => Read::plain(Kind::Operator, rest, 2),
        // A `:` with nothing behind it is an operator: so libinjection has it.
        [b':', _, ..] => one(Kind::Colon, rest),
        _ => one(Kind::Operator, rest),
    }
}

/// MySQL's `\N` is `NULL`.
pub(super) fn backslash(rest: &[u8]) -> Read<'_> {
    match rest {
        [_, b'N', ..] => Read::plain(Kind::Number, rest, 2),
        _ => one(Kind::Backslash, rest),
    }
}

pub(super) fn slash(rest: &[u8]) -> Read<'_> {
    let Some(inside) = rest.strip_prefix(b"/*") else { return one(Kind::Operator, rest) };
    let end = find_pair(inside, b'*', b'/');
    // PostgreSQL nests comments, and MySQL executes those that begin with `!`: either is evasion.
    // The `*` of the end may belong to a nested `/*`.
    let nested = end.is_some_and(|end| find_pair(&inside[..=end], b'/', b'*').is_some());
    let kind = if nested || inside.first() == Some(&b'!') { Kind::Evil } else { Kind::Comment };
    Read::plain(kind, rest, end.map_or(rest.len(), |end| end + 4))
}

/// Is this `--x`, a comment unless the engine is MySQL?
pub(super) fn dash_depends_on_dialect(rest: &[u8]) -> bool {
    matches!(rest, [_, b'-', next, ..] if !is_white(*next))
}

pub(super) fn dash(rest: &[u8], dialect: Dialect) -> Read<'_> {
    let comment =
        rest.get(1) == Some(&b'-') && (dialect == Dialect::Ansi || !dash_depends_on_dialect(rest));
    if comment { line_comment(rest) } else { one(Kind::Operator, rest) }
}

pub(super) fn hash(rest: &[u8], dialect: Dialect) -> Read<'_> {
    match dialect {
        Dialect::Ansi => one(Kind::Operator, rest),
        Dialect::MySql => line_comment(rest),
    }
}

fn line_comment(rest: &[u8]) -> Read<'_> {
    match memchr(b'\n', rest) {
        Some(end) => Read { len: end + 1, ..Read::plain(Kind::Comment, rest, end) },
        None => Read::plain(Kind::Comment, rest, rest.len()),
    }
}

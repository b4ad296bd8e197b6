//! Known patterns that plain text has as well.
//!
//! `1 --` may be an attack or the end of a sentence. For the shortest patterns a closer look at
//! the tokens and at the input decides.

use memchr::memmem;

use super::fingerprint::Fingerprint;
use super::lexer::Lexer;
use super::token::{Kind, Token};

/// Does an input of the known pattern `fingerprint` still look like an attack?
pub(super) fn is_plausible(
    fingerprint: Fingerprint,
    tokens: &[Token<'_>],
    lexer: &Lexer<'_>,
) -> bool {
    if fingerprint == Fingerprint::EVIL {
        return true;
    }
    // SQL Server keeps a statement out of its audit log when a comment names `sp_password`.
    if let [_, .., last] = tokens
        && last.kind == Kind::Comment
        && memmem::find(lexer.input(), b"sp_password").is_some()
    {
        return true;
    }
    // Nothing was folded away or skipped.
    let verbatim = lexer.token_count() == tokens.len();
    match tokens {
        [first, second] => pair_is_plausible(first, second, verbatim, lexer),
        [first, second, third] => match fingerprint.as_bytes() {
            // `foo' + 'bar`: the end of one string and the start of another.
            b"sos" | b"s&s" => {
                first.open.is_none() && third.close.is_none() && first.close == third.open
            }
            // "this and 17" is prose, "this and 17<18" is not.
            b"s&n" | b"n&1" | b"1&1" | b"1&v" | b"1&s" => !verbatim,
            // Of the keywords only `INTO OUTFILE` and `INTO DUMPFILE`.
            _ if second.kind == Kind::Keyword => {
                second.text().len() > 4 && second.starts_with(b"INTO")
            }
            _ => true,
        },
        _ => true,
    }
}

fn pair_is_plausible(
    first: &Token<'_>,
    second: &Token<'_>,
    verbatim: bool,
    lexer: &Lexer<'_>,
) -> bool {
    if second.kind == Kind::Union {
        return !verbatim;
    }
    let comment = second.text();
    match (first.kind, comment.first()) {
        // `#` is too common in plain text.
        (_, Some(b'#')) => false,
        (Kind::Bareword, opening) if second.kind == Kind::Comment => opening == Some(&b'/'),
        (Kind::Number, opening) if second.kind == Kind::Comment => {
            opening == Some(&b'/') || !verbatim || follows_directly(first, lexer.input())
        }
        // `1--` is a probe, `1 -- foo` may be prose.
        (_, Some(b'-')) => comment.len() <= 2,
        _ => true,
    }
}

/// Does the comment come right after the number, or after white space?
///
/// Folding joins `1+FOO` into a number, and `1234-ABCDEF--` is Base64 rather than an attack, so
/// this looks at the input. It looks for the number at the input's start, wherever it was, and
/// takes bytes above ASCII for white space: so does libinjection.
fn follows_directly(number: &Token<'_>, input: &[u8]) -> bool {
    match input.get(number.text().len()..) {
        Some([b'/', b'*', ..] | [b'-', b'-', ..]) => true,
        Some([next, ..]) => *next <= b' ' || !next.is_ascii(),
        _ => true,
    }
}

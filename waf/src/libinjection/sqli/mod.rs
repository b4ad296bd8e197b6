//! SQL injection: read the input as the SQL it might become, reduce it to a pattern of at most
//! five tokens, and look the pattern up among those of known attacks.
//!
//! An input is a fragment of an unknown query, so it is read in several ways: as it stands, and as
//! if the query had already opened a `'` or a `"` before it; and where `--` or `#` make it matter,
//! once with ANSI's comments and once with MySQL's.

mod bytes;
mod fingerprint;
mod fold;
mod keywords;
mod lexer;
mod plausible;
mod token;

use memchr::memchr;

use fingerprint::Fingerprint;
use fold::Window;
use lexer::{Dialect, Lexer};
use plausible::is_plausible;

/// The token pattern of the SQL injection in `input`, or `None` if there is none.
///
/// The pattern is the one of the first reading that convicts: it is what ModSecurity captures as
/// `TX:0`.
pub(crate) fn is_sqli(input: &[u8]) -> Option<Fingerprint> {
    if input.is_empty() {
        return None;
    }
    if let found @ Some(_) = in_both_dialects(input, None) {
        return found;
    }
    if memchr(b'\'', input).is_some()
        && let found @ Some(_) = in_both_dialects(input, Some(b'\''))
    {
        return found;
    }
    // Only MySQL takes `"` for a string's delimiter.
    memchr(b'"', input)?;
    read(&mut Lexer::new(input, Some(b'"'), Dialect::MySql))
}

/// Reads as ANSI SQL; then as MySQL, if a comment would read differently there.
fn in_both_dialects(input: &[u8], opened: Option<u8>) -> Option<Fingerprint> {
    let mut ansi = Lexer::new(input, opened, Dialect::Ansi);
    let found = read(&mut ansi);
    if found.is_none() && ansi.dialect_matters() {
        return read(&mut Lexer::new(input, opened, Dialect::MySql));
    }
    found
}

fn read(lexer: &mut Lexer<'_>) -> Option<Fingerprint> {
    let mut window = Window::new();
    window.fold(lexer);
    let fingerprint = Fingerprint::of(window.tokens());
    (fingerprint.is_known_attack() && is_plausible(fingerprint, window.tokens(), lexer))
        .then_some(fingerprint)
}

#[cfg(test)]
mod tests;

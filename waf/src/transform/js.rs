//! `jsDecode`: the escapes of JavaScript strings.

use super::bytes::{control_escape, hex_pair, hex_quad, narrow, octal, unescape};

/// Decodes `\u0041`, `\x41`, `\101` and `\n`; any other escaped byte stands for
/// itself, and a backslash at the very end stays.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    unescape(input, escape)
}

/// The byte that an escape stands for and how many bytes after the backslash it
/// takes; `tail` is not empty.
fn escape(tail: &[u8]) -> (u8, usize) {
    let letter = tail[0];
    if letter == b'u'
        && let Some(code) = hex_quad(&tail[1..])
    {
        return (narrow(code), 5);
    }
    if letter == b'x'
        && let Some(byte) = hex_pair(&tail[1..])
    {
        return (byte, 3);
    }
    match octal(tail) {
        Some((value, digits)) => match u8::try_from(value) {
            Ok(byte) => (byte, digits),
            Err(_) => ((value / 8) as u8, 2), // `\400` is `\40` and a digit
        },
        None => (control_escape(letter).unwrap_or(letter), 1),
    }
}

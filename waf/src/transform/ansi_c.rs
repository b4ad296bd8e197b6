//! `escapeSeqDecode`: the escapes of C strings.

use super::bytes::{control_escape, hex_pair, octal, unescape};

/// Decodes `\n`, `\x41`, `\101` and their like; any other escaped byte stands for
/// itself, and a backslash at the very end stays.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    unescape(input, escape)
}

/// The byte that an escape stands for and how many bytes after the backslash it
/// takes; `tail` is not empty.
fn escape(tail: &[u8]) -> (u8, usize) {
    let letter = tail[0];
    if let Some(control) = control_escape(letter) {
        return (control, 1);
    }
    if matches!(letter, b'x' | b'X')
        && let Some(byte) = hex_pair(&tail[1..])
    {
        return (byte, 3);
    }
    match octal(tail) {
        Some((value, digits)) => (value as u8, digits),
        None => (letter, 1),
    }
}

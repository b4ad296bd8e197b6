//! `escapeSeqDecode`: the escapes of C strings.

use memchr::memchr;

use super::bytes::{control_escape, hex_pair, octal};

/// Decodes `\n`, `\x41`, `\101` and their like; any other escaped byte stands for
/// itself, and a backslash at the very end stays.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let first = memchr(b'\\', input)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while let [byte, tail @ ..] = rest {
        if *byte != b'\\' || tail.is_empty() {
            output.push(*byte);
            rest = tail;
            continue;
        }
        let (decoded, used) = escape(tail);
        output.push(decoded);
        rest = &tail[used..];
    }
    Some(output)
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

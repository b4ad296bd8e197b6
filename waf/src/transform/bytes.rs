//! What several transformations share: byte classes of the C locale, which they mean, and
//! backslash escapes.

use memchr::memchr;

/// `isspace` of the C locale: unlike `u8::is_ascii_whitespace`, with vertical tab.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

pub(super) fn is_octal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'7')
}

/// Four bits of a digit, without a check: for bytes that are no digit some number
/// comes out, the same as in libmodsecurity, where `hexDecode` relies on it.
pub(super) fn nibble(byte: u8) -> u8 {
    if byte >= b'A' {
        (byte & 0xdf).wrapping_sub(b'A').wrapping_add(10)
    } else {
        byte.wrapping_sub(b'0')
    }
}

/// One byte of two digits, with the same freedom as [`nibble`].
pub(super) fn pair(high: u8, low: u8) -> u8 {
    nibble(high).wrapping_mul(16).wrapping_add(nibble(low))
}

/// One byte of the two hexadecimal digits that `input` starts with, if it does.
pub(super) fn hex_pair(input: &[u8]) -> Option<u8> {
    match input {
        [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Some(pair(*high, *low))
        }
        _ => None,
    }
}

/// The low byte of a code of four hexadecimal digits; the full-width forms of
/// ASCII (U+FF01 to U+FF5E) give the ASCII they stand for.
pub(super) fn narrow(code: u16) -> u8 {
    let low = code as u8;
    if code >> 8 == 0xff && (0x01..0x5f).contains(&low) { low + 0x20 } else { low }
}

/// The code of the four hexadecimal digits that `input` starts with, if it does.
pub(super) fn hex_quad(input: &[u8]) -> Option<u16> {
    let high = hex_pair(input)?;
    let low = hex_pair(&input[2..])?;
    Some(u16::from_be_bytes([high, low]))
}

/// The value and length of the one to three octal digits that `input` starts with.
pub(super) fn octal(input: &[u8]) -> Option<(u16, usize)> {
    let digits = input.iter().take(3).take_while(|byte| is_octal(**byte)).count();
    if digits == 0 {
        return None;
    }
    let value = input[..digits].iter().fold(0, |value, digit| value * 8 + u16::from(digit - b'0'));
    Some((value, digits))
}

/// What the letter after a backslash stands for in C, where it stands for a
/// control character.
pub(super) fn control_escape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        _ => return None,
    })
}

/// Replaces every backslash and what it escapes by the byte that `escape` gives for what stands
/// behind it (never nothing), with the number of bytes that takes. A backslash at the very end
/// stays; `None` if there is none at all.
pub(super) fn unescape(input: &[u8], escape: fn(&[u8]) -> (u8, usize)) -> Option<Vec<u8>> {
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

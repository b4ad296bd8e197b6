//! `htmlEntityDecode`: numeric entities and the handful of names that hide markup.

use memchr::memchr;

const NAMES: [(&[u8], u8); 5] =
    [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xa0)];

/// Decodes `&#60;`, `&#x3c;` and `&lt;`, with or without the semicolon; of a code
/// the low byte is taken. What is no entity stays.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let first = memchr(b'&', input)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while !rest.is_empty() {
        match entity(rest) {
            Some((byte, length)) => {
                output.push(byte);
                rest = &rest[length..];
                if let [b';', tail @ ..] = rest {
                    rest = tail;
                }
            }
            None => {
                let next = memchr(b'&', &rest[1..]).map_or(rest.len(), |next| next + 1);
                output.extend_from_slice(&rest[..next]);
                rest = &rest[next..];
            }
        }
    }
    Some(output)
}

/// The byte of the entity that `rest` starts with and its length without the
/// semicolon.
fn entity(rest: &[u8]) -> Option<(u8, usize)> {
    let [b'&', tail @ ..] = rest else { return None };
    match tail {
        [b'#', b'x' | b'X', tail @ ..] => number(tail, 16).map(|(byte, digits)| (byte, digits + 3)),
        [b'#', tail @ ..] => number(tail, 10).map(|(byte, digits)| (byte, digits + 2)),
        _ => {
            let length = tail.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let (_, byte) =
                NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&tail[..length]))?;
            Some((*byte, length + 1))
        }
    }
}

/// The low byte of the number that `tail` starts with and how many digits it has.
/// A number beyond 63 bits counts as the greatest, as C's `strtol` has it.
fn number(tail: &[u8], radix: u32) -> Option<(u8, usize)> {
    let mut value = 0i64;
    let mut digits = 0;
    for digit in tail.iter().map_while(|byte| char::from(*byte).to_digit(radix)) {
        value = value
            .checked_mul(i64::from(radix))
            .and_then(|value| value.checked_add(i64::from(digit)))
            .unwrap_or(i64::MAX);
        digits += 1;
    }
    (digits > 0).then_some((value as u8, digits))
}

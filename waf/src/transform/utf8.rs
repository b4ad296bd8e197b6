//! `utf8toUnicode`: UTF-8 as the `%u0041` escapes that `urlDecodeUni` reads.

use super::hex;

/// Writes each UTF-8 character beyond ASCII as `%u` and its code in hexadecimal,
/// of four digits at least. A lead byte without its continuation is lost, a
/// continuation without a lead stays, NULs are dropped. Overlong forms, surrogates
/// and codes beyond U+10FFFF are written too, with the lead byte beside them.
pub(super) fn to_unicode_escapes(input: &[u8]) -> Option<Vec<u8>> {
    let first = input.iter().position(|byte| *byte == 0 || !byte.is_ascii())?;
    let mut output = Vec::with_capacity(input.len() * 2);
    output.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while let [lead, tail @ ..] = rest {
        rest = tail;
        let (length, least, bits) = match lead {
            0 => continue,
            0x01..=0x7f | 0x80..=0xbf | 0xf8..=0xff => {
                output.push(*lead);
                continue;
            }
            0xc0..=0xdf => (1, 0x80, lead & 0x1f),
            0xe0..=0xef => (2, 0x800, lead & 0x0f),
            0xf0..=0xf7 => (3, 0x1_0000, lead & 0x07),
        };
        if *lead >= 0xf5 {
            output.push(*lead);
        }
        let Some(code) = code(bits, tail, length) else { continue };
        rest = &tail[length..];
        push_escape(&mut output, code);
        if (0xd800..=0xdfff).contains(&code) {
            output.push(*lead);
        }
        if code < least {
            output.push(*lead);
        }
    }
    Some(output)
}

/// `%u` and the code in as many digits as it needs, four at least.
fn push_escape(output: &mut Vec<u8>, code: u32) {
    output.extend_from_slice(b"%u");
    let [_, high, bytes @ ..] = code.to_be_bytes();
    match high {
        0 => {}
        0x01..=0x0f => output.push(hex::digits(high)[1]),
        _ => output.extend_from_slice(&hex::digits(high)),
    }
    for byte in bytes {
        output.extend_from_slice(&hex::digits(byte));
    }
}

/// The code of a lead byte's bits and `length` continuation bytes, if they are that.
fn code(lead_bits: u8, tail: &[u8], length: usize) -> Option<u32> {
    tail.get(..length)?.iter().try_fold(u32::from(lead_bits), |code, byte| {
        (byte & 0xc0 == 0x80).then(|| code << 6 | u32::from(byte & 0x3f))
    })
}

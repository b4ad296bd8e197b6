//! `compressWhitespace`, `removeWhitespace` and the three trims.

use super::bytes::is_space;

/// One blank for each run of white space.
pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let mut spaced = false;
    let first = input.iter().position(|byte| {
        let was_spaced = std::mem::replace(&mut spaced, is_space(*byte));
        spaced && (was_spaced || *byte != b' ')
    })?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut spaced = output.last() == Some(&b' ');
    for byte in &input[first..] {
        let was_spaced = std::mem::replace(&mut spaced, is_space(*byte));
        match (spaced, was_spaced) {
            (false, _) => output.push(*byte),
            (true, false) => output.push(b' '),
            (true, true) => {}
        }
    }
    Some(output)
}

/// Removes white space and the bytes 0xA0 and 0xC2, which are the no-break space
/// in Latin-1 and UTF-8 (and parts of other characters, as in libmodsecurity).
pub(super) fn remove(input: &[u8]) -> Option<Vec<u8>> {
    let blank = |byte: &u8| is_space(*byte) || matches!(byte, 0xa0 | 0xc2);
    let first = input.iter().position(blank)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    output.extend(input[first..].iter().filter(|byte| !blank(byte)));
    Some(output)
}

pub(super) fn trim(input: &[u8]) -> Option<Vec<u8>> {
    shortened(input, without_trailing(without_leading(input)))
}

pub(super) fn trim_left(input: &[u8]) -> Option<Vec<u8>> {
    shortened(input, without_leading(input))
}

pub(super) fn trim_right(input: &[u8]) -> Option<Vec<u8>> {
    shortened(input, without_trailing(input))
}

fn shortened(input: &[u8], output: &[u8]) -> Option<Vec<u8>> {
    (output.len() < input.len()).then(|| output.to_vec())
}

fn without_leading(mut input: &[u8]) -> &[u8] {
    while let [space, rest @ ..] = input
        && is_space(*space)
    {
        input = rest;
    }
    input
}

fn without_trailing(mut input: &[u8]) -> &[u8] {
    while let [rest @ .., space] = input
        && is_space(*space)
    {
        input = rest;
    }
    input
}

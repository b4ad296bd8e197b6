//! Forms and query strings. Holds: exactly what a plain reading of the definition gives, so
//! nothing is made up or left out; never more arguments or bytes than the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_waf::{body::urlencoded, transform::Transformation};
use tidegate_waf_fuzz::limits;

fuzz_target!(|data: &[u8]| {
    let Some((limits, input)) = limits(data) else { return };
    // `&` for most inputs, so that mutations of forms stay forms.
    let separator = if limits.depth < 250 { b'&' } else { limits.depth as u8 };
    let form = urlencoded::parse(input, separator, &limits);

    let seen = &input[..input.len().min(limits.bytes)];
    let mut pairs: Vec<&[u8]> = seen.split(|byte| *byte == separator).collect();
    pairs.pop_if(|last| last.is_empty());
    let over = pairs.len() > limits.arguments || input.len() > limits.bytes;
    pairs.truncate(limits.arguments);
    let mut invalid = false;
    let decoded =
        |text: &[u8]| Transformation::UrlDecode.apply(text).unwrap_or_else(|| text.to_vec());
    assert_eq!(form.arguments.len(), pairs.len());
    for (argument, pair) in form.arguments.iter().zip(&pairs) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (*pair, &[][..]),
        };
        assert_eq!(argument.name, decoded(name));
        assert_eq!(argument.value, decoded(value));
        invalid |= is_invalid(name) || is_invalid(value);
    }
    assert_eq!(form.over_limit, over);
    assert_eq!(form.invalid_encoding, invalid);
});

/// Whether some `%` has no two digits behind it.
fn is_invalid(text: &[u8]) -> bool {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut escapes = memchr::memchr_iter(b'%', text);
    escapes.any(|at| !(digit(at + 1) && digit(at + 2)))
}

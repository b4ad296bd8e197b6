//! XML bodies. Holds: never more attributes than the limit; text is UTF-8, no longer than the
//! body can say, and made of bytes of a body that has neither references nor another encoding;
//! what is read under a limit is the beginning of what is read without it; an element closed
//! by nothing is never well-formed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_waf::body::xml;
use tidegate_waf_fuzz::{AMPLE, is_subsequence, limits};

fuzz_target!(|data: &[u8]| {
    let Some((limits, body)) = limits(data) else { return };
    let limited = xml::parse(body, &limits);
    let ample = xml::parse(body, &AMPLE);
    let all = ample.as_ref().unwrap_or_else(|error| &error.read);
    let read = limited.as_ref().unwrap_or_else(|error| &error.read);

    assert!(read.attributes.len() <= limits.arguments);
    assert!(all.text.starts_with(&read.text), "a limit changes the text before it");
    assert!(all.attributes.starts_with(&read.attributes), "or the attributes");
    match &limited {
        Ok(_) => assert!(ample.is_ok() && all == read),
        Err(error) if !error.is_limit() => assert!(ample.is_err()),
        Err(_) => {}
    }

    let said = all.text.len() + all.attributes.iter().map(Vec::len).sum::<usize>();
    // A byte of windows-1252 or two of UTF-16 may take three of UTF-8.
    assert!(said <= 3 * body.len());
    assert!(std::str::from_utf8(&all.text).is_ok());
    assert!(all.attributes.iter().all(|value| std::str::from_utf8(value).is_ok()));
    if body.is_ascii() && !body.contains(&b'&') && !body.contains(&0) && !body.contains(&b'\r') {
        assert!(is_subsequence(&all.text, body));
    }
    if ample.is_ok() {
        let open = [b"<z>", body].concat();
        assert!(xml::parse(&open, &AMPLE).is_err());
    }
});

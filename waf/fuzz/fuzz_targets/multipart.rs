//! Multipart bodies: a content type, a line feed, a body. Holds: never more arguments, parts or
//! header lines than the limits; every value and file stands in the body, files in order and
//! apart from one another; a body without a fault has ended; what is read under a limit on
//! arguments is the beginning of what is read without it; a body as browsers make it is read
//! as it was meant.

#![no_main]

use libfuzzer_sys::fuzz_target;
use memchr::memmem;
use tidegate_waf::body::{Limits, multipart};
use tidegate_waf_fuzz::{AMPLE, limits};

fuzz_target!(|data: &[u8]| {
    let Some((limits, rest)) = limits(data) else { return };
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let (kind, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    any(kind, body, &limits);
    honest(body);
});

fn any(kind: &[u8], body: &[u8], limits: &Limits) {
    let read = multipart::parse(kind, body, limits);
    let seen = &body[..body.len().min(limits.bytes)];
    assert!(read.arguments.len() <= limits.arguments);
    assert!(read.arguments.len() + read.files.len() <= limits.parts);
    assert!(read.part_headers.iter().all(|part| part.lines.len() <= limits.part_headers));
    let mut from = 0;
    // One that was cut before its content has none anywhere.
    for file in read.files.iter().filter(|file| !file.content.is_empty()) {
        assert!(from <= file.content.start && file.content.start <= file.content.end);
        assert!(file.content.end <= seen.len());
        from = file.content.end;
    }
    let mut rest = seen;
    for argument in &read.arguments {
        let at = memmem::find(rest, &argument.value).expect("a value stands in the body");
        rest = &rest[at + argument.value.len()..];
    }
    assert!(read.no_files_length <= seen.len());
    assert!(
        read.part_headers.iter().flat_map(|part| &part.lines).map(Vec::len).sum::<usize>()
            <= seen.len()
    );
    assert!(read.names.iter().chain(&read.filenames).map(Vec::len).sum::<usize>() <= seen.len());
    assert!(read.fault.is_some() || read.is_complete || seen.is_empty());
    assert!(!read.flags.error || read.fault.is_some());

    let ample = multipart::parse(kind, seen, &Limits { arguments: AMPLE.arguments, ..*limits });
    assert!(ample.arguments.starts_with(&read.arguments));
    assert_eq!((ample.files, ample.fault, ample.flags), (read.files, read.fault, read.flags));
}

/// Values between bytes that no text has, sent as a browser would.
fn honest(text: &[u8]) {
    const BOUNDARY: &[u8] = b"----formboundaryQ7";
    let values: Vec<&[u8]> = text
        .split(|byte| *byte == 0xff)
        .filter(|value| memmem::find(value, BOUNDARY).is_none())
        .take(50)
        .collect();
    let mut body = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let kind = match index % 3 {
            0 => format!("; filename=\"{index}.bin\"\r\nContent-Type: application/octet-stream"),
            _ => String::new(),
        };
        let head = format!("Content-Disposition: form-data; name=\"n{index}\"{kind}\r\n\r\n");
        body.extend([b"--", BOUNDARY, b"\r\n", head.as_bytes(), value, b"\r\n"].concat());
    }
    body.extend([b"--", BOUNDARY, b"--\r\n"].concat());
    if values.is_empty() {
        return;
    }
    let kind = [b"multipart/form-data; boundary=", BOUNDARY].concat();
    let read = multipart::parse(&kind, &body, &AMPLE);
    assert_eq!((read.fault, read.is_complete), (None, true));
    let mut files = read.files.iter();
    let mut arguments = read.arguments.iter();
    for (index, value) in values.iter().enumerate() {
        if index % 3 == 0 {
            let file = files.next().expect("a file");
            assert_eq!(&body[file.content.clone()], *value);
            assert_eq!(file.field, format!("n{index}").as_bytes());
        } else {
            let argument = arguments.next().expect("an argument");
            assert_eq!(argument.value, *value);
            assert_eq!(argument.name, format!("n{index}").as_bytes());
        }
    }
    assert!(files.next().is_none() && arguments.next().is_none());
}

//! How long a request's body is (RFC 9112 section 6), and nothing else than that:
//! where the message ends is the one thing two servers must not read differently.

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::{Malformed, fields};

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The framing of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Content-Length; 0 as well when nothing announces a body.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// Decides by the two fields, each of which must be single and plain.
pub(super) fn of_request(headers: &HeaderMap, version: Version) -> Result<Framing, Malformed> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(Malformed::FramingConflict),
        (None, Some(length)) => match lengths.next() {
            None => content_length(length).map(Framing::Length),
            Some(_) => Err(Malformed::ContentLength),
        },
        (Some(coding), None) => {
            if version == Version::HTTP_10 || codings.next().is_some() {
                return Err(Malformed::TransferEncoding);
            }
            transfer_coding(coding)
        }
    }
}

/// Digits only, at most `i64::MAX`: nobody sends more, and many count in `i64`.
pub(super) fn content_length(value: &HeaderValue) -> Result<u64, Malformed> {
    let digits = value.as_bytes();
    if !matches!(digits.len(), 1..=19) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::ContentLength);
    }
    // 19 digits fit into u64.
    let length = digits.iter().fold(0, |n: u64, digit| n * 10 + u64::from(digit - b'0'));
    if i64::try_from(length).is_ok() { Ok(length) } else { Err(Malformed::ContentLength) }
}

fn transfer_coding(value: &HeaderValue) -> Result<Framing, Malformed> {
    let coding = value.as_bytes();
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    // `HeaderName` is a token: a single well-formed coding is unknown, all else is noise.
    match HeaderName::from_bytes(coding) {
        Ok(_) => Err(Malformed::TransferCoding),
        Err(_) => Err(Malformed::TransferEncoding),
    }
}

/// Removes an offer to switch to HTTP/2 (obsolete since RFC 9113 section 3.1): `h2c`
/// from Upgrade, HTTP2-Settings, and their mention in Connection. A proxy that passes
/// it on hands the client a connection it no longer sees into.
pub(super) fn strip_h2c(headers: &mut HeaderMap) {
    let offers =
        headers.contains_key(header::UPGRADE) && elements_named(headers, header::UPGRADE, is_h2c);
    let settings = headers.remove(HTTP2_SETTINGS).is_some();
    if offers {
        retain_elements(headers, header::UPGRADE, |element| !is_h2c(element));
    }
    if offers || settings {
        let upgrade = headers.contains_key(header::UPGRADE);
        retain_elements(headers, header::CONNECTION, |element| {
            !element.eq_ignore_ascii_case(b"http2-settings")
                && (upgrade || !element.eq_ignore_ascii_case(b"upgrade"))
        });
    }
}

fn is_h2c(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c") || protocol.eq_ignore_ascii_case(b"h2")
}

fn elements_named(headers: &HeaderMap, name: HeaderName, is: fn(&[u8]) -> bool) -> bool {
    fields::elements(headers, name).any(is)
}

/// Rewrites a list to one line of the elements kept, or removes it.
fn retain_elements(headers: &mut HeaderMap, name: HeaderName, keep: impl Fn(&[u8]) -> bool) {
    let mut kept = BytesMut::new();
    for element in fields::elements(headers, name.clone()).filter(|element| keep(element)) {
        if !kept.is_empty() {
            kept.put_slice(b", ");
        }
        kept.put_slice(element);
    }
    match HeaderValue::from_maybe_shared(kept.freeze()) {
        Ok(value) if !value.is_empty() => headers.insert(name, value),
        _ => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).fold(
            HeaderMap::new(),
            |mut map, (n, v)| {
                map.append(n, v);
                map
            },
        )
    }

    fn of(fields: &[(&'static str, &'static str)]) -> Result<Framing, Malformed> {
        of_request(&headers(fields), Version::HTTP_11)
    }

    #[test]
    fn one_length_or_one_chunked() {
        assert_eq!(of(&[]), Ok(Framing::Length(0)));
        assert_eq!(of(&[("content-length", "007")]), Ok(Framing::Length(7)));
        assert_eq!(
            of(&[("content-length", "9223372036854775807")]),
            Ok(Framing::Length(i64::MAX as u64))
        );
        assert_eq!(of(&[("transfer-encoding", "ChunkeD")]), Ok(Framing::Chunked));
    }

    #[test]
    fn refuses_every_other_spelling() {
        for length in
            ["", "+3", "-3", "0x3", "3,3", "3 3", "9223372036854775808", "00000000000000000003"]
        {
            assert_eq!(
                of(&[("content-length", length)]),
                Err(Malformed::ContentLength),
                "{length}"
            );
        }
        let twice = [("content-length", "3"), ("content-length", "3")];
        assert_eq!(of(&twice), Err(Malformed::ContentLength));
        for coding in
            ["", "chunked, identity", "chunked,", ",chunked", "chunked;q=1", "\"chunked\""]
        {
            let fields = [("transfer-encoding", coding)];
            assert_eq!(of(&fields), Err(Malformed::TransferEncoding), "{coding}");
        }
        for coding in ["xchunked", "identity", "gzip"] {
            let fields = [("transfer-encoding", coding)];
            assert_eq!(of(&fields), Err(Malformed::TransferCoding), "{coding}");
        }
        let chunked = [("transfer-encoding", "chunked")];
        assert_eq!(
            of_request(&headers(&chunked), Version::HTTP_10),
            Err(Malformed::TransferEncoding)
        );
        assert_eq!(of(&[chunked[0], chunked[0]]), Err(Malformed::TransferEncoding));
        assert_eq!(of(&[chunked[0], ("content-length", "3")]), Err(Malformed::FramingConflict));
    }

    #[test]
    fn an_offer_of_h2c_leaves_no_trace() {
        let mut fields = headers(&[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ]);
        strip_h2c(&mut fields);
        assert!(fields.is_empty());

        let mut fields = headers(&[
            ("connection", "keep-alive"),
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "H2C, websocket"),
        ]);
        strip_h2c(&mut fields);
        assert_eq!(fields.get("upgrade").unwrap(), "websocket");
        assert_eq!(fields.get("connection").unwrap(), "keep-alive, Upgrade");
    }

    #[test]
    fn other_upgrades_stay() {
        let before = headers(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        let mut after = before.clone();
        strip_h2c(&mut after);
        assert_eq!(after, before);
    }
}

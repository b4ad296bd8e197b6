//! Field lines (RFC 9112 section 5), of a head or of trailers.
//!
//! `name ":" OWS value OWS CRLF`: a name is a token with nothing before or after it,
//! so obs-fold and `name :` fail as names. Values are slices of the section, not
//! copies; they may hold obs-text (bytes from 0x80), which RFC 9110 section 5.5 calls
//! opaque and clients do send, and HTAB, but no other control byte.
//!
//! A field with `_` in its name is checked and then dropped: CGI-style servers read
//! `X_Forwarded_For` as `X-Forwarded-For`, past everything that guards the latter.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Malformed;
use crate::identity;

/// Fields the proxy adds to a request.
const ADDED: usize = 8;

/// Parses the lines of `section` from `at` to its empty line. The scan has seen to
/// it that each LF follows a CR and that the empty line exists.
pub(super) fn parse(section: &Bytes, mut at: usize, lines: usize) -> Result<HeaderMap, Malformed> {
    // Room for what the proxy adds: growing rehashes every field.
    let mut fields = HeaderMap::with_capacity(lines + ADDED);
    while let Some(length) = memchr::memchr(b'\n', &section[at..]) {
        let end = at + length.saturating_sub(1);
        if end == at {
            break;
        }
        let line = Line::parse(section, at, end)?;
        at += length + 1;
        if !line.dropped {
            fields.try_append(line.name, line.value).map_err(|_| Malformed::TooManyHeaders)?;
        }
    }
    Ok(fields)
}

struct Line {
    name: HeaderName,
    value: HeaderValue,
    /// Its name has an underscore.
    dropped: bool,
}

impl Line {
    fn parse(section: &Bytes, start: usize, end: usize) -> Result<Self, Malformed> {
        // Names are short: a plain loop beats a search made for long texts.
        let mut dropped = false;
        let colon = section[start..end].iter().position(|byte| {
            dropped |= *byte == b'_';
            *byte == b':'
        });
        let colon = start + colon.ok_or(Malformed::Header)?;
        let name = HeaderName::from_bytes(&section[start..colon]).map_err(|_| Malformed::Header)?;
        let value = trim(section, colon + 1, end);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::Header)?;
        Ok(Self { name, value, dropped })
    }
}

/// Without the optional whitespace around it.
fn trim(section: &Bytes, mut start: usize, mut end: usize) -> Bytes {
    let blank = |at: usize| matches!(section[at], b' ' | b'\t');
    while start < end && blank(start) {
        start += 1;
    }
    while start < end && blank(end - 1) {
        end -= 1;
    }
    section.slice(start..end)
}

/// The elements of a list-valued field, over all its lines, trimmed, without empty
/// ones (RFC 9110 section 5.6.1).
pub(super) fn elements(
    fields: &HeaderMap,
    name: HeaderName,
) -> impl Iterator<Item = &[u8]> + use<'_> {
    fields
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether a list-valued field names `option`, in any case.
pub(super) fn has_element(fields: &HeaderMap, name: HeaderName, option: &[u8]) -> bool {
    elements(fields, name).any(|element| element.eq_ignore_ascii_case(option))
}

/// Removes from trailers what must not arrive late (RFC 9110 section 6.5.1):
/// framing, routing, authentication, cookies, conditions, content and response
/// control, and what a proxy says about the client.
pub(crate) fn retain_trailers(trailers: &mut HeaderMap) {
    let late =
        trailers.keys().filter(|name| is_forbidden_trailer(name) || name.as_str().contains('_'));
    let late: Vec<HeaderName> = late.cloned().collect();
    for name in late {
        trailers.remove(name);
    }
}

fn is_forbidden_trailer(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 5] = ["content-", "if-", "x-forwarded-", "proxy-", "sec-"];
    const NAMES: [HeaderName; 28] = [
        header::AGE,
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::COOKIE,
        header::DATE,
        header::EXPECT,
        header::EXPIRES,
        header::FORWARDED,
        header::HOST,
        header::LOCATION,
        header::MAX_FORWARDS,
        header::ORIGIN,
        header::PRAGMA,
        header::RANGE,
        header::REFERER,
        header::RETRY_AFTER,
        header::SET_COOKIE,
        header::STRICT_TRANSPORT_SECURITY,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::VARY,
        header::VIA,
        header::WARNING,
        header::WWW_AUTHENTICATE,
        HeaderName::from_static("keep-alive"),
    ];
    let text = name.as_str();
    NAMES.contains(name)
        || PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || matches!(text, "x-real-ip" | "x-request-id" | "http2-settings")
        || identity::is_claim(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(section: &'static [u8]) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
        let fields = parse(&Bytes::from_static(section), 0, 4)?;
        Ok(fields.iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect())
    }

    #[test]
    fn trims_values_and_keeps_order() {
        let fields = of(b"A: 1\r\nb:\t 2 \t\r\nc:\r\na:x y\xff\tz\r\n\r\n").unwrap();
        let expected: [(&str, &[u8]); 4] =
            [("a", b"1"), ("a", b"x y\xff\tz"), ("b", b"2"), ("c", b"")];
        assert_eq!(fields.len(), expected.len());
        for (field, (name, value)) in fields.iter().zip(expected) {
            assert_eq!((field.0.as_str(), field.1.as_slice()), (name, value));
        }
    }

    #[test]
    fn drops_names_with_underscores_but_checks_them() {
        assert_eq!(of(b"X_Forwarded_For: 1\r\n\r\n"), Ok(vec![]));
        assert_eq!(of(b"x_y: \x01\r\n\r\n"), Err(Malformed::Header));
    }

    #[test]
    fn refuses_malformed_lines() {
        let lines: [&[u8]; 13] = [
            b"a\r\n\r\n",
            b": 1\r\n\r\n",
            b"a : 1\r\n\r\n",
            b" a: 1\r\n\r\n",
            b"a: 1\r\n b\r\n\r\n",
            b"a: 1\r\n\tb: 2\r\n\r\n",
            b"a: \0\r\n\r\n",
            b"a: x\ry\r\n\r\n",
            b"a: x\r\r\n\r\n",
            b"a(: x\r\n\r\n",
            b"\xe4: x\r\n\r\n",
            b"a: \x7f\r\n\r\n",
            b"a: \x0b\r\n\r\n",
        ];
        for line in lines {
            assert_eq!(of(line), Err(Malformed::Header), "{line:?}");
        }
    }

    #[test]
    fn trailers_lose_what_must_not_arrive_late() {
        let mut trailers = parse(
            &Bytes::from_static(
                b"Host: a\r\ncontent-length: 3\r\nX-Checksum: 1\r\nX-Forwarded-For: 1\r\nif-match: x\r\nClient-Cert: :AA==:\r\n\r\n",
            ),
            0,
            6,
        )
        .unwrap();
        retain_trailers(&mut trailers);
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["x-checksum"], "1");
    }
}

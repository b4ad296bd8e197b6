//! A request head (RFC 9112 sections 2 to 3): from the read buffer to what the
//! handler and the connection need to know.
//!
//! One leading CRLF is skipped before a request line, as RFC 9112 section 2.2 asks of
//! servers; a second one is malformed.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use super::{
    Limits, Malformed, fields,
    framing::{self, Framing},
    host,
    scan::{Bounds, Scan},
    target,
};

/// Bytes of a request line beside its target: the longest method, two spaces,
/// `HTTP/1.1` and CRLF.
const LINE_EXTRA: usize = METHOD_MAX + 12;
/// Longest method taken; the longest registered one has 17 bytes.
const METHOD_MAX: usize = 32;
/// Longest target `http::Uri` can hold.
const URI_MAX: usize = u16::MAX as usize - 1;

/// A checked request head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The client lets the connection live on.
    pub(super) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The client said `TE: trailers`.
    pub(super) takes_trailers: bool,
}

/// Takes heads from a growing buffer.
#[derive(Debug, Default)]
pub(super) struct Heads {
    scan: Scan,
    /// The one leading CRLF was skipped.
    skipped: bool,
}

impl Heads {
    /// The next head, cut from the front of `input`, or `None` while more bytes are
    /// needed. After an error the input is not to be read any further.
    pub(super) fn take(
        &mut self,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Head>, Malformed> {
        if !self.skipped && input.first() == Some(&b'\r') {
            match input.get(1) {
                None => return Ok(None),
                Some(b'\n') => input.advance(2),
                Some(_) => return Err(Malformed::RequestLine),
            }
            self.skipped = true;
        }
        // Refused at the first byte: a TLS hello would wait for a line that never ends.
        if input.first().is_some_and(|byte| !is_token_byte(*byte)) {
            return Err(Malformed::RequestLine);
        }
        let bounds = Bounds {
            bytes: limits.header_bytes,
            first_line: limits.uri_bytes.min(URI_MAX) + LINE_EXTRA,
            lines: limits.headers.saturating_add(1),
        };
        let progress = self.scan.advance(input, &bounds);
        if !matches!(progress, Ok(Some(_))) && self.scan.lines() > 0 {
            // A bad request line is answered at once: HTTP/0.9 sends nothing after it.
            request_line(input, limits)?;
        }
        let Some(length) = progress? else { return Ok(None) };
        let lines = self.scan.lines();
        *self = Self::default();
        // Taken whole where nothing follows: the buffer then keeps no share in it.
        let section = match input.len() == length {
            true => std::mem::take(input),
            false => input.split_to(length),
        };
        parse(section.freeze(), lines, limits).map(Some)
    }

    /// Whether a request has begun to arrive: a skipped CRLF counts.
    pub(super) fn begun(&self, input: &[u8]) -> bool {
        self.skipped || !input.is_empty()
    }
}

fn parse(section: Bytes, lines: usize, limits: &Limits) -> Result<Head, Malformed> {
    let line = request_line(&section, limits)?;
    let target = target::parse(&line.method, section.slice_ref(line.target))?;
    let mut headers = fields::parse(&section, line.length, lines.saturating_sub(1))?;
    check_host(&mut headers, line.version, target.authority)?;
    let framing = framing::of_request(&headers, line.version)?;
    let expects_continue = expects_continue(&headers, line.version)?;
    let keep_alive = keep_alive(&headers, line.version);
    framing::strip_h2c(&mut headers);
    Ok(Head {
        takes_trailers: fields::has_element(&headers, header::TE, b"trailers"),
        method: line.method,
        uri: target.uri,
        version: line.version,
        headers,
        framing,
        keep_alive,
        expects_continue,
    })
}

struct RequestLine<'a> {
    method: Method,
    target: &'a [u8],
    version: Version,
    /// Bytes of the line with its CRLF.
    length: usize,
}

/// `method SP request-target SP HTTP-version CRLF`, each space exactly one, at the
/// front of `section`. The target's bytes are checked elsewhere.
fn request_line<'a>(section: &'a [u8], limits: &Limits) -> Result<RequestLine<'a>, Malformed> {
    // The first CR: one that no LF follows is a bare one.
    let end = memchr::memchr(b'\r', section).ok_or(Malformed::RequestLine)?;
    if section.get(end + 1) != Some(&b'\n') {
        return Err(Malformed::RequestLine);
    }
    let line = &section[..end];
    let space = memchr::memchr(b' ', line).ok_or(Malformed::RequestLine)?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    if method.len() > METHOD_MAX || !method.iter().all(|byte| is_token_byte(*byte)) {
        return Err(Malformed::RequestLine);
    }
    let method = Method::from_bytes(method).map_err(|_| Malformed::RequestLine)?;
    // From the end: a target with a raw space is then a bad target, and a line of two
    // parts (HTTP/0.9) has no version.
    let space = memchr::memrchr(b' ', rest).ok_or(Malformed::RequestLine)?;
    let (target, version) = (&rest[..space], version(&rest[space + 1..])?);
    if target.len() > limits.uri_bytes.min(URI_MAX) {
        return Err(Malformed::UriTooLong);
    }
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return Err(Malformed::Method);
    }
    Ok(RequestLine { method, target, version, length: end + 2 })
}

fn version(word: &[u8]) -> Result<Version, Malformed> {
    match word {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Malformed::Version),
        _ => Err(Malformed::RequestLine),
    }
}

/// RFC 9112 section 3.2: exactly one valid Host, which 1.0 may lack, equal to the
/// authority of the target if that has one.
fn check_host(
    headers: &mut HeaderMap,
    version: Version,
    authority: Option<Bytes>,
) -> Result<(), Malformed> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let host = host.as_bytes();
            let agrees = authority.is_none_or(|authority| authority.eq_ignore_ascii_case(host));
            if agrees && host::is_valid(host) { Ok(()) } else { Err(Malformed::Host) }
        }
        (None, _) if version == Version::HTTP_10 => {
            if let Some(authority) = authority {
                let host =
                    HeaderValue::from_maybe_shared(authority).map_err(|_| Malformed::Host)?;
                headers.insert(header::HOST, host);
            }
            Ok(())
        }
        _ => Err(Malformed::Host),
    }
}

/// RFC 9110 section 10.1.1: 1.0 clients cannot expect, others only `100-continue`.
fn expects_continue(headers: &HeaderMap, version: Version) -> Result<bool, Malformed> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        (Some(_), _) if version == Version::HTTP_10 => Ok(false),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Malformed::Expectation),
    }
}

/// RFC 9112 section 9.3.
fn keep_alive(headers: &HeaderMap, version: Version) -> bool {
    if !headers.contains_key(header::CONNECTION) {
        return version == Version::HTTP_11;
    }
    !fields::has_element(headers, header::CONNECTION, b"close")
        && (version == Version::HTTP_11
            || fields::has_element(headers, header::CONNECTION, b"keep-alive"))
}

/// `tchar` (RFC 9110 section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

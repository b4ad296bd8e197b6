//! Responses as bytes: the head, and the body in the framing chosen for it.
//!
//! The codec owns framing: a handler's Transfer-Encoding and Connection are replaced,
//! its Content-Length is kept and enforced. A body that breaks its framing is an
//! error, never a clean end.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::{Body, Frame};

use super::{date, fields, framing, output::Output};

/// What the request says about its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The method is HEAD.
    pub(super) head: bool,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    /// Trailers are welcome.
    pub(super) trailers: bool,
}

impl Asked {
    pub(super) fn by(head: &super::head::Head) -> Self {
        Self {
            head: head.method == Method::HEAD,
            version: head.version,
            keep_alive: head.keep_alive,
            trailers: head.takes_trailers,
        }
    }

    /// By something that never became a request: nothing is known, the least assumed.
    pub(super) fn by_nobody() -> Self {
        Self { head: false, version: Version::HTTP_10, keep_alive: false, trailers: false }
    }
}

/// How a response body is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// There is none: HEAD, 1xx, 204, 304.
    None,
    /// Content-Length; what is left of it.
    Length(u64),
    /// Chunked, with trailers if the client takes them.
    Chunked { trailers: bool },
    /// Until the connection closes, for HTTP/1.0.
    Close,
}

impl Delivery {
    /// The framing for `response`: its own Content-Length, else an exact size, else
    /// chunked.
    pub(super) fn of<B: Body>(response: &Response<B>, asked: &Asked) -> Self {
        let status = response.status();
        if asked.head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            return Self::None;
        }
        match declared_length(response.headers()).or_else(|| response.body().size_hint().exact()) {
            Some(length) => Self::Length(length),
            None if asked.version == Version::HTTP_11 => Self::Chunked { trailers: asked.trailers },
            None => Self::Close,
        }
    }

    /// Appends a frame. Fails when it exceeds the length declared.
    pub(super) fn frame(
        &mut self,
        frame: Frame<Bytes>,
        output: &mut Output,
    ) -> Result<(), LengthMismatch> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let (Self::Chunked { trailers: true }, Ok(fields)) =
                    (*self, frame.into_trailers())
                {
                    put_trailers(fields, output.tail());
                    *self = Self::None;
                }
                return Ok(());
            }
        };
        // An empty chunk would be the last one.
        if data.is_empty() {
            return Ok(());
        }
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(LengthMismatch)?;
                output.push(data);
            }
            Self::Chunked { .. } => {
                put_chunk_size(data.len(), output.tail());
                output.push(data);
                output.tail().put_slice(b"\r\n");
            }
            Self::Close => output.push(data),
            Self::None => return Err(LengthMismatch),
        }
        Ok(())
    }

    /// Appends the end of the body. Fails when it is short of the length declared.
    pub(super) fn end(&mut self, output: &mut Output) -> Result<(), LengthMismatch> {
        match std::mem::replace(self, Self::None) {
            Self::Length(1..) => Err(LengthMismatch),
            Self::Chunked { .. } => {
                output.tail().put_slice(b"0\r\n\r\n");
                Ok(())
            }
            Self::Length(0) | Self::Close | Self::None => Ok(()),
        }
    }
}

/// The response body is longer or shorter than its Content-Length, or goes on after
/// its trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LengthMismatch;

/// Appends the head of `response`.
pub(super) fn head<B>(
    response: &Response<B>,
    delivery: Delivery,
    asked: &Asked,
    close: bool,
    out: &mut BytesMut,
) {
    let (status, headers) = (response.status(), response.headers());
    let fields: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    let small_body = match delivery {
        Delivery::Length(length @ ..=8192) => length as usize,
        _ => 0,
    };
    out.reserve(fields + small_body + 192);

    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in headers {
        if !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION)
        {
            put_field(name.as_str(), value, out);
        }
    }
    put_framing(delivery, status, headers, out);
    put_connection(close, asked, headers.contains_key(header::UPGRADE), out);
    if !headers.contains_key(header::DATE) {
        out.put_slice(b"date: ");
        date::put(out);
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
}

/// The handler's Content-Length, if it is one.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(length), None) => framing::content_length(length).ok(),
        _ => None,
    }
}

fn put_framing(delivery: Delivery, status: StatusCode, headers: &HeaderMap, out: &mut BytesMut) {
    let length = match delivery {
        Delivery::Length(length) => Some(length),
        // What GET would have had; never on 1xx and 204 (RFC 9110 section 8.6).
        Delivery::None if !status.is_informational() && status != StatusCode::NO_CONTENT => {
            declared_length(headers)
        }
        _ => None,
    };
    if let Some(length) = length {
        out.put_slice(b"content-length: ");
        put_decimal(length, out);
        out.put_slice(b"\r\n");
    } else if matches!(delivery, Delivery::Chunked { .. }) {
        out.put_slice(b"transfer-encoding: chunked\r\n");
    }
}

/// RFC 9110 section 7.6.1: `upgrade` beside Upgrade, and whether this is the end.
fn put_connection(close: bool, asked: &Asked, upgrade: bool, out: &mut BytesMut) {
    let line: &[u8] = match (upgrade, close) {
        (true, true) => b"connection: upgrade, close\r\n",
        (true, false) => b"connection: upgrade\r\n",
        (false, true) => b"connection: close\r\n",
        (false, false) if asked.version == Version::HTTP_10 => b"connection: keep-alive\r\n",
        (false, false) => b"",
    };
    out.put_slice(line);
}

fn put_field(name: &str, value: &HeaderValue, out: &mut BytesMut) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

fn put_trailers(mut trailers: HeaderMap, out: &mut BytesMut) {
    fields::retain_trailers(&mut trailers);
    out.put_slice(b"0\r\n");
    for (name, value) in &trailers {
        put_field(name.as_str(), value, out);
    }
    out.put_slice(b"\r\n");
}

fn put_decimal(mut n: u64, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

fn put_chunk_size(size: usize, out: &mut BytesMut) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.put_u8(b"0123456789abcdef"[size >> (4 * place) & 15]);
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let mut out = BytesMut::new();
        for n in [0, 9, 10, 1234567890, u64::MAX] {
            put_decimal(n, &mut out);
            out.put_u8(b' ');
        }
        for n in [0, 1, 15, 16, 255, 0x1000, 0xfedcba] {
            put_chunk_size(n, &mut out);
        }
        assert_eq!(
            out,
            "0 9 10 1234567890 18446744073709551615 0\r\n1\r\nf\r\n10\r\nff\r\n1000\r\nfedcba\r\n"
        );
    }
}

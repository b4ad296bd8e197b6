//! Raw HTTP/1 messages for trying rules: regression suites, benches, `tidegate waf eval`.
//!
//! This is no HTTP parser for a network: regression tests send what a proper one refuses, and
//! the rules are to see it.

use crate::Transaction;

/// A request or response, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub line: Vec<u8>,
    /// Names and values, trimmed.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body, without chunks.
    pub body: Vec<u8>,
}

impl Message {
    /// `None` without an empty line behind the headers; lines within the head may end without CR.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
        let mut lines =
            raw[..end + 2].split(|&b| b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        let line = lines.next()?.to_vec();
        let mut headers = Vec::new();
        let mut chunked = false;
        for header in lines {
            let Some(colon) = header.iter().position(|&b| b == b':') else { continue };
            let blank = |b: &u8| matches!(b, b' ' | b'\t');
            let value = &header[colon + 1..];
            let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
            let stop = value.iter().rposition(|b| !blank(b)).map_or(start, |at| at + 1);
            let (name, value) = (header[..colon].to_vec(), value[start..stop.max(start)].to_vec());
            if name.eq_ignore_ascii_case(b"transfer-encoding")
                && value.windows(7).any(|w| w == b"chunked")
            {
                chunked = true;
            }
            headers.push((name, value));
        }
        let body = &raw[end + 4..];
        let body =
            if chunked { unchunk(body).unwrap_or_else(|| body.to_vec()) } else { body.to_vec() };
        Some(Self { line, headers, body })
    }

    /// Method and target of a request.
    #[must_use]
    pub fn method_and_target(&self) -> (&[u8], &[u8]) {
        let (method, target, _) = self.request_line();
        (method, target)
    }

    fn request_line(&self) -> (&[u8], &[u8], &[u8]) {
        let line = &self.line;
        let first = line.iter().position(|&b| b == b' ');
        let last = line.iter().rposition(|&b| b == b' ');
        match (first, last) {
            (Some(first), Some(last)) if last > first => {
                (&line[..first], &line[first + 1..last], &line[last + 1..])
            }
            (Some(first), _) => (&line[..first], &line[first + 1..], &b"HTTP/0.9"[..]),
            _ => (line.as_slice(), &b""[..], &b"HTTP/0.9"[..]),
        }
    }
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.iter().position(|&b| b == b'\n')?;
        let digits = rest[..line].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..digits]).ok()?, 16).ok()?;
        rest = &rest[line + 1..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// Takes a transaction through all phases; those of the response only if there is one.
pub fn run(transaction: &mut Transaction<'_>, request: &Message, response: Option<&Message>) {
    let (method, target, protocol) = request.request_line();
    transaction.request_line(method, target, protocol);
    for (name, value) in &request.headers {
        transaction.request_header(name, value);
    }
    transaction.request_headers();
    transaction.request_body(&request.body);
    if let Some(response) = response {
        let status =
            response.line.get(9..12).and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
        transaction.response_line(b"HTTP/1.1", status.unwrap_or(200));
        for (name, value) in &response.headers {
            transaction.response_header(name, value);
        }
        transaction.response_headers();
        transaction.response_body(&response.body);
    }
    transaction.log();
}

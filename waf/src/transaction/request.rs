//! The request line and headers, taken apart into collections.

use super::Transaction;
use crate::{
    body::{Argument, Limits as BodyLimits, urlencoded},
    report::Limit,
    seclang::{Bodies, Collection},
};

impl Transaction<'_> {
    /// The request line: method, target as the client sent it, and protocol (`HTTP/1.1`).
    pub fn request_line(&mut self, method: &[u8], target: &[u8], protocol: &[u8]) {
        let line = [method, b" ", target, b" ", protocol].concat();
        self.set(Collection::RequestLine, &line);
        self.set(Collection::RequestMethod, method);
        self.set(Collection::RequestProtocol, protocol);
        self.set(Collection::RequestUriRaw, target);
        let decoded = percent_decode(target);
        self.set(Collection::RequestUri, without_authority(&decoded));
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &b""[..]),
        };
        let path = percent_decode(path);
        self.set(Collection::RequestFilename, &path);
        self.set(Collection::PathInfo, &path);
        if let Some(at) = path.iter().rposition(|&b| b == b'/' || b == b'\\') {
            self.set(Collection::RequestBasename, &path[at + 1..]);
        }
        self.set(Collection::QueryString, query);
        if !query.is_empty() {
            let form = urlencoded::parse(query, self.policy.rules.separator, &self.body_limits());
            if form.invalid_encoding {
                self.set(Collection::UrlencodedError, b"1");
            }
            self.arguments(Collection::ArgsGet, &form.arguments);
            if form.over_limit {
                self.beyond(Limit::Arguments);
            }
        }
        self.exclude(None);
    }

    /// One header of the request, its name as the client wrote it.
    pub fn request_header(&mut self, name: &[u8], value: &[u8]) {
        let key = self.texts.add(name);
        let text = self.texts.add(value);
        self.store.add(Collection::RequestHeaders, key, text);
        match name.to_ascii_lowercase().as_slice() {
            b"cookie" => self.cookies(value),
            b"content-type" => self.content_type(value),
            b"content-encoding" => {
                self.encoded |= !value.is_empty() && !value.eq_ignore_ascii_case(b"identity");
            }
            b"host" => {
                let host = value.split(|&b| b == b':').next().unwrap_or_default();
                self.set(Collection::ServerName, host);
            }
            b"authorization" => {
                let kind = value.split(|&b| b == b' ').next().unwrap_or_default();
                self.set(Collection::AuthType, kind);
            }
            _ => {}
        }
    }

    fn content_type(&mut self, value: &[u8]) {
        // Blanks around a value are no part of it (RFC 9110 section 5.5), whoever told it.
        let value = value.trim_ascii();
        let lower = value.to_ascii_lowercase();
        self.processor = if lower.starts_with(b"multipart/form-data") {
            Some(Bodies::Multipart)
        } else if lower.starts_with(b"application/x-www-form-urlencoded") {
            Some(Bodies::Urlencoded)
        } else {
            structured(&lower)
        };
        self.content_type = value.to_vec();
        self.content_types += 1;
        self.set(Collection::ReqbodyProcessor, self.processor.map_or(b"", |p| p.name().as_bytes()));
    }

    fn cookies(&mut self, value: &[u8]) {
        for cookie in value.trim_ascii_end().split(|&b| b == b';') {
            let (name, value) = match memchr::memchr(b'=', cookie) {
                Some(at) => (&cookie[..at], &cookie[at + 1..]),
                None => (cookie, &b""[..]),
            };
            let name = name.trim_ascii_start();
            if !name.is_empty() {
                self.cookies += 1;
                if self.cookies > self.policy.options.limits.arguments {
                    return self.beyond(Limit::Arguments);
                }
                let name = self.texts.add(name);
                let value = self.texts.add(value);
                self.store.add(Collection::RequestCookies, name, value);
            }
        }
    }

    pub(super) fn arguments(&mut self, collection: Collection, arguments: &[Argument]) {
        for argument in arguments {
            self.argument_bytes += argument.name.len() + argument.value.len();
            let name = self.texts.add(&argument.name);
            let value = self.texts.add(&argument.value);
            self.store.add(collection, name, value);
        }
        self.set(Collection::ArgsCombinedSize, self.argument_bytes.to_string().as_bytes());
    }

    pub(super) fn body_limits(&self) -> BodyLimits {
        let limits = &self.policy.options.limits;
        let multipart = self.processor == Some(Bodies::Multipart);
        BodyLimits {
            // Names of JSON may be several times as long: of a body without files.
            bytes: if multipart { limits.body_with_files } else { limits.body },
            arguments: limits.arguments,
            depth: limits.depth,
            parts: limits.parts,
            ..BodyLimits::default()
        }
    }
}

/// JSON and XML by their types and the suffixes `+json` and `+xml`.
fn structured(content_type: &[u8]) -> Option<Bodies> {
    let kind = content_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let (top, sub) = kind.split_at(memchr::memchr(b'/', kind)? + 1);
    if !matches!(top, b"application/" | b"text/") {
        return None;
    }
    if sub == b"json" || sub.ends_with(b"+json") {
        Some(Bodies::Json)
    } else if sub == b"xml" || sub.ends_with(b"+xml") {
        Some(Bodies::Xml)
    } else {
        None
    }
}

/// Decodes `%41`; a `%` without two hexadecimal digits stays, and so does `+`.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digit = |index: usize| text.get(index).and_then(|&b| (b as char).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// `/path` of `http://host/path`.
fn without_authority(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(colon) = memchr::memchr(b':', target) else { return target };
    let rest = &target[colon + 1..];
    let Some(authority) = rest.strip_prefix(b"//") else { return target };
    memchr::memchr(b'/', authority).map_or(target, |at| &authority[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_lose_scheme_and_authority() {
        assert_eq!(without_authority(b"http://a:80/b?c"), b"/b?c");
        assert_eq!(without_authority(b"/b://c/"), b"/b://c/");
        assert_eq!(without_authority(b"*"), b"*");
    }

    #[test]
    fn percent_decoding_keeps_what_is_broken() {
        assert_eq!(percent_decode(b"%41%4+%zz%"), b"A%4+%zz%");
    }
}

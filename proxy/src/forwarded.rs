//! The `Forwarded` field (RFC 7239): read for the chain of clients, and continued.

use http::HeaderValue;
use std::net::IpAddr;

/// The node of each element's `for`, rightmost element first; an element without one, or with an
/// obfuscated one, gives what it holds (`unknown`, `_hidden`, nothing), which is no address.
pub(crate) fn nodes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut elements: Vec<&[u8]> = unquoted_split(value, b',').collect();
    elements.reverse();
    elements.into_iter().map(node)
}

fn node(element: &[u8]) -> &[u8] {
    for pair in unquoted_split(element, b';') {
        let Some(at) = pair.iter().position(|&b| b == b'=') else { continue };
        if pair[..at].trim_ascii().eq_ignore_ascii_case(b"for") {
            let value = pair[at + 1..].trim_ascii();
            let quoted = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
            return quoted.unwrap_or(value);
        }
    }
    b""
}

/// Splits at `separator` where it stands outside of a quoted string.
fn unquoted_split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        let plain = !quoted && byte == separator;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        plain
    })
}

/// The value with our account of the peer added at its end.
pub(crate) fn continued<'v>(
    values: impl Iterator<Item = &'v HeaderValue>,
    peer: IpAddr,
    host: &HeaderValue,
    https: bool,
) -> Option<HeaderValue> {
    let mut chain = Vec::with_capacity(128);
    for value in values {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    match peer {
        IpAddr::V4(v4) => chain.extend_from_slice(format!("for={v4}").as_bytes()),
        IpAddr::V6(v6) => chain.extend_from_slice(format!("for=\"[{v6}]\"").as_bytes()),
    }
    // A host is a name or an address, perhaps with a port: nothing in it needs escaping.
    chain.extend_from_slice(b";host=\"");
    chain.extend_from_slice(host.as_bytes());
    chain.extend_from_slice(if https { b"\";proto=https" } else { b"\";proto=http" });
    HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_from_the_right_and_quotes_hide_separators() {
        let value =
            br#"for=1.2.3.4;by="a,b;for=6.6.6.6", For="[2001:db8::1]:4711" ; proto=http, by=x"#;
        let found: Vec<_> = nodes(value).collect();
        assert_eq!(found, [&b""[..], b"[2001:db8::1]:4711", b"1.2.3.4"]);
        let broken: Vec<_> = nodes(br#"for="\", for=1.1.1.1"#).collect();
        assert_eq!(broken.len(), 1, "an open quote hides what follows");
    }

    #[test]
    fn our_account_is_added_at_the_end() {
        let host = HeaderValue::from_static("a.test:80");
        let before = [HeaderValue::from_static("for=1.2.3.4")];
        let value = continued(before.iter(), "::1".parse().unwrap(), &host, true).unwrap();
        assert_eq!(value, r#"for=1.2.3.4, for="[::1]";host="a.test:80";proto=https"#);
    }
}

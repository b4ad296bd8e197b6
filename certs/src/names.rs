//! Host names as certificates know them: lower case, no port, a wildcard for one label.

use std::{borrow::Cow, net::IpAddr};

/// `name` in lower case.
pub(crate) fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// What follows a name's first label, with its dot, if something does.
pub(crate) fn parent(name: &str) -> Option<&str> {
    let dot = name.find('.')?;
    (dot > 0 && dot + 1 < name.len()).then(|| &name[dot..])
}

/// The address a host is, brackets or not.
pub(crate) fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// Whether a certificate's name `pattern` covers `host` (RFC 9525: a wildcard stands for one
/// whole label; addresses match as a whole).
pub(crate) fn covers(pattern: &str, host: &str) -> bool {
    if let Some(address) = address(host) {
        return pattern.parse() == Ok(address);
    }
    match pattern.strip_prefix('*') {
        Some(suffix) => parent(host) == Some(suffix),
        None => pattern == host,
    }
}

/// Names no public CA issues for: they always come from the internal CA.
pub(crate) fn is_local(name: &str) -> bool {
    const SUFFIXES: [&str; 5] = [".localhost", ".local", ".internal", ".test", ".home.arpa"];
    let name = name.strip_prefix('*').unwrap_or(name);
    name == "localhost"
        || address(name).is_some()
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether public CAs may issue for a name: at least two labels of letters, digits and hyphens,
/// the last not a number.
pub(crate) fn is_public(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && parent(name).is_some()
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(covers("*.example.com", "shop.example.com"));
        assert!(covers("shop.example.com", "shop.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", ".example.com"));
        assert!(!covers("example.com", "shop.example.com"));
    }

    #[test]
    fn addresses_match_as_addresses() {
        assert!(covers("127.0.0.1", "127.0.0.1"));
        assert!(covers("::1", "[::1]"));
        assert!(covers("::1", "[0:0:0:0:0:0:0:1]"));
        assert!(!covers("*.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn local_names_are_known() {
        for name in ["localhost", "a.localhost", "*.localhost", "db.internal", "x.test", "::1"] {
            assert!(is_local(name), "{name}");
        }
        for name in ["example.com", "test", "mylocalhost", "internal.example.com"] {
            assert!(!is_local(name), "{name}");
        }
    }

    #[test]
    fn case_does_not_count() {
        assert_eq!(lower("Shop.EXAMPLE.com"), "shop.example.com");
        assert!(matches!(lower("shop"), Cow::Borrowed(_)));
    }

    #[test]
    fn only_full_host_names_can_be_ordered() {
        for good in ["shop.example.com", "xn--bcher-kva.example", "a-1.io"] {
            assert!(is_public(good), "{good}");
        }
        for bad in ["com", "", ".", "a..b", "-a.com", "a_b.com", "1.2.3", &"a.".repeat(200)] {
            assert!(!is_public(bad), "{bad}");
        }
    }
}

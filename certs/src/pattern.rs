//! Patterns for names in client certificates: `*` stands for any characters, also for none.

/// Whether `name` is of the form `pattern`. Linear in both but for the last `*`, and never
/// exponential.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        // The first place is the best: it leaves most to what follows.
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", ""),
            ("*", "anything"),
            ("*.corp.example", "a.b.corp.example"),
            ("ops-*", "ops-"),
            ("a*b*c", "aXbYbZc"),
            ("a*a", "aa"),
            ("**a", "bca"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("", "a"),
            ("*.corp.example", "corp.example"),
            ("*.corp.example", "x.corp.example.evil.test"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("spiffe://a/*", "spiffe://b/spiffe://a/"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}

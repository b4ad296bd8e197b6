//! Reading one cookie without parsing the others (RFC 6265 section 4.2).

use http::{HeaderMap, header::COOKIE};

/// The first cookie called `name`.
pub(crate) fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .find_map(|value| {
            let pairs = value.to_str().ok()?.split(';');
            pairs.filter_map(|pair| pair.trim_start().split_once('=')).find(|(n, _)| *n == name)
        })
        .map(|(_, value)| value.trim_end().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn finds_the_first_of_that_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; tg=abc; tg=def"));
        headers.append(COOKIE, HeaderValue::from_static("b=\"2\""));
        assert_eq!(get(&headers, "tg"), Some("abc"));
        assert_eq!(get(&headers, "b"), Some("2"));
        assert_eq!(get(&headers, "t"), None);
        assert_eq!(get(&headers, "g"), None);
    }
}

//! Text with its references resolved: `${NAME}`, `${NAME:-default}`, `$${` and
//! `{ file = ".." }`.

use super::{Env, Node, Value, node::shorten};
use crate::ByteSize;

/// A text and how to speak of it without giving away what a reference brought in.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) shown: String,
    /// Whether the value is what is written: nothing was brought in from elsewhere.
    pub(crate) literal: bool,
}

impl Text {
    /// Text as it is written.
    pub(crate) fn literal(value: &str) -> Self {
        Self { value: value.to_owned(), shown: format!("`{}`", shorten(value)), literal: true }
    }

    /// Text from elsewhere, spoken of as `shown`.
    pub(crate) fn brought(value: String, shown: String) -> Self {
        Self { value, shown, literal: false }
    }

    /// The text of `node` with its variables expanded, `None` if it is not a string.
    pub(crate) fn expand(node: &Node, env: Env<'_>) -> Option<Result<Self, String>> {
        let Value::Text(written) = &node.value else { return None };
        Some(expand(written, env).map(|value| match value == *written {
            true => Self::literal(written),
            false => Self::brought(value, format!("the value of `{}`", shorten(written))),
        }))
    }
}

/// What variables may make of a text, in bytes.
const MAX_EXPANDED: usize = 1 << 20;

fn expand(written: &str, env: Env<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(written.len());
    let mut rest = written;
    let grown = |expanded: &str| expanded.len() > MAX_EXPANDED.max(written.len());
    while let Some(dollar) = rest.find("${") {
        let (before, reference) = rest.split_at(dollar);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = &reference[2..];
            continue;
        }
        expanded.push_str(before);
        let Some(end) = reference.find('}') else {
            return Err(format!("`{}` has no closing `}}`", shorten(reference)));
        };
        expanded.push_str(&variable(&reference[2..end], env)?);
        rest = &reference[end + 1..];
        if grown(&expanded) {
            return Err(format!("longer than {} once expanded", ByteSize(MAX_EXPANDED as u64)));
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn variable(reference: &str, env: Env<'_>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let valid = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !valid {
        return Err(format!(
            "expected the name of a variable, found `${{{}}}`",
            shorten(reference)
        ));
    }
    // As in a shell, `:-` stands in for an empty variable, too.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("the variable `{name}` is not set")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(written: &str) -> Result<String, String> {
        expand(written, &|name| match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn variables_defaults_and_escapes() {
        assert_eq!(expanded("a ${HOST}:80 b").unwrap(), "a 10.0.0.1:80 b");
        assert_eq!(expanded("${PORT:-80}${HOST}").unwrap(), "8010.0.0.1");
        assert_eq!(expanded("[${EMPTY}] [${EMPTY:-x}] [${UNSET:-}]").unwrap(), "[] [x] []");
        assert_eq!(expanded("$${HOST} $HOST $ $$").unwrap(), "${HOST} $HOST $ $$");
        assert_eq!(expanded("${NESTED}").unwrap(), "${HOST}", "values are not expanded again");
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(expanded("${PORT}").unwrap_err(), "the variable `PORT` is not set");
        assert_eq!(expanded("${PORT").unwrap_err(), "`${PORT` has no closing `}`");
        let message = "expected the name of a variable, found `${1 a}`";
        assert_eq!(expanded("${1 a}").unwrap_err(), message);
    }
}

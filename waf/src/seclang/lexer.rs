//! From the bytes of a file to logical lines of words.
//!
//! A backslash at the end of a line joins it with the next, whose indentation is dropped. A
//! word is bare, up to white space, or quoted with `"` (or `'` around the whole word); inside
//! quotes only `\` before that quote is an escape, because patterns keep their backslashes.
//! A comment never continues: a rule below a comment that happens to end in a backslash is
//! still a rule.

use super::fault::show;

/// A directive's words and the physical line it begins on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u32,
    pub(super) words: Vec<Vec<u8>>,
}

/// The logical lines of `text`; a line that cannot be split is a message with its number.
pub(super) fn lines(text: &[u8]) -> Vec<Result<Line, (u32, String)>> {
    let mut found = Vec::new();
    let mut pending: Option<(u32, Vec<u8>)> = None;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (index, physical) in text.split(|&b| b == b'\n').enumerate() {
        let number = index as u32 + 1;
        let trimmed = physical.trim_ascii();
        if pending.is_none() && (trimmed.is_empty() || trimmed[0] == b'#') {
            continue;
        }
        let body = physical.trim_ascii_start();
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let (start, mut whole) = pending.take().unwrap_or((number, Vec::new()));
        match body.trim_ascii_end().strip_suffix(b"\\") {
            Some(head) => {
                whole.extend_from_slice(head);
                pending = Some((start, whole));
            }
            None => {
                whole.extend_from_slice(body);
                found.push(finish(start, &whole));
            }
        }
    }
    if let Some((start, _)) = pending {
        found.push(Err((start, "the file ends inside a continued line".to_owned())));
    }
    found
}

fn finish(number: u32, text: &[u8]) -> Result<Line, (u32, String)> {
    words(text).map(|words| Line { number, words }).map_err(|what| (number, what))
}

fn words(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_ascii_start();
    while let Some(&first) = rest.first() {
        let (word, after) = if first == b'"' || first == b'\'' {
            quoted(rest, first)
                .ok_or_else(|| format!("missing closing quote after `{}`", show(rest)))?
        } else {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            (rest[..end].to_vec(), &rest[end..])
        };
        if after.first().is_some_and(|b| !b.is_ascii_whitespace()) {
            return Err(format!("text behind a closing quote: `{}`", show(after)));
        }
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Ok(words)
}

/// The content of the quoted word at the start of `text`, and what follows it.
fn quoted(text: &[u8], quote: u8) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'\\' if text.get(at + 1) == Some(&quote) => {
                word.push(quote);
                at += 2;
            }
            // `\\"` is an escaped backslash and the end, not a backslash and a quote.
            b'\\' if text.get(at + 1) == Some(&b'\\') => {
                word.extend_from_slice(b"\\\\");
                at += 2;
            }
            byte if byte == quote => return Some((word, &text[at + 1..])),
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Line> {
        lines(text.as_bytes()).into_iter().map(Result::unwrap).collect()
    }

    fn line(number: u32, words: &[&str]) -> Line {
        Line { number, words: words.iter().map(|w| w.as_bytes().to_vec()).collect() }
    }

    #[test]
    fn joins_continued_lines_and_keeps_their_first_number() {
        let text = "# a comment \\\nSecRule ARGS \\\n    \"@rx a\\\"b\\d\" \\\r\n  \"id:1,\\\n  deny\"\n\nSecMarker X";
        assert_eq!(
            all(text),
            [
                line(2, &["SecRule", "ARGS", "@rx a\"b\\d", "id:1,deny"]),
                line(7, &["SecMarker", "X"])
            ]
        );
    }

    #[test]
    fn an_escaped_backslash_does_not_escape_the_quote_behind_it() {
        assert_eq!(
            all(r#"SecRule A "@rx \\" "id:1""#),
            [line(1, &["SecRule", "A", r"@rx \\", "id:1"])]
        );
    }

    #[test]
    fn broken_quotes_and_a_dangling_continuation_are_faults() {
        assert_eq!(lines(b"SecRule \"a").remove(0).unwrap_err().0, 1);
        assert_eq!(lines(b"SecRule \"a\"b").remove(0).unwrap_err().0, 1);
        assert_eq!(lines(b"\nSecRule \\").remove(0).unwrap_err().0, 2);
    }
}

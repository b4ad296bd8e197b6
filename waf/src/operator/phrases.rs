//! Sets of phrases for `@pm` and `@pmFromFile`.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

/// Phrases, found without regard to ASCII case.
#[derive(Debug)]
pub(crate) struct Phrases {
    automaton: AhoCorasick,
    phrases: Vec<Vec<u8>>,
}

impl Phrases {
    pub(crate) fn new(phrases: Vec<Vec<u8>>) -> Result<Self, String> {
        let automaton = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostFirst)
            .build(&phrases)
            .map_err(|error| error.to_string())?;
        Ok(Self { automaton, phrases })
    }

    /// The place of the first phrase.
    pub(crate) fn find(&self, text: &[u8]) -> Option<(u32, u32)> {
        self.automaton.find(text).map(|m| (m.start() as u32, m.end() as u32))
    }

    pub(crate) fn phrases(&self) -> &[Vec<u8>] {
        &self.phrases
    }
}

/// The phrases of `@pm`: separated by spaces, bytes in hexadecimal between `|`.
pub(crate) fn from_argument(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut phrases = Vec::new();
    for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        phrases.push(unhex(word)?);
    }
    if phrases.is_empty() {
        return Err("`@pm` needs a phrase".to_owned());
    }
    Ok(phrases)
}

/// The phrases of a file: one a line, `#` begins a comment line.
pub(crate) fn from_file(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && line[0] != b'#')
        .map(<[u8]>::to_vec)
        .collect()
}

fn unhex(word: &[u8]) -> Result<Vec<u8>, String> {
    // A single `|` is a character; hexadecimal stands between two.
    if word.iter().filter(|&&b| b == b'|').count() < 2 {
        return Ok(word.to_vec());
    }
    let mut bytes = Vec::new();
    for (index, piece) in word.split(|&b| b == b'|').enumerate() {
        if index % 2 == 0 {
            bytes.extend_from_slice(piece);
            continue;
        }
        let digits: Option<Vec<u8>> =
            piece.iter().map(|&b| (b as char).to_digit(16).map(|d| d as u8)).collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => {
                bytes.extend(digits.chunks(2).map(|d| d[0] << 4 | d[1]))
            }
            _ => return Err(format!("`{}` is not hexadecimal", String::from_utf8_lossy(piece))),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_phrase_without_regard_to_case() {
        let phrases = Phrases::new(from_argument(b"b|41 64|c zz").unwrap_or_default());
        assert!(phrases.is_ok());
        let phrases = Phrases::new(from_argument(b"b|41|c zz").unwrap()).unwrap();
        assert_eq!(phrases.find(b"xxBac"), Some((2, 5)));
        assert_eq!(phrases.find(b"bzc"), None);
    }

    #[test]
    fn files_have_comments_and_blank_lines() {
        assert_eq!(from_file(b"# c\n\n a b \r\nc"), [b"a b".to_vec(), b"c".to_vec()]);
    }
}

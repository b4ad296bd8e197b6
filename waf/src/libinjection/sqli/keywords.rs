//! The words and phrases of SQL.
//!
//! `keywords.txt` becomes a hash table at compile time. Its hash takes the length and three bytes
//! of a word, so that most words of plain text meet an empty slot and are compared with nothing.

use super::token::Kind;

/// A word or phrase of the table, in upper case.
#[derive(Clone, Copy)]
pub(super) struct Keyword {
    pub(super) text: &'static [u8],
    pub(super) kind: Kind,
}

/// The keyword that `word` is, in any case.
pub(super) fn keyword(word: &[u8]) -> Option<Keyword> {
    let (&[first, second, ..], &[.., last]) = (word, word) else { return None };
    candidates(first, second, last, word.len())
        .iter()
        .find(|keyword| keyword.text.eq_ignore_ascii_case(word))
        .copied()
}

/// The phrase that `head`, a space and `tail` make up.
pub(super) fn phrase(head: &[u8], tail: &[u8]) -> Option<Keyword> {
    // No phrase begins with a word of one letter.
    let (&[first, second, ..], &[.., last]) = (head, tail) else { return None };
    candidates(first, second, last, head.len() + 1 + tail.len())
        .iter()
        .find(|keyword| {
            keyword.text.split_at_checked(head.len()).is_some_and(|(start, end)| {
                end.split_first().is_some_and(|(&space, end)| {
                    space == b' '
                        && start.eq_ignore_ascii_case(head)
                        && end.eq_ignore_ascii_case(tail)
                })
            })
        })
        .copied()
}

fn candidates(first: u8, second: u8, last: u8, len: usize) -> &'static [Keyword] {
    let slot = slot(first, second, last, len);
    let (start, end) = (TABLE.starts[slot], TABLE.starts[slot + 1]);
    &TABLE.keywords[usize::from(start)..usize::from(end)]
}

const SLOTS: usize = 4096;

/// Letters differ between the cases only above the low five bits.
const fn slot(first: u8, second: u8, last: u8, len: usize) -> usize {
    let bytes = [first & 31, second & 31, last & 31, len as u8];
    (u32::from_le_bytes(bytes).wrapping_mul(0x9e37_79b1) >> 20) as usize
}

const DATA: &[u8] = include_bytes!("keywords.txt");
const COUNT: usize = count();
static TABLE: Table = Table::build();

struct Table {
    /// Ordered by slot.
    keywords: [Keyword; COUNT],
    /// The keywords of slot `s` are those from `starts[s]` up to `starts[s + 1]`.
    starts: [u16; SLOTS + 1],
}

impl Table {
    const fn build() -> Self {
        let listed = listed();
        let mut starts = [0; SLOTS + 1];
        let mut at = 0;
        while at < COUNT {
            starts[slot_of(listed[at].text) + 1] += 1;
            at += 1;
        }
        let mut slot = 0;
        while slot < SLOTS {
            starts[slot + 1] += starts[slot];
            slot += 1;
        }

        let mut next = starts;
        let mut keywords = listed;
        let mut at = 0;
        while at < COUNT {
            let place = &mut next[slot_of(listed[at].text)];
            keywords[*place as usize] = listed[at];
            *place += 1;
            at += 1;
        }
        Self { keywords, starts }
    }
}

const fn slot_of(text: &[u8]) -> usize {
    slot(text[0], text[1], text[text.len() - 1], text.len())
}

/// The keywords in the order of the file.
const fn listed() -> [Keyword; COUNT] {
    let mut list = [Keyword { text: b"", kind: Kind::Bareword }; COUNT];
    let mut filled = 0;
    let mut rest = DATA;
    while !rest.is_empty() {
        let (line, next) = split_once(rest, b'\n');
        rest = next;
        if line[0] == b'#' {
            continue;
        }
        let kind = Kind::from_letter(line[0]);
        let mut words = line.split_at(2).1;
        while !words.is_empty() {
            let (text, next) = split_once(words, b'|');
            words = next;
            list[filled] = Keyword { text, kind };
            filled += 1;
        }
    }
    list
}

const fn count() -> usize {
    let mut count = 0;
    let mut rest = DATA;
    while !rest.is_empty() {
        let (mut line, next) = split_once(rest, b'\n');
        rest = next;
        if line[0] == b'#' {
            continue;
        }
        while !line.is_empty() {
            line = split_once(line, b'|').1;
            count += 1;
        }
    }
    count
}

const fn split_once(text: &'static [u8], separator: u8) -> (&'static [u8], &'static [u8]) {
    let mut at = 0;
    while at < text.len() {
        if text[at] == separator {
            let (before, after) = text.split_at(at);
            return (before, after.split_at(1).1);
        }
        at += 1;
    }
    (text, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_is_found_in_any_case() {
        assert_eq!(COUNT, 960);
        for listed in listed() {
            for text in [listed.text.to_vec(), listed.text.to_ascii_lowercase()] {
                let found = keyword(&text).expect("it is in the table");
                assert_eq!((found.text, found.kind), (listed.text, listed.kind));
            }
        }
    }

    #[test]
    fn a_phrase_is_found_by_its_parts() {
        let kind = |head: &[u8], tail: &[u8]| phrase(head, tail).map(|phrase| phrase.kind);
        assert_eq!(kind(b"Union", b"ALL"), Some(Kind::Union));
        assert_eq!(kind(b"full outer", b"join"), Some(Kind::Keyword));
        assert_eq!(kind(b"union", b""), None);
        assert_eq!(kind(b"unio", b" all"), None);
        assert_eq!(kind(b"sel", b"ct"), None);
    }
}

//! The bytes of a transaction: values, and what transformations made of them.
//!
//! Everything lies in one buffer that only grows; a [`Span`] is a place in it. A [`Text`] is a
//! value that transformations are applied to. What a transformation makes of a text is kept,
//! so that each chain that begins alike shares the work, and a transformation that changes
//! nothing leads back to the same text, so that chains join again behind it.

use crate::{compile::Prefilter, transform::Transformation};

/// One more than the largest transformation's number.
const TRANSFORMATIONS: usize = Transformation::Utf8ToUnicode as usize + 1;
const UNKNOWN: u32 = u32::MAX;

/// A place in the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub(super) const fn len(self) -> usize {
        self.len as usize
    }

    /// The part from `start` to `end`, which are offsets into this span.
    pub(super) fn part(self, start: u32, end: u32) -> Self {
        let start = start.min(self.len);
        let end = end.clamp(start, self.len);
        Self { start: self.start + start, len: end - start }
    }
}

/// A value with its transformations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text(u32);

/// The buffer and the texts in it.
#[derive(Debug)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    next: Vec<[u32; TRANSFORMATIONS]>,
    /// Prefilter bits, `words` for each text.
    hits: Vec<u64>,
    scanned: Vec<bool>,
    words: usize,
    /// Bytes that transformations and the prefilter looked at.
    pub(super) work: u64,
}

impl Texts {
    /// The text with nothing in it.
    pub(super) const EMPTY: Text = Text(0);

    pub(super) fn new(words: usize) -> Self {
        let mut texts = Self {
            bytes: Vec::with_capacity(16 << 10),
            spans: Vec::with_capacity(128),
            next: Vec::with_capacity(128),
            hits: Vec::with_capacity(128 * words),
            scanned: Vec::with_capacity(128),
            words,
            work: 0,
        };
        texts.add(b"");
        texts
    }

    /// Copies bytes into the buffer. Bytes past 4 GiB, which no budget allows, are dropped.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        if start + bytes.len() > u32::MAX as usize {
            return Span::default();
        }
        self.bytes.extend_from_slice(bytes);
        Span { start: start as u32, len: bytes.len() as u32 }
    }

    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.bytes.get(start..start + span.len()).unwrap_or_default()
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> Text {
        let span = self.push(bytes);
        self.add_span(span)
    }

    pub(super) fn add_span(&mut self, span: Span) -> Text {
        self.spans.push(span);
        self.next.push([UNKNOWN; TRANSFORMATIONS]);
        self.hits.resize(self.hits.len() + self.words, 0);
        self.scanned.push(false);
        Text(self.spans.len() as u32 - 1)
    }

    pub(super) fn span(&self, text: Text) -> Span {
        self.spans[text.0 as usize]
    }

    pub(super) fn get(&self, text: Text) -> &[u8] {
        self.bytes(self.span(text))
    }

    /// The text behind one transformation.
    pub(super) fn step(&mut self, text: Text, transformation: Transformation) -> Text {
        let known = self.next[text.0 as usize][transformation as usize];
        if known != UNKNOWN {
            return Text(known);
        }
        let input = self.get(text);
        let length = input.len();
        let result = transformation.apply(input);
        self.work += length as u64;
        let made = match result {
            None => text,
            Some(bytes) => {
                self.work += bytes.len() as u64;
                self.add(&bytes)
            }
        };
        self.next[text.0 as usize][transformation as usize] = made.0;
        made
    }

    /// The text behind a chain.
    pub(super) fn chain(&mut self, text: Text, chain: &[Transformation]) -> Text {
        chain.iter().fold(text, |text, &transformation| self.step(text, transformation))
    }

    /// The prefilter bits of a text.
    pub(super) fn hits(&mut self, text: Text, prefilter: &Prefilter) -> &[u64] {
        let index = text.0 as usize;
        let place = index * self.words..(index + 1) * self.words;
        if !self.scanned[index] {
            self.scanned[index] = true;
            let span = self.spans[index];
            self.work += u64::from(span.len);
            let start = span.start as usize;
            let text = self.bytes.get(start..start + span.len()).unwrap_or_default();
            prefilter.scan(text, &mut self.hits[place.clone()]);
        }
        &self.hits[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_values_are_shared_and_results_are_kept() {
        let mut texts = Texts::new(1);
        let lower = texts.add(b"abc");
        assert_eq!(texts.step(lower, Transformation::Lowercase), lower);
        let upper = texts.add(b"ABC");
        let made = texts.step(upper, Transformation::Lowercase);
        assert_ne!(made, upper);
        assert_eq!(texts.get(made), b"abc");
        assert_eq!(texts.step(upper, Transformation::Lowercase), made);
        assert_eq!(
            texts.chain(made, &[Transformation::UrlDecode, Transformation::Lowercase]),
            made
        );
    }
}

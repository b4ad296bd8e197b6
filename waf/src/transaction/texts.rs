//! The bytes of a transaction: values, and what transformations made of them.
//!
//! Everything lies in one buffer that only grows; a [`Span`] is a place in it. A [`Text`] is a
//! value that transformations are applied to. What a transformation makes of a text is kept,
//! so that each chain that begins alike shares the work, and a transformation that changes
//! nothing leads back to the same text, so that chains join again behind it. All of that can be
//! let go of by [moving](Texts::moving) what is still needed to new buffers.

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

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.next.capacity() * size_of::<[u32; TRANSFORMATIONS]>()
            + self.hits.capacity() * size_of::<u64>()
            + self.scanned.capacity()
    }

    /// Begins a move to new buffers, which hold nothing but the bytes of these spans, once where
    /// spans overlap. The work that was done stays counted.
    pub(super) fn moving(&mut self, mut kept: Vec<Span>) -> Move {
        kept.sort_unstable_by_key(|span| span.start);
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut end, mut bytes) = (0, Vec::new());
        for Span { start, len } in kept {
            // Behind all that was copied, a new piece begins.
            if start > end || pieces.is_empty() {
                pieces.push(Piece { old: start, new: bytes.len() as u32 });
                end = start;
            }
            let more = (start + len).max(end);
            bytes
                .extend_from_slice(self.bytes.get(end as usize..more as usize).unwrap_or_default());
            end = more;
        }
        let new = Self {
            bytes,
            spans: Vec::new(),
            next: Vec::new(),
            hits: Vec::new(),
            scanned: Vec::new(),
            words: self.words,
            work: self.work,
        };
        let old = std::mem::replace(self, new);
        self.add(b"");
        Move { moved: vec![UNKNOWN; old.spans.len()], old: old.spans, pieces }
    }

    /// The end of a move: memory for more is not kept.
    pub(super) fn fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.spans.shrink_to_fit();
        self.next.shrink_to_fit();
        self.hits.shrink_to_fit();
        self.scanned.shrink_to_fit();
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

/// Where everything was, and where it is now.
pub(super) struct Move {
    old: Vec<Span>,
    /// The new texts by their old numbers.
    moved: Vec<u32>,
    /// In order.
    pieces: Vec<Piece>,
}

/// Bytes that were copied as they lay.
struct Piece {
    old: u32,
    new: u32,
}

impl Move {
    /// The text as it is now; with none of its transformations.
    pub(super) fn text(&mut self, text: Text, to: &mut Texts) -> Text {
        if text == Texts::EMPTY {
            return text;
        }
        let at = text.0 as usize;
        if self.moved[at] == UNKNOWN {
            self.moved[at] = to.add_span(self.span(self.old[at])).0;
        }
        Text(self.moved[at])
    }

    /// The place of one of the spans that were kept.
    pub(super) fn span(&self, span: Span) -> Span {
        let behind = self.pieces.partition_point(|piece| piece.old <= span.start);
        let piece = behind.checked_sub(1).and_then(|at| self.pieces.get(at));
        piece.map_or(Span::default(), |piece| Span {
            start: piece.new + (span.start - piece.old),
            len: span.len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_is_there_once_and_what_is_not_is_gone() {
        let mut texts = Texts::new(1);
        texts.push(b"gone");
        let old = texts.add(b"ABCDEF");
        let span = texts.push(b"span");
        texts.step(old, Transformation::Lowercase);
        let (part, work) = (texts.span(old).part(2, 5), texts.work);
        let nothing = texts.span(Texts::EMPTY);
        let mut moving = texts.moving(vec![span, part, nothing, texts.span(old), part]);
        let new = moving.text(old, &mut texts);
        assert_eq!((moving.text(old, &mut texts), texts.spans.len()), (new, 2));
        assert_eq!((texts.get(new), texts.work), (&b"ABCDEF"[..], work));
        assert_eq!(texts.bytes(moving.span(span)), b"span");
        assert_eq!(texts.bytes(moving.span(part)), b"CDE");
        assert_eq!(texts.bytes(moving.span(nothing)), b"");
        assert_eq!(texts.bytes, b"ABCDEFspan");
        let made = texts.step(new, Transformation::Lowercase);
        assert_eq!(texts.get(made), b"abcdef");
    }

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

//! Where faults and warnings gather while a document is read.

use crate::{
    document::{Files, Span},
    fault::{Fault, Faults, Snippet},
};
use std::collections::HashSet;

#[derive(Debug, Default)]
pub(crate) struct Report {
    faults: Vec<Note>,
    warnings: Vec<Note>,
    /// Values that no message, source line or rendering of the document may show.
    hidden: HashSet<Span>,
    /// Values that renderings of the document leave out.
    masked: HashSet<Span>,
}

/// Something to say about a place in the document.
#[derive(Debug)]
pub(crate) struct Note {
    at: Span,
    path: String,
    message: String,
    help: Option<String>,
    /// Text that could not be parsed may hold secrets anywhere: its line is not shown.
    syntax: bool,
}

impl Note {
    /// Adds what to do about it.
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// The fault is one of TOML itself.
    pub(crate) fn is_syntax(&mut self) {
        self.syntax = true;
    }
}

impl Report {
    /// Records a fault; the document is refused.
    pub(crate) fn fault(&mut self, at: Span, path: &str, message: impl Into<String>) -> &mut Note {
        push(&mut self.faults, at, path, message.into())
    }

    /// Records a warning; the document is accepted.
    pub(crate) fn warn(&mut self, at: Span, path: &str, message: impl Into<String>) -> &mut Note {
        push(&mut self.warnings, at, path, message.into())
    }

    /// Keeps a value out of everything that is shown.
    pub(crate) fn hide(&mut self, at: Span) {
        self.hidden.insert(at);
    }

    /// Keeps a value out of renderings of the document.
    pub(crate) fn mask(&mut self, at: Span) {
        self.masked.insert(at);
    }

    /// Whether a rendering of the document leaves the value out.
    pub(crate) fn is_masked(&self, at: Span) -> bool {
        self.hidden.contains(&at) || self.masked.contains(&at)
    }

    /// How many faults there are so far.
    pub(crate) fn count(&self) -> usize {
        self.faults.len()
    }

    /// The faults, or else the warnings, both in order of their places.
    pub(crate) fn finish(mut self, files: &Files) -> Result<Vec<Fault>, Faults> {
        let mut lines = Lines::new(files, &self.hidden);
        let mut place = |notes: &mut Vec<Note>| {
            notes.sort_by(|a, b| (a.at, &a.path, &a.message).cmp(&(b.at, &b.path, &b.message)));
            notes.dedup_by(|a, b| (a.at, &a.message) == (b.at, &b.message));
            notes
                .drain(..)
                .enumerate()
                .map(|(index, note)| lines.place(note, index))
                .collect::<Vec<_>>()
        };
        if self.faults.is_empty() {
            return Ok(place(&mut self.warnings));
        }
        Err(Faults::new(place(&mut self.faults)))
    }
}

fn push<'a>(notes: &'a mut Vec<Note>, at: Span, path: &str, message: String) -> &'a mut Note {
    notes.push(Note { at, path: path.to_owned(), message, help: None, syntax: false });
    notes.last_mut().expect("a note was just pushed")
}

/// Turns byte positions into lines and columns; looks for line breaks once per file.
struct Lines<'a> {
    files: &'a Files,
    hidden: Vec<Span>,
    starts: Option<(usize, Vec<usize>)>,
}

impl<'a> Lines<'a> {
    fn new(files: &'a Files, hidden: &HashSet<Span>) -> Self {
        let mut hidden: Vec<_> = hidden.iter().copied().collect();
        hidden.sort();
        Self { files, hidden, starts: None }
    }

    /// Makes a fault of the `index`th note; only those that are printed get their line.
    fn place(&mut self, note: Note, index: usize) -> Fault {
        let Note { at, path, message, help, syntax } = note;
        let file = self.files.path(at.file).to_owned();
        let mut fault = Fault { file, line: 0, col: 0, path, message, help, snippet: None };
        let text = self.files.text(at.file);
        if at.start > text.len() || at.file == usize::MAX {
            return fault;
        }
        let (number, start) = self.line_of(at.file, at.start);
        let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
        // The parser's spans are on character boundaries except, perhaps, in broken text.
        let before = text.get(start..at.start).unwrap_or_default();
        fault.line = number + 1;
        fault.col = before.chars().count() + 1;
        if !syntax && index < Faults::SHOWN {
            let marked = text.get(at.start..at.end.min(end)).unwrap_or_default().trim_end();
            let line = self.mask(at.file, start, &text[start..end]);
            fault.snippet = Snippet::new(&line, fault.col - 1, marked.chars().count());
        }
        fault
    }

    /// The index of the line that holds `offset`, and where it starts.
    fn line_of(&mut self, file: usize, offset: usize) -> (usize, usize) {
        if self.starts.as_ref().is_none_or(|(of, _)| *of != file) {
            let breaks = self.files.text(file).match_indices('\n').map(|(at, _)| at + 1);
            self.starts = Some((file, std::iter::once(0).chain(breaks).collect()));
        }
        let starts = self.starts.as_ref().map_or(&[][..], |(_, starts)| starts);
        let line = starts.partition_point(|start| *start <= offset).saturating_sub(1);
        (line, starts.get(line).copied().unwrap_or_default())
    }

    /// A line with `*` for each character of a value that must not be shown.
    fn mask(&self, file: usize, start: usize, line: &str) -> String {
        // Hidden values never contain each other: only the last one before can cover.
        let covers = |offset: usize| {
            let before = |span: &Span| (span.file, span.start) <= (file, offset);
            let near = self.hidden[..self.hidden.partition_point(before)].last();
            near.is_some_and(|span| span.file == file && offset < span.end)
        };
        line.char_indices().map(|(at, c)| if covers(start + at) { '*' } else { c }).collect()
    }
}

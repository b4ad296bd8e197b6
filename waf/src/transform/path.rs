//! `normalisePath` and `normalisePathWin`: the path that a file system would open.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// Which bytes separate the parts of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Separators {
    /// `/`.
    Unix,
    /// `/` and `\`, which becomes `/`.
    Windows,
}

/// Removes doubled slashes, self references (`./`) and back references (`a/../`),
/// which never lead above the root. As in libmodsecurity any part that ends in two
/// dots is a back reference, and a relative path keeps those at its start.
///
/// Unlike libmodsecurity no backslash survives on Windows (there the last of three
/// or more separators in a row can).
pub(super) fn normalise(input: &[u8], separators: Separators) -> Option<Vec<u8>> {
    let backslash = separators == Separators::Windows && memchr(b'\\', input).is_some();
    if !backslash && is_normal(input) {
        return None;
    }
    let source: Cow<'_, [u8]> = if backslash {
        input.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
    } else {
        input.into()
    };
    Some(Path::new(&source).normalise())
}

/// Whether there is nothing to do: the cheap answer for most values.
fn is_normal(path: &[u8]) -> bool {
    path.last() != Some(&b'.')
        && memmem::find(path, b"//").is_none()
        && memmem::find(path, b"./").is_none()
}

/// A path on its way from `rest` to `output`.
struct Path<'a> {
    rest: &'a [u8],
    output: Vec<u8>,
    relative: bool,
    trailing_slash: bool,
    /// A relative path is at its start, with nothing before it to go back to.
    at_root: bool,
}

/// What a part's last byte asks for.
enum Step {
    /// Go on copying.
    Copy,
    /// The path ended with a reference that was resolved.
    Stop,
}

impl<'a> Path<'a> {
    fn new(source: &'a [u8]) -> Self {
        Self {
            rest: source,
            output: Vec::with_capacity(source.len()),
            relative: source.first() != Some(&b'/'),
            trailing_slash: source.last() == Some(&b'/'),
            at_root: false,
        }
    }

    fn normalise(mut self) -> Vec<u8> {
        while let [byte, tail @ ..] = self.rest {
            let part_ends = tail.first().is_none_or(|next| *next == b'/');
            if part_ends && matches!(self.end_part(*byte, tail), Step::Stop) {
                break;
            }
            self.copy();
        }
        if !self.trailing_slash && self.output.last() == Some(&b'/') {
            self.output.pop();
        }
        self.output
    }

    /// Resolves a part that `last` ends, which is not yet copied.
    fn end_part(&mut self, last: u8, tail: &'a [u8]) -> Step {
        if last == b'/' && !tail.is_empty() {
            return Step::Copy; // an empty part: copying skips it
        }
        if last != b'.' {
            if !self.output.is_empty() {
                self.at_root = false;
            }
            return Step::Copy;
        }
        match self.output.last() {
            Some(b'.') => {
                if self.relative && (self.at_root || self.output.len() <= 2) {
                    self.at_root = true;
                    return Step::Copy;
                }
                self.go_back(tail.is_empty());
            }
            None => {}
            Some(b'/') if tail.is_empty() => {}
            Some(b'/') => {
                self.output.pop();
            }
            Some(_) => return Step::Copy,
        }
        self.rest = tail;
        if tail.is_empty() { Step::Stop } else { Step::Copy }
    }

    /// Drops the first dot of a back reference and the part before it, with the
    /// slash between; at the end of an absolute path its root stays.
    fn go_back(&mut self, at_end: bool) {
        let mut length = self.output.len().saturating_sub(3);
        while length > 0 && self.output[length] != b'/' {
            length -= 1;
        }
        self.output.truncate(length);
        if length == 0 {
            self.at_root = true;
            if !self.relative && at_end {
                self.output.push(b'/');
            }
        }
    }

    /// Copies one byte; of slashes in a row only the last, and none at the start of
    /// a relative path.
    fn copy(&mut self) {
        let [byte, tail @ ..] = self.rest else { return };
        self.rest = tail;
        if *byte == b'/' {
            while let [b'/', tail @ ..] = self.rest {
                self.rest = tail;
            }
            if self.relative && self.output.is_empty() {
                return;
            }
        }
        self.output.push(*byte);
    }
}

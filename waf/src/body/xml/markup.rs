//! The pieces of XML's syntax that neither nest nor carry text.

use super::{
    Fault,
    chars::{self, is_space},
};

/// Text that is being read from its start.
#[derive(Clone, Copy)]
pub(super) struct Rest<'a>(pub(super) &'a str);

impl<'a> Rest<'a> {
    pub(super) fn take(&mut self, expected: &str) -> bool {
        match self.0.strip_prefix(expected) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Takes what must stand here; a text that ends before it is incomplete.
    pub(super) fn expect(&mut self, expected: &str, fault: &'static str) -> Result<(), Fault> {
        if self.take(expected) {
            Ok(())
        } else if expected.starts_with(self.0) {
            Err(Fault::Incomplete)
        } else {
            Err(Fault::Malformed(fault))
        }
    }

    /// Takes everything before `end` and `end` itself.
    pub(super) fn until(&mut self, end: &str) -> Result<&'a str, Fault> {
        let (before, rest) = self.0.split_once(end).ok_or(Fault::Incomplete)?;
        self.0 = rest;
        Ok(before)
    }

    /// Whether there was any white space.
    pub(super) fn skip_spaces(&mut self) -> bool {
        let rest = self.0.trim_start_matches(is_space);
        let any = rest.len() < self.0.len();
        self.0 = rest;
        any
    }

    pub(super) fn name(&mut self) -> Result<&'a str, Fault> {
        match self.0.chars().next() {
            None => return Err(Fault::Incomplete),
            Some(first) if !chars::starts_name(first) => return Err(Fault::Malformed("name")),
            Some(_) => {}
        }
        let length = self.0.find(|char| !chars::is_in_name(char)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(name)
    }

    /// Text between quotes of either kind.
    pub(super) fn quoted(&mut self) -> Result<&'a str, Fault> {
        let quote = match self.0.as_bytes().first() {
            None => return Err(Fault::Incomplete),
            Some(b'"') => "\"",
            Some(b'\'') => "'",
            Some(_) => return Err(Fault::Malformed("quotes")),
        };
        self.0 = &self.0[1..];
        self.until(quote)
    }

    /// An equals sign with white space around it, if any.
    pub(super) fn equals(&mut self) -> Result<(), Fault> {
        self.skip_spaces();
        self.expect("=", "equals sign")?;
        self.skip_spaces();
        Ok(())
    }

    /// `<?xml version="1.0"?>`, whose start was taken.
    pub(super) fn declaration(&mut self) -> Result<(), Fault> {
        const FAULT: Fault = Fault::Malformed("declaration");
        let mut inside = Rest(self.until("?>")?);
        let mut values = Vec::with_capacity(3);
        while inside.skip_spaces() && !inside.0.is_empty() {
            let name = inside.name().map_err(|_| FAULT)?;
            inside.equals().map_err(|_| FAULT)?;
            values.push((name, inside.quoted().map_err(|_| FAULT)?));
        }
        if !inside.0.is_empty() {
            return Err(FAULT);
        }
        let values = match values.as_slice() {
            [("version", version), rest @ ..] if is_version(version) => rest,
            _ => return Err(FAULT),
        };
        let values = match values {
            [("encoding", name), rest @ ..]
                if name.starts_with(|char: char| char.is_ascii_alphabetic()) =>
            {
                rest
            }
            values => values,
        };
        match values {
            [] | [("standalone", "yes" | "no")] => Ok(()),
            _ => Err(FAULT),
        }
    }

    /// A comment, whose start was taken.
    pub(super) fn comment(&mut self) -> Result<(), Fault> {
        let comment = self.until("-->")?;
        // `--` is not allowed inside, nor is a dash before the end.
        if comment.contains("--") || comment.ends_with('-') {
            return Err(Fault::Malformed("comment"));
        }
        Ok(())
    }

    /// A processing instruction, whose `<?` was taken.
    pub(super) fn instruction(&mut self) -> Result<(), Fault> {
        let target = self.name()?;
        if target.eq_ignore_ascii_case("xml") {
            return Err(Fault::Malformed("declaration inside of the document"));
        }
        if !self.0.starts_with("?>") && !self.skip_spaces() {
            return Err(if self.0.is_empty() {
                Fault::Incomplete
            } else {
                Fault::Malformed("instruction")
            });
        }
        self.until("?>").map(|_| ())
    }

    /// A document type, whose `<!DOCTYPE` was taken: skipped to its end. Says whether there is
    /// more than a name: where a parser may load it from, or what it declares.
    pub(super) fn doctype(&mut self) -> Result<bool, Fault> {
        self.skip_spaces(); // libxml2 does not ask for any
        self.name()?;
        self.skip_spaces();
        if self.take(">") {
            return Ok(false);
        }
        let mut in_subset = false;
        loop {
            let next =
                self.0.find(['"', '\'', '<', '[', ']', '>', '%']).ok_or(Fault::Incomplete)?;
            let (mark, rest) = self.0[next..].split_at(1);
            match mark {
                "\"" | "'" => {
                    self.0 = rest;
                    self.until(mark)?;
                    continue;
                }
                "[" if !in_subset => in_subset = true,
                "]" if in_subset => in_subset = false,
                ">" if !in_subset => {
                    self.0 = rest;
                    return Ok(true);
                }
                "<" if in_subset => {
                    self.0 = rest;
                    self.declared()?;
                    continue;
                }
                "%" if in_subset => {} // a parameter entity: not loaded, not expanded
                _ => return Err(Fault::Malformed("document type")),
            }
            self.0 = rest;
        }
    }

    /// One declaration of a document type, whose `<` was taken.
    fn declared(&mut self) -> Result<(), Fault> {
        if self.take("!--") {
            return self.comment();
        }
        if self.take("?") {
            return self.instruction();
        }
        loop {
            let next = self.0.find(['"', '\'', '<', '>']).ok_or(Fault::Incomplete)?;
            let (mark, rest) = self.0[next..].split_at(1);
            self.0 = rest;
            match mark {
                ">" => return Ok(()),
                "<" => return Err(Fault::Malformed("document type")),
                quote => self.until(quote)?,
            };
        }
    }
}

/// `1.` and digits, or none: later versions of XML 1 are read as 1.0 is.
fn is_version(version: &str) -> bool {
    version.strip_prefix("1.").is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()))
}

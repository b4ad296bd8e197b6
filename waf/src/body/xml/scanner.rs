//! Elements, attributes and text.

use memchr::{memchr2, memmem};

use super::{
    Fault, Limits, Xml,
    chars::{is_allowed, is_space, starts_name},
    markup::Rest,
};

/// Reads a document from its start; what it said so far is in `read`.
pub(super) struct Scanner<'a> {
    rest: Rest<'a>,
    limits: &'a Limits,
    /// The names of the open elements.
    open: Vec<&'a str>,
    attributes: usize,
    /// What was met that we read over and a parser behind us may not: a document type that
    /// says more than a name, or a reference to an entity that is not built in.
    noted: Option<Fault>,
    pub(super) read: Xml,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, limits: &'a Limits) -> Self {
        Self {
            rest: Rest(text),
            limits,
            open: Vec::new(),
            attributes: 0,
            noted: None,
            read: Xml::default(),
        }
    }

    pub(super) fn document(&mut self) -> Result<(), Fault> {
        let end = self.whole();
        // A limit that ends the reading may be one that passes.
        match (self.noted, end) {
            (Some(noted), Ok(())) => Err(noted),
            (Some(noted), Err(fault)) if fault.is_limit() => Err(noted),
            (_, end) => end,
        }
    }

    fn whole(&mut self) -> Result<(), Fault> {
        if self.rest.0.strip_prefix("<?xml").is_some_and(|rest| rest.starts_with(is_space)) {
            self.rest.take("<?xml");
            self.rest.declaration()?;
        }
        self.prolog()?;
        self.element()?;
        while !self.open.is_empty() {
            self.content()?;
        }
        self.epilog()
    }

    /// Comments, instructions and the document type before the first element, whose
    /// `<` is taken.
    fn prolog(&mut self) -> Result<(), Fault> {
        let mut has_type = false;
        loop {
            self.rest.skip_spaces();
            self.rest.expect("<", "text before the first element")?;
            if self.rest.take("!--") {
                self.rest.comment()?;
            } else if self.rest.take("?") {
                self.rest.instruction()?;
            } else if !has_type && self.rest.take("!DOCTYPE") {
                if self.rest.doctype()? {
                    self.note(Fault::DocumentType);
                }
                has_type = true;
            } else {
                return Ok(());
            }
        }
    }

    fn note(&mut self, fault: Fault) {
        self.noted.get_or_insert(fault);
    }

    fn epilog(&mut self) -> Result<(), Fault> {
        loop {
            self.rest.skip_spaces();
            if self.rest.0.is_empty() {
                return Ok(());
            } else if self.rest.take("<!--") {
                self.rest.comment()?;
            } else if self.rest.take("<?") {
                self.rest.instruction()?;
            } else {
                return Err(Fault::Malformed("content after the last element"));
            }
        }
    }

    /// Text up to the next markup, and that markup.
    fn content(&mut self) -> Result<(), Fault> {
        let length = memchr2(b'<', b'&', self.rest.0.as_bytes()).unwrap_or(self.rest.0.len());
        let (text, rest) = self.rest.0.split_at(length);
        self.rest.0 = rest;
        self.text(text)?;
        if self.rest.take("&") {
            if let Some(char) = self.reference()? {
                push(&mut self.read.text, char);
            }
            return Ok(());
        }
        self.rest.expect("<", "text")?;
        if self.rest.take("/") {
            self.end_tag()
        } else if self.rest.take("!--") {
            self.rest.comment()
        } else if self.rest.take("![CDATA[") {
            self.data_section()
        } else if self.rest.take("?") {
            self.rest.instruction()
        } else {
            self.element()
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        let end = memmem::find(text.as_bytes(), b"]]>");
        push_lines(&mut self.read.text, &text[..end.unwrap_or(text.len())]);
        if end.is_some() { Err(Fault::Malformed("end of a data section in text")) } else { Ok(()) }
    }

    /// A data section, whose start was taken. Its line ends stay, as in libxml2.
    fn data_section(&mut self) -> Result<(), Fault> {
        let data = self.rest.until("]]>");
        self.read.text.extend_from_slice(data.unwrap_or(self.rest.0).as_bytes());
        data.map(|_| ())
    }

    fn end_tag(&mut self) -> Result<(), Fault> {
        let name = self.rest.name()?;
        self.rest.skip_spaces();
        self.rest.expect(">", "end tag")?;
        if self.open.pop() == Some(name) {
            Ok(())
        } else {
            Err(Fault::Malformed("mismatched end tag"))
        }
    }

    /// A start tag, whose `<` was taken.
    fn element(&mut self) -> Result<(), Fault> {
        let name = self.rest.name()?;
        if self.open.len() == self.limits.depth {
            return Err(Fault::Depth);
        }
        let mut seen = Vec::new();
        loop {
            let spaced = self.rest.skip_spaces();
            if self.rest.take("/") {
                return self.rest.expect(">", "start tag");
            }
            if self.rest.take(">") {
                break;
            }
            if !spaced && !self.rest.0.is_empty() {
                return Err(Fault::Malformed("start tag"));
            }
            let attribute = self.attribute(&seen)?;
            seen.push(attribute);
        }
        self.open.push(name);
        Ok(())
    }

    fn attribute(&mut self, seen: &[&'a str]) -> Result<&'a str, Fault> {
        let name = self.rest.name()?;
        if seen.contains(&name) {
            return Err(Fault::Malformed("attribute twice"));
        }
        if self.attributes == self.limits.arguments {
            return Err(Fault::Attributes);
        }
        self.attributes += 1;
        self.rest.equals()?;
        let mut raw = Scanner::new(self.rest.quoted()?, self.limits);
        let value = raw.attribute_value()?;
        if let Some(noted) = raw.noted {
            self.note(noted);
        }
        if !is_namespace(name) {
            self.read.attributes.push(value);
        }
        Ok(name)
    }

    /// A value without its quotes: white space becomes blanks, references what they
    /// stand for.
    fn attribute_value(&mut self) -> Result<Vec<u8>, Fault> {
        let mut value = Vec::with_capacity(self.rest.0.len());
        loop {
            let length =
                self.rest.0.find(['&', '<', '\t', '\n', '\r']).unwrap_or(self.rest.0.len());
            let (plain, rest) = self.rest.0.split_at(length);
            value.extend_from_slice(plain.as_bytes());
            self.rest.0 = rest;
            if self.rest.0.is_empty() {
                return Ok(value);
            } else if self.rest.take("&") {
                // The quotes around the value bound the reference.
                let char = self.reference().map_err(|fault| match fault {
                    Fault::Incomplete => Fault::Malformed("reference"),
                    fault => fault,
                })?;
                if let Some(char) = char {
                    push(&mut value, char);
                }
            } else if self.rest.take("<") {
                return Err(Fault::Malformed("`<` in an attribute"));
            } else {
                if !self.rest.take("\r\n") {
                    self.rest.0 = &self.rest.0[1..];
                }
                value.push(b' ');
            }
        }
    }

    /// The character of a reference, whose `&` was taken; none if it is not built in.
    fn reference(&mut self) -> Result<Option<char>, Fault> {
        if self.rest.take("#x") {
            return self.character(16).map(Some);
        }
        if self.rest.take("#") {
            return self.character(10).map(Some);
        }
        let name = self.rest.name()?;
        self.rest.expect(";", "reference")?;
        Ok(Some(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                self.note(Fault::Entity);
                return Ok(None);
            }
        }))
    }

    /// A character given by its code.
    fn character(&mut self, radix: u32) -> Result<char, Fault> {
        const FAULT: Fault = Fault::Malformed("character reference");
        let length =
            self.rest.0.find(|char: char| !char.is_digit(radix)).ok_or(Fault::Incomplete)?;
        let (digits, rest) = self.rest.0.split_at(length);
        self.rest.0 = rest;
        self.rest.expect(";", "character reference")?;
        let code = u32::from_str_radix(digits, radix).map_err(|_| FAULT)?;
        char::from_u32(code).filter(|char| *char != '\0' && is_allowed(*char)).ok_or(FAULT)
    }
}

/// Whether an attribute declares a namespace: `xmlns`, alone or with a prefix.
fn is_namespace(name: &str) -> bool {
    let starts_prefix = |char| char != ':' && starts_name(char);
    match name.strip_prefix("xmlns") {
        Some("") => true,
        Some(rest) => {
            rest.strip_prefix(':').is_some_and(|prefix| prefix.starts_with(starts_prefix))
        }
        None => false,
    }
}

fn push(output: &mut Vec<u8>, char: char) {
    output.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Text with the line ends that XML makes of all three kinds.
fn push_lines(output: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(index) = memchr::memchr(b'\r', rest) {
        output.extend_from_slice(&rest[..index]);
        output.push(b'\n');
        rest = &rest[index + 1..];
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    }
    output.extend_from_slice(rest);
}

//! `multipart/form-data`: forms with files.
//!
//! Parsers of back ends differ in what they tolerate, so this one reads on where
//! it can and notes every oddity in [`Flags`] for rules to judge. The flags are
//! libmodsecurity's. The Core Rule Set asks for few of them, so those behind which a
//! field can hide are a fault here ([`Fault::Ambiguous`]).
//!
//! Unlike libmodsecurity
//! - what back ends may cut into other parts than we do is a fault,
//! - a field's value keeps its line breaks (there each is lost),
//! - the parts before an error or a missing end are handed over, the last one with
//!   as much of its data as came (there none is): a back end such as PHP reads them,
//! - the first fault is reported, not the last.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{Argument, Limits};

mod boundary;
mod disposition;
mod fault;
mod flags;
mod lines;
mod part;

pub use fault::Fault;
pub use flags::Flags;

use lines::{Line, Lines};
use part::Part;

/// What a multipart body holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Multipart {
    /// The fields that are no files, in order.
    pub arguments: Vec<Argument>,
    /// The files, in order.
    pub files: Vec<File>,
    /// The header lines of every part (`MULTIPART_PART_HEADERS`).
    pub part_headers: Vec<PartHeaders>,
    /// Every name of a `Content-Disposition` (`MULTIPART_NAME`), also of parts with
    /// a fault.
    pub names: Vec<Vec<u8>>,
    /// The same of filenames (`MULTIPART_FILENAME`).
    pub filenames: Vec<Vec<u8>>,
    /// What is odd about the body.
    pub flags: Flags,
    /// The first fault; a body with one is not what its back end will read.
    pub fault: Option<Fault>,
    /// Whether the last boundary was found.
    pub is_complete: bool,
    /// Bytes of headers and of fields that are no files (`SecRequestBodyNoFilesLimit`).
    pub no_files_length: usize,
    /// There are more bytes, parts or header lines than the limits allow; they were not
    /// looked at.
    pub over_limit: bool,
    /// There are more fields than [`Limits::arguments`]; they are not handed over.
    pub over_arguments: bool,
}

/// An uploaded file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The field it belongs to (`FILES_NAMES`).
    pub field: Vec<u8>,
    /// Its name at the client (`FILES`).
    pub filename: Vec<u8>,
    /// Where in the body its content stands; its length is the file's
    /// (`FILES_SIZES`).
    pub content: Range<usize>,
}

/// The header lines of a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartHeaders {
    /// The field it belongs to; empty if it has no name.
    pub part: Vec<u8>,
    /// The lines, `Name: value`, each with its line ending unless it was folded.
    pub lines: Vec<Vec<u8>>,
}

/// Takes a body apart at the boundary that its content type announces.
pub fn parse(content_type: &[u8], body: &[u8], limits: &Limits) -> Multipart {
    let mut result = Multipart { over_limit: body.len() > limits.bytes, ..Multipart::default() };
    let body = &body[..body.len().min(limits.bytes)];
    match boundary::boundary(content_type, &mut result.flags) {
        Ok(boundary) => Reader::new(boundary, body, limits, result).read(),
        Err(fault) => {
            result.flags.error = true;
            result.fault = Some(fault);
            result
        }
    }
}

struct Reader<'a> {
    body: &'a [u8],
    boundary: &'a [u8],
    /// Finds the boundary with its dashes.
    finder: Finder<'static>,
    limits: &'a Limits,
    result: Multipart,
    /// The part that is being read.
    part: Option<Part>,
    parts: usize,
    boundaries: usize,
    /// Boundaries that end or begin a part, the last one included.
    delimiters: usize,
}

/// What a line is.
enum Role {
    Boundary { is_final: bool },
    Content,
}

impl<'a> Reader<'a> {
    fn new(boundary: &'a [u8], body: &'a [u8], limits: &'a Limits, result: Multipart) -> Self {
        let finder = Finder::new(&[b"--", boundary].concat()).into_owned();
        let (parts, boundaries, delimiters) = (0, 0, 0);
        Self { body, boundary, finder, limits, result, part: None, parts, boundaries, delimiters }
    }

    fn read(mut self) -> Multipart {
        let mut lines = Lines::new(self.body);
        let mut read = self.body.len();
        while let Some(line) = lines.next() {
            let step = if line.is_tail { self.tail(&line) } else { self.line(&line) };
            if let Err(fault) = step {
                self.result.flags.error = true;
                self.fail(fault);
                read = line.end();
                break;
            }
            if self.result.is_complete {
                self.result.flags.data_after |= !lines.is_empty();
                break;
            }
        }
        if !self.result.is_complete && !self.body.is_empty() {
            self.finish_part(true);
            self.fail(if self.boundaries > 0 { Fault::Incomplete } else { Fault::NoBoundaryLine });
        }
        // A boundary has no line ending in it, so no two share a byte with a line between them;
        // those that are delimiters were counted. What is behind the last one counts, too.
        let found = self.finder.find_iter(&self.body[..read]).count();
        self.result.flags.boundary_inside = found > self.delimiters;
        // No fault of the body is behind a limit.
        if let Some(what) = self.result.flags.ambiguity()
            && self.result.fault.is_none_or(Fault::is_limit)
        {
            self.result.fault = Some(Fault::Ambiguous(what));
        }
        self.result
    }

    /// Notes a fault unless there is one.
    fn fail(&mut self, fault: Fault) {
        self.result.fault.get_or_insert(fault);
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        if let Role::Boundary { is_final } = self.role(line)? {
            self.finish_part(false);
            self.boundaries += 1;
            self.delimiters += 1;
            self.result.is_complete = is_final;
            return if is_final { Ok(()) } else { self.start_part() };
        }
        let Some(part) = &mut self.part else {
            self.result.flags.data_before = true;
            // Hand-written clients begin each boundary with its line ending, the first as well.
            self.result.flags.preamble |= line.start > 0 || line.text != b"\r\n";
            return Ok(());
        };
        if part.in_data {
            part.add_data(line);
            return Ok(());
        }
        if line.is_cut {
            return Err(Fault::HeaderLength);
        }
        match part.add_header(line, self.limits.part_headers, &mut self.result.flags) {
            Err(Fault::PartHeaders) => {
                self.result.over_limit = true;
                return Err(Fault::PartHeaders);
            }
            Err(fault) => self.fail(fault),
            Ok(()) => {}
        }
        if !line.text.contains(&0) {
            self.result.no_files_length += line.text.len();
        }
        Ok(())
    }

    /// The end of a body without a line ending: its last boundary, or cut data.
    fn tail(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        let is_final = self.boundaries > 0
            && line.is_start
            && line.text.strip_prefix(b"--").and_then(|text| text.strip_prefix(self.boundary))
                == Some(b"--");
        if is_final {
            self.result.flags.lf_line |= line.after_bare_lf;
            self.result.flags.invalid_part |= !self.part.as_ref().is_some_and(Part::has_data);
            self.finish_part(false);
            self.delimiters += 1;
            self.result.is_complete = true;
        } else if let Some(part) = self.part.as_mut().filter(|part| part.in_data) {
            part.add_data(line);
        }
        Ok(())
    }

    /// Whether a line is a boundary, and what is odd about it if it looks like one.
    fn role(&mut self, line: &Line<'_>) -> Result<Role, Fault> {
        let flags = &mut self.result.flags;
        if !line.is_start {
            return Ok(Role::Content);
        }
        // Most lines are short or content, and an attacker's are both: no search without need.
        let dashes = line.text.starts_with(b"--").then(|| line.before_nul());
        let Some(text) = dashes.map(|text| &text[2..]).filter(|text| text.len() > 1) else {
            if line.text.len() > self.boundary.len() && self.finder.find(line.text).is_some() {
                flags.unmatched_boundary = 1;
            }
            return Ok(Role::Content);
        };
        let Some(rest) = text.strip_prefix(self.boundary) else {
            if flags.boundary_quoted
                && text.strip_prefix(b"\"").is_some_and(|text| text.starts_with(self.boundary))
            {
                return Err(Fault::BoundaryLine("quotes"));
            }
            let blanks = text.iter().take_while(|byte| is_space(**byte)).count();
            if blanks > 0 && text[blanks..].starts_with(self.boundary) {
                return Err(Fault::BoundaryLine("whitespace"));
            }
            flags.unmatched_boundary = 1;
            return Ok(Role::Content);
        };
        flags.lf_line |= line.after_bare_lf;
        if self.boundaries > 0 {
            if !self.part.as_ref().is_some_and(Part::has_data) {
                // Where a part's data should begin.
                flags.invalid_part = true;
                return Ok(Role::Content);
            }
            flags.unmatched_boundary = 2;
        }
        let (rest, is_final) = match rest.strip_prefix(b"--") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        match rest {
            b"\r\n" => flags.crlf_line = true,
            b"\n" => flags.lf_line = true,
            _ => return Err(Fault::BoundaryLine("trailing data")),
        }
        Ok(Role::Boundary { is_final })
    }

    fn start_part(&mut self) -> Result<(), Fault> {
        if self.parts == self.limits.parts {
            self.result.over_limit = true;
            self.result.flags.file_limit_exceeded = true;
            return Err(Fault::Parts);
        }
        self.parts += 1;
        self.part = Some(Part::default());
        Ok(())
    }

    /// Hands over the part that is being read, if there is one.
    /// One that the end of the body cuts is not odd for having no name yet.
    fn finish_part(&mut self, is_cut: bool) {
        let Some(part) = self.part.take() else { return };
        let (content, disposition) = (part.content(), part.disposition);
        let result = &mut self.result;
        if !part.lines.is_empty() {
            result
                .part_headers
                .push(PartHeaders { part: disposition.name.clone(), lines: part.lines });
        }
        result.names.extend(disposition.all_names);
        result.filenames.extend(disposition.all_filenames);
        if disposition.name.is_empty() {
            result.flags.invalid_part |= !is_cut;
        } else if part.is_file {
            result.files.push(File {
                field: disposition.name,
                filename: disposition.filename,
                content,
            });
        } else if result.arguments.len() == self.limits.arguments {
            result.over_arguments = true;
        } else {
            result.no_files_length += content.len();
            result
                .arguments
                .push(Argument { name: disposition.name, value: self.body[content].to_vec() });
        }
    }
}

/// `isspace` of the C locale, which has vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests;

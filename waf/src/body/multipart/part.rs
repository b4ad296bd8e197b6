//! One part of a multipart body while it is read.

use std::ops::Range;

use super::{
    Fault, Flags,
    disposition::{self, Disposition},
    is_space,
    lines::{Line, MAX_LINE},
};

/// A part: header lines first, then data.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Whether the header is over.
    pub(super) in_data: bool,
    pub(super) disposition: Disposition,
    pub(super) is_file: bool,
    /// Complete header lines.
    pub(super) lines: Vec<Vec<u8>>,
    /// The header line that may still be folded.
    line: Vec<u8>,
    is_folded: bool,
    headers: Vec<Header>,
    /// How many headers there were when the header's end last came. Asked again with
    /// the same ones the answer would be the same, for another reading of them all.
    headers_at_end: Option<usize>,
    /// Whether the disposition was read. It comes once; read again for every header behind
    /// a faulty one, its names would be handed over as often.
    is_disposition_read: bool,
    data: Option<Data>,
}

#[derive(Debug)]
struct Header {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Where a part's data stands; the last line ending belongs to the boundary.
#[derive(Debug)]
struct Data {
    range: Range<usize>,
    ending: usize,
}

impl Part {
    /// Whether at least one line of data was read.
    pub(super) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// Where the data stands in the body, without the line ending before the boundary.
    pub(super) fn content(&self) -> Range<usize> {
        self.data.as_ref().map_or(0..0, |data| data.range.start..data.range.end - data.ending)
    }

    pub(super) fn add_data(&mut self, line: &Line<'_>) {
        let start = self.data.as_ref().map_or(line.start, |data| data.range.start);
        self.data = Some(Data { range: start..line.end(), ending: line.ending() });
    }

    /// Reads a line of the header. A fault does not end the part: later lines are
    /// read on, so that what they hide is seen too.
    ///
    /// Unlike libmodsecurity a header that comes twice is a fault (there the second
    /// is dropped without a word).
    pub(super) fn add_header(
        &mut self,
        line: &Line<'_>,
        limit: usize,
        flags: &mut Flags,
    ) -> Result<(), Fault> {
        let text = line.text;
        if text.contains(&0) {
            return Err(Fault::Header("NUL byte"));
        }
        // Some back ends end a line here.
        if memchr::memchr(b'\r', &text[..text.len() - line.ending()]).is_some() {
            return Err(Fault::Header("bare CR"));
        }
        match line.ending() {
            2 => flags.crlf_line = true,
            _ => flags.lf_line = true,
        }
        match text {
            b"\n" | b"\r\n" => self.end_header(flags),
            [first, ..] if is_space(*first) => self.fold(text, limit, flags),
            _ => self.new_header(text, limit),
        }
    }

    fn end_header(&mut self, flags: &mut Flags) -> Result<(), Fault> {
        self.end_line();
        if self.headers_at_end.replace(self.headers.len()) == Some(self.headers.len()) {
            return Ok(());
        }
        let header = self
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(b"content-disposition"));
        let value = &header.ok_or(Fault::NoDisposition)?.value;
        if std::mem::replace(&mut self.is_disposition_read, true) {
            return Ok(());
        }
        disposition::parse(value, &mut self.disposition, flags)?;
        if self.disposition.name.is_empty() {
            return Err(Fault::NoName);
        }
        // A crude parser would not find the name that we found.
        let is_file = !self.disposition.filename.is_empty();
        if is_file && memchr::memmem::find(value, b"filename=").is_none() {
            return Err(Fault::Header("filename"));
        }
        self.is_file = is_file;
        self.in_data = true;
        Ok(())
    }

    fn fold(&mut self, text: &[u8], limit: usize, flags: &mut Flags) -> Result<(), Fault> {
        // RFC 2557 knows blank and tab, PHP takes any white space.
        let is_odd = |byte: &u8| !matches!(byte, b'\t' | b' ');
        flags.header_folding = true;
        flags.invalid_header_folding |= is_odd(&text[0]);
        let header = self.headers.last_mut().ok_or(Fault::Header("folding error"))?;
        let blanks = text.iter().take_while(|byte| is_space(**byte)).count();
        let (blanks, value) = text.split_at(blanks);
        flags.invalid_header_folding |= blanks.iter().any(is_odd);
        let value = without_ending(value);
        if header.value.len() + 1 + value.len() > MAX_LINE {
            return Err(Fault::HeaderLength);
        }
        header.value.push(b' ');
        header.value.extend_from_slice(value);
        if self.line.is_empty() {
            // A line with a fault came between. The header's line is handed over already,
            // and once more for each such fold it would be many times the body.
            if self.lines.len() >= limit {
                return Err(Fault::PartHeaders);
            }
            self.lines.push(text.to_vec());
        } else {
            self.is_folded = true;
        }
        Ok(())
    }

    fn new_header(&mut self, text: &[u8], limit: usize) -> Result<(), Fault> {
        self.end_line();
        let colon = memchr::memchr(b':', text).ok_or(Fault::Header("colon missing"))?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if name.is_empty() {
            return Err(Fault::Header("header name missing"));
        }
        if self.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name)) {
            return Err(Fault::Header("duplicate"));
        }
        if self.lines.len() >= limit {
            return Err(Fault::PartHeaders);
        }
        let blanks = value.iter().take_while(|byte| matches!(byte, b'\t' | b' ')).count();
        self.headers
            .push(Header { name: name.to_vec(), value: without_ending(&value[blanks..]).to_vec() });
        self.line = text.to_vec();
        Ok(())
    }

    /// No further line is folded into the last one.
    pub(super) fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let is_folded = std::mem::take(&mut self.is_folded);
        match self.headers.last() {
            Some(header) if is_folded => {
                self.lines.push([&header.name, b": ".as_slice(), &header.value].concat())
            }
            _ if !line.is_empty() => self.lines.push(line),
            _ => {}
        }
    }
}

/// A value without its trailing line ending, unless it is nothing else.
fn without_ending(value: &[u8]) -> &[u8] {
    match value.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')) {
        Some(last) => &value[..=last],
        None => value,
    }
}

//! The request's body, taken apart by its kind.

use super::Transaction;
use crate::{
    body::{json, multipart, urlencoded, xml},
    report::{Limit, Verdict},
    seclang::{Bodies, Collection},
};

impl Transaction<'_> {
    /// The request body and phase 2. An empty body is told with an empty slice.
    pub fn request_body(&mut self, body: &[u8]) -> Verdict {
        self.begin_request_body(body);
        self.finish()
    }

    /// Takes the request body apart and begins phase 2, which [`advance`](Self::advance) then
    /// evaluates piece by piece.
    pub fn begin_request_body(&mut self, body: &[u8]) {
        if self.is_on() && self.request_bodies && self.verdict.is_pass() {
            self.read_body(body);
        }
        self.begin(1);
    }

    fn read_body(&mut self, body: &[u8]) {
        let multipart = self.processor == Some(Bodies::Multipart);
        let limits = &self.policy.options.limits;
        let (most, limit) = if multipart {
            (limits.body_with_files, Limit::BodyWithFiles)
        } else {
            (limits.body, Limit::Body)
        };
        let is_cut = body.len() > most;
        let looked_at = if is_cut {
            self.beyond(limit);
            self.set(Collection::InboundDataError, b"1");
            &body[..most]
        } else {
            body
        };
        if !body.is_empty() {
            self.set(Collection::RequestBodyLength, body.len().to_string().as_bytes());
        }
        self.set(Collection::ReqbodyError, b"0");
        self.set(Collection::ReqbodyProcessorError, b"0");
        let fault = match self.processor {
            Some(Bodies::Urlencoded) => self.urlencoded(looked_at),
            Some(Bodies::Multipart) => self.multipart(looked_at),
            Some(Bodies::Json) => self.json(looked_at),
            Some(Bodies::Xml) => self.xml(looked_at),
            None => None,
        };
        // That the end of a body that was cut is missing is no fault of the body.
        if let Some(what) = fault.filter(|_| !is_cut) {
            self.body_error(&what);
        }
        if let Some(what) = self.unclear().filter(|_| !body.is_empty()) {
            self.body_error(what);
        }
        // XML and multipart are looked at in their parts, or names of elements and the content
        // of files would be taken for data. The rules' own tests expect exactly this.
        let whole =
            self.force_body || !matches!(self.processor, Some(Bodies::Xml | Bodies::Multipart));
        if whole {
            self.set(Collection::RequestBody, looked_at);
        }
    }

    /// Why an application may read the body otherwise than we do.
    fn unclear(&self) -> Option<&'static str> {
        if self.content_types > 1 {
            return Some("there is more than one content type");
        }
        // What is not taken apart is data, encoded or not.
        (self.encoded && self.processor.is_some()).then_some("the body is encoded")
    }

    fn urlencoded(&mut self, body: &[u8]) -> Option<String> {
        let form = urlencoded::parse(body, self.policy.rules.separator, &self.body_limits());
        if form.invalid_encoding {
            self.set(Collection::UrlencodedError, b"1");
        }
        self.arguments(Collection::ArgsPost, &form.arguments);
        if form.over_limit {
            self.beyond(Limit::Arguments);
        }
        None
    }

    /// Takes the body apart, and says what is wrong with it: nothing, where a limit ended that.
    fn json(&mut self, body: &[u8]) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        let error = match json::parse(body, &self.body_limits()) {
            Ok(arguments) => {
                self.arguments(Collection::ArgsPost, &arguments);
                return None;
            }
            Err(error) => error,
        };
        self.arguments(Collection::ArgsPost, &error.arguments);
        let limit = match error.fault {
            json::Fault::Depth => Limit::Depth,
            // Names are what there are too many of, or too long ones.
            json::Fault::Arguments | json::Fault::Names => Limit::Arguments,
            json::Fault::Bytes => Limit::Body,
            json::Fault::Lexical(_) | json::Fault::Parse(_) => return Some(error.to_string()),
        };
        self.beyond(limit);
        None
    }

    fn xml(&mut self, body: &[u8]) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        let (read, fault) = match xml::parse(body, &self.body_limits()) {
            Ok(read) => (read, None),
            Err(error) => (error.read, Some(error.fault)),
        };
        self.set(Collection::XmlText, &read.text);
        for attribute in &read.attributes {
            let name = self.texts.add(b"");
            let value = self.texts.add(attribute);
            self.store.add(Collection::XmlAttributes, name, value);
        }
        let limit = match fault? {
            xml::Fault::Depth => Limit::Depth,
            xml::Fault::Attributes => Limit::Arguments,
            xml::Fault::Bytes => Limit::Body,
            fault => return Some(fault.to_string()),
        };
        self.beyond(limit);
        None
    }

    fn multipart(&mut self, body: &[u8]) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        let read = multipart::parse(&self.content_type, body, &self.body_limits());
        if read.no_files_length > self.policy.options.limits.body {
            self.beyond(Limit::Body);
        }
        if read.over_limit {
            self.beyond(Limit::Parts);
        }
        if read.over_arguments {
            self.beyond(Limit::Arguments);
        }
        self.arguments(Collection::ArgsPost, &read.arguments);
        let mut sizes = 0;
        for file in &read.files {
            let field = self.texts.add(&file.field);
            let filename = self.texts.add(&file.filename);
            let size = self.texts.add(file.content.len().to_string().as_bytes());
            sizes += file.content.len();
            self.store.add(Collection::Files, field, filename);
            self.store.add(Collection::FilesNames, field, field);
            self.store.add(Collection::FilesSizes, field, size);
        }
        self.set(Collection::FilesCombinedSize, sizes.to_string().as_bytes());
        for part in &read.part_headers {
            let name = self.texts.add(&part.part);
            for line in &part.lines {
                let line = self.texts.add(line.trim_ascii_end());
                self.store.add(Collection::MultipartPartHeaders, name, line);
            }
        }
        if let Some(name) = read.names.last() {
            self.set(Collection::MultipartName, name);
        }
        if let Some(filename) = read.filenames.last() {
            self.set(Collection::MultipartFilename, filename);
        }
        let flags = read.flags;
        for (collection, flag) in [
            (Collection::MultipartBoundaryQuoted, flags.boundary_quoted),
            (Collection::MultipartBoundaryWhitespace, flags.boundary_whitespace),
            (Collection::MultipartDataBefore, flags.data_before),
            (Collection::MultipartDataAfter, flags.data_after),
            (Collection::MultipartHeaderFolding, flags.header_folding),
            (Collection::MultipartLfLine, flags.lf_line),
            (Collection::MultipartCrlfLfLines, flags.crlf_lf_lines()),
            (Collection::MultipartMissingSemicolon, flags.missing_semicolon),
            (Collection::MultipartSemicolonMissing, flags.missing_semicolon),
            (Collection::MultipartInvalidQuoting, flags.invalid_quoting),
            (Collection::MultipartInvalidPart, flags.invalid_part),
            (Collection::MultipartInvalidHeaderFolding, flags.invalid_header_folding),
            (Collection::MultipartFileLimitExceeded, flags.file_limit_exceeded),
            (Collection::MultipartStrictError, flags.strict_error()),
        ] {
            self.set(collection, if flag { b"1" } else { b"0" });
        }
        self.set(
            Collection::MultipartUnmatchedBoundary,
            flags.unmatched_boundary.to_string().as_bytes(),
        );
        let fault = read.fault.filter(|fault| !fault.is_limit());
        fault.map(|fault| fault.to_string())
    }

    fn body_error(&mut self, what: &str) {
        self.beyond(Limit::Malformed);
        self.set(Collection::ReqbodyError, b"1");
        self.set(Collection::ReqbodyProcessorError, b"1");
        self.set(Collection::ReqbodyErrorMsg, what.as_bytes());
        self.set(Collection::ReqbodyProcessorErrorMsg, what.as_bytes());
    }
}

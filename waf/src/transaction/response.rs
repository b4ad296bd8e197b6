//! The response, as the client is to get it.

use super::Transaction;
use crate::{
    report::{Limit, Verdict},
    seclang::Collection,
};

impl Transaction<'_> {
    /// The status and protocol of the response.
    pub fn response_line(&mut self, protocol: &[u8], status: u16) {
        self.set(Collection::ResponseStatus, status.to_string().as_bytes());
        self.set(Collection::ResponseProtocol, protocol);
        let line = [protocol, b" ", status.to_string().as_bytes()].concat();
        self.set(Collection::StatusLine, &line);
    }

    /// One header of the response.
    pub fn response_header(&mut self, name: &[u8], value: &[u8]) {
        let key = self.texts.add(name);
        let text = self.texts.add(value);
        self.store.add(Collection::ResponseHeaders, key, text);
        if name.eq_ignore_ascii_case(b"content-type") {
            let kind = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
            self.set(Collection::ResponseContentType, kind);
            let kind = kind.to_ascii_lowercase();
            self.response_is_text = self.policy.rules.response_types.contains(&kind);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.set(Collection::ResponseContentLength, value);
        }
    }

    /// The end of the response's head, and phase 3.
    pub fn response_headers(&mut self) -> Verdict {
        self.run(2)
    }

    /// Whether a response with the headers told so far has its body looked at.
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        self.is_on() && self.response_bodies && self.response_is_text
    }

    /// The response body, decoded, and phase 4.
    pub fn response_body(&mut self, body: &[u8]) -> Verdict {
        self.begin_response_body(body);
        self.finish()
    }

    /// Takes the response body and begins phase 4, which [`advance`](Self::advance) then
    /// evaluates piece by piece.
    pub fn begin_response_body(&mut self, body: &[u8]) {
        if self.wants_response_body() {
            let most = self.policy.options.limits.response_body;
            if body.len() > most {
                self.beyond(Limit::ResponseBody);
                self.set(Collection::OutboundDataError, b"1");
            }
            self.set(Collection::ResponseBody, &body[..body.len().min(most)]);
            self.set(Collection::ResponseContentLength, body.len().to_string().as_bytes());
        }
        self.begin(3);
    }
}

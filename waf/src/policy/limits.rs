//! Budgets, each with what happens beyond it.

use crate::report::Limit;

/// What happens beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// In block mode the request is refused, in detect mode it is told and passes.
    Block,
    /// It is told; what is within the limit was looked at, the rest passes.
    Pass,
}

/// Budgets of one transaction. They count bytes and items, never time, so that a request ends
/// the same way on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body, files apart (default 128 KiB).
    pub body: usize,
    /// Beyond [`Limits::body`] (default: block, with 413).
    pub on_body: OnLimit,
    /// Bytes of a multipart body with its files (default 12.5 MiB).
    pub body_with_files: usize,
    /// Beyond [`Limits::body_with_files`] (default: block, with 413).
    pub on_body_with_files: OnLimit,
    /// Bytes of a response body (default 512 KiB).
    pub response_body: usize,
    /// Beyond [`Limits::response_body`] (default: pass, the beginning was looked at).
    pub on_response_body: OnLimit,
    /// Arguments of the query and the body (default 1,000 each).
    pub arguments: usize,
    /// Beyond [`Limits::arguments`] (default: block, with 400).
    pub on_arguments: OnLimit,
    /// Nesting of JSON or XML (default 512).
    pub depth: usize,
    /// Beyond [`Limits::depth`] (default: block, with 400).
    pub on_depth: OnLimit,
    /// Parts of a multipart body (default 1,000).
    pub parts: usize,
    /// Beyond [`Limits::parts`] (default: block, with 400).
    pub on_parts: OnLimit,
    /// A body that is not what its content type says (default: block, with 400): what stands
    /// behind the place where we stop reading, the application may still read.
    pub on_malformed: OnLimit,
    /// Work: bytes that transformations and patterns look at, and a fee for each match
    /// (default 64 Mi, a quarter of a second; with CRS at paranoia 1 the most that 128 KiB of
    /// body were made to need is 15 Mi).
    pub work: u64,
    /// Beyond [`Limits::work`] (default: block, with 503).
    pub on_work: OnLimit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 128 << 10,
            on_body: OnLimit::Block,
            body_with_files: 12_800 << 10,
            on_body_with_files: OnLimit::Block,
            response_body: 512 << 10,
            on_response_body: OnLimit::Pass,
            arguments: 1_000,
            on_arguments: OnLimit::Block,
            depth: 512,
            on_depth: OnLimit::Block,
            parts: 1_000,
            on_parts: OnLimit::Block,
            on_malformed: OnLimit::Block,
            work: 64 << 20,
            on_work: OnLimit::Block,
        }
    }
}

impl Limits {
    /// What happens beyond `limit`.
    pub(crate) const fn on(&self, limit: Limit) -> OnLimit {
        match limit {
            Limit::Body => self.on_body,
            Limit::BodyWithFiles => self.on_body_with_files,
            Limit::ResponseBody => self.on_response_body,
            Limit::Arguments => self.on_arguments,
            Limit::Depth => self.on_depth,
            Limit::Parts => self.on_parts,
            Limit::Malformed => self.on_malformed,
            Limit::Work => self.on_work,
            // The host says where it may be passed over.
            Limit::Held => OnLimit::Block,
        }
    }
}

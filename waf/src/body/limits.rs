//! Budgets of one body, counted and not timed: the same body ends the same way on
//! every machine.

/// How much of a body is looked at. What lies beyond is reported, never ignored
/// silently: an attacker would put the attack there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the body (default 1 MiB).
    pub bytes: usize,
    /// Arguments, or attributes and pieces of text in XML (default 1,000).
    pub arguments: usize,
    /// Nested containers of JSON or elements of XML (default 512).
    pub depth: usize,
    /// Parts of a multipart body (default 1,000).
    pub parts: usize,
    /// Header lines of one part (default 100).
    pub part_headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 20, arguments: 1_000, depth: 512, parts: 1_000, part_headers: 100 }
    }
}

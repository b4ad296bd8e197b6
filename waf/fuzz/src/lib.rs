//! What the targets share: how bytes of the fuzzer become limits and a request.

use tidegate_waf::{Cause, Connection, Match, Policy, Transaction, Verdict, body::Limits};

/// Limits from the first three bytes, small so that they are met, and the rest.
pub fn limits(data: &[u8]) -> Option<(Limits, &[u8])> {
    let ([arguments, depth, bytes], rest) = data.split_first_chunk()?;
    let limits = Limits {
        bytes: if bytes % 2 == 0 { 1 << 20 } else { usize::from(*bytes) * 4 },
        arguments: usize::from(*arguments),
        depth: usize::from(*depth),
        parts: usize::from(*depth),
        part_headers: usize::from(*arguments),
    };
    Some((limits, rest))
}

/// More than any of [`limits`], for what is read under those to be a part of.
pub const AMPLE: Limits = Limits {
    bytes: 4 << 20,
    arguments: 1 << 20,
    depth: 1 << 20,
    parts: 1 << 20,
    part_headers: 1 << 20,
};

/// Whether `short` can be made of `long` by leaving bytes out.
pub fn is_subsequence(short: &[u8], long: &[u8]) -> bool {
    let mut long = long.iter();
    short.iter().all(|byte| long.any(|other| other == byte))
}

/// A request and its response, as texts between line feeds, the bodies behind empty lines.
pub struct Exchange<'a> {
    method: &'a [u8],
    target: &'a [u8],
    headers: Vec<(&'a [u8], &'a [u8])>,
    body: &'a [u8],
}

/// What came of an [`Exchange`].
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub head: Verdict,
    pub verdict: Verdict,
    pub would_be: Verdict,
    pub matches: Vec<Match>,
    pub missed: Vec<u64>,
    pub work: u64,
}

impl Outcome {
    /// What ended it, if anything did.
    pub fn cause(&self) -> Option<Cause> {
        match &self.verdict {
            Verdict::Pass => None,
            Verdict::Deny { cause, .. } | Verdict::Drop { cause } => Some(*cause),
            Verdict::Redirect { cause, .. } => Some(*cause),
        }
    }
}

impl<'a> Exchange<'a> {
    /// `METHOD TARGET`, lines `Name: value`, an empty line, a body.
    pub fn parse(data: &'a [u8]) -> Self {
        let (head, body) = match memchr::memmem::find(data, b"\n\n") {
            Some(end) => (&data[..end], &data[end + 2..]),
            None => (data, &[][..]),
        };
        let mut lines = head.split(|byte| *byte == b'\n');
        let (method, target) = cut(lines.next().unwrap_or_default(), b' ');
        let headers = lines.map(|line| cut(line, b':')).collect();
        Self { method, target, headers, body }
    }

    /// Takes it through all phases, its body in pieces of about `work`.
    pub fn run(&self, policy: &Policy, work: u64) -> Outcome {
        let mut transaction = Transaction::new(policy, &Connection::default());
        transaction.request_line(self.method, self.target, b"HTTP/1.1");
        for (name, value) in &self.headers {
            transaction.request_header(name, value.trim_ascii());
        }
        let head = transaction.request_headers();
        transaction.begin_request_body(self.body);
        while transaction.advance(work).is_none() {}
        transaction.response_line(b"HTTP/1.1", 200);
        transaction.response_header(b"Content-Type", b"text/plain");
        transaction.response_headers();
        transaction.response_body(self.body);
        transaction.log();
        Outcome {
            head,
            verdict: transaction.verdict().clone(),
            would_be: transaction.would_be().clone(),
            matches: transaction.matches().to_vec(),
            missed: transaction.missed().to_vec(),
            work: transaction.work(),
        }
    }
}

fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(index) => (&text[..index], &text[index + 1..]),
        None => (text, &[]),
    }
}

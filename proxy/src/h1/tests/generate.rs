//! Requests to try, from a seed: mostly valid, then bent in the places where parsers
//! disagree.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// The seeds of a run: `TIDEGATE_SEED` and `TIDEGATE_CASES` choose others.
pub(super) fn seeds(first: u64, cases: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first = number("TIDEGATE_SEED").unwrap_or(first);
    first..first + number("TIDEGATE_CASES").unwrap_or(cases)
}

/// A source of inputs.
pub(super) struct Generator(StdRng);

const METHODS: [&str; 9] =
    ["GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "get", "X-CUSTOM!"];
const TARGETS: [&str; 12] = [
    "/",
    "/a",
    "/a/b?c=d",
    "/%20%2f",
    "//x//y",
    "/..;/a",
    "/?",
    "/a?b?c/d",
    "*",
    "http://a/x",
    "http://a",
    "HTTP://A?q",
];
const FIELDS: [&str; 24] = [
    "Accept: */*",
    "X-Empty:",
    "x-trim: \t a b \t",
    "Cookie: a=b",
    "Cookie: c=d",
    "X_Under: score",
    "X-Obs: \u{e9}",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "HTTP2-Settings: AAA",
    "TE: trailers",
    "Expect: 100-continue",
    "Keep-Alive: 5",
    "X-Long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "Content-Length: 3",
    "Content-Length: 0",
    "Content-Length: 3, 3",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding : chunked",
    "Host: b",
];
/// What a mutation puts in.
const SPICE: [&str; 44] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    "\x0b",
    "\x0c",
    "\x7f",
    "\u{e9}",
    ":",
    ";",
    ",",
    "\"",
    "#",
    "%",
    "%00",
    "%0d",
    "%zz",
    "0",
    "1",
    "5",
    "f",
    "+",
    "-",
    "0x",
    "ffffffffffffffff",
    "\r\n\r\n",
    "\n\n",
    "\r\n ",
    "\r\n\t",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "GET / HTTP/1.1\r\n",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "HTTP/1.2",
    "_",
    "@",
    "Host: a\r\n",
    "Content-Length: 1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "chunked",
    "X: y\r\n",
];

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// One to three requests, more often bent than not.
    pub(super) fn input(&mut self) -> Vec<u8> {
        let mut input = Vec::new();
        for _ in 0..self.0.random_range(1..=3) {
            self.request(&mut input);
        }
        if self.0.random_bool(0.7) {
            for _ in 0..self.0.random_range(1..=3) {
                self.bend(&mut input);
            }
        }
        input
    }

    /// Lengths to cut an input of `length` bytes into.
    pub(super) fn cuts(&mut self, length: usize) -> Vec<usize> {
        let most = *[1, 2, 5, 50].choose(&mut self.0).unwrap();
        let mut cuts = Vec::new();
        let mut left = length;
        while left > 0 {
            let cut = self.0.random_range(1..=most).min(left);
            cuts.push(cut);
            left -= cut;
        }
        cuts
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(&mut self.0).unwrap()
    }

    fn request(&mut self, out: &mut Vec<u8>) {
        let version = if self.0.random_bool(0.1) { "1.0" } else { "1.1" };
        let line = format!("{} {} HTTP/{version}\r\n", self.pick(&METHODS), self.pick(&TARGETS));
        out.extend_from_slice(line.as_bytes());
        if self.0.random_bool(0.97) {
            out.extend_from_slice(
                self.pick(&["Host: a\r\n", "hOST:a\r\n", "Host:  a \r\n", "Host: a.b:80\r\n"])
                    .as_bytes(),
            );
        }
        for _ in 0..self.0.random_range(0..4) {
            let rare = if self.0.random_bool(0.1) { FIELDS.len() } else { 17 };
            out.extend_from_slice(self.pick(&FIELDS[..rare]).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        match self.0.random_range(0..4) {
            0 => {
                let body = "0123456789".repeat(self.0.random_range(0..3));
                out.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
                );
            }
            1 => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                self.chunks(out);
            }
            _ => out.extend_from_slice(b"\r\n"),
        }
    }

    fn chunks(&mut self, out: &mut Vec<u8>) {
        for _ in 0..self.0.random_range(0..4) {
            let length = self.0.random_range(1..20);
            let extension = self.pick(&["", "", ";a", ";a=b", ";a=\"b;c\"", ";"]);
            let size = if self.0.random() { format!("{length:x}") } else { format!("0{length:X}") };
            out.extend_from_slice(
                format!("{size}{extension}\r\n{}\r\n", "x".repeat(length)).as_bytes(),
            );
        }
        out.extend_from_slice(b"0\r\n");
        if self.0.random_bool(0.3) {
            out.extend_from_slice(
                self.pick(&["X-T: 1\r\n", "Host: x\r\n", "X-T: 1\r\nX-U:\r\n"]).as_bytes(),
            );
        }
        out.extend_from_slice(b"\r\n");
    }

    fn bend(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        let at = self.0.random_range(0..input.len());
        let end = (at + self.0.random_range(0..12)).min(input.len());
        match self.0.random_range(0..7) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => input[at] = self.0.random(),
            3 => {
                let copy = input[at..end].to_vec();
                drop(input.splice(at..at, copy));
            }
            4 => {
                let spice = self.pick(&SPICE);
                drop(input.splice(at..end.min(at + 1), spice.bytes()));
            }
            _ => {
                let spice = self.pick(&SPICE);
                drop(input.splice(at..at, spice.bytes()));
            }
        }
    }
}

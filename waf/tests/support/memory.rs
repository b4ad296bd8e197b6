//! Memory to the byte, for a test and a bench that count it.
#![allow(dead_code, reason = "the test and the bench use some of it each")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use peak_alloc::PeakAlloc;
use tidegate_waf::{
    Connection, Disk, Files, Interner, Policy, PolicyOptions, Ruleset, Transaction,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Where CRS 4 is; says so if it is not there.
pub(crate) fn crs() -> Option<PathBuf> {
    let shared = std::env::var_os("TIDEGATE_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let crs = shared.join("crs4");
    if crs.is_dir() {
        return Some(crs);
    }
    eprintln!("skipped: no {}", crs.display());
    None
}

/// Loads the set-up and every file of rules.
pub(crate) fn load(crs: &Path, interner: &Interner) -> Arc<Ruleset> {
    let mut files = vec![crs.join("crs-setup.conf.example")];
    files.extend(Disk.glob(&crs.join("rules/*.conf")).expect("CRS has rules"));
    let roots: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    Ruleset::load(&Disk, &roots, interner).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A policy of a paranoia level.
pub(crate) fn policy(rules: &Arc<Ruleset>, paranoia: u8) -> Policy {
    let options = PolicyOptions { paranoia: Some(paranoia), ..PolicyOptions::default() };
    Policy::new(rules.clone(), options).expect("1 to 4 are paranoia levels")
}

/// Evaluates one varied request.
pub(crate) fn serve(policy: &Policy, texts: &[u8], random: &mut Random) {
    let (query, body) = (form(random, texts), form(random, texts));
    let mut transaction = Transaction::new(policy, &Connection::default());
    transaction.request_line(b"POST", &[b"/?", &*query].concat(), b"HTTP/1.1");
    transaction.request_header(b"Host", b"example.com");
    transaction.request_header(b"User-Agent", random.piece(texts));
    transaction.request_header(b"Content-Type", b"application/x-www-form-urlencoded");
    transaction.request_headers();
    transaction.request_body(&body);
    transaction.log();
}

/// Bytes that are allocated.
pub(crate) fn allocated() -> usize {
    ALLOCATOR.current_usage()
}

/// Bytes of memory of this process, where the system tells.
pub(crate) fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<usize>().ok())
        .map_or(0, |kib| kib << 10)
}

/// All of CRS's regression tests as text: attacks, and what looks like them.
pub(crate) fn texts(crs: &Path) -> Vec<u8> {
    let mut texts = Vec::new();
    for folder in fs::read_dir(crs.join("tests")).expect("CRS has tests").flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            texts.extend(fs::read(file.path()).unwrap_or_default());
        }
    }
    texts
}

/// A form of a few arguments, each a piece of `texts`.
fn form(random: &mut Random, texts: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    for index in 0..1 + random.below(6) {
        form.extend(format!("a{index}=").bytes());
        for &byte in random.piece(texts) {
            match byte {
                b' ' => form.push(b'+'),
                b'&' | b'\n' | b'%' => form.extend(format!("%{byte:02x}").bytes()),
                _ => form.push(byte),
            }
        }
        form.push(b'&');
    }
    form
}

/// Numbers that look random and are the same each time (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    /// Up to 100 bytes of a text.
    pub(crate) fn piece<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let from = self.below(text.len());
        let to = text.len().min(from + self.below(100));
        &text[from..to]
    }
}

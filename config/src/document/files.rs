//! The files a load reads: bounded, each once, with its digest.

use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The largest configuration file.
const MAX_FILE: u64 = 16 << 20;
/// Once the files read are larger than this together, no more are read.
const MAX_TOTAL: u64 = 64 << 20;
/// The largest file behind a `{ file = ".." }`.
const MAX_REFERENCE: u64 = 64 << 10;

/// Where something is written: a byte range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) file: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// The place of values that no file holds.
    pub(crate) const NOWHERE: Self = Self { file: usize::MAX, start: usize::MAX, end: usize::MAX };

    /// A file as a whole.
    pub(crate) fn whole(file: usize) -> Self {
        Self { file, ..Self::NOWHERE }
    }
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path, as it can be opened from the working directory.
    pub path: PathBuf,
    /// SHA-256 of its content, in lower-case hexadecimal.
    pub sha256: String,
}

/// Everything read so far. Configuration files keep their text so that faults can show it;
/// referenced files may be secrets, only their digest stays.
#[derive(Debug, Default)]
pub(crate) struct Files {
    documents: Vec<Document>,
    sources: Vec<Source>,
    directories: Vec<PathBuf>,
}

#[derive(Debug)]
struct Document {
    path: PathBuf,
    text: String,
}

impl Files {
    /// Takes text that comes from no file under a name of its own.
    pub(crate) fn add_text(&mut self, name: &str, text: &str) -> usize {
        self.documents.push(Document { path: name.into(), text: text.to_owned() });
        self.documents.len() - 1
    }

    /// Reads a configuration file; on failure says why, with the number of the empty file that
    /// stands for it.
    pub(crate) fn read_document(&mut self, path: &Path) -> Result<usize, (usize, String)> {
        if let Some(file) = self.documents.iter().position(|document| document.path == path) {
            return Ok(file);
        }
        let held: usize = self.documents.iter().map(|document| document.text.len()).sum();
        let read = match held as u64 > MAX_TOTAL {
            true => Err(format!("more than {} of configuration", crate::ByteSize(MAX_TOTAL))),
            false => self.read(path, MAX_FILE),
        };
        let file = self.documents.len();
        let (text, why) = match read {
            Ok(text) => (text, None),
            Err(why) => (String::new(), Some(why)),
        };
        self.documents.push(Document { path: path.to_owned(), text });
        why.map_or(Ok(file), |why| Err((file, why)))
    }

    /// Reads what a `{ file = ".." }` refers to, without its trailing newline.
    pub(crate) fn read_reference(&mut self, path: &Path) -> Result<String, String> {
        let mut text = self.read(path, MAX_REFERENCE)?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }

    /// A path as written in `file`, made relative to that file's directory.
    pub(crate) fn resolve(&self, file: usize, path: &str) -> PathBuf {
        match self.documents.get(file).and_then(|document| document.path.parent()) {
            Some(directory) => directory.join(path),
            None => PathBuf::from(path),
        }
    }

    /// Remembers a directory whose content decides what is included.
    pub(crate) fn add_directory(&mut self, path: PathBuf) {
        if !self.directories.contains(&path) {
            self.directories.push(path);
        }
    }

    /// The text of a configuration file.
    pub(crate) fn text(&self, file: usize) -> &str {
        self.documents.get(file).map_or("", |document| &document.text)
    }

    /// The path of a configuration file.
    pub(crate) fn path(&self, file: usize) -> &Path {
        self.documents.get(file).map_or(Path::new(""), |document| &document.path)
    }

    /// Every file read and every directory looked through.
    pub(crate) fn into_sources(self) -> (Vec<Source>, Vec<PathBuf>) {
        (self.sources, self.directories)
    }

    /// Remembers a file that others read because the document names it: when it changes, the
    /// document does. What is wrong with it is theirs to say.
    pub(crate) fn note(&mut self, path: &Path) {
        if let Ok(bytes) = read_bounded(path, MAX_FILE) {
            self.remember(path, &bytes);
        }
    }

    /// As [`Self::note`], for files of any size: they are not held.
    pub(crate) fn note_large(&mut self, path: &Path) {
        let mut digest = Sha256::new();
        let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file && File::open(path).and_then(|mut file| io::copy(&mut file, &mut digest)).is_ok()
        {
            self.add_source(path, &digest.finalize());
        }
    }

    fn read(&mut self, path: &Path, most: u64) -> Result<String, String> {
        let bytes = read_bounded(path, most)?;
        self.remember(path, &bytes);
        String::from_utf8(bytes).map_err(|_| "cannot read it: not UTF-8 text".to_owned())
    }

    fn remember(&mut self, path: &Path, bytes: &[u8]) {
        self.add_source(path, &Sha256::digest(bytes));
    }

    fn add_source(&mut self, path: &Path, digest: &[u8]) {
        if !self.sources.iter().any(|source| source.path == path) {
            let sha256 = hex::encode(digest);
            self.sources.push(Source { path: path.to_owned(), sha256 });
        }
    }
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => format!("cannot read it: {error}"),
    };
    if path.metadata().map_err(cannot)?.is_dir() {
        return Err("cannot read it: it is a directory".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(format!("larger than the {} allowed", crate::ByteSize(most)));
    }
    Ok(bytes)
}

//! What was read to compile rules: each file with a digest of the very bytes that were compiled,
//! and what globs found. A file that is included, or a list of any name, counts as the rules do.

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};
use tidegate_waf::{Disk, Files};

/// What was met, by path: a file, a pattern of an `Include`, or a file that need not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads(BTreeMap<PathBuf, Found>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    File([u8; 32]),
    Files(Vec<PathBuf>),
    Nothing,
}

impl Found {
    fn at(path: &Path, before: &Self) -> Self {
        match before {
            Self::Files(_) => Self::Files(Disk.glob(path).unwrap_or_default()),
            Self::File(_) | Self::Nothing => match Disk.read(path) {
                Ok(bytes) => Self::File(Sha256::digest(bytes).into()),
                Err(_) => Self::Nothing,
            },
        }
    }

    /// For revisions: equal texts are equal content.
    fn told(&self) -> String {
        match self {
            Self::File(digest) => hex::encode(digest),
            Self::Files(found) => {
                let names: Vec<_> =
                    found.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect();
                hex::encode(Sha256::digest(names.join(&0)))
            }
            Self::Nothing => "not there".to_owned(),
        }
    }
}

impl Reads {
    /// Whether reading all of it again would give the same.
    pub(super) fn are_current(&self) -> bool {
        self.0.iter().all(|(path, found)| Found::at(path, found) == *found)
    }

    /// Each path with a digest of what was there.
    pub(crate) fn then(&self) -> impl Iterator<Item = (PathBuf, String)> {
        self.0.iter().map(|(path, found)| (path.clone(), found.told()))
    }

    /// The same of what is there now.
    pub(crate) fn now(&self) -> impl Iterator<Item = (PathBuf, String)> {
        self.0.iter().map(|(path, found)| (path.clone(), Found::at(path, found).told()))
    }
}

/// Files on disk, and the patches, which are in memory only; notes what is read.
pub(super) struct Recorder<'p> {
    patches: &'p BTreeMap<PathBuf, Vec<u8>>,
    reads: Mutex<Reads>,
}

impl<'p> Recorder<'p> {
    pub(super) fn new(patches: &'p BTreeMap<PathBuf, Vec<u8>>) -> Self {
        Self { patches, reads: Mutex::default() }
    }

    pub(super) fn finish(self) -> Reads {
        self.reads.into_inner()
    }

    fn note(&self, path: &Path, found: Found) -> io::Result<()> {
        let mut reads = self.reads.lock();
        let first = reads.0.entry(path.to_owned()).or_insert_with(|| found.clone());
        // One that is read for two rules has to be one file.
        if *first == found { Ok(()) } else { Err(io::Error::other("it changes while it is read")) }
    }
}

impl Files for Recorder<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(text) = self.patches.get(path) {
            return Ok(text.clone());
        }
        let read = Disk.read(path);
        self.note(
            path,
            match &read {
                Ok(bytes) => Found::File(Sha256::digest(bytes).into()),
                Err(_) => Found::Nothing,
            },
        )?;
        read
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let found = Disk.glob(pattern)?;
        self.note(pattern, Found::Files(found.clone()))?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::write;

    /// Before, files were read once for their digest and once to be compiled.
    #[test]
    fn what_was_compiled_is_what_the_digest_is_of() {
        let dir = tempfile::tempdir().unwrap();
        let (rules, missing) = (dir.path().join("a.conf"), dir.path().join("none.conf"));
        let (glob, nobody) = (dir.path().join("*.conf"), BTreeMap::new());
        // A when the document was loaded, B when it was compiled, A ever since.
        write(&rules, "B").unwrap();
        let recorder = Recorder::new(&nobody);
        assert_eq!(recorder.read(&rules).unwrap(), b"B");
        assert!(recorder.read(&missing).is_err());
        assert_eq!(recorder.glob(&glob).unwrap(), [rules.as_path()]);
        let reads = recorder.finish();
        assert!(reads.are_current());
        write(&rules, "A").unwrap();
        assert!(!reads.are_current());
        let differ = reads.then().zip(reads.now()).filter(|(then, now)| then != now);
        assert_eq!(differ.map(|(then, _)| then.0).collect::<Vec<_>>(), [rules.as_path()]);
        // A file that a pattern finds, and one that was not there.
        write(&rules, "B").unwrap();
        assert!(reads.are_current());
        write(&missing, "").unwrap();
        let differ = reads.then().zip(reads.now()).filter(|(then, now)| then != now);
        assert_eq!(differ.map(|(then, _)| then.0).collect::<Vec<_>>(), [glob, missing]);
    }

    #[test]
    fn a_file_is_one_file_however_often_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (list, nobody) = (dir.path().join("words.txt"), BTreeMap::new());
        write(&list, "a").unwrap();
        let recorder = Recorder::new(&nobody);
        assert!(recorder.read(&list).is_ok() && recorder.read(&list).is_ok());
        write(&list, "b").unwrap();
        assert!(recorder.read(&list).unwrap_err().to_string().contains("changes"));
    }
}

//! The numbered history of the document: who put which content into force, when and why.
//!
//! Numbers are taken in the store, so that two processes (both run during an upgrade of the
//! binary) that load the same files agree on one revision. The newest [`KEPT`] are kept.

use crate::{
    clock::Moment,
    keys::REVISIONS,
    source::{Document, SourceFile},
};
use serde::{Deserialize, Serialize};
use tidegate_store::{Committed, Compare, Entry, Op, Revision, Store, StoreError};

/// Revisions kept in the store; older ones are deleted.
pub(crate) const KEPT: usize = 500;

/// Writers that may take the number before us until we give up; two processes make two.
const RACES: usize = 8;

/// Old revisions deleted with one record: what fits in a transaction.
const AT_ONCE: usize = 100;

/// What put a document into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Cause {
    /// The process started with it.
    Start,
    /// A file changed.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /v1/config:reload`.
    Api {
        /// Who asked.
        author: String,
        /// Why, in the author's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl Cause {
    /// The metric label and log word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Files => "files",
            Self::Signal => "signal",
            Self::Api { .. } => "api",
        }
    }
}

/// One revision of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// Counts up from 1 over the life of the state directory.
    pub number: u64,
    /// See [`Document::digest`].
    pub digest: String,
    /// What put it into force.
    pub cause: Cause,
    /// When it was put into force first.
    pub time: Moment,
    /// The files it was read from.
    pub files: Vec<FileRecord>,
}

/// A file of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// SHA-256 of its content, in hex.
    pub digest: String,
}

impl From<&SourceFile> for FileRecord {
    fn from(file: &SourceFile) -> Self {
        Self { path: file.path.to_string_lossy().into_owned(), digest: file.digest.clone() }
    }
}

impl RevisionRecord {
    /// A record of `document`, put into force now.
    pub(crate) fn new(number: u64, document: &Document, cause: Cause) -> Self {
        Self {
            number,
            digest: document.digest(),
            cause,
            time: Moment::now(),
            files: document.files.iter().map(FileRecord::from).collect(),
        }
    }

    /// Where it lies in the store; sorts by number.
    pub(crate) fn key(&self) -> String {
        format!("{REVISIONS}{:012}", self.number)
    }

    /// The bytes kept there.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are JSON")
    }
}

/// Records `document` as the newest revision. When the newest one already has its content (a
/// restart, or another process that loaded the same files), that one is the answer.
pub(crate) async fn record(
    store: &dyn Store,
    document: &Document,
    cause: &Cause,
) -> Result<RevisionRecord, StoreError> {
    for _ in 0..RACES {
        let (entries, _) = store.range(REVISIONS).await?;
        let same = |record: &RevisionRecord| record.digest == document.digest();
        if let Some(newest) = entries.last().and_then(read).filter(same) {
            return Ok(newest);
        }
        let record = RevisionRecord::new(last_number(&entries) + 1, document, cause.clone());
        let free = Compare::Revision { key: record.key(), is: Revision(0) };
        let old = entries.len().saturating_sub(KEPT - 1).min(AT_ONCE);
        let mut ops: Vec<_> =
            entries.into_iter().take(old).map(|entry| Op::Delete { key: entry.key }).collect();
        ops.push(Op::Put { key: record.key(), value: record.encode() });
        if let Committed::Yes(_) = store.txn(vec![free], ops).await? {
            return Ok(record);
        }
    }
    Err(StoreError::Io {
        path: REVISIONS.into(),
        doing: "numbered",
        cause: "others keep taking the next number".to_owned(),
    })
}

/// The number of the newest revision, 0 if there is none.
pub(crate) async fn newest(store: &dyn Store) -> Result<u64, StoreError> {
    Ok(last_number(&store.range(REVISIONS).await?.0))
}

/// From the key, so that numbers go on after a record nobody can read.
fn last_number(entries: &[Entry]) -> u64 {
    let number = entries.last().and_then(|entry| entry.key.strip_prefix(REVISIONS)?.parse().ok());
    number.unwrap_or(0)
}

fn read(entry: &Entry) -> Option<RevisionRecord> {
    serde_json::from_slice(&entry.value)
        .inspect_err(|cause| tracing::error!(key = entry.key, %cause, "unreadable revision"))
        .ok()
}

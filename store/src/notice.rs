//! What opening the store had to put right.

use std::{fmt, path::PathBuf};

/// Something the operator has to know about the state that was found, beside the fact that the
/// store is open now. `Display` is a whole sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The database was damaged, missing or older than its own copy; the last good copy is in
    /// force.
    Restored {
        /// What was wrong.
        cause: String,
        /// Where the file found is kept; `None` if there was none.
        kept: Option<PathBuf>,
        /// The revision of the copy.
        revision: u64,
        /// When the copy was made (RFC 3339).
        saved_at: String,
    },
    /// The database was damaged and there was no good copy: the store is empty.
    Emptied {
        /// What was wrong.
        cause: String,
        /// Where the damaged file is kept.
        kept: PathBuf,
        /// Why the copy could not be used.
        copy: String,
    },
    /// The copy `state.db.good` was damaged; the database itself is sound.
    CopyDamaged {
        /// What was wrong.
        cause: String,
        /// Where the damaged copy is kept.
        kept: PathBuf,
    },
    /// Nothing can be written: what was read answers, and nothing new is kept. Opening for writing
    /// is tried again by itself.
    ReadOnly {
        /// Where that is, why, and what helps.
        cause: String,
        /// What was read: the database, or its copy.
        from: PathBuf,
        /// Its revision.
        revision: u64,
    },
    /// Others could read a file or directory; its mode was tightened.
    Tightened {
        /// Which.
        path: PathBuf,
        /// The permission bits found.
        was: u32,
        /// The permission bits set.
        now: u32,
    },
    /// Others can list the state directory. It holds foreign files or belongs to somebody else,
    /// so it was left as it is; our files in it are private.
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored { cause, kept, revision, saved_at } => {
                write!(f, "the state database was not usable ({cause}); ")?;
                if let Some(kept) = kept {
                    write!(f, "it was kept as `{}` and ", kept.display())?;
                }
                write!(
                    f,
                    "the last good copy (revision {revision}, saved {saved_at}) was restored; \
                     changes made after that may be missing"
                )
            }
            Self::Emptied { cause, kept, copy } => write!(
                f,
                "the state database was not usable ({cause}) and {copy}; it was kept as `{}` and \
                 the store starts empty: weights, releases, bans, tokens, revisions and \
                 certificates stored before are missing",
                kept.display()
            ),
            Self::CopyDamaged { cause, kept } => write!(
                f,
                "the copy of the state database was damaged ({cause}) and is kept as `{}`; the \
                 database itself is sound, nothing is missing, a new copy is made",
                kept.display()
            ),
            Self::ReadOnly { cause, from, revision } => write!(
                f,
                "nothing can be written ({cause}); the state is served as read from `{}` \
                 (revision {revision}), and writing is tried again every few seconds: until then \
                 changes are refused, no certificate is ordered and no new one kept",
                from.display()
            ),
            Self::Tightened { path, was, now } => write!(
                f,
                "`{}` was open to other users (mode {was:04o}); it is {now:04o} now",
                path.display()
            ),
            Self::Exposed { path, mode } => write!(
                f,
                "the state directory `{0}` is open to other users (mode {mode:04o}) and was left \
                 so, because it holds other files or belongs to another user; give the state a \
                 directory of its own or run `chmod 700 {0}`",
                path.display()
            ),
        }
    }
}

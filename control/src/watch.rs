//! Following the document's files: a change is put into force once they have been quiet for a
//! moment.
//!
//! Directories are watched, not files: editors and Kubernetes replace files by renaming, which
//! a watch on the old file never sees. Where the system gives no notice (no inotify watches
//! left, a network file system that refuses), the files are looked at every two seconds.

use crate::{plane::Plane, revisions::Cause};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::mpsc, time::Instant};

/// The files have to be quiet for this long ...
const QUIET: Duration = Duration::from_millis(200);
/// ... but nobody waits longer than this.
const LONGEST: Duration = Duration::from_secs(2);
/// Between two looks, where there is no notice.
const POLL: Duration = Duration::from_secs(2);

/// Reloads the plane whenever the document's files change, for ever. Returns at once if the
/// document is in no file.
pub(crate) async fn files(plane: Arc<Plane>) {
    if plane.source.files().is_empty() {
        return;
    }
    // Room for one: a notice says that something happened, not what.
    let (notice, mut noticed) = mpsc::channel(1);
    let mut directories = Directories::new(notice);
    // Nothing is known of the files yet: they may have changed since the process read them.
    let mut seen = None;
    loop {
        let files = watched(&plane);
        let noticing = directories.follow(&files, &plane.view().document.directories);
        if seen.as_ref() == Some(&Look::at(&files)) {
            if !noticing {
                tokio::time::sleep(POLL).await;
                continue;
            }
            // A new file that `include` finds changes none of those seen: a notice is enough.
            noticed.recv().await;
        }
        quiet(&mut noticed).await;
        seen = Some(Look::at(&files));
        // What came of it is logged and shown by the plane.
        let _ = plane.reload(Cause::Files).await;
    }
}

/// Every file the document in force was read from, and those the operator named (which may be
/// all we know while the document is refused).
fn watched(plane: &Plane) -> BTreeSet<PathBuf> {
    let view = plane.view();
    let read = view.document.files.iter().map(|file| file.path.clone());
    read.chain(plane.source.files()).collect()
}

async fn quiet(noticed: &mut mpsc::Receiver<()>) {
    let begun = Instant::now();
    while begun.elapsed() < LONGEST {
        match tokio::time::timeout(QUIET, noticed.recv()).await {
            Ok(Some(())) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// What files look like from outside; equal looks are probably equal files.
#[derive(PartialEq)]
struct Look(Vec<Option<(SystemTime, u64, PathBuf)>>);

impl Look {
    fn at(files: &BTreeSet<PathBuf>) -> Self {
        let look = |file: &PathBuf| {
            let there = std::fs::metadata(file).ok()?;
            let real = std::fs::canonicalize(file).ok()?;
            Some((there.modified().ok()?, there.len(), real))
        };
        Self(files.iter().map(look).collect())
    }
}

/// The directories being watched.
struct Directories {
    watcher: Option<RecommendedWatcher>,
    interest: Arc<Mutex<Interest>>,
    failed: bool,
}

/// Which events matter.
#[derive(Default)]
struct Interest {
    directories: BTreeSet<PathBuf>,
    names: BTreeSet<OsString>,
    /// Of our files: another of the kind may be one that a glob finds.
    extensions: BTreeSet<OsString>,
}

impl Directories {
    fn new(notice: mpsc::Sender<()>) -> Self {
        let interest = Arc::new(Mutex::new(Interest::default()));
        let ours = interest.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may mean that events were lost.
            if event.as_ref().map_or(true, |event| ours.lock().concerns(event)) {
                // Full: a notice is under way already.
                let _ = notice.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "no notice of changed files; polling"))
            .ok();
        Self { watcher, interest, failed: false }
    }

    /// Watches the directories of `files` and of what they link to, and `more`. Says whether all
    /// of them are watched.
    fn follow(&mut self, files: &BTreeSet<PathBuf>, more: &[PathBuf]) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut wanted = Interest::in_files(files);
        wanted.directories.extend(more.iter().cloned());
        for gone in self.interest.lock().directories.difference(&wanted.directories) {
            // It may not exist any more, which is why it is gone.
            let _ = watcher.unwatch(gone);
        }
        let mut failed = false;
        for directory in &wanted.directories {
            // Also if it was watched before: it may be another one of the same name.
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                if !self.failed {
                    tracing::warn!(%error, ?directory, "no notice of changes there; polling");
                }
                failed = true;
            }
        }
        *self.interest.lock() = wanted;
        self.failed = failed;
        !failed
    }
}

impl Interest {
    fn in_files(files: &BTreeSet<PathBuf>) -> Self {
        let mut interest = Self::default();
        interest.extensions.insert("toml".into());
        for file in files {
            interest.extensions.extend(file.extension().map(OsStr::to_owned));
            interest.add(file);
            if let Ok(real) = std::fs::canonicalize(file) {
                interest.add(&real);
            }
        }
        interest
    }

    fn add(&mut self, file: &Path) {
        let directory = match file.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        self.directories.insert(directory.to_owned());
        self.names.extend(file.file_name().map(OsStr::to_owned));
    }

    /// Our files, whatever a glob could find, what Kubernetes swaps, and the directories
    /// themselves. Others' files in the same directory (think of `/tmp`) are their business.
    fn concerns(&self, event: &notify::Event) -> bool {
        let ours = |path: &PathBuf| {
            path.extension().is_some_and(|extension| self.extensions.contains(extension))
                || path
                    .file_name()
                    .is_some_and(|name| name == "..data" || self.names.contains(name))
                || self.directories.contains(path)
        };
        !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(ours)
    }
}

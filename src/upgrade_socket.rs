//! Where the process in service listens for the one that is to take its place.
//!
//! That is `upgrade.sock` in the state directory; it also tells two processes that they share the
//! directory: only one can listen. Where nothing can be made there, on a full disk or a read-only
//! file system, it is `upgrade-DIGEST.sock` in the runtime directory, named for the path of the
//! state. Where not even that can be made, a process serves without a successor to come.

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use std::{
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    os::unix::{
        ffi::OsStrExt,
        fs::DirBuilderExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};
use tidegate_control::{twin, unix};

/// The socket's name in the state directory.
pub(crate) const SOCKET: &str = "upgrade.sock";

/// Where the process in service may listen, the likely place first.
pub(crate) fn places(state: &Path) -> Vec<PathBuf> {
    [state.join(SOCKET)].into_iter().chain(elsewhere(state)).collect()
}

fn elsewhere(state: &Path) -> Vec<PathBuf> {
    twin::sockets(&name_elsewhere(state), &twin::Surroundings::here())
}

/// Listens for a successor; `None`, and a warning, where no socket can be made. A state directory
/// that another process is in is an error.
pub(crate) fn listen(state: &Path) -> anyhow::Result<Option<UnixListener>> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
    made.with_context(|| {
        format!("control.state: `{}` cannot be made; name a directory of your own", state.display())
    })?;
    let taken = || {
        format!(
            "control.state: `{}` cannot be taken; to replace a running tidegate, start with \
             --upgrade",
            state.display()
        )
    };
    // One that could make none in the state directory when it started.
    let alive = elsewhere(state).into_iter().find(|path| UnixStream::connect(path).is_ok());
    if let Some(alive) = alive {
        return Err(unix::UnixError::Alive(alive)).with_context(taken);
    }
    match unix::listen(&state.join(SOCKET)) {
        Ok(listener) => Ok(Some(listener)),
        Err(unix::UnixError::Io { cause, .. }) if takes_no_file(&cause) => {
            listen_elsewhere(state, &cause).with_context(taken)
        }
        Err(error) => Err(error).with_context(taken),
    }
}

fn listen_elsewhere(
    state: &Path,
    cause: &io::Error,
) -> Result<Option<UnixListener>, unix::UnixError> {
    let state_shown = state.display();
    let path = match twin::runtime_dir(&twin::Surroundings::here()) {
        Ok(directory) => directory.join(name_elsewhere(state)),
        Err(error) => {
            tracing::warn!(%error, state = %state_shown, %cause, "no upgrade of this process is possible");
            return Ok(None);
        }
    };
    match unix::listen(&path) {
        Ok(listener) => {
            tracing::warn!(state = %state_shown, %cause, socket = %path.display(), "the socket for upgrades is in the runtime directory");
            Ok(Some(listener))
        }
        Err(error @ (unix::UnixError::Alive(_) | unix::UnixError::Busy(_))) => Err(error),
        Err(error) => {
            tracing::warn!(%error, state = %state_shown, %cause, "no upgrade of this process is possible");
            Ok(None)
        }
    }
}

fn takes_no_file(cause: &io::Error) -> bool {
    use ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(cause.kind(), ReadOnlyFilesystem | StorageFull | QuotaExceeded)
}

/// The same for every spelling of the path, and for every version of the binary.
fn name_elsewhere(state: &Path) -> String {
    let state = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    let digest = digest(&SHA256, state.as_os_str().as_bytes());
    format!("upgrade-{}.sock", hex::encode(&digest.as_ref()[..8]))
}

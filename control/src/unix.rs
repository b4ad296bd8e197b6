//! Unix sockets: for the owner only from the first moment, and never taken from a process that
//! still listens.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Why a Unix socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// A process listens there.
    #[error("another tidegate is running: it listens on `{0}`")]
    Alive(PathBuf),
    /// What is there is no socket; it is left alone.
    #[error("`{0}` exists and is no socket")]
    NotASocket(PathBuf),
    /// A path without a file name or directory.
    #[error("`{0}` is no path for a socket")]
    Path(PathBuf),
    /// Another process is opening a socket in the same directory this moment.
    #[error("another process is opening a socket in `{0}`")]
    Busy(PathBuf),
    /// The system refused.
    #[error("the socket `{path}` cannot be {doing}: {cause}")]
    Io {
        /// The socket, or its directory.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

/// Listens on `path`. A file left by a process that is gone is replaced; mode 0600.
///
/// The socket is made under another name, closed to others and then renamed, so that there is
/// no moment in which others could connect or in which the name is missing. A lock on the
/// directory keeps two processes from replacing each other's.
pub fn listen(path: &Path) -> Result<UnixListener, UnixError> {
    let failed =
        |doing| move |cause: io::Error| UnixError::Io { path: path.to_owned(), doing, cause };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(UnixError::Path(path.to_owned()));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let _lock = lock(directory)?;

    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(UnixError::NotASocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(UnixError::Alive(path.to_owned())),
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {}
            // A full queue or a lack of rights is no proof that nobody is there.
            Err(cause) => return Err(failed("tested")(cause)),
        },
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(failed("looked at")(cause)),
    }

    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let hidden = directory.join(hidden);
    match fs::remove_file(&hidden) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed("made")(cause)),
        _ => {}
    }
    let listener = UnixListener::bind(&hidden).map_err(failed("made"))?;
    let named = fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&hidden, path));
    if let Err(cause) = named {
        // Best effort: the error to report is the first one.
        let _ = fs::remove_file(&hidden);
        return Err(failed("named")(cause));
    }
    Ok(listener)
}

/// Held until dropped.
fn lock(directory: &Path) -> Result<rustix::fd::OwnedFd, UnixError> {
    let failed = |doing| {
        move |cause: rustix::io::Errno| UnixError::Io {
            path: directory.to_owned(),
            doing,
            cause: cause.into(),
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed("made there"))?;
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(fd),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(UnixError::Busy(directory.to_owned())),
        Err(cause) => Err(failed("locked")(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let first = listen(&path).unwrap();
        assert!(matches!(listen(&path), Err(UnixError::Alive(_))));
        drop(first);
        let _second = listen(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left behind");
    }

    #[test]
    fn only_the_owner_may_connect() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _listener = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(listen(&path), Err(UnixError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(listen(&link), Err(UnixError::NotASocket(_))));
    }
}

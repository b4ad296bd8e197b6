//! The local twin of a control API on a loopback TCP address.
//!
//! TCP does not say who is there, so callers need a token. A person on the machine should not:
//! beside `127.0.0.1:9180` the process listens on `control-9180.sock` in its runtime directory,
//! where the kernel tells the peer's user id, and the CLI prefers it. It is a convenience: when
//! it cannot be opened the process only warns.
//!
//! The directory is `$XDG_RUNTIME_DIR/tidegate`; else `/run/tidegate`, if it is ours or root
//! may make it; else `/tmp/tidegate-{uid}`. It is made with mode 0700 and never trusted blindly:
//! it has to be a directory, not a link to one, that belongs to us and that nobody else may
//! write to. Other sockets of the process that have no better place are there, too.

use crate::unix::{self, UnixError};
use std::{
    fs::{self, DirBuilder},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

/// Where a system service keeps its sockets.
const SYSTEM: &str = "/run/tidegate";

/// Why the twin is not open.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// The directory cannot be made or looked at.
    #[error("the runtime directory `{path}` cannot be used: {cause}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Somebody else could replace the socket.
    #[error("the runtime directory `{path}` is not safe: {why}")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// See [`UnixError`].
    #[error(transparent)]
    Unix(#[from] UnixError),
}

/// What decides where the runtime directory is.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `$XDG_RUNTIME_DIR`, if it is an absolute path.
    pub xdg: Option<PathBuf>,
    /// The process' effective user id.
    pub uid: u32,
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> Self {
        let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self {
            xdg: xdg.filter(|path| path.is_absolute()),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    fn own(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/tidegate-{}", self.uid))
    }
}

/// Opens the twin of a control API on `address`; `None` if that is no loopback address.
pub fn open(address: SocketAddr, around: &Surroundings) -> Result<Option<UnixListener>, TwinError> {
    if !address.ip().is_loopback() {
        return Ok(None);
    }
    let directory = runtime_dir(around)?;
    Ok(Some(unix::listen(&directory.join(name(address.port())))?))
}

/// Where the twin of a control API on `address` is, if there is one a caller may trust. Looks at
/// every place, because the process may have been started in other surroundings.
pub fn find(address: SocketAddr, around: &Surroundings) -> Option<PathBuf> {
    if !address.ip().is_loopback() {
        return None;
    }
    sockets(&name(address.port()), around).into_iter().find(|socket| {
        // A file that a dead process left must not hide the living one's elsewhere.
        std::os::unix::net::UnixStream::connect(socket).is_ok()
    })
}

/// Where a process may have made the socket `name` that a caller may trust.
pub fn sockets(name: &str, around: &Surroundings) -> Vec<PathBuf> {
    let xdg = around.xdg.iter().map(|xdg| xdg.join("tidegate"));
    let own = xdg.chain([around.own()]).filter(|path| verify(path, around.uid).is_ok());
    // Only root can have made `/run/tidegate`, so whoever it belongs to is meant to have it.
    let system = [PathBuf::from(SYSTEM)].into_iter().filter(|path| is_directory(path));
    own.chain(system).map(|path| path.join(name)).collect()
}

/// The runtime directory, made if need be, and verified.
pub fn runtime_dir(around: &Surroundings) -> Result<PathBuf, TwinError> {
    if let Some(xdg) = &around.xdg {
        return prepare(xdg.join("tidegate"), around.uid);
    }
    let system = Path::new(SYSTEM);
    if verify(system, around.uid).is_ok() {
        return Ok(system.to_owned());
    }
    if around.uid == 0
        && let Ok(directory) = prepare(system.to_owned(), 0)
    {
        return Ok(directory);
    }
    prepare(around.own(), around.uid)
}

fn name(port: u16) -> String {
    format!("control-{port}.sock")
}

fn prepare(path: PathBuf, uid: u32) -> Result<PathBuf, TwinError> {
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            return Err(TwinError::Io { path, cause });
        }
        _ => {}
    }
    verify(&path, uid)?;
    Ok(path)
}

fn verify(path: &Path, uid: u32) -> Result<(), TwinError> {
    // Not followed: a link that somebody else put there is no directory.
    let there = fs::symlink_metadata(path)
        .map_err(|cause| TwinError::Io { path: path.to_owned(), cause })?;
    let mode = there.permissions().mode() & 0o777;
    let why = if !there.is_dir() {
        "it is no directory".to_owned()
    } else if there.uid() != uid {
        format!("it belongs to user {}, not to {uid}", there.uid())
    } else if mode & 0o022 != 0 {
        format!("others may write to it (mode {mode:04o})")
    } else {
        return Ok(());
    };
    Err(TwinError::Unsafe { path: path.to_owned(), why })
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "127.0.0.1:9180";

    fn around(xdg: &Path) -> Surroundings {
        Surroundings { xdg: Some(xdg.to_owned()), uid: rustix::process::geteuid().as_raw() }
    }

    #[test]
    fn the_twin_is_found_where_it_was_opened_and_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let address = ADDRESS.parse().unwrap();
        let around = around(home.path());
        let _listener = open(address, &around).unwrap().unwrap();
        let path = home.path().join("tidegate/control-9180.sock");
        assert_eq!(find(address, &around), Some(path.clone()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[test]
    fn there_is_no_twin_beside_a_public_address() {
        let home = tempfile::tempdir().unwrap();
        let address = "192.0.2.1:9180".parse().unwrap();
        assert!(open(address, &around(home.path())).unwrap().is_none());
        assert!(fs::read_dir(home.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_link_and_a_directory_open_to_others_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("tidegate");
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &directory).unwrap();
        let address = ADDRESS.parse().unwrap();
        let refused = open(address, &around(home.path()));
        assert!(matches!(refused, Err(TwinError::Unsafe { .. })), "{refused:?}");

        fs::remove_file(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = open(address, &around(home.path()));
        assert!(matches!(refused, Err(TwinError::Unsafe { .. })), "{refused:?}");
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let somebody = around(home.path()).uid + 1;
        let around = Surroundings { uid: somebody, ..around(home.path()) };
        let refused = open(ADDRESS.parse().unwrap(), &around);
        assert!(matches!(refused, Err(TwinError::Unsafe { .. })), "{refused:?}");
    }

    #[test]
    fn a_dead_twin_is_not_found() {
        let home = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:9".parse().unwrap();
        drop(open(address, &around(home.path())).unwrap());
        assert_eq!(find(address, &around(home.path())), None);
    }
}

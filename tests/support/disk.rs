//! A disk that gets full or read-only on demand. Also for the tests of `store`, which include it by
//! `#[path]`.

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use std::{
    ffi::CString,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// A few megabytes of memory, mounted; gone with the test.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// A new one, mounted on the directory `path`. `None`, and a word on stderr, where that takes
    /// rights that the test does not have.
    pub fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let options = CString::new("size=2m,mode=0700").unwrap();
        match mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(options.as_c_str())) {
            Ok(()) => {}
            Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
                eprintln!("skipped: nothing can be mounted here (are you root?)");
                return None;
            }
            Err(error) => panic!("a disk cannot be mounted: {error}"),
        }
        Some(Self { path: path.to_owned() })
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        loop {
            match ballast.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Gives back what [`Self::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// Refuses every write from now on; nobody may have a file open for writing.
    pub fn make_read_only(&self) {
        mount_remount(&self.path, MountFlags::RDONLY, c"").unwrap();
    }

    /// Takes writes again.
    pub fn make_writable(&self) {
        mount_remount(&self.path, MountFlags::empty(), c"").unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is still open on it goes when it is closed.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

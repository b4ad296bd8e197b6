//! Certificates from files: read, checked, and read again when they change.

use crate::{
    certificate::{BadCertificate, Certificate},
    clock::rfc3339,
    error::CertsError,
    held::Held,
};
use rustix::process::{getegid, geteuid, getgroups};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, Metadata},
    io::{ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tidegate_config::CertificateFiles;
use time::OffsetDateTime;

/// The largest certificate or key file, in bytes.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;

/// A pair of files by its paths: certificate, key.
pub(crate) type PairKey = (PathBuf, PathBuf);

pub(crate) fn pair_key(files: &CertificateFiles) -> PairKey {
    (files.cert.clone(), files.key.clone())
}

/// A pair read from disk.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) held: Arc<Held>,
    pub(crate) stamp: Stamp,
    digest: [u8; 32],
}

/// Whether two looks at a pair of files saw the same: device, inode, length and times, links
/// followed, so that a swapped symbolic link counts as a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp([Option<FileStamp>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of((cert, key): &PairKey) -> Self {
        Self([cert, key].map(|path| {
            fs::metadata(path).ok().map(|found| FileStamp {
                file: (found.dev(), found.ino()),
                len: found.len(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })
        }))
    }
}

/// Reads a pair. Content that `known` has already keeps its certificate object, and with it the
/// configurations made for it.
pub(crate) fn load(pair: &PairKey, known: Option<&Loaded>) -> Result<Loaded, CertsError> {
    let (cert_path, key_path) = pair;
    // Taken first: what changes while we read is read again.
    let stamp = Stamp::of(pair);
    let (chain, key) = read_pair(cert_path, key_path)?;
    let mut digest = Sha256::new();
    digest.update(Sha256::digest(&chain));
    digest.update(Sha256::digest(&key));
    let digest: [u8; 32] = digest.finalize().into();
    if let Some(known) = known.filter(|known| known.digest == digest) {
        return Ok(Loaded { held: Arc::clone(&known.held), stamp, digest });
    }
    let certificate = Certificate::from_pem(&chain, &key).map_err(|fault| {
        let path = if fault.is_about_key() { key_path } else { cert_path };
        at_fault(path, fault.to_string(), remedy(&fault, cert_path, key_path))
    })?;
    Ok(Loaded { held: Held::new(certificate), stamp, digest })
}

/// Reads a certificate file and its key's, at most 1 MiB each, as they are. A key that others can
/// read is refused.
pub fn read_pair(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), CertsError> {
    let (chain, _) = read(certificate, MAX_FILE)?;
    let (secret, found) = read(key, MAX_FILE)?;
    refuse_readable_by_others(key, &found)?;
    Ok((chain, secret))
}

/// What is to be said of a certificate that is served although it should not be.
pub(crate) fn warning(held: &Held, now: OffsetDateTime) -> Option<String> {
    if held.standing().is_revoked {
        return Some(
            "revoked by who issued it: clients may refuse it; replace the file by another"
                .to_owned(),
        );
    }
    let (from, until) = (held.certificate.not_before, held.certificate.not_after);
    if until <= now {
        let when = rfc3339(until);
        return Some(format!(
            "expired {when}: clients refuse it; replace the file by a renewed one"
        ));
    }
    (from > now).then(|| {
        let when = rfc3339(from);
        format!("not valid before {when}: clients refuse it; is this machine's clock right?")
    })
}

/// Reads a file of at most `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<(Vec<u8>, Metadata), CertsError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => at_fault(path, "does not exist", "create it or correct the path"),
        ErrorKind::PermissionDenied => {
            let user = geteuid().as_raw();
            let remedy = format!("run `chown {user} {0} && chmod 600 {0}`", path.display());
            at_fault(path, format!("may not be read by user {user}"), remedy)
        }
        _ => at_fault(path, format!("cannot be read ({error})"), "check the disk it lies on"),
    };
    let opened = File::open(path).map_err(failed)?;
    let found = opened.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(at_fault(path, "is not a file", "name the file itself, not its directory"));
    }
    let mut bytes = Vec::new();
    opened.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.is_empty() {
        return Err(at_fault(path, "is empty", "write the PEM into it"));
    }
    if bytes.len() as u64 > most {
        let remedy = "is it the file that was meant?";
        return Err(at_fault(path, format!("has more than {most} bytes"), remedy));
    }
    Ok((bytes, found))
}

/// A key that others can read is not a secret any more. One that belongs to somebody else
/// (Kubernetes' volumes: root's, readable by the pod's group) could not be read otherwise.
fn refuse_readable_by_others(path: &Path, found: &Metadata) -> Result<(), CertsError> {
    let user = geteuid().as_raw();
    let groups = getgroups().unwrap_or_default();
    let in_group = found.gid() == getegid().as_raw()
        || groups.iter().any(|group| group.as_raw() == found.gid());
    let lent = user != 0 && found.uid() != user && in_group;
    let refused = if lent { 0o037 } else { 0o077 };
    if found.mode() & refused == 0 {
        return Ok(());
    }
    let mode = found.mode() & 0o777;
    let remedy = format!(
        "run `chmod 600 {}` (in Kubernetes: `defaultMode: 0400` on the secret's volume)",
        path.display()
    );
    Err(at_fault(path, format!("is a private key open to other users (mode {mode:04o})"), remedy))
}

fn remedy(fault: &BadCertificate, cert: &Path, key: &Path) -> String {
    match fault {
        BadCertificate::NoCertificate | BadCertificate::Chain(_) => {
            "it has to hold PEM blocks `CERTIFICATE`, the server's own first".to_owned()
        }
        BadCertificate::NoNames => {
            "have it issued with subject alternative names; no client goes by the common name"
                .to_owned()
        }
        BadCertificate::NoKey => "it has to hold a PEM block `PRIVATE KEY`".to_owned(),
        BadCertificate::Encrypted => format!(
            "decrypt it: `openssl pkey -in {0} -out {0}.plain`, and keep that at mode 0600",
            key.display()
        ),
        BadCertificate::Key(_) => "expected an RSA, ECDSA or Ed25519 key in PEM".to_owned(),
        BadCertificate::Mismatch => format!(
            "name the key made for `{}`, and put the server's certificate first in the chain",
            cert.display()
        ),
    }
}

/// A file that cannot serve its purpose, and what the operator can do.
pub(crate) fn at_fault(
    path: &Path,
    what: impl Into<String>,
    remedy: impl Into<String>,
) -> CertsError {
    CertsError::File { path: path.to_owned(), what: what.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::pem;
    use std::os::unix::fs::PermissionsExt;

    struct Dir(tempfile::TempDir);

    impl Dir {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn start() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    fn message(pair: PairKey) -> String {
        load(&pair, None).unwrap_err().to_string()
    }

    #[test]
    fn every_fault_names_its_file_and_what_to_do() {
        let dir = Dir::new();
        let (chain, key) = pem(&["a.test"], start(), 1);
        let (_, other) = pem(&["a.test"], start(), 1);
        let cert = dir.write("cert.pem", &chain, 0o644);
        let good = dir.write("key.pem", &key, 0o600);
        assert!(load(&(cert.clone(), good.clone()), None).is_ok());

        let missing = message((dir.0.path().join("none.pem"), good.clone()));
        assert!(missing.contains("none.pem` does not exist"), "{missing}");
        let open = message((cert.clone(), dir.write("open.pem", &key, 0o640)));
        assert!(open.contains("0640") && open.contains("chmod 600"), "{open}");
        let empty = message((cert.clone(), dir.write("empty.pem", "", 0o600)));
        assert!(empty.contains("empty.pem` is empty"), "{empty}");
        let wrong = message((cert.clone(), dir.write("other.pem", &other, 0o600)));
        assert!(wrong.contains("other.pem` does not belong"), "{wrong}");
        let swapped = message((dir.write("k.pem", &key, 0o600), good.clone()));
        assert!(swapped.contains("k.pem` holds no certificate"), "{swapped}");
        let folder = message((dir.0.path().to_owned(), good));
        assert!(folder.contains("is not a file"), "{folder}");
    }

    #[test]
    fn the_same_content_keeps_its_object_and_another_does_not() {
        let dir = Dir::new();
        let (chain, key) = pem(&["a.test"], start(), 1);
        let pair = (dir.write("c.pem", &chain, 0o644), dir.write("k.pem", &key, 0o600));
        let first = load(&pair, None).unwrap();
        dir.write("c.pem", &chain, 0o644);
        let second = load(&pair, Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first.held, &second.held));
        let (chain, key) = pem(&["a.test"], start(), 1);
        dir.write("c.pem", &chain, 0o644);
        dir.write("k.pem", &key, 0o600);
        let third = load(&pair, Some(&second)).unwrap();
        assert!(!Arc::ptr_eq(&first.held, &third.held));
    }

    #[test]
    fn a_swapped_link_is_a_change() {
        let dir = Dir::new();
        let (chain, key) = pem(&["a.test"], start(), 1);
        for name in ["v1", "v2"] {
            dir.write(name, &chain, 0o644);
        }
        let link = dir.0.path().join("cert.pem");
        std::os::unix::fs::symlink("v1", &link).unwrap();
        let pair = (link.clone(), dir.write("k.pem", &key, 0o600));
        let before = Stamp::of(&pair);
        assert_eq!(before, Stamp::of(&pair));
        std::os::unix::fs::symlink("v2", dir.0.path().join("new")).unwrap();
        fs::rename(dir.0.path().join("new"), &link).unwrap();
        assert_ne!(before, Stamp::of(&pair));
    }

    #[test]
    fn an_expired_certificate_is_a_warning() {
        let (chain, key) = pem(&["a.test"], start(), 1);
        let held = Held::new(Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap());
        assert_eq!(warning(&held, start()), None);
        let late = warning(&held, start() + time::Duration::days(2)).unwrap();
        assert!(late.contains("expired 2027-") && late.contains("replace"), "{late}");
        assert!(warning(&held, start() - time::Duration::days(2)).is_some());
    }
}

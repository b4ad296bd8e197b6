//! Certificates of authorities as files, for whoever needs them elsewhere.
//!
//! They are read from the store by who may read the state directory: keys never leave through
//! the control API.

use crate::{
    error::CertsError,
    names::is_public,
    stored::{self, StoredCertificate, certificate_key},
    table::Origin,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tidegate_store::Store;

/// A certificate written to files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The name it was obtained for.
    pub name: String,
    /// The chain, readable by everybody.
    pub chain: PathBuf,
    /// The key, readable by its owner only.
    pub key: PathBuf,
}

/// Writes every certificate that authorities issued to `NAME.pem` and `NAME.key` in `directory`,
/// where `_` stands for the `*` of a wildcard. Files are replaced whole. Blocks on the disk.
///
/// # Errors
/// Those of the store, and the first file that cannot be written.
pub async fn export(store: &dyn Store, directory: &Path) -> Result<Vec<Exported>, CertsError> {
    let prefix = certificate_key(Origin::Acme, "");
    let mut exported = Vec::new();
    for entry in store.range(&prefix).await?.0 {
        let name = entry.key[prefix.len()..].to_owned();
        // It becomes the name of a file.
        if !is_public(name.strip_prefix("*.").unwrap_or(&name)) {
            tracing::warn!(name, "a certificate for what is no host name is left out");
            continue;
        }
        let Ok(certificate) = stored::decode::<StoredCertificate>(&entry.value) else {
            tracing::warn!(name, "a stored certificate cannot be read and is left out");
            continue;
        };
        let file = name.replace('*', "_");
        let chain = directory.join(format!("{file}.pem"));
        let key = directory.join(format!("{file}.key"));
        // The key first: a reader that looks in between finds a pair that does not fit at worst
        // until the next line, never a chain without a key.
        replace(&key, certificate.key.as_bytes(), 0o600)?;
        replace(&chain, certificate.chain.as_bytes(), 0o644)?;
        exported.push(Exported { name, chain, key });
    }
    Ok(exported)
}

/// Writes a file beside the old one, and renames it when it is on disk.
fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), CertsError> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        // One left by a run that was cut off.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(|error| CertsError::File {
        path: path.to_owned(),
        what: format!("cannot be written: {error}"),
        remedy: "give a directory that exists and may be written".to_owned(),
    })
}

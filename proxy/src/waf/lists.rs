//! Address lists: read off the workers, once for all policies, and again only when a file
//! changed.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, UNIX_EPOCH},
};
use tidegate_config::{Config, Name};
use tidegate_waf::{AddressList, Entries};

/// The largest file of a list.
const MAX_FILE: u64 = 1 << 30;

/// A list in force.
pub(crate) struct List {
    pub(crate) name: Name,
    document: tidegate_config::AddressList,
    /// Over its files' paths and contents.
    digest: u64,
    pub(crate) addresses: AddressList,
}

/// Reads every list, or takes over those in force whose files hold what they held.
pub(crate) fn compile(
    config: &Config,
    old: &BTreeMap<Name, Arc<List>>,
    faults: &mut Vec<String>,
) -> BTreeMap<Name, Arc<List>> {
    let mut compiled = BTreeMap::new();
    for (name, document) in &config.address_lists {
        match list(name, document, old.get(name)) {
            Ok(list) => drop(compiled.insert(name.clone(), list)),
            Err(what) => {
                let said = |fault: String| format!("address list `{name}`: {fault}");
                faults.extend(what.into_iter().map(said));
            }
        }
    }
    compiled
}

fn list(
    name: &Name,
    document: &tidegate_config::AddressList,
    old: Option<&Arc<List>>,
) -> Result<Arc<List>, Vec<String>> {
    let started = Instant::now();
    let mut hash = DefaultHasher::new();
    let mut files = Vec::new();
    for path in document.files()? {
        let (text, modified) =
            read(&path).map_err(|error| vec![format!("`{}`: {error}", path.display())])?;
        (&path, &text).hash(&mut hash);
        files.push((path, text, modified));
    }
    let digest = hash.finish();
    if let Some(old) = old
        && old.document == *document
        && old.digest == digest
    {
        return Ok(Arc::clone(old));
    }
    let addresses = AddressList::new(entries(document, files)?);
    tracing::info!(
        list = %name, ranges = addresses.len(), bytes = addresses.bytes(),
        took = ?started.elapsed(), "address list read"
    );
    if addresses.is_empty() {
        // A download that was cut looks like this, and `deny` then denies nobody.
        tracing::warn!(list = %name, "the address list is empty");
    }
    Ok(Arc::new(List { name: name.clone(), document: document.clone(), digest, addresses }))
}

fn entries(
    document: &tidegate_config::AddressList,
    files: Vec<(PathBuf, Vec<u8>, u64)>,
) -> Result<Entries, Vec<String>> {
    let mut entries = Entries::new(document.max_entries);
    let mut faults = Vec::new();
    for (path, text, modified) in files {
        if let Err(more) = entries.read(&path, &text, modified) {
            faults.extend(more.to_string().lines().map(str::to_owned));
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

/// What a file holds, and when it was written, in seconds since 1970.
fn read(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let metadata = path.metadata()?;
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other("larger than 1 GiB"));
    }
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Ok((std::fs::read(path)?, modified))
}

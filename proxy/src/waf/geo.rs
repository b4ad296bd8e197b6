//! Databases that know where addresses are, in MaxMind's format; held in memory, shared by all
//! policies, read again when their file changed.

use maxminddb::{PathElement, Reader};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tidegate_config::Country;

/// The databases in force.
#[derive(Default)]
pub(crate) struct Geo {
    country: Option<Arc<Database>>,
    asn: Option<Arc<Database>>,
}

struct Database {
    path: PathBuf,
    digest: u64,
    reader: Reader<Vec<u8>>,
}

/// Where databases keep a country's code: MaxMind's and those like it; the country an address
/// is registered in, where nobody knows better; IPinfo's.
const COUNTRY: [&[PathElement<'static>]; 3] = [
    &[PathElement::Key("country"), PathElement::Key("iso_code")],
    &[PathElement::Key("registered_country"), PathElement::Key("iso_code")],
    &[PathElement::Key("country_code")],
];

impl Geo {
    /// Reads the databases, or takes over those in force; says as fragments why it cannot.
    pub(crate) fn load(
        document: &tidegate_config::Geo,
        old: &Arc<Self>,
    ) -> Result<Arc<Self>, Vec<String>> {
        let mut faults = Vec::new();
        let mut load = |key: &str, path: &Option<PathBuf>, old: &Option<Arc<Database>>| {
            let path = path.as_deref()?;
            let loaded = Database::load(path, old.as_ref());
            let said = |what| faults.push(format!("geo.{key}: `{}`: {what}", path.display()));
            loaded.map_err(said).ok()
        };
        let country = load("country", &document.country, &old.country);
        let asn = load("asn", &document.asn, &old.asn);
        if !faults.is_empty() {
            return Err(faults);
        }
        let same = |new: &Option<Arc<Database>>, old: &Option<Arc<Database>>| match (new, old) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (new, old) => new.is_none() && old.is_none(),
        };
        match same(&country, &old.country) && same(&asn, &old.asn) {
            true => Ok(Arc::clone(old)),
            false => Ok(Arc::new(Self { country, asn })),
        }
    }

    /// The country an address is in.
    pub(crate) fn country(&self, address: IpAddr) -> Option<Country> {
        let found = self.country.as_ref()?.reader.lookup(address.to_canonical()).ok()?;
        let code = COUNTRY.iter().find_map(|path| found.decode_path::<&str>(path).ok()?)?;
        Country::try_new(code.as_bytes().try_into().ok()?)
    }

    /// The autonomous system an address belongs to.
    pub(crate) fn asn(&self, address: IpAddr) -> Option<u32> {
        let found = self.asn.as_ref()?.reader.lookup(address.to_canonical()).ok()?;
        let number = [PathElement::Key("autonomous_system_number")];
        let text = [PathElement::Key("asn")];
        found
            .decode_path(&number)
            .ok()
            .flatten()
            .or_else(|| found.decode_path::<&str>(&text).ok()??.strip_prefix("AS")?.parse().ok())
    }
}

impl Database {
    fn load(path: &Path, old: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        let content = std::fs::read(path).map_err(|error| error.to_string())?;
        let mut hash = DefaultHasher::new();
        content.hash(&mut hash);
        let digest = hash.finish();
        if let Some(old) = old
            && old.path == path
            && old.digest == digest
        {
            return Ok(Arc::clone(old));
        }
        let reader = Reader::from_source(content)
            .map_err(|error| format!("not a database in MaxMind's format: {error}"))?;
        let kind = &reader.metadata().database_type;
        tracing::info!(path = %path.display(), kind, "database of addresses read");
        Ok(Arc::new(Self { path: path.to_owned(), digest, reader }))
    }
}

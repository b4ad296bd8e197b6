use crate::shape::{defaults, table};
use std::path::PathBuf;

table! {
    /// `[geo]`: databases that know countries and networks, in MaxMind's format (MMDB). Watched:
    /// a new file counts without a restart.
    pub struct Geo {
        /// A database of countries, such as GeoLite2-Country; cities do, too.
        country: Option<PathBuf>,
        /// A database of autonomous systems, such as GeoLite2-ASN.
        asn: Option<PathBuf>,
    }
}

defaults!(Geo);

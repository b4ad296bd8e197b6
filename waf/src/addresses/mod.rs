//! Lists of addresses with millions of entries: read from the files that block lists come as,
//! looked up in well under a microsecond.
//!
//! [`Entries`] collects what files say, every fault with its line; [`AddressList`] is what is
//! looked up in: sorted ranges that do not overlap, 12 bytes each for IPv4 and 36 for IPv6 (8
//! and 32 if nothing in it expires). Time is passed in; an entry that has expired is not there.
//!
//! ```
//! use std::path::Path;
//! use tidegate_waf::{AddressList, Entries};
//!
//! let mut entries = Entries::new(1_000);
//! let text = b"# abusers\n192.0.2.0/24 ; a comment\n198.51.100.7 expires=1000\n";
//! assert!(entries.read(Path::new("abusers.netset"), text, 0).is_ok());
//! let list = AddressList::new(entries);
//! assert!(list.contains("192.0.2.9".parse().unwrap(), 2_000));
//! assert!(list.contains("198.51.100.7".parse().unwrap(), 999));
//! assert!(!list.contains("198.51.100.7".parse().unwrap(), 1_000));
//! ```

mod address;
mod entries;
mod flaw;
mod line;
mod list;
mod merge;
mod ranges;
mod time;

pub use entries::{Entries, ListFaults};
pub use list::AddressList;

/// Seconds since 1970 from which an entry is no longer there; enough until the year 2106.
pub(crate) type Until = u32;

/// The entry stays.
pub(crate) const NEVER: Until = Until::MAX;

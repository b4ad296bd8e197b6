use crate::shape::{Written, set, table, whole};
use std::path::PathBuf;

table! {
    /// `[address_lists.NAME]`: addresses kept in files, for WAF policies. Files of the usual
    /// formats (docs/waf.md) are recognised; a change counts without a restart.
    pub struct AddressList {
        /// Files; the last part may be a glob.
        files: Vec<PathBuf> as set(PathBuf::shape()).some(),
        /// More entries are a fault: 12 bytes of memory each, 36 for IPv6. Default 5,000,000.
        max_entries: usize = 5_000_000 as whole(1..=100_000_000),
    }
}

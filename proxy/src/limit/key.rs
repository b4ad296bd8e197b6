//! What a limit counts: 128 keyed bits of (limit, key parts). The hash key is random per
//! process, so that nobody can aim at another client's slot.

use super::Table;
use crate::client;
use http::HeaderMap;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{hash::Hasher, net::IpAddr};
use tidegate_config::{LimitKey, Name};

/// The parts of a request that limits look at.
pub(crate) struct Subject<'a> {
    pub(crate) client: IpAddr,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

impl Subject<'_> {
    /// The slot key; `None` when a part is absent from the request.
    pub(super) fn key(&self, limit: &Name, parts: &[LimitKey], table: &Table) -> Option<u128> {
        let (k0, k1) = table.hash_keys();
        let mut hash = SipHasher13::new_with_keys(k0, k1);
        field(&mut hash, limit.as_str().as_bytes());
        for part in parts {
            match part {
                LimitKey::ClientIp => match client::key(self.client) {
                    IpAddr::V4(v4) => field(&mut hash, &v4.octets()),
                    IpAddr::V6(v6) => field(&mut hash, &v6.octets()),
                },
                LimitKey::Header(name) => field(&mut hash, self.headers.get(name)?.as_bytes()),
                LimitKey::Cookie(name) => {
                    field(&mut hash, crate::cookie::get(self.headers, name)?.as_bytes());
                }
                LimitKey::Path => field(&mut hash, self.path.as_bytes()),
            }
        }
        Some(hash.finish128().as_u128())
    }
}

/// Length first, so that no two lists of parts read alike.
fn field(hash: &mut SipHasher13, bytes: &[u8]) {
    hash.write_u64(bytes.len() as u64);
    hash.write(bytes);
}

//! Which unit a request belongs to, and so which version it gets.

use crate::{client, cookie, snapshot::Service};
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;
use tidegate_config::Sticky;
use tidegate_release::{Salt, Unit};

/// What a sticky cookie lives: 30 days.
const MAX_AGE: u32 = 30 * 24 * 3600;

/// The version of one request.
pub(crate) struct Choice {
    /// Its position in the service.
    pub(crate) version: usize,
    /// A cookie for a client that came without one.
    pub(crate) set_cookie: Option<HeaderValue>,
}

/// Chooses a version. `random` makes new units and settles requests without a unit. `None` only
/// for a service without any weight, which validation refuses.
pub(crate) fn choose(
    service: &Service,
    salt: Salt,
    headers: &HeaderMap,
    client: IpAddr,
    https: bool,
    random: u64,
) -> Option<Choice> {
    let plain = |version| Some(Choice { version, set_cookie: None });
    let at = |unit| {
        let weights = service.versions.iter().map(|v| (v.name.as_str(), v.weight));
        tidegate_release::assign(salt, service.name.as_str(), unit, weights)
    };
    match &service.sticky {
        None => plain(service.of_random(random as u32)?),
        Some(Sticky::ClientIp) => {
            let unit = match client::key(client) {
                IpAddr::V4(v4) => Unit::of(salt, &v4.octets()),
                IpAddr::V6(v6) => Unit::of(salt, &v6.octets()),
            };
            plain(at(unit)?)
        }
        Some(Sticky::Header(name)) => match headers.get(name) {
            Some(value) => plain(at(Unit::of(salt, value.as_bytes()))?),
            None => plain(service.of_random(random as u32)?),
        },
        Some(Sticky::Cookie(name)) => match cookie::get(headers, name).and_then(parse) {
            Some(unit) => plain(at(unit)?),
            None => {
                let version = at(Unit(random))?;
                let secure = if https { "; Secure" } else { "" };
                let text = format!(
                    "{name}={random:016x}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax{secure}"
                );
                Some(Choice { version, set_cookie: HeaderValue::try_from(text).ok() })
            }
        },
    }
}

/// A unit id as our cookies hold it: 16 hexadecimal digits. Anything else gets a new one.
fn parse(value: &str) -> Option<Unit> {
    let digits = value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(value, 16).ok().map(Unit)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_form_of_unit_is_taken() {
        assert_eq!(parse("00000000000000ff"), Some(Unit(255)));
        for other in ["", "ff", "+0000000000000ff", "00000000000000fg", "000000000000000ff"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}

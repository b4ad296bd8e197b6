use crate::{
    Name,
    shape::{Misfit, Reader, Shape, TextShape, Written, reference, set, table, text, whole},
};
use ipnet::IpNet;
use std::fmt;

table! {
    /// Clients that `[waf.NAME]` treats alike: those that one of the keys names.
    pub struct WafClients {
        /// Addresses and networks.
        addresses: Vec<IpNet> = [] as set(IpNet::shape()),
        /// Names of address lists.
        lists: Vec<Name> = [] as set(reference("address list", "address_lists")),
        /// Countries by ISO 3166 code; needs `geo.country`.
        countries: Vec<Country> = [] as set(Country::shape()),
        /// Autonomous systems by number; needs `geo.asn`.
        asns: Vec<u32> = [] as set(whole(1..=4_294_967_295)),
    }
    check = names_somebody;
}

fn names_somebody(clients: &WafClients, reader: &mut Reader<'_, '_, '_>) {
    let WafClients { addresses, lists, countries, asns } = clients;
    let nobody =
        addresses.is_empty() && lists.is_empty() && countries.is_empty() && asns.is_empty();
    let keys = ["addresses", "lists", "countries", "asns"];
    // Where a key is there and empty all the same, its own fault may be why.
    if nobody && reader.present(&keys).is_empty() {
        reader
            .fault_at(None, "this names no client")
            .help("list `addresses`, `lists`, `countries` or `asns`, or remove it");
    }
}

/// A country: two letters of ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// A country by its two capital letters.
    pub const fn try_new(code: [u8; 2]) -> Option<Self> {
        match code[0].is_ascii_uppercase() && code[1].is_ascii_uppercase() {
            true => Some(Self(code)),
            false => None,
        }
    }

    /// The two letters.
    pub const fn code(self) -> [u8; 2] {
        self.0
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(self.0[0]), char::from(self.0[1]))
    }
}

impl Written for Country {
    fn shape() -> impl Shape<Value = Self> {
        country()
    }
}

fn country() -> TextShape<Country> {
    text("a country code of ISO 3166 such as `DE`", |text| {
        let code = text.as_bytes().try_into().map_err(|_| Misfit::form())?;
        Country::try_new(code).ok_or_else(|| {
            let upper = text.to_ascii_uppercase();
            match upper.bytes().all(|byte| byte.is_ascii_uppercase()) {
                true => Misfit::form().help(format!("did you mean `{upper}`?")),
                false => Misfit::form(),
            }
        })
    })
}

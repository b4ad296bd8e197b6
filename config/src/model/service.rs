use crate::{
    Name, Weight,
    shape::{
        Catalogue, Key, Misfit, Reader, Shape, Table, TableShape, TextShape, Written, named,
        optional, reference, table, text,
    },
};
use std::collections::BTreeMap;

table! {
    /// `[services.NAME]`: what routes send to.
    pub struct Service {
        /// What ties a client to a version; without it each request is on its own.
        sticky: Option<Sticky>,
        /// The versions, at least one, at least one with weight.
        versions: BTreeMap<Name, Version> as named(Version::shape()).some(),
    }
    check = check;
}

fn check(service: &Service, reader: &mut Reader<'_, '_, '_>) {
    let all_read = reader.get("versions").and_then(|node| node.as_table()).map(|table| table.len())
        == Some(service.versions.len());
    if all_read && service.versions.values().all(|version| version.weight == Weight::ZERO) {
        reader
            .fault_at(Some("versions"), "every version has weight 0")
            .help("give one of them a weight");
    }
}

table! {
    /// A version of a service.
    pub struct Version {
        /// The upstream that serves it.
        upstream: Name as reference("upstream", "upstreams"),
        /// Its share of requests relative to the other versions; written as shares of 100 they
        /// are percent. 0 to 10,000 with at most two decimals.
        weight: Weight,
    }
}

impl Eq for Version {}

/// `sticky = { cookie = "name" }` (or `header = "x-user"`): what ties a client to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// A random unit id of our own, set when absent.
    Cookie(String),
    /// A header's value; requests without it are their own unit.
    Header(http::HeaderName),
    /// The client's address (IPv6 by /64).
    ClientIp,
}

impl Written for Sticky {
    fn shape() -> impl Shape<Value = Self> {
        TableShape::<Self>::new(
            "Sticky",
            &[
                "What ties a client to a version: exactly one of `cookie`, `header` and `client_ip`.",
            ],
        )
    }
}

impl Table for Sticky {
    fn keys(catalogue: &mut Catalogue, keys: &mut Vec<Key>) {
        let cookie = "The name of a cookie that holds a random id, set when absent.";
        let header = "A header whose value is the id; requests without it are on their own.";
        let client_ip = "`true`: the client's address (IPv6 by /64) is the id.";
        keys.extend([
            Key::new(catalogue, "cookie", cookie.to_owned(), None, &optional(cookie_name())),
            Key::new(catalogue, "header", header.to_owned(), None, &optional(header_name())),
            Key::new(catalogue, "client_ip", client_ip.to_owned(), None, &optional(bool::shape())),
        ]);
    }

    fn read(reader: &mut Reader<'_, '_, '_>) -> Option<Self> {
        match reader.one_of(&["cookie", "header", "client_ip"])? {
            "cookie" => reader.field("cookie", None, &cookie_name()).map(Self::Cookie),
            "header" => reader.field("header", None, &header_name()).map(Self::Header),
            _ => {
                let on = reader.field("client_ip", None, &bool::shape())?;
                if !on {
                    reader
                        .fault_at(Some("client_ip"), "expected `true`, found `false`")
                        .help("leave out `sticky` to turn it off");
                }
                Some(Self::ClientIp)
            }
        }
    }
}

/// The name of a cookie: an RFC 6265 token.
pub(crate) fn cookie_name() -> TextShape<String> {
    text("a cookie's name", |text| {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        match !text.is_empty() && text.len() <= 128 && text.bytes().all(token) {
            true => Ok(text.to_owned()),
            false => Err(Misfit::form()),
        }
    })
}

/// The name of a header, in lower case from here on.
pub(crate) fn header_name() -> TextShape<http::HeaderName> {
    text("a header's name", |text| text.parse().map_err(|_| Misfit::form()))
}

use super::{
    dns_provider::{DnsProvider, provider_for, rivals},
    host::no_spaces,
};
use crate::{
    Name, Rate, Secret,
    document::Node,
    nearest::nearest,
    shape::{
        Catalogue, Cx, Misfit, Reader, Shape, TextShape, Written, defaults, list, optional,
        percent, set, table, text, whole, words,
    },
};
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, path::PathBuf};

table! {
    /// `[acme]`: certificates from a certificate authority.
    pub struct Acme {
        /// Where the authority may write to, about expiry and incidents.
        email: Option<String> as optional(email()),
        /// Tried in order: `letsencrypt`, `letsencrypt-staging`, `zerossl` (which needs `eab`) or
        /// a table. Default `["letsencrypt"]`.
        issuers: Vec<Issuer> = ["letsencrypt"] as list(Issuer::shape()).some(),
        /// `tls-alpn-01`, `http-01` and `dns-01`, tried in order; default the first two. Wildcards
        /// are proved by `dns-01` only, whether it stands here or not.
        challenges: Vec<Challenge> = ["tls-alpn-01", "http-01"] as set(Challenge::shape()).some(),
        /// Who changes zones for `dns-01`; needed for wildcards.
        dns: BTreeMap<Name, DnsProvider> = {},
        /// Where authorities look at this machine; for one that looks elsewhere, such as a test
        /// server. Nothing but `tidegate certs plan` asks for it.
        validation_ports: ValidationPorts = {},
        /// Renewal begins when this part of the lifetime is left, in percent; default 33, 5 to 90.
        renew_at_percent: u8 = 33 as percent(5..=90),
    }
    check = check;
}

table! {
    /// Ports at which names are proved, as the outside sees them.
    pub struct ValidationPorts {
        /// Of `http-01` (RFC 8555 section 8.3). Default 80.
        http: u16 = 80 as whole(1..=65_535),
        /// Of `tls-alpn-01` (RFC 8737 section 3). Default 443.
        tls: u16 = 443 as whole(1..=65_535),
    }
}

defaults!(ValidationPorts);

fn check(acme: &Acme, reader: &mut Reader<'_, '_, '_>) {
    if acme.challenges.contains(&Challenge::Dns01) && reader.get("dns").is_none() {
        reader
            .fault_at(Some("challenges"), "`dns-01` needs somebody who changes the zone")
            .help("declare a provider under `[acme.dns.NAME]`");
    }
    if let Some((one, other)) = rivals(&acme.dns) {
        let message = format!("`{one}` and `{other}` are for the same names");
        reader.fault_at(Some("dns"), message).help("give them different `domains`");
    }
    for (index, issuer) in acme.issuers.iter().enumerate() {
        if acme.issuers[..index].iter().any(|other| other.name == issuer.name) {
            let message = format!("two issuers are named `{}`", issuer.name);
            reader.fault_in("issuers", index, message).help("give one of them another `name`");
        }
    }
}

impl Acme {
    /// Who changes the zone of `name`, a host name or a wildcard in lower case; `None` if it
    /// cannot be proved by `dns-01`.
    pub fn dns_provider(&self, name: &str) -> Option<(&Name, &DnsProvider)> {
        provider_for(&self.dns, name)
    }
}

words! {
    /// How control of a name is proved.
    pub enum Challenge: "challenge" {
        /// A file under `/.well-known/acme-challenge/` on port 80.
        Http01 = "http-01",
        /// A TLS handshake on port 443.
        TlsAlpn01 = "tls-alpn-01",
        /// A TXT record in the name's zone.
        Dns01 = "dns-01",
    }
}

/// One certificate authority: `"letsencrypt"`, `"letsencrypt-staging"`, or a table with
/// `directory` (and `name`, `ca`, `eab`).
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// Shown to people and part of the storage keys; default the directory's host.
    pub name: String,
    /// The directory's https URL.
    pub directory: String,
    /// PEM file of roots to trust for the directory's own TLS, instead of the system's.
    pub ca: Option<PathBuf>,
    /// External account binding (RFC 8555 section 7.3.4).
    pub eab: Option<ExternalAccount>,
    /// The https URL of a directory where a name that failed is proved first.
    pub staging: Option<String>,
    /// The kind of certificate ordered.
    pub profile: Option<String>,
    /// Orders placed at most, as a bucket of that many that refills evenly.
    pub orders: Option<Rate>,
}

table! {
    /// External account binding (RFC 8555 section 7.3.4): ties the ACME account to one the
    /// authority already knows.
    pub struct ExternalAccount {
        /// The key's identifier.
        kid: String as text("a key identifier", no_spaces),
        /// The key, base64url.
        hmac_key: Secret as hmac_key(),
    }
}

/// The authorities known by name.
const KNOWN: [(&str, &str); 3] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
];

/// The one among them that refuses accounts without a binding.
const NEEDS_BINDING: &str = "zerossl";

impl Written for Issuer {
    fn shape() -> impl Shape<Value = Self> {
        IssuerShape
    }
}

/// The name of a known authority, or a table.
struct IssuerShape;

impl Shape for IssuerShape {
    type Value = Issuer;

    fn expected(&self) -> String {
        "`letsencrypt`, `letsencrypt-staging`, `zerossl` or a table with `directory`".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        let names = KNOWN.map(|(name, _)| name);
        let table = written::Issuer::shape().schema(catalogue);
        json!({ "anyOf": [catalogue.word(&names), table] })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Issuer> {
        if node.as_table().is_some() && node.as_file_reference().is_none() {
            let issuer = written::Issuer::shape().read(node, cx)?;
            return issuer.resolve(node, cx);
        }
        let name = cx.text(node, || self.expected())?;
        let issuer = written::Issuer { name: Some(name.value.clone()), ..Default::default() };
        if KNOWN.iter().all(|(known, _)| *known != name.value) {
            let near = nearest(&name.value, KNOWN.map(|(known, _)| known));
            let why = match near {
                Some(near) => Misfit::form().help(format!("did you mean `{near}`?")),
                None if name.value.starts_with("https://") => {
                    Misfit::form().help("write `{ directory = \"https://..\" }`")
                }
                None => Misfit::form(),
            };
            cx.misfit(node.at, &self.expected(), &name, why);
            return None;
        }
        issuer.resolve(node, cx)
    }
}

/// Tables as written, where the model differs.
mod written {
    use super::{ExternalAccount, directory, issuer_name, no_spaces};
    use crate::{
        Rate,
        shape::{defaults, optional, table, text},
    };
    use std::path::PathBuf;

    table! {
        /// A certificate authority.
        pub(crate) struct Issuer {
            /// Shown to people and part of the storage keys; default the directory's host. A known
            /// name makes `directory` unnecessary.
            name: Option<String> as optional(issuer_name()),
            /// The directory's https URL.
            directory: Option<String> as optional(directory()),
            /// PEM file of roots to trust for the directory's own TLS, instead of the system's.
            ca: Option<PathBuf>,
            /// External account binding, for authorities that ask for it.
            eab: Option<ExternalAccount>,
            /// The https URL of a directory with the same rules and wider limits, where a name
            /// that has failed is proved before it is ordered here again. Default: none, but for
            /// `letsencrypt` its staging directory.
            staging: Option<String> as optional(directory()),
            /// The kind of certificate, by the name the authority's directory gives it, such as
            /// `shortlived` (ACME profiles). Default: the authority's own choice.
            profile: Option<String> as optional(text("a profile's name", no_spaces)),
            /// Orders placed at most, per account and shared by nodes, as a bucket of that many
            /// that refills evenly. Default 10 at once and one a second after that; with Let's
            /// Encrypt 300 in three hours.
            orders: Option<Rate>,
        }
    }

    defaults!(Issuer);
}

impl written::Issuer {
    /// Fills in what a known name stands for.
    fn resolve(self, node: &Node, cx: &mut Cx<'_>) -> Option<Issuer> {
        let named = |name: &str| KNOWN.iter().find(|(known, _)| *known == name);
        let known = self.name.as_deref().and_then(named).map(|(_, directory)| *directory);
        let Some(directory) = self.directory.or(known.map(str::to_owned)) else {
            cx.fault(node.at, "`directory` is missing: expected an https URL");
            return None;
        };
        if self.name.as_deref() == Some(NEEDS_BINDING) && self.eab.is_none() {
            cx.fault(node.at, "`zerossl` needs an external account binding").help(
                "write `{ name = \"zerossl\", eab = { kid = \"..\", hmac_key = \"..\" } }` \
                 with the values of your ZeroSSL account",
            );
            return None;
        }
        let host = || host_of(&directory).to_owned();
        let staging =
            self.staging.or_else(|| (directory == KNOWN[0].1).then(|| KNOWN[1].1.to_owned()));
        Some(Issuer {
            name: self.name.unwrap_or_else(host),
            directory,
            ca: self.ca,
            eab: self.eab,
            staging,
            profile: self.profile,
            orders: self.orders,
        })
    }
}

fn host_of(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    rest.split(['/', ':']).next().unwrap_or(rest)
}

fn email() -> TextShape<String> {
    text("an email address such as `ops@example.com`", |text| match text.split_once('@') {
        Some((user, host)) if !user.is_empty() && host.contains('.') => no_spaces(text),
        _ => Err(Misfit::form()),
    })
}

/// A name of an issuer: it becomes part of storage keys.
fn issuer_name() -> TextShape<String> {
    let expected = "a name of 1 to 64 letters, digits, `_`, `-` or `.`";
    text(expected, |text| match text.parse::<Name>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Misfit::form()),
    })
}

fn directory() -> TextShape<String> {
    text("an https URL", |text| {
        let uri = text.parse::<http::Uri>().map_err(|_| Misfit::form())?;
        match uri.scheme_str() {
            Some("https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(text.to_owned()),
            Some("http") => Err(Misfit::form().help("accounts are never sent in plain text")),
            _ => Err(Misfit::form()),
        }
    })
}

fn hmac_key() -> TextShape<Secret> {
    text("a key in base64url, without padding", |text| {
        let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        // Some authorities hand the key out with its padding.
        let key = text.trim_end_matches('=');
        match !key.is_empty() && key.bytes().all(digit) && key.len() % 4 != 1 {
            true => Ok(Secret::new(key)),
            false => Err(Misfit::form()),
        }
    })
    .secret()
}

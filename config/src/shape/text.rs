use super::{Catalogue, Cx, Misfit, Shape, Written};
use crate::{
    ByteSize, InvalidName, Name, Rate, Secret,
    document::{Node, Text},
};
use ipnet::IpNet;
use serde_json::Value as Json;
use std::{net::SocketAddr, path::PathBuf};

/// Text that `parse` reads; `expected` follows "expected" in faults.
pub(crate) fn text<T>(
    expected: &'static str,
    parse: fn(&str) -> Result<T, Misfit>,
) -> TextShape<T> {
    TextShape { expected, parse, privacy: Privacy::Public }
}

/// See [`text`].
pub(crate) struct TextShape<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, Misfit>,
    privacy: Privacy,
}

/// Who may see a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Privacy {
    Public,
    /// Whoever has the file, but not who is shown the document in force.
    Masked,
    /// Nobody, not even in a fault.
    Secret,
}

impl<T> TextShape<T> {
    /// Reads a text that is part of another.
    pub(crate) fn parse(&self, text: &str) -> Result<T, Misfit> {
        (self.parse)(text)
    }

    /// The value is never shown.
    pub(crate) fn secret(self) -> Self {
        Self { privacy: Privacy::Secret, ..self }
    }

    /// The value may be a secret: the document is shown without it.
    pub(crate) fn masked(self) -> Self {
        Self { privacy: Privacy::Masked, ..self }
    }
}

impl<T> Shape for TextShape<T> {
    type Value = T;

    fn expected(&self) -> String {
        self.expected.to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        catalogue.text(&[])
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<T> {
        match self.privacy {
            Privacy::Public => {}
            Privacy::Masked => cx.report.mask(node.at),
            Privacy::Secret => cx.report.hide(node.at),
        }
        let mut text = cx.text(node, || self.expected.to_owned())?;
        let read = (self.parse)(&text.value);
        if self.privacy == Privacy::Secret {
            text = Text::brought(String::new(), "something else".to_owned());
        }
        read.map_err(|why| cx.misfit(node.at, self.expected, &text, why)).ok()
    }
}

impl Written for String {
    fn shape() -> impl Shape<Value = Self> {
        text("a string", |text| Ok(text.to_owned()))
    }
}

impl Written for Secret {
    fn shape() -> impl Shape<Value = Self> {
        let parse = |text: &str| match text {
            "" => Err(Misfit::because("expected a secret, found nothing")),
            text => Ok(Self::new(text)),
        };
        text("a secret, such as `{ file = \"/run/secrets/x\" }`", parse).secret()
    }
}

impl Written for Name {
    fn shape() -> impl Shape<Value = Self> {
        let expected = "a name of 1 to 64 letters, digits, `_`, `-` or `.`";
        text(expected, |text| text.parse().map_err(|_: InvalidName| Misfit::form()))
    }
}

impl Written for Rate {
    fn shape() -> impl Shape<Value = Self> {
        let expected = "a rate such as `100/s`, `30/m` or `1000/h`";
        text(expected, |text| text.parse().map_err(|_| Misfit::form()))
    }
}

impl Written for ByteSize {
    fn shape() -> impl Shape<Value = Self> {
        let expected = "a size such as `64KiB`, `12.5MiB` or `512B`";
        text(expected, |text| text.parse().map_err(|_| Misfit::form()))
    }
}

impl Written for SocketAddr {
    fn shape() -> impl Shape<Value = Self> {
        let expected = "an IP address and port such as `127.0.0.1:8080` or `[::1]:8080`";
        text(expected, |text| text.parse().map_err(|_| socket_misfit(text)))
    }
}

impl Written for IpNet {
    fn shape() -> impl Shape<Value = Self> {
        text("an IP address or network such as `10.0.0.0/8`", |text| {
            let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
            let net = text.parse::<IpNet>().or_else(|_| address()).map_err(|_| Misfit::form())?;
            if let IpNet::V6(v6) = net
                && let (Some(v4), 96..) = (v6.addr().to_ipv4_mapped(), v6.prefix_len())
            {
                // Clients are known by the address that is mapped.
                return Err(Misfit::because(format!("`{net}` is IPv4 in the clothes of IPv6"))
                    .help(format!("write `{v4}/{}`", v6.prefix_len() - 96)));
            }
            match net == net.trunc() {
                true => Ok(net),
                false => Err(Misfit::because(format!("`{net}` has bits outside its prefix"))
                    .help(format!("write `{}`", net.trunc()))),
            }
        })
    }
}

/// What may have been meant by something that is not an address with a port.
fn socket_misfit(text: &str) -> Misfit {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Misfit::form().help("the port is missing");
    }
    match text.strip_prefix(':').map(str::parse::<u16>) {
        Some(Ok(port)) => Misfit::form().help(format!("for every address write `0.0.0.0:{port}`")),
        _ => Misfit::form(),
    }
}

/// A path; a relative one is relative to the file that names it.
impl Written for PathBuf {
    fn shape() -> impl Shape<Value = Self> {
        PathShape
    }
}

struct PathShape;

impl Shape for PathShape {
    type Value = PathBuf;

    fn expected(&self) -> String {
        "a path".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        catalogue.text(&[])
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<PathBuf> {
        let text = cx.text(node, || self.expected())?.value;
        if text.is_empty() || text.contains('\0') {
            cx.unexpected(node, "a path");
            return None;
        }
        Some(cx.files.resolve(node.at.file, &text))
    }
}

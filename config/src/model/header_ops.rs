use super::service::header_name;
use crate::{
    document::{Node, Text},
    shape::{
        Catalogue, Cx, Misfit, Shape, TextShape, defaults, mapped, one_or_more, set, table, text,
    },
};
use http::{HeaderName, HeaderValue, header};
use serde_json::{Value as Json, json};

table! {
    /// `request_headers = { set = { a = "b" }, add = { .. }, remove = [..] }`: removed first, then set, then added.
    pub struct HeaderOps {
        /// Headers given exactly this value, whatever was there.
        set: Vec<(HeaderName, HeaderValue)> = {} as Headers { name: changed_name(), value: header_value() },
        /// Headers added beside those there; an array adds several.
        add: Vec<(HeaderName, HeaderValue)> = {} as mapped(
            Headers { name: changed_name(), value: one_or_more(header_value()) },
            |headers: Vec<(HeaderName, Vec<HeaderValue>)>| headers
                .into_iter()
                .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
                .collect(),
        ),
        /// Headers removed.
        remove: Vec<HeaderName> = [] as set(changed_name()),
    }
}

/// Headers that say how a message is framed or how long a connection lives: the proxy's own.
const OF_THE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::UPGRADE,
    HeaderName::from_static("proxy-connection"),
    header::TRAILER,
];

/// The name of a header that may be changed.
fn changed_name() -> TextShape<HeaderName> {
    text("a header's name", |text| {
        let name = header_name().parse(text)?;
        match OF_THE_CONNECTION.contains(&name) {
            true => Err(Misfit::because(format!(
                "`{name}` belongs to the connection and cannot be changed"
            ))),
            false => Ok(name),
        }
    })
}

impl HeaderOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

defaults!(HeaderOps);

fn header_value() -> TextShape<HeaderValue> {
    text("a header's value", |text| {
        HeaderValue::from_str(text).map_err(|_| {
            Misfit::because("a header's value has no line breaks or control characters")
        })
    })
    .masked() // upstreams are given credentials this way
}

/// A table of headers by name.
pub(crate) struct Headers<S> {
    pub(crate) name: TextShape<HeaderName>,
    pub(crate) value: S,
}

impl<S: Shape> Shape for Headers<S> {
    type Value = Vec<(HeaderName, S::Value)>;

    fn expected(&self) -> String {
        "a table of headers such as `{ x-name = \"value\" }`".to_owned()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        json!({ "type": "object", "additionalProperties": self.value.schema(catalogue) })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Self::Value> {
        let Some(table) = node.as_table() else {
            cx.unexpected(node, &self.expected());
            return None;
        };
        let mut headers: Self::Value = Vec::new();
        let mut whole = true;
        for (key, entry) in table {
            let value = cx.inside(key, |cx| {
                let name = self.name.parse(key).map_err(|why| {
                    cx.misfit(entry.key_at, "a header's name", &Text::literal(key), why);
                });
                let value = self.value.read(&entry.node, cx);
                Some((name.ok()?, value?))
            });
            match value {
                Some((name, _)) if headers.iter().any(|(other, _)| *other == name) => {
                    cx.inside(key, |cx| {
                        cx.fault(entry.key_at, format!("the header `{name}` stands here twice"))
                            .help("names of headers do not differ by case");
                    });
                    whole = false;
                }
                Some(header) => headers.push(header),
                None => whole = false,
            }
        }
        whole.then_some(headers)
    }
}

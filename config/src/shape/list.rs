use super::{Catalogue, Cx, Shape, Written};
use crate::document::{Node, Value};
use serde_json::{Value as Json, json};

/// An array.
pub(crate) fn list<S: Shape>(item: S) -> List<S> {
    List { item, least: 0, bare: false, equal: None }
}

/// An array in which no value stands twice.
pub(crate) fn set<S: Shape<Value: PartialEq>>(item: S) -> List<S> {
    List { equal: Some(|one, other| one == other), ..list(item) }
}

/// One value, or an array of at least one in which none stands twice.
pub(crate) fn one_or_more<S: Shape<Value: PartialEq>>(item: S) -> List<S> {
    set(item).some().or_one()
}

type Equal<T> = fn(&T, &T) -> bool;

/// See [`list`].
pub(crate) struct List<S: Shape> {
    item: S,
    least: usize,
    bare: bool,
    /// Given if no value may stand twice.
    equal: Option<Equal<S::Value>>,
}

impl<S: Shape> List<S> {
    /// At least one value.
    pub(crate) fn some(self) -> Self {
        Self { least: 1, ..self }
    }

    /// One value may stand without brackets.
    pub(crate) fn or_one(self) -> Self {
        Self { bare: true, ..self }
    }
}

impl<S: Shape> Shape for List<S> {
    type Value = Vec<S::Value>;

    fn expected(&self) -> String {
        let item = self.item.expected();
        if self.bare {
            format!("{item}, or an array of such")
        } else {
            format!("an array, each {item}")
        }
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        let item = self.item.schema(catalogue);
        let mut array = json!({ "type": "array", "items": item });
        if self.least > 0 {
            array["minItems"] = json!(self.least);
        }
        if self.equal.is_some() {
            array["uniqueItems"] = json!(true);
        }
        if self.bare { json!({ "anyOf": [item, array] }) } else { array }
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Self::Value> {
        let items = match &node.value {
            Value::Array(items) => items,
            _ if self.bare => return self.item.read(node, cx).map(|value| vec![value]),
            _ => {
                cx.unexpected(node, &self.expected()).help("write it in `[` and `]`");
                return None;
            }
        };
        if items.len() < self.least {
            cx.fault(
                node.at,
                format!("expected at least one value, each {}", self.item.expected()),
            );
            return None;
        }
        let mut values: Vec<S::Value> = Vec::with_capacity(items.len());
        let mut whole = true;
        let twice = |values: &[S::Value], value: &S::Value| {
            self.equal.is_some_and(|equal| values.iter().any(|other| equal(other, value)))
        };
        for (index, item) in items.iter().enumerate() {
            let value = cx.inside(&format!("[{index}]"), |cx| self.item.read(item, cx));
            match value {
                Some(value) if twice(&values, &value) => {
                    let message = format!("{} stands here twice", item.describe());
                    cx.inside(&format!("[{index}]"), |cx| {
                        cx.fault(item.at, message).help("remove one");
                    });
                    whole = false;
                }
                Some(value) => values.push(value),
                None => whole = false,
            }
        }
        whole.then_some(values)
    }
}

impl<T: Written> Written for Vec<T> {
    fn shape() -> impl Shape<Value = Self> {
        list(T::shape())
    }
}

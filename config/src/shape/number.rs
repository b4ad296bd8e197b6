use super::{Catalogue, Cx, Misfit, Shape, Written};
use crate::{
    ByteSize, Weight,
    document::{Node, Value},
    parse_duration,
};
use serde_json::{Value as Json, json};
use std::{marker::PhantomData, num::NonZeroUsize, ops::RangeInclusive, time::Duration};

/// A whole number within a range.
pub(crate) fn whole<T: Whole>(range: RangeInclusive<i64>) -> WholeShape<T> {
    WholeShape(range, PhantomData)
}

/// A share of 100.
pub(crate) fn percent(range: RangeInclusive<i64>) -> WholeShape<u8> {
    whole(range)
}

/// An integer type of the model.
pub(crate) trait Whole: Sized {
    fn from_i64(value: i64) -> Option<Self>;
}

macro_rules! whole_types {
    ($($type:ty),*) => {$(
        impl Whole for $type {
            fn from_i64(value: i64) -> Option<Self> {
                value.try_into().ok()
            }
        }
    )*};
}

whole_types!(u8, u16, u32, usize);

impl Whole for NonZeroUsize {
    fn from_i64(value: i64) -> Option<Self> {
        usize::try_from(value).ok().and_then(Self::new)
    }
}

/// See [`whole`].
pub(crate) struct WholeShape<T>(RangeInclusive<i64>, PhantomData<T>);

impl<T: Whole> Shape for WholeShape<T> {
    type Value = T;

    fn expected(&self) -> String {
        format!("an integer from {} to {}", self.0.start(), self.0.end())
    }

    fn schema(&self, _: &mut Catalogue) -> Json {
        json!({ "type": "integer", "minimum": self.0.start(), "maximum": self.0.end() })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<T> {
        let value = match &node.value {
            Value::Integer(value) if self.0.contains(value) => T::from_i64(*value),
            _ => None,
        };
        if value.is_none() {
            let note = cx.unexpected(node, &self.expected());
            if matches!(&node.value, Value::Text(text) if text.parse::<i64>().is_ok()) {
                note.help("write it without quotes");
            }
        }
        value
    }
}

/// A duration within a range, both ends written as in the document.
pub(crate) fn duration(least: &'static str, most: &'static str) -> Within<Duration> {
    Within {
        least,
        most,
        what: "a duration",
        example: "2s",
        parse: |text| parse_duration(text).ok(),
    }
}

/// A size within a range, both ends written as in the document.
pub(crate) fn size(least: &'static str, most: &'static str) -> Within<ByteSize> {
    Within { least, most, what: "a size", example: "64KiB", parse: |text| text.parse().ok() }
}

/// A text with a unit, within a range.
pub(crate) struct Within<T> {
    least: &'static str,
    most: &'static str,
    what: &'static str,
    example: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T: PartialOrd> Shape for Within<T> {
    type Value = T;

    fn expected(&self) -> String {
        format!("{} from {} to {}", self.what, self.least, self.most)
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        catalogue.text(&[self.example])
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<T> {
        let form = || format!("{} such as `{}`", self.what, self.example);
        let text = cx.text(node, form)?;
        let Some(value) = (self.parse)(&text.value) else {
            cx.misfit(node.at, &form(), &text, Misfit::form());
            return None;
        };
        let end = |end| (self.parse)(end).expect("a range ends in values of its own form");
        if value < end(self.least) || value > end(self.most) {
            cx.misfit(node.at, &self.expected(), &text, Misfit::form());
            return None;
        }
        Some(value)
    }
}

impl Written for bool {
    fn shape() -> impl Shape<Value = Self> {
        BooleanShape
    }
}

struct BooleanShape;

impl Shape for BooleanShape {
    type Value = bool;

    fn expected(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn schema(&self, _: &mut Catalogue) -> Json {
        json!({ "type": "boolean" })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<bool> {
        if let Value::Boolean(value) = &node.value {
            return Some(*value);
        }
        cx.unexpected(node, &self.expected());
        None
    }
}

impl Written for Weight {
    fn shape() -> impl Shape<Value = Self> {
        WeightShape
    }
}

struct WeightShape;

impl Shape for WeightShape {
    type Value = Weight;

    fn expected(&self) -> String {
        "a number from 0 to 10000 with at most two decimals".to_owned()
    }

    fn schema(&self, _: &mut Catalogue) -> Json {
        json!({ "type": "number", "minimum": 0, "maximum": 10_000 })
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Weight> {
        let weight = match &node.value {
            Value::Integer(integer) => integer.to_string().parse().ok(),
            Value::Float(text) => text.strip_prefix('+').unwrap_or(text).parse().ok(),
            _ => None,
        };
        if weight.is_none() {
            cx.unexpected(node, &self.expected());
        }
        weight
    }
}

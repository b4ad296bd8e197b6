//! How values are written. A [`Shape`] reads a value, says in words what belongs there and
//! describes it as JSON Schema; decoder, schema and reference cannot drift apart because they
//! are the same definition.

mod catalogue;
mod choice;
mod context;
mod declare;
mod field;
mod list;
mod named;
mod number;
mod reader;
mod table;
mod text;

pub(crate) use catalogue::{Catalogue, TableDoc};
pub(crate) use choice::{Words, words};
pub(crate) use context::{Cx, Misfit, join};
pub(crate) use declare::{defaults, of_empty_table, table};
pub(crate) use field::{Field, Flat, of};
pub(crate) use list::{list, one_or_more, set};
pub(crate) use named::{named, reference};
pub(crate) use number::{duration, percent, size, whole};
pub(crate) use reader::Reader;
pub(crate) use table::{Key, Table, TableShape, prose, read as read_table};
pub(crate) use text::{TextShape, text};

use crate::document::Node;
use serde_json::Value as Json;

/// How one kind of value is written.
pub(crate) trait Shape {
    /// What it is read to.
    type Value;

    /// What belongs here, to follow "expected": `a duration such as `2s``.
    fn expected(&self) -> String;

    /// The same as JSON Schema; tables go to the catalogue and are referred to.
    fn schema(&self, catalogue: &mut Catalogue) -> Json;

    /// Reads a value. `None` means that a fault was reported.
    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Self::Value>;

    /// What stands for a key that is not there; `None` if it is required.
    fn absent(&self) -> Option<Self::Value> {
        None
    }
}

/// A type with one usual way to write it.
pub(crate) trait Written: Sized {
    /// That way.
    fn shape() -> impl Shape<Value = Self>;
}

/// A key that may be left out.
pub(crate) fn optional<S: Shape>(shape: S) -> Optional<S> {
    Optional(shape)
}

/// See [`optional`].
pub(crate) struct Optional<S>(S);

impl<S: Shape> Shape for Optional<S> {
    type Value = Option<S::Value>;

    fn expected(&self) -> String {
        self.0.expected()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        self.0.schema(catalogue)
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<Self::Value> {
        self.0.read(node, cx).map(Some)
    }

    fn absent(&self) -> Option<Self::Value> {
        Some(None)
    }
}

impl<T: Written> Written for Option<T> {
    fn shape() -> impl Shape<Value = Self> {
        optional(T::shape())
    }
}

/// A shape whose values are turned into something else that cannot fail.
pub(crate) fn mapped<S: Shape, T>(shape: S, map: fn(S::Value) -> T) -> Mapped<S, T> {
    Mapped(shape, map)
}

/// See [`mapped`].
pub(crate) struct Mapped<S: Shape, T>(S, fn(S::Value) -> T);

impl<S: Shape, T> Shape for Mapped<S, T> {
    type Value = T;

    fn expected(&self) -> String {
        self.0.expected()
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        self.0.schema(catalogue)
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<T> {
        self.0.read(node, cx).map(self.1)
    }

    fn absent(&self) -> Option<T> {
        self.0.absent().map(self.1)
    }
}

//! The macros that declare tables.

use super::{Cx, Table, read_table};
use crate::{
    document::{Files, Node, Span},
    report::Report,
};

/// Declares a struct of the model together with how its table is written:
///
/// ```text
/// table! {
///     /// `[server]`: the process.
///     pub struct Server {
///         /// Documentation, for rustdoc, schema and reference alike.
///         drain: Duration = "30s" as duration("0s", "1d"),
///     }
///     check = some::function;
/// }
/// ```
///
/// A field is a key of the same name. `=` gives the default as JSON; without one the key is
/// required, unless its type is an `Option`. `as` gives a [`Field`], mostly a [`Shape`], in
/// place of the type's own. `check` sees what was read, with the reader to report to.
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident: $type:ty $(= $default:tt)? $(as $shape:expr)?
            ),* $(,)?
        }
        $(check = $check:path;)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $(
                $(#[doc = $field_doc])*
                pub $field: $type,
            )*
        }

        impl $crate::shape::Table for $name {
            fn keys(
                catalogue: &mut $crate::shape::Catalogue,
                keys: &mut Vec<$crate::shape::Key>,
            ) {
                $(
                    $crate::shape::Field::keys(
                        &$crate::shape::table!(@shape $type $(, $shape)?),
                        catalogue,
                        stringify!($field),
                        &[$($field_doc),*],
                        $crate::shape::table!(@default $($default)?),
                        keys,
                    );
                )*
            }

            fn read(reader: &mut $crate::shape::Reader<'_, '_, '_>) -> Option<Self> {
                // All are read before any is missed, and before their names shadow anything.
                let ($($field,)*) = ($(
                    $crate::shape::Field::take(
                        &$crate::shape::table!(@shape $type $(, $shape)?),
                        reader,
                        stringify!($field),
                        $crate::shape::table!(@default $($default)?),
                    ),
                )*);
                let read = Self { $($field: $field?),* };
                $($check(&read, reader);)?
                Some(read)
            }
        }

        impl $crate::diff::Compare for $name {
            fn show(&self) -> String {
                let keys: &[String] = &[$(
                    format!(
                        "{} {}",
                        stringify!($field),
                        $crate::diff::Compare::show(&self.$field),
                    )
                ),*];
                keys.join(", ")
            }

            fn compare(&self, new: &Self, differences: &mut $crate::diff::Differences) {
                $(
                    differences.inside(stringify!($field), |differences| {
                        $crate::diff::Compare::compare(&self.$field, &new.$field, differences);
                    });
                )*
            }
        }

        impl $crate::shape::Written for $name {
            fn shape() -> impl $crate::shape::Shape<Value = Self> {
                $crate::shape::TableShape::<Self>::new(stringify!($name), &[$($doc),*])
            }
        }
    };
    (@shape $type:ty, $shape:expr) => { $crate::shape::of::<$type, _>($shape) };
    (@shape $type:ty) => { <$type as $crate::shape::Written>::shape() };
    (@default $default:tt) => { Some(serde_json::json!($default)) };
    (@default) => { None };
}

pub(crate) use table;

/// Gives a table whose keys all have defaults its `Default`.
macro_rules! defaults {
    ($name:ident) => {
        impl Default for $name {
            /// What an empty table means.
            fn default() -> Self {
                $crate::shape::of_empty_table()
            }
        }
    };
}

pub(crate) use defaults;

/// What a table without keys is read as, if all of them have defaults.
pub(crate) fn of_empty_table<T: Table>() -> T {
    let root = Node::empty(Span::NOWHERE);
    let (mut files, mut report) = (Files::default(), Report::default());
    let mut cx = Cx::new(&mut files, &mut report, &|_| None, &root);
    read_table(&root, "a table", &mut cx).0.expect("every key has a default")
}

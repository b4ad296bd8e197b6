use super::{Catalogue, Key, Reader, Shape, Table, prose};
use serde_json::Value as Json;
use std::marker::PhantomData;

/// What a field of a table is read from: usually the key of its name.
pub(crate) trait Field {
    type Value;

    fn keys(
        &self,
        catalogue: &mut Catalogue,
        name: &'static str,
        doc: &[&str],
        default: Option<Json>,
        keys: &mut Vec<Key>,
    );

    fn take(
        &self,
        reader: &mut Reader<'_, '_, '_>,
        name: &'static str,
        default: Option<Json>,
    ) -> Option<Self::Value>;
}

impl<S: Shape> Field for S {
    type Value = S::Value;

    fn keys(
        &self,
        catalogue: &mut Catalogue,
        name: &'static str,
        doc: &[&str],
        default: Option<Json>,
        keys: &mut Vec<Key>,
    ) {
        keys.push(Key::new(catalogue, name, prose(doc), default, self));
    }

    fn take(
        &self,
        reader: &mut Reader<'_, '_, '_>,
        name: &'static str,
        default: Option<Json>,
    ) -> Option<S::Value> {
        reader.field(name, default, self)
    }
}

/// A field that is read from several keys of the table it stands in.
pub(crate) struct Flat<T>(PhantomData<T>);

impl<T> Flat<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Table> Field for Flat<T> {
    type Value = T;

    fn keys(
        &self,
        catalogue: &mut Catalogue,
        _: &'static str,
        _: &[&str],
        _: Option<Json>,
        keys: &mut Vec<Key>,
    ) {
        T::keys(catalogue, keys);
    }

    fn take(&self, reader: &mut Reader<'_, '_, '_>, _: &'static str, _: Option<Json>) -> Option<T> {
        T::read(reader)
    }
}

/// Ties a shape to the type of the field it is for, so that its own type can be inferred.
pub(crate) fn of<T, F: Field<Value = T>>(field: F) -> F {
    field
}

//! The collections of a transaction.

use super::texts::{Span, Text, Texts};
use crate::{
    compile::{Names, Pick},
    seclang::Collection,
};

/// How many `TX` variables with computed names a transaction may have.
const EXTRA_NAMES: usize = 4_096;
const COLLECTIONS: usize = Collection::XmlAttributes as usize + 1;

/// A member of a collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// `None` in collections of one value.
    pub(super) name: Option<Text>,
    pub(super) value: Text,
}

/// What a value is called inside its collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    None,
    Span(Span),
    /// A `TX` variable by slot.
    Slot(u32),
}

/// A value to test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) name: Label,
    pub(super) span: Span,
    /// Where transformations are kept; values that rules change have none.
    pub(super) text: Option<Text>,
}

/// All collections.
#[derive(Debug)]
pub(super) struct Store {
    lists: Vec<Vec<Entry>>,
    tx: Vec<Option<Span>>,
    /// `TX` variables with computed names: name as first set, value.
    extra: Vec<(Span, Option<Span>)>,
    /// `IP`, `GLOBAL`, `SESSION`, ...: they last as long as the transaction.
    others: Vec<(Collection, Span, Span)>,
    pub(super) matched: Option<(Span, Span)>,
    pub(super) all_matched: Vec<(Span, Span)>,
}

impl Store {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            lists: vec![Vec::new(); COLLECTIONS],
            tx: vec![None; slots],
            extra: Vec::new(),
            others: Vec::new(),
            matched: None,
            all_matched: Vec::new(),
        }
    }

    pub(super) fn list(&self, collection: Collection) -> &[Entry] {
        &self.lists[collection as usize]
    }

    pub(super) fn add(&mut self, collection: Collection, name: Text, value: Text) {
        self.lists[collection as usize].push(Entry { name: Some(name), value });
    }

    /// Sets a single value.
    pub(super) fn set(&mut self, texts: &mut Texts, collection: Collection, value: &[u8]) {
        let list = &mut self.lists[collection as usize];
        list.clear();
        if !value.is_empty() {
            list.push(Entry { name: None, value: texts.add(value) });
        }
    }

    pub(super) fn slot(&self, slot: u32) -> Option<Span> {
        self.tx.get(slot as usize).copied().flatten()
    }

    pub(super) fn set_slot(&mut self, slot: u32, value: Option<Span>) {
        if let Some(place) = self.tx.get_mut(slot as usize) {
            *place = value;
        }
    }

    /// A variable of a collection that rules change, other than `TX` by slot.
    pub(super) fn variable(
        &self,
        texts: &Texts,
        collection: Collection,
        name: &[u8],
    ) -> Option<Span> {
        let same = |span: &Span| texts.bytes(*span).eq_ignore_ascii_case(name);
        if collection == Collection::Tx {
            return self.extra.iter().find(|(n, _)| same(n)).and_then(|(_, value)| *value);
        }
        self.others.iter().find(|(c, n, _)| *c == collection && same(n)).map(|(_, _, value)| *value)
    }

    pub(super) fn set_variable(
        &mut self,
        texts: &mut Texts,
        collection: Collection,
        name: &[u8],
        value: Option<Span>,
    ) {
        if collection == Collection::Tx {
            let known =
                self.extra.iter().position(|(n, _)| texts.bytes(*n).eq_ignore_ascii_case(name));
            match known {
                Some(at) => self.extra[at].1 = value,
                None if self.extra.len() < EXTRA_NAMES => {
                    let name = texts.push(name);
                    self.extra.push((name, value));
                }
                None => {}
            }
            return;
        }
        self.others
            .retain(|(c, n, _)| *c != collection || !texts.bytes(*n).eq_ignore_ascii_case(name));
        if let Some(value) = value
            && self.others.len() < EXTRA_NAMES
        {
            let name = texts.push(name);
            self.others.push((collection, name, value));
        }
    }

    /// The entries of a collection that is not changed by rules, names and unions included.
    pub(super) fn each(&self, collection: Collection, mut visit: impl FnMut(Entry)) {
        use Collection as C;
        let mut values = |from: C| self.list(from).iter().for_each(|&entry| visit(entry));
        match collection {
            C::Args => {
                values(C::ArgsGet);
                values(C::ArgsPost);
            }
            C::ArgsNames => {
                self.names(C::ArgsGet, &mut visit);
                self.names(C::ArgsPost, &mut visit);
            }
            C::ArgsGetNames => self.names(C::ArgsGet, &mut visit),
            C::ArgsPostNames => self.names(C::ArgsPost, &mut visit),
            C::RequestHeadersNames => self.names(C::RequestHeaders, &mut visit),
            C::RequestCookiesNames => self.names(C::RequestCookies, &mut visit),
            C::ResponseHeadersNames => self.names(C::ResponseHeaders, &mut visit),
            other if other.is_single() && self.list(other).is_empty() => {
                visit(Entry { name: None, value: Texts::EMPTY });
            }
            other => values(other),
        }
    }

    fn names(&self, from: Collection, visit: &mut impl FnMut(Entry)) {
        for entry in self.list(from) {
            if let Some(name) = entry.name {
                visit(Entry { name: Some(name), value: name });
            }
        }
    }

    /// Takes all that is in the collections to new buffers.
    pub(super) fn move_to(&mut self, texts: &mut Texts) {
        // The next rule clears them before it looks.
        self.all_matched = Vec::new();
        let mut kept = Vec::new();
        for Entry { name, value } in self.lists.iter().flatten() {
            kept.extend(name.map(|name| texts.span(name)));
            kept.push(texts.span(*value));
        }
        self.each_span(|span| kept.push(*span));
        let mut moving = texts.moving(kept);
        for list in &mut self.lists {
            list.shrink_to_fit();
            for Entry { name, value } in list {
                *name = name.map(|name| moving.text(name, texts));
                *value = moving.text(*value, texts);
            }
        }
        self.each_span(|span| *span = moving.span(*span));
        texts.fit();
    }

    /// Every place that is no text's.
    fn each_span(&mut self, mut visit: impl FnMut(&mut Span)) {
        self.tx.iter_mut().flatten().for_each(&mut visit);
        for (name, value) in &mut self.extra {
            visit(name);
            value.iter_mut().for_each(&mut visit);
        }
        for (_, name, value) in &mut self.others {
            visit(name);
            visit(value);
        }
        if let Some((name, value)) = &mut self.matched {
            visit(name);
            visit(value);
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.lists.iter().map(Vec::capacity).sum::<usize>() * size_of::<Entry>()
            + self.tx.capacity() * size_of::<Option<Span>>()
            + self.extra.capacity() * size_of::<(Span, Option<Span>)>()
            + self.others.capacity() * size_of::<(Collection, Span, Span)>()
            + self.all_matched.capacity() * size_of::<(Span, Span)>()
    }

    /// The values of `pick` in `collection`.
    pub(super) fn values(
        &self,
        texts: &Texts,
        names: &Names,
        collection: Collection,
        pick: &Pick,
        out: &mut Vec<Value>,
    ) {
        if !collection.is_volatile() {
            self.each(collection, |entry| {
                let name = entry.name.map(|name| texts.span(name));
                if pick.takes(name.map_or(b"", |name| texts.bytes(name))) {
                    let name = name.map_or(Label::None, Label::Span);
                    out.push(Value {
                        name,
                        span: texts.span(entry.value),
                        text: Some(entry.value),
                    });
                }
            });
            return;
        }
        let mut push = |name: Label, span: Span| out.push(Value { name, span, text: None });
        match (collection, pick) {
            (Collection::Tx, Pick::Slot(slot)) => {
                if let Some(value) = self.slot(*slot) {
                    push(Label::Slot(*slot), value);
                }
            }
            (Collection::Tx, pick) => {
                for (slot, value) in self.tx.iter().enumerate() {
                    let name = names.shown(slot as u32);
                    if let Some(value) = value
                        && pick.takes(name)
                    {
                        push(Label::Slot(slot as u32), *value);
                    }
                }
                for (name, value) in &self.extra {
                    if let Some(value) = value
                        && pick.takes(texts.bytes(*name))
                    {
                        push(Label::Span(*name), *value);
                    }
                }
            }
            (Collection::MatchedVar, _) => {
                self.matched.iter().for_each(|(_, value)| push(Label::None, *value))
            }
            (Collection::MatchedVarName, _) => {
                self.matched.iter().for_each(|(name, _)| push(Label::None, *name))
            }
            (Collection::MatchedVars, pick) => {
                for (name, value) in &self.all_matched {
                    if pick.takes(texts.bytes(*name)) {
                        push(Label::Span(*name), *value);
                    }
                }
            }
            (Collection::MatchedVarsNames, pick) => {
                for (name, _) in &self.all_matched {
                    if pick.takes(texts.bytes(*name)) {
                        push(Label::Span(*name), *name);
                    }
                }
            }
            (other, pick) => {
                for (collection, name, value) in &self.others {
                    if *collection == other && pick.takes(texts.bytes(*name)) {
                        push(Label::Span(*name), *value);
                    }
                }
                // `DURATION` and their like are single values the host gave.
                self.each(other, |entry| push(Label::None, texts.span(entry.value)));
            }
        }
    }
}

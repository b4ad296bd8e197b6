//! Macros, `setvar` and `ctl`.

use super::{Transaction, store::Label, texts::Span};
use crate::{
    compile::{CAPTURE_SLOTS, Change, ChangeOp, Effect, Macro, Pick, Piece, Rule},
    operator::{Groups, leading_number},
    seclang::{Access, Collection, Switch},
};

/// The longest text a macro expands to; a setvar that feeds on itself ends here.
const EXPANSION: usize = 64 << 10;

impl Transaction<'_> {
    /// Expands a macro; what does not exist is empty.
    pub(super) fn expand(&mut self, text: &Macro, rule: &Rule) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &*text.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Tx(slot) => {
                    if let Some(span) = self.store.slot(*slot) {
                        out.extend_from_slice(self.texts.bytes(span));
                    }
                }
                Piece::Rule(field) => match &**field {
                    b"id" => out.extend_from_slice(rule.id.to_string().as_bytes()),
                    b"severity" => {
                        out.extend_from_slice(
                            rule.severity.map(|s| s.to_string()).unwrap_or_default().as_bytes(),
                        );
                    }
                    b"rev" => out.extend_from_slice(rule.revision.as_deref().unwrap_or_default()),
                    b"ver" => out.extend_from_slice(rule.version.as_deref().unwrap_or_default()),
                    b"msg" => out.extend_from_slice(
                        rule.message.as_ref().and_then(Macro::literal).unwrap_or_default(),
                    ),
                    _ => {
                        out.extend_from_slice(
                            rule.log_data.as_ref().and_then(Macro::literal).unwrap_or_default(),
                        );
                    }
                },
                Piece::Value(collection, key) => {
                    let pick = key.as_ref().map_or(Pick::All, |key| Pick::Named(key.clone()));
                    let mut values = std::mem::take(&mut self.macro_values);
                    self.store.values(
                        &self.texts,
                        &self.policy.rules.names,
                        *collection,
                        &pick,
                        &mut values,
                    );
                    if let Some(value) = values.first() {
                        out.extend_from_slice(self.texts.bytes(value.span));
                    }
                    values.clear();
                    self.macro_values = values;
                }
            }
            if out.len() > EXPANSION {
                out.truncate(EXPANSION);
                break;
            }
        }
        out
    }

    /// Applies the `setvar`s of a link, and returns what they added to anomaly scores.
    pub(super) fn change(&mut self, changes: &[Change], rule: &Rule) -> i64 {
        let mut score = 0;
        for change in changes {
            let name = match change.slot {
                Some(_) => Vec::new(),
                None => self.expand(&change.name, rule),
            };
            // A computed name may be one that rules mention.
            let slot = change.slot.or_else(|| {
                (change.collection == Collection::Tx)
                    .then(|| self.policy.rules.names.find(&name.to_ascii_lowercase()))
                    .flatten()
            });
            if slot
                .is_some_and(|slot| self.policy.presets.iter().any(|(preset, _)| *preset == slot))
            {
                continue;
            }
            let value = match &change.op {
                ChangeOp::Unset => None,
                ChangeOp::Set(value) => {
                    let value = self.expand(value, rule);
                    Some(self.texts.push(&value))
                }
                ChangeOp::Add(value) | ChangeOp::Subtract(value) => {
                    let by = self.expand(value, rule);
                    let mut by = leading_number(&by);
                    if matches!(change.op, ChangeOp::Subtract(_)) {
                        by = by.saturating_neg();
                    }
                    let before = match slot {
                        Some(slot) => self.store.slot(slot),
                        None => self.store.variable(&self.texts, change.collection, &name),
                    };
                    let before = before.map_or(0, |span| leading_number(self.texts.bytes(span)));
                    if change.scores {
                        score += by;
                    }
                    Some(self.texts.push(before.saturating_add(by).to_string().as_bytes()))
                }
            };
            match slot {
                Some(slot) => self.store.set_slot(slot, value),
                None => self.store.set_variable(&mut self.texts, change.collection, &name, value),
            }
        }
        score
    }

    /// `ctl`s, for the rest of the transaction.
    pub(super) fn apply(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::RemoveRules(bits) => {
                    for (removed, word) in self.removed.iter_mut().zip(bits.words()) {
                        *removed |= word;
                    }
                }
                Effect::RemoveTargets(bits, exclusions) => {
                    self.removed_targets.push((bits.clone(), exclusions.clone()));
                }
                Effect::Engine(switch) => self.engine = *switch,
                Effect::Access(Access::Request(on)) => self.request_bodies = *on,
                Effect::Access(Access::Response(on)) => {
                    self.response_bodies = *on && self.policy.options.response_bodies
                }
                Effect::Processor(processor) => {
                    self.processor = Some(*processor);
                    self.set(Collection::ReqbodyProcessor, processor.name().as_bytes());
                }
                Effect::ForceRequestBody(on) => self.force_body = *on,
                Effect::Audit(switch) => self.audit = *switch != Switch::Off,
            }
        }
    }

    /// Puts what an operator found into `TX:0` to `TX:9`.
    pub(super) fn keep_groups(&mut self, value: Span, groups: &Groups) {
        for slot in 0..CAPTURE_SLOTS {
            let place = groups.get(slot as usize).copied().flatten();
            self.store.set_slot(slot, place.map(|(start, end)| value.part(start, end)));
        }
    }

    /// `ARGS:name`, in the buffer.
    pub(super) fn full_name(&mut self, collection: Collection, count: bool, label: Label) -> Span {
        let key = match label {
            Label::None => Vec::new(),
            Label::Span(span) => self.texts.bytes(span).to_vec(),
            Label::Slot(slot) => self.policy.rules.names.shown(slot).to_vec(),
        };
        let mut name = Vec::with_capacity(key.len() + 24);
        if count {
            name.push(b'&');
        }
        name.extend_from_slice(collection.name().as_bytes());
        if collection == Collection::XmlText {
            name.extend_from_slice(b":/*");
        } else if label != Label::None && collection != Collection::XmlAttributes {
            name.push(b':');
            name.extend_from_slice(&key);
        }
        self.texts.push(&name)
    }
}

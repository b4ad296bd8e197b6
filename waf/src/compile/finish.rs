//! Resolves `ctl` actions once all rules are known.

use std::sync::Arc;

use super::{
    rule::{Effect, Rule, RuleBits},
    watch::Exclusion,
};
use crate::{
    interner::Interner,
    seclang::{Control, Target},
};

/// The `ctl` actions of a rule's link: rule index, link index, actions.
pub(super) type Pending = (usize, usize, Vec<Control>);

/// The effects of `controls`.
pub(super) fn effects(
    controls: &[Control],
    rules: &[Rule],
    interner: &Interner,
) -> Result<Box<[Effect]>, String> {
    let mut effects = Vec::with_capacity(controls.len());
    for control in controls {
        effects.push(match control {
            Control::RemoveById(ids) => {
                Effect::RemoveRules(RuleBits::of(rules, |r| ids.contains(r.id)))
            }
            Control::RemoveByTag(tag) => {
                Effect::RemoveRules(RuleBits::of(rules, |r| r.has_tag(tag)))
            }
            Control::RemoveByMessage(text) => {
                Effect::RemoveRules(RuleBits::of(rules, |r| r.has_message(text)))
            }
            Control::RemoveTargetById(ids, targets) => Effect::RemoveTargets(
                RuleBits::of(rules, |r| ids.contains(r.id)),
                exclusions(targets, interner)?,
            ),
            Control::RemoveTargetByTag(tag, targets) => Effect::RemoveTargets(
                RuleBits::of(rules, |r| r.has_tag(tag)),
                exclusions(targets, interner)?,
            ),
            Control::RemoveTargetByMessage(text, targets) => Effect::RemoveTargets(
                RuleBits::of(rules, |r| r.has_message(text)),
                exclusions(targets, interner)?,
            ),
            Control::Engine(switch) => Effect::Engine(*switch),
            Control::BodyAccess(access) => Effect::Access(*access),
            Control::BodyProcessor(processor) => Effect::Processor(*processor),
            Control::ForceRequestBody(on) => Effect::ForceRequestBody(*on),
            Control::Audit(switch) => Effect::Audit(*switch),
            Control::Ignored => continue,
        });
    }
    Ok(effects.into())
}

fn exclusions(targets: &[Target], interner: &Interner) -> Result<Arc<[Exclusion]>, String> {
    targets.iter().map(|target| Exclusion::new(target, interner)).collect()
}

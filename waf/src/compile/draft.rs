//! Rules as read, with defaults and updates applied, before anything is compiled.

use std::collections::HashMap;

use crate::seclang::{
    Action, Directive, Disruption, Fault, Located, OperatorText, Position, Setting, TagOrId, Target,
};

/// A rule and the rules chained to it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) id: u64,
    pub(super) at: Position,
    pub(super) phase: u8,
    /// What `block` means here, and a rule that says nothing: the `SecDefaultAction` before it.
    pub(super) default: Disruption,
    pub(super) links: Vec<DraftLink>,
}

/// One `SecRule` or `SecAction`, defaults included.
#[derive(Clone, Debug)]
pub(super) struct DraftLink {
    pub(super) at: Position,
    pub(super) targets: Vec<Target>,
    pub(super) operator: Option<OperatorText>,
    pub(super) actions: Vec<Action>,
}

/// A draft or a marker, in the order of the files.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Rule(Draft),
    Marker(Vec<u8>),
}

/// Everything the files say.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) items: Vec<Item>,
    pub(super) settings: Vec<Setting>,
    pub(super) notices: Vec<Fault>,
    pub(super) faults: Vec<Fault>,
}

/// The open chain: a rule that expects another link.
struct Collector {
    out: Drafts,
    defaults: HashMap<u8, Vec<Action>>,
    open: Option<Draft>,
    updates: Vec<(Position, Directive)>,
    seen: HashMap<u64, Position>,
}

/// Collects rules from directives and applies removals and updates.
pub(super) fn collect(directives: Vec<Located>) -> Drafts {
    let mut collector = Collector {
        out: Drafts::default(),
        defaults: HashMap::new(),
        open: None,
        updates: Vec::new(),
        seen: HashMap::new(),
    };
    for located in directives {
        collector.directive(located);
    }
    collector.close_chain();
    for (at, update) in std::mem::take(&mut collector.updates) {
        collector.update(&at, update);
    }
    collector.out
}

impl Collector {
    fn fault(&mut self, at: &Position, what: impl Into<String>) {
        self.out.faults.push(Fault::new(at, what));
    }

    fn notice(&mut self, at: &Position, what: impl Into<String>) {
        self.out.notices.push(Fault::new(at, what));
    }

    fn directive(&mut self, Located { at, directive }: Located) {
        if let Directive::Rule(rule) = directive {
            let link = DraftLink {
                at: at.clone(),
                targets: rule.targets,
                operator: rule.operator,
                actions: rule.actions,
            };
            return match self.open.take() {
                Some(draft) => self.chained(draft, link),
                None => self.starter(at, link),
            };
        }
        self.close_chain();
        match directive {
            Directive::Marker(name) => self.out.items.push(Item::Marker(name)),
            Directive::Default(actions) => self.default_actions(&at, actions),
            Directive::Setting(setting) => self.out.settings.push(setting),
            Directive::Overridden(what) => self.notice(&at, what),
            update @ (Directive::UpdateTarget(..)
            | Directive::UpdateAction(..)
            | Directive::Remove(_)) => {
                self.updates.push((at, update));
            }
            // Includes were followed by the reader, rules were met above.
            Directive::Include(..) | Directive::Rule(_) => {}
        }
    }

    fn default_actions(&mut self, at: &Position, actions: Vec<Action>) {
        let phase = actions.iter().find_map(|a| match a {
            Action::Phase(phase) => Some(*phase),
            _ => None,
        });
        let Some(phase) = phase else { return self.fault(at, "`SecDefaultAction` needs a phase") };
        let disruptive = actions.iter().any(
            |a| matches!(a, Action::Disruptive(disruption) if *disruption != Disruption::Block),
        );
        if !disruptive {
            return self.fault(
                at,
                "`SecDefaultAction` needs `pass`, `deny`, `drop`, `allow` or `redirect`",
            );
        }
        if actions.iter().any(|a| {
            matches!(a, Action::Id(_) | Action::Chain | Action::SkipAfter(_) | Action::Skip(_))
        }) {
            return self.fault(at, "`SecDefaultAction` cannot have `id`, `chain` or `skip`");
        }
        self.defaults.insert(phase, actions);
    }

    fn starter(&mut self, at: Position, mut link: DraftLink) {
        let id = link.actions.iter().find_map(|a| match a {
            Action::Id(id) => Some(*id),
            _ => None,
        });
        let phase = link
            .actions
            .iter()
            .find_map(|a| match a {
                Action::Phase(phase) => Some(*phase),
                _ => None,
            })
            .unwrap_or(2);
        let chained = link.actions.contains(&Action::Chain);
        let Some(id) = id else {
            self.fault(&at, "a rule without `id`");
            // Its chain is still read, so that one fault does not become several.
            if chained {
                let default = Disruption::Pass;
                self.open = Some(Draft { id: 0, at, phase, default, links: vec![link] });
            }
            return;
        };
        if let Some(first) = self.seen.get(&id) {
            let what = format!("rule id `{id}` is already used at {first}");
            self.fault(&at, what);
        } else {
            self.seen.insert(id, at.clone());
        }
        let mut actions = self.defaults.get(&phase).cloned().unwrap_or_default();
        let mut default = Disruption::Pass;
        actions.retain(|action| match action {
            Action::Disruptive(Disruption::Block) | Action::Phase(_) => false,
            Action::Disruptive(disruption) => {
                default = disruption.clone();
                false
            }
            _ => true,
        });
        actions.append(&mut link.actions);
        link.actions = actions;
        self.finish_or_open(Draft { id, at, phase, default, links: vec![link] }, chained);
    }

    fn chained(&mut self, mut draft: Draft, mut link: DraftLink) {
        for action in &link.actions {
            let what = match action {
                Action::Disruptive(_) => "a disruptive action",
                Action::Id(_) => "an `id`",
                Action::SkipAfter(_) | Action::Skip(_) => "`skip`",
                Action::Phase(phase) if *phase != draft.phase => "another phase",
                _ => continue,
            };
            self.out
                .faults
                .push(Fault::new(&link.at, format!("a chained rule cannot have {what}")));
        }
        let chained = link.actions.contains(&Action::Chain);
        let mut actions: Vec<Action> = self
            .defaults
            .get(&draft.phase)
            .into_iter()
            .flatten()
            .filter(|a| matches!(a, Action::Transform(_)))
            .cloned()
            .collect();
        actions.append(&mut link.actions);
        link.actions = actions;
        draft.links.push(link);
        self.finish_or_open(draft, chained);
    }

    fn finish_or_open(&mut self, draft: Draft, chained: bool) {
        if chained {
            self.open = Some(draft);
        } else if draft.id != 0 {
            self.out.items.push(Item::Rule(draft));
        }
    }

    fn close_chain(&mut self) {
        if let Some(draft) = self.open.take() {
            self.fault(&draft.at, "`chain` without a rule behind it");
        }
    }

    fn update(&mut self, at: &Position, update: Directive) {
        let mut touched = 0;
        let rules = self.out.items.iter_mut().filter_map(|item| match item {
            Item::Rule(draft) => Some(draft),
            Item::Marker(_) => None,
        });
        match update {
            Directive::UpdateTarget(which, targets) => {
                for draft in rules.filter(|draft| draft.is(&which)) {
                    touched += 1;
                    draft.links[0].targets.extend(targets.iter().cloned());
                }
            }
            Directive::UpdateAction(ids, actions) => {
                for draft in rules.filter(|draft| ids.contains(draft.id)) {
                    touched += 1;
                    let own = &mut draft.links[0].actions;
                    if actions.iter().any(|a| matches!(a, Action::Transform(None))) {
                        own.retain(|a| !matches!(a, Action::Transform(_)));
                    }
                    own.extend(
                        actions
                            .iter()
                            .filter(|a| !matches!(a, Action::Id(_) | Action::Phase(_)))
                            .cloned(),
                    );
                }
            }
            Directive::Remove(which) => {
                let before = self.out.items.len();
                self.out
                    .items
                    .retain(|item| !matches!(item, Item::Rule(draft) if draft.is(&which)));
                touched = before - self.out.items.len();
            }
            _ => return,
        }
        if touched == 0 {
            self.notice(at, "no such rule is loaded");
        }
    }
}

impl Draft {
    fn is(&self, which: &TagOrId) -> bool {
        match which {
            TagOrId::Ids(ids) => ids.iter().any(|range| range.contains(self.id)),
            TagOrId::Tag(tag) => self.links[0]
                .actions
                .iter()
                .any(|a| matches!(a, Action::Tag(t) if t.literal() == Some(tag))),
            TagOrId::Message(message) => self.links[0]
                .actions
                .iter()
                .any(|a| matches!(a, Action::Message(m) if m.literal() == Some(message))),
        }
    }
}

//! Compiles drafts, collecting every fault.

use std::{collections::HashMap, sync::Arc};

use super::{
    draft::{self, Draft, DraftLink, Drafts, Item},
    finish::{self, Pending},
    macros::{Macro, Names},
    operate::{self, Context},
    prefilter::Prefilter,
    rule::{Change, ChangeOp, Disposition, Link, Rule},
    ruleset::{Atom, Ruleset, Step},
    watch::{Exclusion, Pick, Watch},
};
use crate::{
    interner::Interner,
    operator::{Need, Operator},
    seclang::{
        Action, Collection, Control, Disruption, Fault, Faults, Files, Located, Position, SetVar,
        SetVarOp, Setting,
    },
    transform::Transformation,
};

/// Compiles `directives`; `faults` are those the reader found.
pub(super) fn build(
    files: &dyn Files,
    directives: Vec<Located>,
    faults: Vec<Fault>,
    interner: &Interner,
) -> Result<Ruleset, Faults> {
    let Drafts { items, settings, notices, faults: more } = draft::collect(directives);
    let mut builder = Builder {
        files,
        interner,
        names: Names::new(),
        chains: vec![Box::default()],
        atoms: Vec::new(),
        atom_ids: HashMap::new(),
        groups: Vec::new(),
        group_ids: HashMap::new(),
        needs: Vec::new(),
        filters: HashMap::new(),
        notices,
        faults,
        pending: Vec::new(),
    };
    builder.faults.extend(more);
    let mut rules = Vec::new();
    let mut phases: [Vec<Step>; 5] = Default::default();
    for item in items {
        match item {
            Item::Marker(name) => {
                for phase in &mut phases {
                    phase.push(Step::Marker(name.clone()));
                }
            }
            Item::Rule(draft) => {
                let index = rules.len();
                let rule = builder.rule(&draft, index);
                phases[rule.phase].push(Step::Rule(index as u32));
                rules.push(rule);
            }
        }
    }
    for (rule, link, controls) in std::mem::take(&mut builder.pending) {
        let at = rules[rule].at.clone();
        match finish::effects(&controls, &rules, interner) {
            Ok(effects) => rules[rule].links[link].effects = effects,
            Err(what) => builder.fault(&at, what),
        }
    }
    let prefilter = Prefilter::new(std::mem::take(&mut builder.needs));
    if !builder.faults.is_empty() {
        return Err(Faults(builder.faults));
    }
    let prefilter = prefilter.map_err(|what| {
        let at = rules
            .first()
            .map_or(Position { file: std::path::Path::new("").into(), line: 0 }, |r| r.at.clone());
        Faults(vec![Fault::new(&at, format!("the prefilter cannot be built: {what}"))])
    })?;
    let mut ruleset = Ruleset {
        rules,
        phases,
        chains: builder.chains,
        atoms: builder.atoms,
        groups: builder.groups,
        prefilter,
        names: builder.names,
        separator: b'&',
        response_types: [&b"text/plain"[..], b"text/html", b"text/xml"]
            .map(<[u8]>::to_vec)
            .to_vec(),
        web_app_id: Vec::new(),
        components: Vec::new(),
        notices: builder.notices,
    };
    for setting in settings {
        apply(&mut ruleset, setting);
    }
    Ok(ruleset)
}

fn apply(ruleset: &mut Ruleset, setting: Setting) {
    match setting {
        Setting::ArgumentSeparator(separator) => ruleset.separator = separator,
        Setting::ResponseTypes(types) => {
            for kind in types {
                if !ruleset.response_types.contains(&kind) {
                    ruleset.response_types.push(kind);
                }
            }
        }
        Setting::NoResponseTypes => ruleset.response_types.clear(),
        Setting::Component(name) => {
            ruleset.components.push(String::from_utf8_lossy(&name).into_owned())
        }
        Setting::WebAppId(id) => ruleset.web_app_id = id,
    }
}

struct Builder<'a> {
    files: &'a dyn Files,
    interner: &'a Interner,
    names: Names,
    chains: Vec<Box<[Transformation]>>,
    atoms: Vec<Atom>,
    atom_ids: HashMap<String, u32>,
    groups: Vec<Box<[u32]>>,
    group_ids: HashMap<Vec<u32>, u32>,
    needs: Vec<Need>,
    /// Bits by the address of the shared pattern or phrase set.
    filters: HashMap<usize, u32>,
    notices: Vec<Fault>,
    faults: Vec<Fault>,
    pending: Vec<Pending>,
}

impl Builder<'_> {
    fn fault(&mut self, at: &Position, what: impl Into<String>) {
        self.faults.push(Fault::new(at, what));
    }

    fn rule(&mut self, draft: &Draft, index: usize) -> Rule {
        let mut rule = Rule {
            id: draft.id,
            at: draft.at.clone(),
            phase: usize::from(draft.phase - 1),
            message: None,
            log_data: None,
            severity: None,
            tags: Vec::new(),
            version: None,
            revision: None,
            log: true,
            audit: true,
            disposition: Disposition::Pass,
            status: None,
            skip: 0,
            skip_after: None,
            sanitise: Vec::new(),
            paranoia: None,
            links: Vec::new(),
        };
        let actions = &draft.links[0].actions;
        let mut disruption = &Disruption::Block;
        for action in actions {
            match action {
                Action::Message(message) => {
                    rule.message = Some(Macro::new(message, &mut self.names))
                }
                Action::LogData(data) => rule.log_data = Some(Macro::new(data, &mut self.names)),
                Action::Severity(severity) => rule.severity = Some(*severity),
                Action::Tag(tag) => {
                    let tag = Macro::new(tag, &mut self.names);
                    if let Some(level) = tag.literal().and_then(paranoia_level) {
                        rule.paranoia = Some(level);
                    }
                    rule.tags.push(tag);
                }
                Action::Version(version) => rule.version = Some(version.clone()),
                Action::Revision(revision) => rule.revision = Some(revision.clone()),
                Action::Log(on) => (rule.log, rule.audit) = (*on, *on),
                Action::AuditLog(on) => rule.audit = *on,
                Action::Status(status) => rule.status = Some(*status),
                Action::Skip(count) => rule.skip = *count,
                Action::SkipAfter(marker) => rule.skip_after = Some(marker.clone()),
                Action::Sanitise(what) => rule.sanitise.push(what.clone()),
                Action::Disruptive(own) => disruption = own,
                _ => {}
            }
        }
        // The last one said counts. A rule that says none has the default one as well, as the
        // reference manual and ModSecurity 2 have it; version 3 lets such a rule pass.
        rule.disposition = self.disposition(match disruption {
            Disruption::Block => &draft.default,
            own => own,
        });
        for (at, link) in draft.links.iter().enumerate() {
            let link = self.link(link, index, at);
            rule.links.push(link);
        }
        rule
    }

    fn disposition(&mut self, disruption: &Disruption) -> Disposition {
        match disruption {
            Disruption::Pass | Disruption::Block => Disposition::Pass,
            Disruption::Deny => Disposition::Deny,
            Disruption::Drop => Disposition::Drop,
            Disruption::Allow(allow) => Disposition::Allow(*allow),
            Disruption::Redirect(to) => Disposition::Redirect(Macro::new(to, &mut self.names)),
        }
    }

    fn link(&mut self, draft: &DraftLink, rule: usize, index: usize) -> Link {
        let mut chain: Vec<Transformation> = Vec::new();
        let mut capture = false;
        let mut multi_match = false;
        let mut changes = Vec::new();
        let mut controls: Vec<Control> = Vec::new();
        for action in &draft.actions {
            match action {
                Action::Transform(None) => chain.clear(),
                Action::Transform(Some(transformation)) => chain.push(*transformation),
                Action::Capture => capture = true,
                Action::MultiMatch => multi_match = true,
                Action::SetVar(set) | Action::SetEnv(set) => changes.push(self.change(set)),
                Action::Init(collection, key) => {
                    // Its values last for one transaction; only the key can be asked for.
                    let name = Macro::text(b"key");
                    let op = ChangeOp::Set(Macro::new(key, &mut self.names));
                    changes.push(Change {
                        collection: *collection,
                        slot: None,
                        name,
                        op,
                        scores: false,
                    });
                    self.notices.push(Fault::new(
                        &draft.at,
                        format!("values of `{}` last for one request", collection.name()),
                    ));
                }
                Action::Control(control) => controls.push(control.clone()),
                _ => {}
            }
        }
        if !controls.is_empty() {
            self.pending.push((rule, index, controls));
        }
        let (watches, exclusions) = self.targets(draft);
        let mut filter = None;
        let operator = draft.operator.as_ref().and_then(|text| {
            let mut context =
                Context { files: self.files, interner: self.interner, names: &mut self.names };
            match operate::compile(text, &draft.at, &mut context) {
                Ok((operator, notice)) => {
                    self.notices.extend(notice.map(|what| Fault::new(&draft.at, what)));
                    if !text.negated {
                        filter = self.filter(&operator);
                    }
                    Some(Arc::new(operator))
                }
                Err(what) => {
                    self.fault(&draft.at, what);
                    None
                }
            }
        });
        let chain = self.chain(chain);
        let group = filter.and_then(|_| self.group(&watches, chain, multi_match));
        Link {
            watches: watches.into(),
            exclusions: exclusions.into(),
            operator,
            negated: draft.operator.as_ref().is_some_and(|text| text.negated),
            capture,
            multi_match,
            chain,
            filter,
            group,
            changes: changes.into(),
            effects: Box::default(),
        }
    }

    fn targets(&mut self, draft: &DraftLink) -> (Vec<Watch>, Vec<Exclusion>) {
        let (mut watches, mut exclusions) = (Vec::new(), Vec::new());
        for target in &draft.targets {
            let result = if target.exclude {
                Exclusion::new(target, self.interner).map(|exclusion| exclusions.push(exclusion))
            } else {
                Watch::new(target, &mut self.names, self.interner).map(|watch| watches.push(watch))
            };
            if let Err(what) = result {
                self.fault(&draft.at, format!("the selector's pattern cannot be compiled: {what}"));
            }
        }
        if watches.is_empty() && draft.operator.is_some() {
            self.fault(&draft.at, "a rule that looks at nothing");
        }
        (watches, exclusions)
    }

    fn change(&mut self, set: &SetVar) -> Change {
        let slot = match (set.collection, set.name.literal()) {
            (Collection::Tx, Some(name)) => Some(self.names.add(name)),
            _ => None,
        };
        let scores = set.name.literal().is_some_and(|name| {
            memchr::memmem::find(&name.to_ascii_lowercase(), b"anomaly_score").is_some()
        });
        let names = &mut self.names;
        let op = match &set.op {
            SetVarOp::Unset => ChangeOp::Unset,
            SetVarOp::Set(value) => ChangeOp::Set(Macro::new(value, names)),
            SetVarOp::Add(value) => ChangeOp::Add(Macro::new(value, names)),
            SetVarOp::Subtract(value) => ChangeOp::Subtract(Macro::new(value, names)),
        };
        Change { collection: set.collection, slot, name: Macro::new(&set.name, names), op, scores }
    }

    fn chain(&mut self, chain: Vec<Transformation>) -> u32 {
        let known = self.chains.iter().position(|known| **known == *chain);
        known.unwrap_or_else(|| {
            self.chains.push(chain.into());
            self.chains.len() - 1
        }) as u32
    }

    /// The prefilter's bit for patterns and phrase sets that need something.
    fn filter(&mut self, operator: &Operator) -> Option<u32> {
        let (address, need) = match operator {
            Operator::Pattern(pattern) => (Arc::as_ptr(pattern) as usize, pattern.need().clone()),
            Operator::Phrases(phrases) => (
                Arc::as_ptr(phrases) as usize,
                Need {
                    literals: phrases.phrases().iter().map(|p| p.to_ascii_lowercase()).collect(),
                    sets: Vec::new(),
                    length: phrases.phrases().iter().map(Vec::len).min().unwrap_or(0),
                },
            ),
            _ => return None,
        };
        if need == Need::default() {
            return None;
        }
        Some(*self.filters.entry(address).or_insert_with(|| {
            self.needs.push(need);
            self.needs.len() as u32 - 1
        }))
    }

    /// The group of values a link looks at; `None` if rules may change them meanwhile.
    fn group(&mut self, watches: &[Watch], chain: u32, stages: bool) -> Option<u32> {
        if watches.iter().any(|watch| watch.count || watch.collection.is_volatile()) {
            return None;
        }
        let mut atoms: Vec<u32> = watches
            .iter()
            .map(|watch| {
                let key = match &watch.pick {
                    Pick::Matching(pattern) => {
                        format!(
                            "{:?}/{:p}/{chain}/{stages}",
                            watch.collection,
                            Arc::as_ptr(pattern)
                        )
                    }
                    pick => format!("{:?}/{pick:?}/{chain}/{stages}", watch.collection),
                };
                *self.atom_ids.entry(key).or_insert_with(|| {
                    self.atoms.push(Atom {
                        collection: watch.collection,
                        pick: watch.pick.clone(),
                        chain,
                        stages,
                    });
                    self.atoms.len() as u32 - 1
                })
            })
            .collect();
        atoms.sort_unstable();
        atoms.dedup();
        Some(*self.group_ids.entry(atoms.clone()).or_insert_with(|| {
            self.groups.push(atoms.into());
            self.groups.len() as u32 - 1
        }))
    }
}

fn paranoia_level(tag: &[u8]) -> Option<u8> {
    match tag.strip_prefix(b"paranoia-level/")? {
        [digit @ b'1'..=b'4'] => Some(digit - b'0'),
        _ => None,
    }
}

//! Compiles drafts, collecting every fault.

use std::sync::Arc;

use super::{
    draft::{self, Draft, DraftLink, Drafts, Item},
    finish::{self, Pending},
    macros::{Macro, Names},
    operate::{self, Context},
    prefilter::Prefilter,
    rule::{Change, ChangeOp, Disposition, Link, Rule},
    ruleset::{Ruleset, Step},
    shared::Shared,
    watch::{Exclusion, Watch},
};
use crate::{
    interner::Interner,
    operator::Operator,
    seclang::{
        self, Action, Collection, Disruption, Fault, Faults, Files, Position, Read, SetVar,
        SetVarOp, Setting, Template,
    },
    transform::Transformation,
};

/// Compiles what was read.
pub(super) fn build(files: &dyn Files, read: Read, interner: &Interner) -> Result<Ruleset, Faults> {
    let Drafts { items, settings, mut notices, mut faults } = draft::collect(read.directives);
    faults.extend(read.faults);
    let mut builder = Builder {
        files,
        interner,
        names: Names::new(),
        shared: Shared::new(),
        notices: Vec::new(),
        faults,
        pending: Vec::new(),
    };
    let (rules, phases) = builder.rules(items);
    let Builder { names, shared, notices: more, mut faults, .. } = builder;
    let prefilter = Prefilter::new(shared.needs);
    if !faults.is_empty() {
        seclang::sort(&mut faults, &read.files);
        return Err(Faults(faults));
    }
    let prefilter = prefilter.map_err(|what| {
        let at = rules
            .first()
            .map_or(Position { file: std::path::Path::new("").into(), line: 0 }, |r| r.at.clone());
        Faults(vec![Fault::new(&at, format!("the prefilter cannot be built: {what}"))])
    })?;
    notices.extend(more);
    seclang::sort(&mut notices, &read.files);
    let asks = |rule: &Rule| {
        let mut tests = rule.links.iter().filter_map(|link| link.operator.as_deref());
        tests.any(|operator| matches!(operator, Operator::Country))
    };
    let mut ruleset = Ruleset {
        asks_country: rules.iter().any(asks),
        rules,
        phases,
        chains: shared.chains,
        atoms: shared.atoms,
        groups: shared.groups,
        prefilter,
        names,
        separator: b'&',
        response_types: [&b"text/plain"[..], b"text/html", b"text/xml"]
            .map(<[u8]>::to_vec)
            .to_vec(),
        web_app_id: Vec::new(),
        components: Vec::new(),
        notices,
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
    shared: Shared,
    notices: Vec<Fault>,
    faults: Vec<Fault>,
    pending: Vec<Pending>,
}

impl Builder<'_> {
    fn fault(&mut self, at: &Position, what: impl Into<String>) {
        self.faults.push(Fault::new(at, what));
    }

    /// The rules, and for each phase their order.
    fn rules(&mut self, items: Vec<Item>) -> (Vec<Rule>, [Vec<Step>; 5]) {
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
                    let rule = self.rule(&draft, index);
                    phases[rule.phase].push(Step::Rule(index as u32));
                    rules.push(rule);
                }
            }
        }
        for (rule, link, controls) in std::mem::take(&mut self.pending) {
            let at = rules[rule].at.clone();
            match finish::effects(&controls, &rules, self.interner) {
                Ok(effects) => rules[rule].links[link].effects = effects,
                Err(what) => self.fault(&at, what),
            }
        }
        (rules, phases)
    }

    fn rule(&mut self, draft: &Draft, index: usize) -> Rule {
        let mut rule = Rule::new(draft.id, &draft.at, usize::from(draft.phase - 1));
        let mut disruption = &Disruption::Block;
        for action in &draft.links[0].actions {
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
        let mut controls = Vec::new();
        for action in &draft.actions {
            match action {
                Action::Transform(None) => chain.clear(),
                Action::Transform(Some(transformation)) => chain.push(*transformation),
                Action::Capture => capture = true,
                Action::MultiMatch => multi_match = true,
                Action::SetVar(set) | Action::SetEnv(set) => changes.push(self.change(set)),
                Action::Init(collection, key) => {
                    changes.push(self.key(*collection, key, &draft.at));
                }
                Action::Control(control) => controls.push(control.clone()),
                _ => {}
            }
        }
        if !controls.is_empty() {
            self.pending.push((rule, index, controls));
        }
        let (watches, exclusions) = self.targets(draft);
        let (operator, filter) = self.operator(draft);
        let chain = self.shared.chain(chain);
        let group = filter.and_then(|_| self.shared.group(&watches, chain, multi_match));
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

    /// The operator, and its bit in the prefilter.
    fn operator(&mut self, draft: &DraftLink) -> (Option<Arc<Operator>>, Option<u32>) {
        let Some(text) = &draft.operator else { return (None, None) };
        let mut context =
            Context { files: self.files, interner: self.interner, names: &mut self.names };
        match operate::compile(text, &draft.at, &mut context) {
            Ok((operator, notice)) => {
                self.notices.extend(notice.map(|what| Fault::new(&draft.at, what)));
                // What is negated matches values that the prefilter rules out.
                let filter = if text.negated { None } else { self.shared.filter(&operator) };
                (Some(Arc::new(operator)), filter)
            }
            Err(what) => {
                self.fault(&draft.at, what);
                (None, None)
            }
        }
    }

    fn targets(&mut self, draft: &DraftLink) -> (Vec<Watch>, Vec<Exclusion>) {
        if draft.operator.is_some() && draft.targets.iter().all(|target| target.exclude) {
            self.fault(&draft.at, "a rule that looks at nothing");
        }
        let (mut watches, mut exclusions) = (Vec::new(), Vec::new());
        for target in &draft.targets {
            if !target.exclude && !target.collection.is_told() {
                let name = target.collection.name();
                self.fault(&draft.at, format!("`{name}` never has a value here"));
            }
            let result = if target.exclude {
                Exclusion::new(target, self.interner).map(|exclusion| exclusions.push(exclusion))
            } else {
                Watch::new(target, &mut self.names, self.interner).map(|watch| watches.push(watch))
            };
            if let Err(what) = result {
                self.fault(&draft.at, format!("the selector's pattern cannot be compiled: {what}"));
            }
        }
        (watches, exclusions)
    }

    /// `initcol`: a collection's values last for one transaction; only its key can be asked for.
    fn key(&mut self, collection: Collection, key: &Template, at: &Position) -> Change {
        let name = collection.name();
        self.notices.push(Fault::new(at, format!("values of `{name}` last for one request")));
        Change {
            collection,
            slot: None,
            name: Macro::text(b"key"),
            op: ChangeOp::Set(Macro::new(key, &mut self.names)),
            scores: false,
        }
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
}

fn paranoia_level(tag: &[u8]) -> Option<u8> {
    match tag.strip_prefix(b"paranoia-level/")? {
        [digit @ b'1'..=b'4'] => Some(digit - b'0'),
        _ => None,
    }
}

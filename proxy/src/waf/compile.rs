//! From a policy as written to one that is evaluated. Rules are compiled once for all policies
//! that read the same files, and again only when one of those changed.

use super::{
    Guard, Shared, Waf, patches, paths,
    reads::{Reads, Recorder},
};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};
use tidegate_config::{Name, WafExclusion, WafMode, WafOverLimit};
use tidegate_waf::{
    Exclude, ExcludeTarget, Interner, Limits, Mode, OnLimit, Policy, PolicyOptions, RuleChoice,
    Ruleset,
};

/// The rule files of a policy and the rules of its patches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    files: Vec<PathBuf>,
    patches: BTreeMap<PathBuf, Vec<u8>>,
}

/// Rules with what they were compiled from.
type Compiled = (Arc<Reads>, Arc<Ruleset>);

/// Rules in force or just compiled, by their source.
pub(crate) struct Rulesets<'i> {
    interner: &'i Interner,
    known: HashMap<Source, Compiled>,
    audits: bool,
}

impl<'i> Rulesets<'i> {
    /// What the policies in force use is not compiled again, unless what was read for it changed.
    pub(crate) fn new<'w>(
        interner: &'i Interner,
        in_force: impl Iterator<Item = &'w Arc<Waf>>,
        audits: bool,
    ) -> Self {
        let known = in_force.map(|waf| {
            let compiled = (Arc::clone(&waf.reads), Arc::clone(waf.policy.rules()));
            (waf.source.clone(), compiled)
        });
        Self { interner, known: known.collect(), audits }
    }

    fn load(&mut self, source: &Source) -> Result<Compiled, Vec<String>> {
        if let Some(known) = self.known.get(source).filter(|(reads, _)| reads.are_current()) {
            return Ok(known.clone());
        }
        // First, so that no rule of the files can skip them.
        let files = source.patches.keys().chain(&source.files);
        let roots: Vec<&Path> = files.map(PathBuf::as_path).collect();
        let recorder = Recorder::new(&source.patches);
        let rules = Ruleset::load(&recorder, &roots, self.interner)
            .map_err(|faults| faults.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        for notice in rules.notices() {
            tracing::debug!("WAF rules: {notice}");
        }
        if !rules.is_empty() {
            tracing::info!(
                rules = rules.len(),
                from = rules.components().join(", "),
                "WAF rules compiled"
            );
        }
        let compiled = (Arc::new(recorder.finish()), rules);
        self.known.insert(source.clone(), compiled.clone());
        Ok(compiled)
    }
}

/// Compiles a policy, or takes over the one in force if nothing of it changed.
pub(crate) fn compile(
    name: &Name,
    document: &tidegate_config::Waf,
    old: Option<&Arc<Waf>>,
    rulesets: &mut Rulesets<'_>,
    shared: &Shared<'_>,
) -> Result<Arc<Waf>, Vec<String>> {
    let said = |fault: String| format!("WAF policy `{name}`: {fault}");
    let faults = |faults: Vec<String>| faults.into_iter().map(said).collect::<Vec<_>>();
    let source = source(document).map_err(faults)?;
    // What is wrong with the rules and with the exclusions is told together.
    let ((reads, rules), options) = match (rulesets.load(&source), options(document)) {
        (Ok(compiled), Ok(options)) => (compiled, options),
        (compiled, options) => {
            return Err(faults(
                [compiled.err(), options.err()].into_iter().flatten().flatten().collect(),
            ));
        }
    };
    if let Some(old) = old
        && old.document == *document
        && Arc::ptr_eq(old.policy.rules(), &rules)
        && old.guard.is_of(shared)
    {
        return Ok(Arc::clone(old));
    }
    let policy = Policy::new(rules, options).map_err(|error| vec![said(error.to_string())])?;
    for idle in policy.idle_exclusions() {
        tracing::warn!(policy = %name, "an exclusion is about {idle}, and there is no such rule");
    }
    let guard = Guard::new(document, shared).map_err(|error| vec![said(error.to_string())])?;
    let counts = old.map_or_else(Arc::default, |old| Arc::clone(&old.counts));
    let audits = rulesets.audits;
    let (name, document) = (name.clone(), document.clone());
    Ok(Arc::new(Waf { name, document, policy, guard, source, reads, counts, audits }))
}

fn source(document: &tidegate_config::Waf) -> Result<Source, Vec<String>> {
    let files = document.rule_files()?;
    let patches = patches::rules(&document.patches).map_err(|fault| vec![fault])?;
    Ok(Source { files, patches })
}

fn options(document: &tidegate_config::Waf) -> Result<PolicyOptions, Vec<String>> {
    let (mut exclusions, mut faults) = (Vec::new(), Vec::new());
    for (at, exclusion) in document.exclusions.iter().enumerate() {
        if let Err(fault) = excludes(exclusion, &mut exclusions) {
            faults.push(format!("exclusions[{at}]: {fault}"));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(PolicyOptions {
        mode: match document.mode {
            WafMode::Block => Mode::Block,
            WafMode::Detect => Mode::Detect,
        },
        paranoia: Some(document.paranoia),
        inbound_threshold: document.inbound_threshold,
        outbound_threshold: document.outbound_threshold,
        exclusions,
        limits: limits(document),
        response_bodies: document.response_bodies,
        ..PolicyOptions::default()
    })
}

fn limits(document: &tidegate_config::Waf) -> Limits {
    let over = &document.on_limit;
    let on = |over: WafOverLimit| match over {
        WafOverLimit::Block => OnLimit::Block,
        WafOverLimit::Pass => OnLimit::Pass,
    };
    Limits {
        body: document.body_limit.0 as usize,
        on_body: on(over.body),
        body_with_files: document.upload_limit.0 as usize,
        on_body_with_files: on(over.upload),
        response_body: document.response_limit.0 as usize,
        on_response_body: on(over.response),
        arguments: document.arguments,
        on_arguments: on(over.arguments),
        depth: document.depth,
        on_depth: on(over.depth),
        parts: document.parts,
        on_parts: on(over.parts),
        on_malformed: on(over.malformed),
        work: document.work.0,
        on_work: on(over.work),
    }
}

/// One entry of the document names several rules; the engine takes them one by one.
fn excludes(exclusion: &WafExclusion, into: &mut Vec<Exclude>) -> Result<(), String> {
    let target: Option<ExcludeTarget> = match &exclusion.target {
        None => None,
        Some(text) => Some(text.parse().map_err(|error| format!("target: {error}"))?),
    };
    let path = exclusion.path.as_ref().map(paths::test).transpose();
    let path = path.map_err(|error| format!("path: {error}"))?;
    let ids = exclusion.rules.iter().map(|ids| RuleChoice::Ids(ids.first, ids.last));
    let tags = exclusion.tags.iter().map(|tag| RuleChoice::Tag(tag.clone()));
    let mut choices: Vec<_> = ids.chain(tags).collect();
    if choices.is_empty() {
        choices.push(RuleChoice::All);
    }
    for rules in choices {
        into.push(Exclude { rules, target: target.clone(), path: path.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusion_becomes_one_for_each_rule_it_names() {
        let exclusion = WafExclusion {
            rules: vec![tidegate_config::RuleIds { first: 1, last: 9 }],
            tags: vec!["t".into()],
            target: Some("ARGS:x".into()),
            path: Some("/a".parse().unwrap()),
        };
        let mut all = Vec::new();
        excludes(&exclusion, &mut all).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].rules, RuleChoice::Ids(1, 9));
        assert!(all[1].path.as_ref().is_some_and(|path| path.fits("/a/b") && !path.fits("/ab")));
        let unknown = WafExclusion { target: Some("ARG:x".into()), ..exclusion };
        assert!(excludes(&unknown, &mut all).unwrap_err().contains("`ARG`"));
    }
}

//! From a policy as written to one that is evaluated. Rules are compiled once for all policies
//! that read the same files, and again only when one of those changed.

use super::{Guard, Shared, Waf, patches};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tidegate_config::{Name, PathPattern, WafExclusion, WafMode, WafOverLimit};
use tidegate_waf::{
    Disk, Exclude, ExcludeTarget, Files, Interner, Limits, Mode, OnLimit, PathRule, Policy,
    PolicyOptions, RuleChoice, Ruleset,
};

/// The rule files of a policy, a digest of what they hold, and the rules of its patches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    files: Vec<PathBuf>,
    digest: u64,
    patches: BTreeMap<PathBuf, Vec<u8>>,
}

/// Files on disk, and the patches, which are in memory only.
struct WithPatches<'a>(&'a BTreeMap<PathBuf, Vec<u8>>);

impl Files for WithPatches<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).map_or_else(|| Disk.read(path), |text| Ok(text.clone()))
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.glob(pattern)
    }
}

/// Rules in force or just compiled, by their source.
pub(crate) struct Rulesets<'i> {
    interner: &'i Interner,
    known: HashMap<Source, Arc<Ruleset>>,
    audits: bool,
}

impl<'i> Rulesets<'i> {
    /// What the policies in force use is not compiled again.
    pub(crate) fn new<'w>(
        interner: &'i Interner,
        in_force: impl Iterator<Item = &'w Arc<Waf>>,
        audits: bool,
    ) -> Self {
        let known = in_force.map(|waf| (waf.source.clone(), Arc::clone(waf.policy.rules())));
        Self { interner, known: known.collect(), audits }
    }

    fn load(&mut self, source: &Source) -> Result<Arc<Ruleset>, Vec<String>> {
        if let Some(rules) = self.known.get(source) {
            return Ok(Arc::clone(rules));
        }
        // First, so that no rule of the files can skip them.
        let files = source.patches.keys().chain(&source.files);
        let roots: Vec<&Path> = files.map(PathBuf::as_path).collect();
        let rules = Ruleset::load(&WithPatches(&source.patches), &roots, self.interner)
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
        self.known.insert(source.clone(), Arc::clone(&rules));
        Ok(rules)
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
    let source = source(document).map_err(|fault| vec![said(fault)])?;
    if let Some(old) = old
        && old.document == *document
        && old.source == source
        && old.guard.is_of(shared)
    {
        return Ok(Arc::clone(old));
    }
    let faults = |faults: Vec<String>| faults.into_iter().map(said).collect::<Vec<_>>();
    let rules = rulesets.load(&source).map_err(faults)?;
    let options = options(document).map_err(|fault| vec![said(fault)])?;
    let policy = Policy::new(rules, options).map_err(|error| vec![said(error.to_string())])?;
    let guard = Guard::new(document, shared).map_err(|error| vec![said(error.to_string())])?;
    let counts = old.map_or_else(Arc::default, |old| Arc::clone(&old.counts));
    let audits = rulesets.audits;
    let (name, document) = (name.clone(), document.clone());
    Ok(Arc::new(Waf { name, document, policy, guard, source, counts, audits }))
}

/// A policy outside of a data path, for trying it.
///
/// # Errors
/// What is wrong with its rules, with file and line, or with its exclusions.
pub fn policy(document: &tidegate_config::Waf) -> Result<Policy, Vec<String>> {
    let source = source(document).map_err(|fault| vec![fault])?;
    let rules = Rulesets::new(&Interner::default(), std::iter::empty(), false).load(&source)?;
    let options = options(document).map_err(|fault| vec![fault])?;
    Policy::new(rules, options).map_err(|error| vec![error.to_string()])
}

fn source(document: &tidegate_config::Waf) -> Result<Source, String> {
    let files = document.rule_files()?;
    let mut hash = DefaultHasher::new();
    // The lists that rules read lie beside them.
    for file in files.iter().chain(&tidegate_config::data_files(&files)) {
        file.hash(&mut hash);
        let content = std::fs::read(file);
        content.map_err(|error| format!("`{}`: {error}", file.display()))?.hash(&mut hash);
    }
    let patches = patches::rules(&document.patches)?;
    Ok(Source { files, digest: hash.finish(), patches })
}

fn options(document: &tidegate_config::Waf) -> Result<PolicyOptions, String> {
    let mut exclusions = Vec::new();
    for exclusion in &document.exclusions {
        excludes(exclusion, &mut exclusions)?;
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
        Some(text) => Some(text.parse().map_err(|error| format!("exclusions: {error}"))?),
    };
    let path = exclusion.path.as_ref().map(|path| match path {
        PathPattern::Exact(path) => PathRule::Exact(path.clone()),
        // By segment, as routes match.
        PathPattern::Prefix(path) => {
            PathRule::Matching(format!("^{}(?:/|$)", regex::escape(path.trim_end_matches('/'))))
        }
        PathPattern::Regex(regex) => PathRule::Matching(regex.clone()),
    });
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
        assert_eq!(all[1].path, Some(PathRule::Matching("^/a(?:/|$)".into())));
        let unknown = WafExclusion { target: Some("ARG:x".into()), ..exclusion };
        assert!(excludes(&unknown, &mut all).unwrap_err().contains("`ARG`"));
    }
}

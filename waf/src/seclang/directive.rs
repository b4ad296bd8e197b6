//! One directive of a rule file.

use super::{
    action::Action,
    fault::{Position, show},
    operator::OperatorText,
    setting::{self, Setting},
    target::{IdRange, Target, parse_targets},
};

/// A directive and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) at: Position,
    pub(crate) directive: Directive,
}

/// What a line of a rule file says.
#[derive(Clone, Debug)]
pub(crate) enum Directive {
    Rule(RuleText),
    Marker(Vec<u8>),
    Default(Vec<Action>),
    /// Later rules see these targets too (or no longer).
    UpdateTarget(TagOrId, Vec<Target>),
    UpdateAction(IdRange, Vec<Action>),
    Remove(TagOrId),
    Setting(Setting),
    /// An engine directive that the policy overrides.
    Overridden(String),
    /// `Include`: the pattern, and whether it may find nothing.
    Include(Vec<u8>, bool),
}

/// A `SecRule`, or a `SecAction` (which has no operator).
#[derive(Clone, Debug)]
pub(crate) struct RuleText {
    pub(crate) targets: Vec<Target>,
    pub(crate) operator: Option<OperatorText>,
    pub(crate) actions: Vec<Action>,
}

/// Which rules a directive means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TagOrId {
    Ids(Vec<IdRange>),
    Tag(Vec<u8>),
    Message(Vec<u8>),
}

impl Directive {
    /// Parses the words of a line, telling all that is wrong with it.
    pub(super) fn parse(words: &[Vec<u8>]) -> Result<Self, Vec<String>> {
        let Some((name, arguments)) = words.split_first() else {
            return Err(vec!["an empty directive".to_owned()]);
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let one = || match arguments {
            [one] => Ok(one.clone()),
            _ => Err(vec![format!("`{name}` needs one argument, found {}", arguments.len())]),
        };
        let plain = |what: String| vec![what];
        Ok(match name.to_ascii_lowercase().as_str() {
            "secrule" => Self::Rule(rule(arguments)?),
            "secaction" => Self::Rule(RuleText {
                targets: Vec::new(),
                operator: None,
                actions: Action::parse_list(&one()?)?,
            }),
            "secmarker" => Self::Marker(one()?),
            "secdefaultaction" => Self::Default(Action::parse_list(&one()?)?),
            "secruleupdatetargetbyid" => {
                let [ids, targets] = two(&name, arguments)?;
                Self::UpdateTarget(TagOrId::Ids(ids_of(ids).map_err(plain)?), targets_of(targets)?)
            }
            "secruleupdatetargetbytag" => {
                let [tag, targets] = two(&name, arguments)?;
                Self::UpdateTarget(TagOrId::Tag(tag.to_vec()), targets_of(targets)?)
            }
            "secruleupdatetargetbymsg" => {
                let [message, targets] = two(&name, arguments)?;
                Self::UpdateTarget(TagOrId::Message(message.to_vec()), targets_of(targets)?)
            }
            "secruleupdateactionbyid" => {
                let [id, actions] = two(&name, arguments)?;
                Self::UpdateAction(IdRange::parse(id).map_err(plain)?, Action::parse_list(actions)?)
            }
            "secruleremovebyid" => {
                let mut ids = Vec::new();
                for argument in arguments {
                    ids.extend(ids_of(argument).map_err(plain)?);
                }
                if ids.is_empty() {
                    return Err(vec![format!("`{name}` needs an id")]);
                }
                Self::Remove(TagOrId::Ids(ids))
            }
            "secruleremovebytag" => Self::Remove(TagOrId::Tag(one()?)),
            "secruleremovebymsg" => Self::Remove(TagOrId::Message(one()?)),
            "include" => Self::Include(one()?, false),
            "includeoptional" => Self::Include(one()?, true),
            "secargumentseparator" => {
                Self::Setting(Setting::ArgumentSeparator(character(&one()?).map_err(plain)?))
            }
            "secresponsebodymimetype" => Self::Setting(Setting::ResponseTypes(types(arguments))),
            "secresponsebodymimetypesclear" => Self::Setting(Setting::NoResponseTypes),
            "seccomponentsignature" => Self::Setting(Setting::Component(one()?)),
            "secwebappid" => Self::Setting(Setting::WebAppId(one()?)),
            _ => Self::Overridden(overridden(&name, arguments).map_err(plain)?),
        })
    }
}

/// A directive that the policy overrides; of all others that are left none is known.
fn overridden(name: &str, arguments: &[Vec<u8>]) -> Result<String, String> {
    match setting::kind(&name.to_ascii_lowercase()) {
        Some(setting::Kind::Overridden) if arguments.is_empty() => {
            Err(format!("`{name}` needs an argument"))
        }
        Some(setting::Kind::Overridden) => {
            let value = arguments.iter().map(|a| show(a)).collect::<Vec<_>>().join(" ");
            Ok(format!("`{name} {value}` has no effect: the policy decides"))
        }
        Some(setting::Kind::Unsupported) => Err(format!("unsupported directive `{name}`")),
        None => Err(format!("unknown directive `{}`", show(name.as_bytes()))),
    }
}

fn character(text: &[u8]) -> Result<u8, String> {
    match text {
        [character] => Ok(*character),
        other => Err(format!("expected one character, found `{}`", show(other))),
    }
}

fn types(arguments: &[Vec<u8>]) -> Vec<Vec<u8>> {
    arguments
        .iter()
        .flat_map(|argument| argument.split(u8::is_ascii_whitespace))
        .filter(|kind| !kind.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
        .collect()
}

fn rule(arguments: &[Vec<u8>]) -> Result<RuleText, Vec<String>> {
    let (targets, operator, actions) = match arguments {
        [targets, operator] => (targets, operator, &b""[..]),
        [targets, operator, actions] => (targets, operator, actions.as_slice()),
        _ => {
            return Err(vec![format!(
                "`SecRule` needs two or three arguments, found {}",
                arguments.len()
            )]);
        }
    };
    let mut wrong = Vec::new();
    let targets = parse_targets(targets).map_err(|what| wrong.push(what));
    let operator = OperatorText::parse(operator).map_err(|what| wrong.push(what));
    let actions = Action::parse_list(actions).map_err(|what| wrong.extend(what));
    match (targets, operator, actions) {
        (Ok(targets), Ok(operator), Ok(actions)) => {
            Ok(RuleText { targets, operator: Some(operator), actions })
        }
        _ => Err(wrong),
    }
}

fn two<'a>(name: &str, arguments: &'a [Vec<u8>]) -> Result<[&'a [u8]; 2], Vec<String>> {
    match arguments {
        [first, second] => Ok([first, second]),
        _ => Err(vec![format!("`{name}` needs two arguments, found {}", arguments.len())]),
    }
}

fn ids_of(text: &[u8]) -> Result<Vec<IdRange>, String> {
    text.split(|&b| b == b',' || b == b' ')
        .filter(|id| !id.is_empty())
        .map(IdRange::parse)
        .collect()
}

fn targets_of(text: &[u8]) -> Result<Vec<Target>, Vec<String>> {
    // Here a list may be separated by commas as well, unless they belong to a pattern.
    if text.contains(&b'/') {
        return parse_targets(text).map_err(|what| vec![what]);
    }
    let mut targets = Vec::new();
    for part in text.split(|&b| b == b',') {
        targets.extend(parse_targets(part).map_err(|what| vec![what])?);
    }
    Ok(targets)
}

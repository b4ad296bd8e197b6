//! A rule's third argument: `id:1,phase:2,deny,t:lowercase,setvar:'tx.score=+5'`.

use super::{
    fault::show,
    target::{Collection, IdRange, Target, parse_targets},
    template::Template,
};
use crate::transform::Transformation;

/// One action, typed. What an action does is in the compiler and the transaction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Id(u64),
    Phase(u8),
    Message(Template),
    LogData(Template),
    Severity(u8),
    Tag(Template),
    Version(Vec<u8>),
    Revision(Vec<u8>),
    /// `maturity` and `accuracy`: known, of no effect.
    Remark,
    Disruptive(Disruption),
    Status(u16),
    Log(bool),
    AuditLog(bool),
    Capture,
    Chain,
    MultiMatch,
    Skip(u32),
    SkipAfter(Vec<u8>),
    /// `None` is `t:none`: forget what was inherited.
    Transform(Option<Transformation>),
    SetVar(SetVar),
    /// `expirevar` and `deprecatevar`: time does not pass inside a transaction.
    Expire,
    /// `initcol`, `setsid`, `setuid`, `setrsc`: a collection by the value of this template.
    Init(Collection, Template),
    Control(Control),
    Sanitise(Sanitise),
    /// `setenv`: there is no process environment to set; the value is kept as `ENV:name`.
    SetEnv(SetVar),
}

/// What a rule does to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disruption {
    Pass,
    /// What the phase's default action says.
    Block,
    Deny,
    Drop,
    Allow(Allow),
    Redirect(Template),
}

/// How far `allow` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allow {
    All,
    Phase,
    Request,
}

/// `collection.name`, or a change to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetVar {
    pub(crate) collection: Collection,
    pub(crate) name: Template,
    pub(crate) op: SetVarOp,
}

/// The change of a [`SetVar`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetVarOp {
    Unset,
    Set(Template),
    Add(Template),
    Subtract(Template),
}

/// On, off, or only looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
    DetectionOnly,
}

/// A body processor by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    Urlencoded,
    Multipart,
    Json,
    Xml,
}

impl Bodies {
    /// The name in `REQBODY_PROCESSOR`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Urlencoded => "URLENCODED",
            Self::Multipart => "MULTIPART",
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }
}

/// Whether bodies are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Request(bool),
    Response(bool),
}

/// `ctl:...`: a change for the rest of this transaction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Control {
    RemoveById(IdRange),
    RemoveByTag(Vec<u8>),
    RemoveByMessage(Vec<u8>),
    RemoveTargetById(IdRange, Vec<Target>),
    RemoveTargetByTag(Vec<u8>, Vec<Target>),
    RemoveTargetByMessage(Vec<u8>, Vec<Target>),
    Engine(Switch),
    BodyAccess(Access),
    BodyProcessor(Bodies),
    ForceRequestBody(bool),
    /// `auditEngine`: whether this transaction goes to the audit log.
    Audit(Switch),
    /// `auditLogParts`, `debugLogLevel`, ...: the policy decides about logs.
    Ignored,
}

/// What may not appear in a log in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sanitise {
    Matched,
    Argument(Vec<u8>),
    RequestHeader(Vec<u8>),
    ResponseHeader(Vec<u8>),
}

impl Action {
    /// Parses a list separated by commas; values with commas stand in single quotes.
    pub(crate) fn parse_list(text: &[u8]) -> Result<Vec<Self>, Vec<String>> {
        let mut actions = Vec::new();
        let mut wrong = Vec::new();
        let mut rest = text.trim_ascii();
        while !rest.is_empty() {
            let (name, value, after) = match split(rest) {
                Ok(parts) => parts,
                Err(what) => {
                    wrong.push(what);
                    break;
                }
            };
            match Self::parse(&name, value.as_deref()) {
                Ok(action) => actions.push(action),
                Err(what) => wrong.push(what),
            }
            rest = after;
        }
        if wrong.is_empty() { Ok(actions) } else { Err(wrong) }
    }

    fn parse(name: &str, value: Option<&[u8]>) -> Result<Self, String> {
        let needed = || value.ok_or_else(|| format!("`{name}` needs a value"));
        let template = || needed().and_then(Template::parse);
        Ok(match name {
            "id" => Self::Id(number(needed()?)?),
            "phase" => Self::Phase(phase(needed()?)?),
            "msg" => Self::Message(template()?),
            "logdata" => Self::LogData(template()?),
            "severity" => Self::Severity(severity(needed()?)?),
            "tag" => Self::Tag(template()?),
            "ver" => Self::Version(needed()?.to_vec()),
            "rev" => Self::Revision(needed()?.to_vec()),
            "maturity" | "accuracy" => Self::Remark,
            "pass" => Self::Disruptive(Disruption::Pass),
            "block" => Self::Disruptive(Disruption::Block),
            "deny" => Self::Disruptive(Disruption::Deny),
            "drop" => Self::Disruptive(Disruption::Drop),
            "allow" => Self::Disruptive(Disruption::Allow(allow(value)?)),
            "redirect" => Self::Disruptive(Disruption::Redirect(template()?)),
            "status" => Self::Status(status(needed()?)?),
            "log" => Self::Log(true),
            "nolog" => Self::Log(false),
            "auditlog" => Self::AuditLog(true),
            "noauditlog" => Self::AuditLog(false),
            "capture" => Self::Capture,
            "chain" => Self::Chain,
            "multimatch" => Self::MultiMatch,
            "skip" => Self::Skip(number(needed()?)? as u32),
            "skipafter" => Self::SkipAfter(needed()?.to_vec()),
            "t" => transformation(needed()?)?,
            "setvar" => Self::SetVar(set_var(needed()?)?),
            "expirevar" | "deprecatevar" => {
                set_var(needed()?)?;
                Self::Expire
            }
            "setenv" => {
                let (name, value) = pair(needed()?).ok_or("`setenv` needs `name=value`")?;
                Self::SetEnv(SetVar {
                    collection: Collection::Env,
                    name: Template::parse(name)?,
                    op: SetVarOp::Set(Template::parse(value)?),
                })
            }
            "initcol" => {
                let (name, key) = pair(needed()?).ok_or("`initcol` needs `collection=key`")?;
                Self::Init(keyed(name)?, Template::parse(key)?)
            }
            "setsid" => Self::Init(Collection::Session, template()?),
            "setuid" => Self::Init(Collection::User, template()?),
            "setrsc" => Self::Init(Collection::Resource, template()?),
            "ctl" => Self::Control(control(needed()?)?),
            "sanitisematched"
            | "sanitizematched"
            | "sanitisematchedbytes"
            | "sanitizematchedbytes" => Self::Sanitise(Sanitise::Matched),
            "sanitisearg" | "sanitizearg" => {
                Self::Sanitise(Sanitise::Argument(needed()?.to_ascii_lowercase()))
            }
            "sanitiserequestheader" | "sanitizerequestheader" => {
                Self::Sanitise(Sanitise::RequestHeader(needed()?.to_ascii_lowercase()))
            }
            "sanitiseresponseheader" | "sanitizeresponseheader" => {
                Self::Sanitise(Sanitise::ResponseHeader(needed()?.to_ascii_lowercase()))
            }
            _ => return Err(format!("unsupported action `{name}`")),
        })
    }
}

/// Lower-case name, value and what follows the comma.
type Parts<'t> = (String, Option<Vec<u8>>, &'t [u8]);

fn split(text: &[u8]) -> Result<Parts<'_>, String> {
    let end = text.iter().position(|&b| b == b':' || b == b',').unwrap_or(text.len());
    let name = String::from_utf8_lossy(text[..end].trim_ascii()).to_ascii_lowercase();
    if name.is_empty() {
        return Err(format!("expected an action, found `{}`", show(text)));
    }
    if text.get(end) != Some(&b':') {
        return Ok((name, None, text.get(end + 1..).unwrap_or_default().trim_ascii_start()));
    }
    let mut value = Vec::new();
    let mut at = end + 1;
    let mut in_quotes = false;
    loop {
        match text.get(at) {
            None if in_quotes => return Err(format!("missing `'` behind `{name}`")),
            None => break,
            Some(b'\\') if text.get(at + 1) == Some(&b'\'') => {
                value.push(b'\'');
                at += 1;
            }
            Some(b'\'') => in_quotes = !in_quotes,
            Some(b',') if !in_quotes => break,
            Some(&byte) => value.push(byte),
        }
        at += 1;
    }
    let quoted = text[end + 1..].trim_ascii_start().first() == Some(&b'\'');
    let value = if quoted { value } else { value.trim_ascii().to_vec() };
    Ok((name, Some(value), text.get(at + 1..).unwrap_or_default().trim_ascii_start()))
}

/// What stands before and behind the first `=`.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == b'=')?;
    Some((&text[..at], &text[at + 1..]))
}

fn allow(value: Option<&[u8]>) -> Result<Allow, String> {
    match value {
        None => Ok(Allow::All),
        Some(b"phase") => Ok(Allow::Phase),
        Some(b"request") => Ok(Allow::Request),
        Some(other) => Err(format!("unknown `allow:{}`", show(other))),
    }
}

fn status(text: &[u8]) -> Result<u16, String> {
    u16::try_from(number(text)?)
        .ok()
        .filter(|status| (100..1000).contains(status))
        .ok_or_else(|| "a status has three digits".to_owned())
}

fn number(text: &[u8]) -> Result<u64, String> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.trim().parse().ok())
        .ok_or_else(|| format!("expected a number, found `{}`", show(text)))
}

fn phase(text: &[u8]) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_slice() {
        b"1" => Ok(1),
        b"2" | b"request" => Ok(2),
        b"3" => Ok(3),
        b"4" | b"response" => Ok(4),
        b"5" | b"logging" => Ok(5),
        _ => Err(format!("expected a phase from 1 to 5, found `{}`", show(text))),
    }
}

fn severity(text: &[u8]) -> Result<u8, String> {
    const NAMES: [&str; 8] =
        ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];
    NAMES
        .iter()
        .position(|name| text.eq_ignore_ascii_case(name.as_bytes()))
        .or_else(|| number(text).ok().map(|n| n as usize).filter(|&n| n < NAMES.len()))
        .map(|n| n as u8)
        .ok_or_else(|| format!("unknown severity `{}`", show(text)))
}

fn transformation(text: &[u8]) -> Result<Action, String> {
    if text.eq_ignore_ascii_case(b"none") {
        return Ok(Action::Transform(None));
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(Transformation::parse)
        .map(|t| Action::Transform(Some(t)))
        .ok_or_else(|| format!("unsupported transformation `{}`", show(text)))
}

fn keyed(name: &[u8]) -> Result<Collection, String> {
    let upper = name.trim_ascii().to_ascii_uppercase();
    Collection::parse(&upper)
        .filter(|c| {
            matches!(
                c,
                Collection::Tx
                    | Collection::Ip
                    | Collection::Global
                    | Collection::Session
                    | Collection::User
                    | Collection::Resource
            )
        })
        .ok_or_else(|| format!("`{}` is not a collection that rules may change", show(name)))
}

fn set_var(text: &[u8]) -> Result<SetVar, String> {
    let (unset, text) = match text.strip_prefix(b"!") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text
        .iter()
        .position(|&b| b == b'.' || b == b':')
        .ok_or_else(|| format!("expected `collection.name`, found `{}`", show(text)))?;
    let collection = keyed(&text[..dot])?;
    let rest = &text[dot + 1..];
    let equals = top_level_equals(rest);
    let name = rest[..equals.unwrap_or(rest.len())].trim_ascii();
    if name.is_empty() {
        return Err(format!("expected `collection.name`, found `{}`", show(text)));
    }
    let op = match equals.map(|at| &rest[at + 1..]) {
        _ if unset => SetVarOp::Unset,
        None => SetVarOp::Set(Template::parse(b"1")?),
        Some([b'+', value @ ..]) => SetVarOp::Add(Template::parse(value)?),
        Some([b'-', value @ ..]) => SetVarOp::Subtract(Template::parse(value)?),
        Some(value) => SetVarOp::Set(Template::parse(value)?),
    };
    Ok(SetVar { collection, name: Template::parse(name)?, op })
}

/// The first `=` that is not inside `%{...}`.
fn top_level_equals(text: &[u8]) -> Option<usize> {
    let mut inside = false;
    text.iter().position(|&b| {
        match b {
            b'{' => inside = true,
            b'}' => inside = false,
            _ => {}
        }
        b == b'=' && !inside
    })
}

fn control(text: &[u8]) -> Result<Control, String> {
    let (name, value) = pair(text).ok_or_else(|| format!("`ctl:{}` needs a value", show(text)))?;
    let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
    let value = value.trim_ascii();
    let target = || {
        let at = value
            .iter()
            .position(|&b| b == b';')
            .ok_or_else(|| format!("`ctl:{name}` needs `rule;target`"))?;
        Ok::<_, String>((value[..at].trim_ascii(), parse_targets(&value[at + 1..])?))
    };
    let on = |what: &[u8]| switch(what).map(|s| s == Switch::On);
    Ok(match name.as_str() {
        "ruleremovebyid" => Control::RemoveById(IdRange::parse(value)?),
        "ruleremovebytag" => Control::RemoveByTag(value.to_vec()),
        "ruleremovebymsg" => Control::RemoveByMessage(value.to_vec()),
        "ruleremovetargetbyid" => {
            let (id, targets) = target()?;
            Control::RemoveTargetById(IdRange::parse(id)?, targets)
        }
        "ruleremovetargetbytag" => {
            let (tag, targets) = target()?;
            Control::RemoveTargetByTag(tag.to_vec(), targets)
        }
        "ruleremovetargetbymsg" => {
            let (message, targets) = target()?;
            Control::RemoveTargetByMessage(message.to_vec(), targets)
        }
        "ruleengine" => Control::Engine(switch(value)?),
        "requestbodyaccess" => Control::BodyAccess(Access::Request(on(value)?)),
        "responsebodyaccess" => Control::BodyAccess(Access::Response(on(value)?)),
        "requestbodyprocessor" => {
            Control::BodyProcessor(match value.to_ascii_uppercase().as_slice() {
                b"URLENCODED" => Bodies::Urlencoded,
                b"MULTIPART" => Bodies::Multipart,
                b"JSON" => Bodies::Json,
                b"XML" => Bodies::Xml,
                _ => return Err(format!("unknown body processor `{}`", show(value))),
            })
        }
        "forcerequestbodyvariable" => Control::ForceRequestBody(on(value)?),
        "auditengine" if value.eq_ignore_ascii_case(b"RelevantOnly") => Control::Ignored,
        "auditengine" => Control::Audit(switch(value)?),
        "auditlogparts" | "debugloglevel" | "requestbodylimit" | "responsebodylimit" => {
            Control::Ignored
        }
        _ => return Err(format!("unsupported `ctl:{name}`")),
    })
}

fn switch(text: &[u8]) -> Result<Switch, String> {
    if text.eq_ignore_ascii_case(b"on") {
        Ok(Switch::On)
    } else if text.eq_ignore_ascii_case(b"off") {
        Ok(Switch::Off)
    } else if text.eq_ignore_ascii_case(b"detectiononly") {
        Ok(Switch::DetectionOnly)
    } else {
        Err(format!("expected `On` or `Off`, found `{}`", show(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quotes_commas_and_spaces() {
        let actions = Action::parse_list(
            b"id:'7', phase:request,msg:'a, \\'b\\' %{tx.0}',severity:CRITICAL, t:none,t:LowerCase",
        )
        .unwrap();
        assert_eq!(actions[0], Action::Id(7));
        assert_eq!(actions[1], Action::Phase(2));
        assert_eq!(actions[2], Action::Message(Template::parse(b"a, 'b' %{tx.0}").unwrap()));
        assert_eq!(actions[3], Action::Severity(2));
        assert_eq!(actions[4], Action::Transform(None));
        assert!(matches!(actions[5], Action::Transform(Some(_))));
    }

    #[test]
    fn reads_every_form_of_setvar() {
        let op = |text: &[u8]| set_var(text).unwrap().op;
        let text = |t: &[u8]| Template::parse(t).unwrap();
        assert_eq!(op(b"tx.a"), SetVarOp::Set(text(b"1")));
        assert_eq!(op(b"TX.a=+%{tx.b}"), SetVarOp::Add(text(b"%{tx.b}")));
        assert_eq!(op(b"ip.a=-1"), SetVarOp::Subtract(text(b"1")));
        assert_eq!(op(b"!tx.a"), SetVarOp::Unset);
        assert_eq!(op(b"tx.a=b=c"), SetVarOp::Set(text(b"b=c")));
        assert!(set_var(b"args.a=1").is_err());
    }

    #[test]
    fn every_fault_of_a_list_is_told() {
        let wrong =
            Action::parse_list(b"id:x,exec:/bin/sh,phase:9,t:nope,ctl:foo=1,pass").unwrap_err();
        assert_eq!(wrong.len(), 5, "{wrong:?}");
    }
}

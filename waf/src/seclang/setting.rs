//! Engine directives: known, checked for an argument, and left to the policy.
//!
//! A rule set may bring its own idea of limits, logs and modes. The policy decides those
//! for every route, so the directives are read, listed as notices, and have no effect,
//! except the few of [`Setting`] that change what rules see.

/// An engine directive with an effect on evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `SecArgumentSeparator`.
    ArgumentSeparator(u8),
    /// `SecResponseBodyMimeType`, lower case.
    ResponseTypes(Vec<Vec<u8>>),
    /// `SecResponseBodyMimeTypesClear`.
    NoResponseTypes,
    /// `SecComponentSignature`.
    Component(Vec<u8>),
    /// `SecWebAppId`.
    WebAppId(Vec<u8>),
}

/// What a directive of this name means, `None` if there is no such directive.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let lower = name.to_ascii_lowercase();
    if OVERRIDDEN.contains(&lower.as_str()) {
        return Some(Kind::Overridden);
    }
    if UNSUPPORTED.contains(&lower.as_str()) {
        return Some(Kind::Unsupported);
    }
    None
}

/// How an engine directive is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The policy says it; a notice.
    Overridden,
    /// It would change what rules find, and the engine has nothing like it; a fault.
    Unsupported,
}

const OVERRIDDEN: &[&str] = &[
    "secargumentslimit",
    "secauditengine",
    "secauditlog",
    "secauditlog2",
    "secauditlogdirmode",
    "secauditlogfilemode",
    "secauditlogformat",
    "secauditlogparts",
    "secauditlogprefix",
    "secauditlogrelevantstatus",
    "secauditlogstoragedir",
    "secauditlogtype",
    "seccollectiontimeout",
    "secconnengine",
    "seccookieformat",
    "secdatadir",
    "secdebuglog",
    "secdebugloglevel",
    "secdisablebackendcompression",
    "secgeolookupdb",
    "sechttpblkey",
    "secinterceptonerror",
    "secpcrematchlimit",
    "secpcrematchlimitrecursion",
    "secrequestbodyaccess",
    "secrequestbodyinmemorylimit",
    "secrequestbodyjsondepthlimit",
    "secrequestbodylimit",
    "secrequestbodylimitaction",
    "secrequestbodynofileslimit",
    "secresponsebodyaccess",
    "secresponsebodylimit",
    "secresponsebodylimitaction",
    "secruleengine",
    "secruleperftime",
    "secsensorid",
    "secserversignature",
    "secstatusengine",
    "secstreaminbodyinspection",
    "secstreamoutbodyinspection",
    "sectmpdir",
    "sectmpsaveuploadedfiles",
    "secunicodemapfile",
    "secuploaddir",
    "secuploadfilelimit",
    "secuploadfilemode",
    "secuploadkeepfiles",
    "secxmlexternalentity",
];

const UNSUPPORTED: &[&str] = &[
    "seccachetransformations",
    "seccontentinjection",
    "seccookiev0separator",
    "secencryptionengine",
    "secgsblookupdb",
    "secguardianlog",
    "sechashengine",
    "sechashkey",
    "sechashmethodpm",
    "sechashmethodrx",
    "sechashparam",
    "secremoterules",
    "secremoterulesfailaction",
    "secrulescript",
    "secchrootdir",
    "secruleinheritance",
];

//! Which check decided, and by what.

/// A check, by its word in log and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Bypass,
    Deny,
    Allow,
    Method,
    Path,
    ContentType,
    Crawler,
}

impl Check {
    pub(crate) const ALL: [Self; 7] = [
        Self::Bypass,
        Self::Deny,
        Self::Allow,
        Self::Method,
        Self::Path,
        Self::ContentType,
        Self::Crawler,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Deny => "deny",
            Self::Allow => "allow",
            Self::Method => "method",
            Self::Path => "path",
            Self::ContentType => "content_type",
            Self::Crawler => "crawler",
        }
    }
}

/// What decided: what kind of thing, and which. May be bytes of a client.
pub(crate) type By = (&'static str, Vec<u8>);

/// What a check refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) by: Vec<By>,
}

impl Finding {
    /// For people: `deny (list abusers)`.
    pub(crate) fn told(&self) -> String {
        let by = self.by.iter().map(|(kind, value)| {
            let value = &value[..value.len().min(100)];
            format!("{} {}", kind.replace('_', " "), value.escape_ascii())
        });
        let by = by.collect::<Vec<_>>().join(", ");
        let word = self.check.word();
        if by.is_empty() { word.to_owned() } else { format!("{word} ({by})") }
    }
}

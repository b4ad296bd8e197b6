use crate::{
    Action, ByteSize, ControlAddress, Country, DnsMethod, HealthCheck, HostPattern, Issuer,
    LimitKey, LogTarget, Name, PathPattern, Protocols, Rate, RateLimit, RuleIds, Secret, Sticky,
    WafCrawlers, WafRules, Weight, show_duration,
};
use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use std::{
    cmp::Ordering, collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf,
    time::Duration,
};

/// A value that can be compared with another of its kind. Tables compare key by key; the
/// [`table!`](crate::shape::table) macro sees to that.
pub(crate) trait Compare: PartialEq {
    /// The value as text. Never a secret.
    fn show(&self) -> String;

    /// Where the value lies relative to another, if it is a quantity.
    fn order(&self, _: &Self) -> Option<Ordering> {
        None
    }

    /// Records where `new` differs.
    fn compare(&self, new: &Self, differences: &mut Differences) {
        if self != new {
            let order = new.order(self);
            differences.push(Some(self.show()), Some(new.show()), order);
        }
    }
}

/// What differs between two configurations.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) changes: Vec<Change>,
    path: Vec<String>,
}

/// A value that differs; `None` where there is none.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: Vec<String>,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    /// How the new value lies to the old, if both are quantities.
    pub(crate) order: Option<Ordering>,
}

impl Differences {
    /// Compares what stands under `key`.
    pub(crate) fn inside(&mut self, key: &str, compare: impl FnOnce(&mut Self)) {
        self.path.push(key.to_owned());
        compare(self);
        self.path.pop();
    }

    fn push(&mut self, old: Option<String>, new: Option<String>, order: Option<Ordering>) {
        self.changes.push(Change { path: self.path.clone(), old, new, order });
    }
}

impl<T: Compare> Compare for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or("none".to_owned(), T::show)
    }

    fn compare(&self, new: &Self, differences: &mut Differences) {
        match (self, new) {
            (Some(old), Some(new)) => old.compare(new, differences),
            (None, None) => {}
            (old, new) => {
                let text = |value: &Self| value.as_ref().map(T::show);
                differences.push(text(old), text(new), None);
            }
        }
    }
}

impl<T: Compare> Compare for BTreeMap<Name, T> {
    fn show(&self) -> String {
        self.keys().map(Name::as_str).collect::<Vec<_>>().join(", ")
    }

    fn compare(&self, new: &Self, differences: &mut Differences) {
        for (name, old) in self {
            differences.inside(name.as_str(), |differences| match new.get(name) {
                Some(new) => old.compare(new, differences),
                None => differences.push(Some(old.show()), None, None),
            });
        }
        for (name, value) in new.iter().filter(|(name, _)| !self.contains_key(*name)) {
            differences.inside(name.as_str(), |differences| {
                differences.push(None, Some(value.show()), None);
            });
        }
    }
}

impl<T: Compare> Compare for Vec<T> {
    fn show(&self) -> String {
        match self.is_empty() {
            true => "none".to_owned(),
            false => self.iter().map(T::show).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Values shown as they are written.
macro_rules! shown {
    ($($type:ty),* $(,)?) => {$(
        impl Compare for $type {
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

shown!(bool, String, SocketAddr, IpNet, Name, Method, HeaderName);
shown!(LogTarget, ControlAddress, HostPattern, PathPattern, LimitKey, RuleIds, Secret, WafRules);
shown!(Country, WafCrawlers);

/// Quantities.
macro_rules! ordered {
    ($($type:ty => $show:expr),* $(,)?) => {$(
        impl Compare for $type {
            fn show(&self) -> String {
                let show: fn(&Self) -> String = $show;
                show(self)
            }

            fn order(&self, other: &Self) -> Option<Ordering> {
                self.partial_cmp(other)
            }
        }
    )*};
}

ordered! {
    u8 => u8::to_string,
    u16 => u16::to_string,
    u32 => u32::to_string,
    usize => usize::to_string,
    NonZeroUsize => NonZeroUsize::to_string,
    ByteSize => ByteSize::to_string,
    Weight => Weight::to_string,
    Duration => |duration| show_duration(*duration).to_string(),
}

impl Compare for Rate {
    fn show(&self) -> String {
        self.to_string()
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        let scaled = |rate: &Self, per: Duration| u128::from(rate.count) * per.as_millis();
        Some(scaled(self, other.per).cmp(&scaled(other, self.per)))
    }
}

impl Compare for PathBuf {
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Compare for Protocols {
    fn show(&self) -> String {
        let spoken = [(self.http1, "http1"), (self.http2, "http2")];
        let names = spoken.into_iter().filter(|(on, _)| *on).map(|(_, name)| name);
        names.collect::<Vec<_>>().join(", ")
    }
}

impl Compare for Sticky {
    fn show(&self) -> String {
        match self {
            Self::Cookie(name) => format!("by cookie `{name}`"),
            Self::Header(name) => format!("by header `{name}`"),
            Self::ClientIp => "by client address".to_owned(),
        }
    }
}

impl Compare for HealthCheck {
    fn show(&self) -> String {
        match self {
            Self::Tcp => "a TCP connect".to_owned(),
            Self::Http { path, host, status: (first, last) } => {
                let host = host.as_ref().map(|host| format!(" as `{host}`")).unwrap_or_default();
                format!("GET {path}{host}, healthy {first}-{last}")
            }
        }
    }
}

impl Compare for RateLimit {
    fn show(&self) -> String {
        self.rate.to_string()
    }

    fn compare(&self, new: &Self, differences: &mut Differences) {
        let Self { key, rate, burst } = self;
        differences.inside("key", |differences| key.compare(&new.key, differences));
        differences.inside("rate", |differences| rate.compare(&new.rate, differences));
        differences.inside("burst", |differences| burst.compare(&new.burst, differences));
    }
}

impl Compare for Action {
    fn show(&self) -> String {
        match self {
            Self::Service(name) => format!("service `{name}`"),
            Self::Redirect { to, status, keep_path } => {
                let path = if *keep_path { ", keeping the path" } else { "" };
                format!("redirect to `{to}` with {status}{path}")
            }
            Self::Respond { status, body, content_type } => {
                format!("respond {status} with {} bytes of `{content_type}`", body.len())
            }
        }
    }
}

/// URLs, arguments and the like may be secrets: kinds and places only.
impl Compare for DnsMethod {
    fn show(&self) -> String {
        match self {
            Self::Rfc2136(update) => format!("updates of `{}`", update.server),
            Self::Webhook(_) => "a webhook".to_owned(),
            Self::Exec(exec) => format!("`{}`", exec.command.display()),
        }
    }
}

impl Compare for Issuer {
    fn show(&self) -> String {
        self.name.clone()
    }
}

/// Header values may be secrets: names only.
impl Compare for (HeaderName, HeaderValue) {
    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// See above.
impl Compare for BTreeMap<String, String> {
    fn show(&self) -> String {
        match self.is_empty() {
            true => "none".to_owned(),
            false => self.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        }
    }
}

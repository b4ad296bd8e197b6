//! DNS-01 (RFC 8555 section 8.4): a name is proved by a TXT record in its zone, which a provider
//! puts there and takes away again.
//!
//! What is published is in the store first, so that a crash leaves no record behind for ever; see
//! [`left`]. Each record is added and removed by its exact content: `*.example.com` and
//! `example.com` are proved under the same name, maybe at the same time.

mod delegation;
mod exec;
mod left;
mod propagation;
mod provider;
mod rfc2136;
mod webhook;

pub(crate) use left::clear;

use provider::{Provider, ProviderError, Record};
use std::{collections::BTreeMap, sync::Arc};
use tidegate_config::{Acme, Config, DnsMethod, Name, Propagation};
use tidegate_dns::Resolver;
use tidegate_store::{Op, Store, StoreError};

/// Who proves names by records, as one configuration says.
#[derive(Debug, Default)]
pub(crate) struct Dns01 {
    acme: Option<Acme>,
    providers: BTreeMap<Name, Box<dyn Provider>>,
    resolver: Option<Resolver>,
}

/// Why a name cannot be proved by a record now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Dns01Error {
    #[error("no DNS provider is for the name: declare one under `[acme.dns.NAME]`")]
    NoProvider,
    #[error("DNS provider `{provider}`: {cause}")]
    Provider { provider: Name, cause: ProviderError },
    #[error("{0}")]
    Dns(String),
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Dns01 {
    /// Reads the files that providers name. For each that cannot work: its name and why.
    pub(crate) fn new(config: &Config) -> Result<Self, Vec<(Name, String)>> {
        let (mut providers, mut faults) = (BTreeMap::new(), Vec::new());
        let settings = config.acme.iter().flat_map(|acme| &acme.dns);
        for (name, settings) in settings {
            let made: Result<Box<dyn Provider>, String> = match &settings.method {
                DnsMethod::Rfc2136(update) => {
                    rfc2136::Rfc2136::new(update).map(|it| Box::new(it) as _)
                }
                DnsMethod::Webhook(hook) => webhook::Webhook::new(hook).map(|it| Box::new(it) as _),
                DnsMethod::Exec(exec) => Ok(Box::new(exec::Exec::new(exec))),
            };
            match made {
                Ok(provider) => drop(providers.insert(name.clone(), provider)),
                Err(fault) => faults.push((name.clone(), fault)),
            }
        }
        let resolver = (!providers.is_empty()).then(|| Resolver::new(&config.dns.servers));
        let made = Self { acme: config.acme.clone(), providers, resolver };
        if faults.is_empty() { Ok(made) } else { Err(faults) }
    }

    /// Publishes `value` for `name` and waits until the zone's servers show it. After a failure,
    /// too, it is to be withdrawn: a provider that failed may have done half of it.
    pub(crate) async fn publish(
        &self,
        store: &Arc<dyn Store>,
        name: &str,
        value: &str,
        now: i64,
    ) -> Result<(), Dns01Error> {
        let found = self.acme.as_ref().and_then(|acme| acme.dns_provider(name));
        let (key, settings) = found.ok_or(Dns01Error::NoProvider)?;
        let provider = self.providers.get(key).ok_or(Dns01Error::NoProvider)?;
        let resolver = self.resolver.as_ref().ok_or(Dns01Error::NoProvider)?;
        let base = name.strip_prefix("*.").unwrap_or(name);
        let fqdn = delegation::target(resolver, &format!("_acme-challenge.{base}")).await;
        let record = Record {
            fqdn: fqdn.map_err(Dns01Error::Dns)?,
            value: value.to_owned(),
            ttl: u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX),
            name: name.to_owned(),
        };
        left::remember(store, key, &record, now).await?;
        tracing::debug!(name, provider = %key, fqdn = record.fqdn, "publishes a DNS record");
        let failed = |cause| Dns01Error::Provider { provider: key.clone(), cause };
        provider.present(&record).await.map_err(failed)?;
        await_record(resolver, provider.as_ref(), &record, &settings.propagation).await
    }

    /// Says where a record for `name` would go, or why none can; none is put anywhere.
    pub(crate) async fn rehearse(&self, name: &str) -> Result<String, String> {
        let found = self.acme.as_ref().and_then(|acme| acme.dns_provider(name));
        let (key, _) = found.ok_or_else(|| Dns01Error::NoProvider.to_string())?;
        let (Some(provider), Some(resolver)) = (self.providers.get(key), &self.resolver) else {
            return Err(Dns01Error::NoProvider.to_string());
        };
        let base = name.strip_prefix("*.").unwrap_or(name);
        let fqdn = delegation::target(resolver, &format!("_acme-challenge.{base}")).await?;
        let failed = |cause| Dns01Error::Provider { provider: key.clone(), cause };
        provider.rehearse(&fqdn).await.map_err(|cause| failed(cause).to_string())?;
        Ok(format!("provider `{key}` would put a TXT record at `{fqdn}`"))
    }

    /// Takes back what was published with `value`. A failure is told in the log, and tried again
    /// by [`clear`].
    pub(crate) async fn withdraw(&self, store: &Arc<dyn Store>, value: &str) {
        match left::find(store, value).await {
            Ok(Some((provider, record))) => {
                if let Err(cause) = self.take_back(store, &provider, &record).await {
                    let (name, fqdn) = (&record.name, &record.fqdn);
                    tracing::warn!(name, fqdn, %cause, "a DNS record is removed later");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a DNS record is removed later"),
        }
    }

    async fn take_back(
        &self,
        store: &Arc<dyn Store>,
        provider: &Name,
        record: &Record,
    ) -> Result<(), Dns01Error> {
        let asked = self.providers.get(provider).ok_or(Dns01Error::NoProvider)?;
        let failed = |cause| Dns01Error::Provider { provider: provider.clone(), cause };
        asked.withdraw(record).await.map_err(failed)?;
        store.txn(vec![], vec![Op::Delete { key: left::key(&record.value) }]).await?;
        Ok(())
    }
}

async fn await_record(
    resolver: &Resolver,
    provider: &dyn Provider,
    record: &Record,
    settings: &Propagation,
) -> Result<(), Dns01Error> {
    if !settings.check {
        return Ok(());
    }
    let servers = match (settings.servers.is_empty(), provider.server()) {
        (false, _) => settings.servers.clone(),
        (true, own) => match (delegation::servers(resolver, &record.fqdn).await, own) {
            (Ok(servers), _) => servers,
            // A zone that only its own server tells about.
            (Err(_), Some(own)) => vec![own],
            (Err(cause), None) => return Err(Dns01Error::Dns(cause)),
        },
    };
    propagation::shown(&servers, record, settings).await.map_err(Dns01Error::Dns)
}

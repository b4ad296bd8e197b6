//! From a configuration to listeners: everything that can fail happens in [`prepare`], so that
//! [`commit`] cannot.

use crate::{
    Inner,
    acme::check_issuer,
    client_auth::ClientAuth,
    dns01::Dns01,
    error::CertsError,
    files::{Loaded, PairKey, load, pair_key},
    held::{FileIndex, Held, index},
    internal::RENEW_AT_PERCENT,
    listener::ListenerTls,
    on_demand::OnDemand,
    policies::Policies,
    save::Leaf,
    state::FilePair,
    table::Origin,
    wanted::{Wanted, wanted},
};
use std::{collections::BTreeMap, sync::Arc};
use tidegate_config::{Acme, Config, Listener, Name, Tls};

/// What [`crate::Certs::prepare`] made and [`crate::Certs::commit`] puts in force.
#[derive(Debug)]
pub struct Prepared {
    /// Every TLS listener of the configuration. One whose settings are unchanged is the same
    /// object as before.
    pub listeners: BTreeMap<Name, Arc<ListenerTls>>,
    wanted: Arc<Wanted>,
    dns01: Arc<Dns01>,
    files: BTreeMap<PairKey, Loaded>,
    leaves: Vec<(String, Leaf)>,
    client_auth: BTreeMap<Name, Arc<ClientAuth>>,
}

pub(crate) fn prepare(inner: &Inner, config: &Config) -> Result<Prepared, Vec<CertsError>> {
    let mut errors = Vec::new();
    let files = load_files(inner, config, &mut errors);
    for issuer in config.acme.iter().flat_map(|acme| &acme.issuers) {
        if let Err(what) = check_issuer(issuer) {
            let remedy = "correct it in `issuers` of `[acme]`".to_owned();
            errors.push(CertsError::Issuer { issuer: issuer.name.clone(), what, remedy });
        }
    }
    let client_auth = load_client_auth(inner, config, &mut errors);
    let dns01 = Dns01::new(config).unwrap_or_else(|faults| {
        let fault = |(provider, what)| CertsError::DnsProvider { provider, what };
        errors.extend(faults.into_iter().map(fault));
        Dns01::default()
    });
    let mut listeners = BTreeMap::new();
    let mut indices: BTreeMap<&Name, FileIndex> = BTreeMap::new();
    for (name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let index = indexed(tls, &files);
        match build(inner, (name, listener, tls), &index, &client_auth) {
            Ok(built) => {
                listeners.insert(name.clone(), built);
            }
            Err(error) => errors.push(error),
        }
        // Once per listener: there may be thousands of files, and as many names to look up.
        indices.insert(name, index);
    }
    let covered = |listener: &Name, host: &str| {
        indices.get(listener).is_some_and(|index| covers(index, host))
    };
    let wanted = Arc::new(wanted(config, covered));
    let leaves = issue(inner, &wanted, &mut errors);
    let dns01 = Arc::new(dns01);
    let prepared = Prepared { listeners, wanted, dns01, files, leaves, client_auth };
    if errors.is_empty() { Ok(prepared) } else { Err(errors) }
}

pub(crate) fn commit(inner: &Inner, prepared: &Prepared) {
    let leaves: Vec<_> = prepared
        .leaves
        .iter()
        .map(|(name, leaf)| (Origin::Internal, name.clone(), Arc::clone(&leaf.held)))
        .collect();
    inner.managed.replace(&leaves);
    inner.orders.set_dns01(&prepared.dns01);
    {
        let mut state = inner.state.lock();
        // Files that issuers are trusted by may be others under the same names.
        inner.orders.reset();
        if state.wanted.acme != prepared.wanted.acme {
            // What failed with other settings deserves a new attempt, in its turn.
            let settings = settings_digest(prepared.wanted.acme.as_deref());
            state.attempts.retain(|_, attempt| attempt.settings == settings);
        }
        state.wanted = Arc::clone(&prepared.wanted);
        state.listeners = prepared.listeners.clone();
        state.client_auth = prepared.client_auth.clone();
        let files = prepared.files.iter();
        state.files =
            files.map(|(pair, loaded)| (pair.clone(), FilePair::new(loaded.clone()))).collect();
        for (name, leaf) in &prepared.leaves {
            state.unsaved.insert((Origin::Internal, name.clone()), leaf.clone());
            state.internal_errors.remove(name);
        }
        index_files(&state.listeners, &state.files);
    }
    inner.wake.notify_one();
}

/// Gives every listener the certificates of its files as they are in force.
pub(crate) fn index_files(
    listeners: &BTreeMap<Name, Arc<ListenerTls>>,
    files: &BTreeMap<PairKey, FilePair>,
) {
    for listener in listeners.values() {
        let held: Vec<Arc<Held>> = listener
            .settings()
            .certificates
            .iter()
            .filter_map(|pair| files.get(&pair_key(pair)))
            .map(|pair| Arc::clone(&pair.loaded.held))
            .collect();
        listener.set_files(index(&held));
    }
}

/// Tells the `[acme]` settings that orders may fail by apart, across restarts.
pub(crate) fn settings_digest(acme: Option<&Acme>) -> String {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    // No failure is due to that.
    let shown = acme.map(|acme| Acme { renew_at_percent: 0, ..acme.clone() });
    digest.update(format!("{shown:?}"));
    // Secrets show as `***`, and may be what was wrong.
    let issuers = acme.into_iter().flat_map(|acme| &acme.issuers);
    let accounts = issuers.filter_map(|issuer| Some(&issuer.eab.as_ref()?.hmac_key));
    let providers = acme.into_iter().flat_map(|acme| acme.dns.values());
    let secrets = providers.flat_map(|provider| provider.method.secrets());
    for secret in accounts.chain(secrets) {
        digest.update(secret.reveal());
        digest.update([0]);
    }
    hex::encode(&digest.finalize()[..8])
}

fn load_files(
    inner: &Inner,
    config: &Config,
    errors: &mut Vec<CertsError>,
) -> BTreeMap<PairKey, Loaded> {
    let mut files: BTreeMap<PairKey, Loaded> = BTreeMap::new();
    let tls = config.listeners.values().filter_map(|listener| listener.tls.as_ref());
    for pair in tls.flat_map(|tls| &tls.certificates).map(pair_key) {
        if files.contains_key(&pair) {
            continue;
        }
        let known = inner.state.lock().files.get(&pair).map(|known| known.loaded.clone());
        match load(&pair, known.as_ref()) {
            Ok(loaded) => {
                files.insert(pair, loaded);
            }
            Err(error) => errors.push(error),
        }
    }
    files
}

fn load_client_auth(
    inner: &Inner,
    config: &Config,
    errors: &mut Vec<CertsError>,
) -> BTreeMap<Name, Arc<ClientAuth>> {
    let known = inner.state.lock().client_auth.clone();
    let mut loaded = BTreeMap::new();
    for (name, document) in &config.client_auth {
        match ClientAuth::load(document, known.get(name)) {
            Ok(auth) => drop(loaded.insert(name.clone(), auth)),
            Err(error) => errors.push(error),
        }
    }
    loaded
}

/// The listener that serves now, if it was made for the same settings; else a new one, which
/// goes on with the old one's policies where those are the same.
fn build(
    inner: &Inner,
    (name, listener, tls): (&Name, &Listener, &Tls),
    files: &FileIndex,
    client_auth: &BTreeMap<Name, Arc<ClientAuth>>,
) -> Result<Arc<ListenerTls>, CertsError> {
    let serving = inner.state.lock().listeners.get(name).cloned();
    let old = serving.as_ref().map(|serving| &serving.policies);
    let policies = Policies::build(listener, tls, client_auth, &inner.tickets, old);
    let policies = policies.map_err(|error| CertsError::Listener {
        listener: name.clone(),
        cause: error.to_string(),
    })?;
    if let Some(serving) = serving.as_ref().filter(|old| old.is_for(tls, &policies)) {
        return Ok(Arc::clone(serving));
    }
    let going_on = serving.and_then(|serving| serving.on_demand.clone());
    let on_demand = on_demand(inner, tls, going_on);
    let on_demand = on_demand.map_err(|cause| CertsError::Listener {
        listener: name.clone(),
        cause: format!("`on_demand`: {cause}"),
    })?;
    Ok(Arc::new(ListenerTls::new(
        tls.clone(),
        policies,
        files.clone(),
        Arc::clone(&inner.managed),
        Arc::clone(&inner.challenges),
        on_demand,
    )))
}

/// The listener's names on demand; who waits and what was refused stays while its settings do.
fn on_demand(
    inner: &Inner,
    tls: &Tls,
    going_on: Option<Arc<OnDemand>>,
) -> Result<Option<Arc<OnDemand>>, String> {
    let Some(settings) = &tls.on_demand else { return Ok(None) };
    match going_on.filter(|on_demand| on_demand.is_for(settings)) {
        Some(on_demand) => Ok(Some(on_demand)),
        None => OnDemand::new(settings, &inner.flights, &inner.metrics).map(Arc::new).map(Some),
    }
}

fn indexed(tls: &Tls, files: &BTreeMap<PairKey, Loaded>) -> FileIndex {
    let loaded = tls.certificates.iter().filter_map(|pair| files.get(&pair_key(pair)));
    index(&loaded.map(|loaded| Arc::clone(&loaded.held)).collect::<Vec<_>>())
}

/// Whether files answer for `host`: a wildcard route by the same wildcard.
fn covers(index: &FileIndex, host: &str) -> bool {
    index.get(host).is_some() || !host.starts_with('*') && index.find(host).is_some()
}

/// Leaves for names of the internal CA that have none, or one that is due.
fn issue(inner: &Inner, wanted: &Wanted, errors: &mut Vec<CertsError>) -> Vec<(String, Leaf)> {
    let now = inner.clock.now();
    let table = inner.managed.load();
    let held = table.of(Origin::Internal);
    let mut leaves = Vec::new();
    for (origin, name) in &wanted.names {
        let due =
            || held.get(name).is_none_or(|held| held.certificate.renew_at(RENEW_AT_PERCENT) <= now);
        if *origin != Origin::Internal || !due() {
            continue;
        }
        match inner.internal.load().issue(name, now) {
            Ok(leaf) => leaves.push((name.clone(), leaf)),
            Err(error) => errors.push(error),
        }
    }
    leaves
}

//! The data path as the control plane sees it: control's port, implemented over proxy.

use http::Uri;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use tidegate_config::{Config, Name};
use tidegate_control::{
    SourceFile,
    ports::{
        ApplyError, Edge, EndpointStatus, ExplainQuery, ExplainStep, Explanation, ListenerStatus,
        ServiceStatus, UpstreamStatus, VersionStatus,
    },
};
use tidegate_proxy::{Proxy, Question};
use tidegate_release::{EndpointAdmin, RuntimeState};

/// See [`Edge`].
pub(crate) struct ProxyEdge(pub(crate) Proxy);

#[async_trait::async_trait]
impl Edge for ProxyEdge {
    async fn apply(&self, config: Arc<Config>, state: Arc<RuntimeState>) -> Result<(), ApplyError> {
        let proxy = self.0.clone();
        // Reads certificate files and compiles patterns.
        let applied = tokio::task::spawn_blocking(move || proxy.apply(config, state)).await;
        match applied {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ApplyError(error.0)),
            Err(error) => Err(ApplyError(vec![format!("internal: {error}")])),
        }
    }

    async fn rules_read(&self, now: bool) -> Vec<SourceFile> {
        let proxy = self.0.clone();
        let read = tokio::task::spawn_blocking(move || proxy.rules_read(now)).await;
        let file = |(path, digest)| SourceFile { path, digest };
        read.unwrap_or_default().into_iter().map(file).collect()
    }

    async fn apply_state(&self, state: Arc<RuntimeState>) {
        self.0.apply_state(state);
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        let listeners = self.0.listeners().into_iter().map(|listener| {
            let spoken = [("http/1.1", listener.http1), ("h2", listener.http2)];
            let protocols = spoken.into_iter().filter(|(_, on)| *on).map(|(name, _)| name);
            ListenerStatus {
                name: listener.name,
                address: listener.address,
                tls: listener.tls,
                protocols: protocols.collect(),
                connections: listener.connections,
            }
        });
        listeners.collect()
    }

    fn services(&self) -> Vec<ServiceStatus> {
        let mut services: BTreeMap<Name, Vec<VersionStatus>> = BTreeMap::new();
        for version in self.0.versions() {
            services.entry(version.service).or_default().push(VersionStatus {
                name: version.version,
                upstream: version.upstream,
                weight_hundredths: version.weight.hundredths(),
                requests: version.requests,
                failures: version.failures,
                in_flight: version.in_flight,
            });
        }
        let services = services.into_iter();
        services.map(|(name, versions)| ServiceStatus { name, versions }).collect()
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let mut upstreams: Vec<UpstreamStatus> = Vec::new();
        for endpoint in self.0.endpoints() {
            let status = EndpointStatus {
                address: endpoint.address,
                health: endpoint.health,
                last_failure: endpoint.last_failure,
                admin: match endpoint.admin {
                    None => "active",
                    Some(EndpointAdmin::Drain) => "drain",
                    Some(EndpointAdmin::Disable) => "disable",
                },
                in_flight: endpoint.in_flight,
            };
            match upstreams.last_mut().filter(|last| last.name == endpoint.upstream) {
                Some(last) => last.endpoints.push(status),
                None => {
                    let endpoints = vec![status];
                    upstreams.push(UpstreamStatus { name: endpoint.upstream, endpoints });
                }
            }
        }
        upstreams
    }

    fn explain(&self, query: &ExplainQuery) -> Explanation {
        let Ok(uri) = query.url.parse::<Uri>() else {
            let says = format!("`{}` is not a URL", query.url);
            return Explanation {
                steps: vec![ExplainStep { stage: "normalise", says }],
                outcome: "refused",
                route: None,
                service: None,
                version: None,
                endpoints: Vec::new(),
                reason: Some("bad_path"),
            };
        };
        let answer = self.0.explain(&Question {
            uri,
            method: query.method.clone(),
            headers: query.headers.clone(),
            client: query.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        });
        let steps = answer.steps.into_iter().map(|(stage, says)| ExplainStep { stage, says });
        Explanation {
            steps: steps.collect(),
            outcome: answer.outcome,
            route: answer.route,
            service: answer.service,
            version: answer.version,
            endpoints: answer.endpoints,
            reason: answer.reason,
        }
    }

    fn unready(&self) -> Vec<String> {
        self.0.unready()
    }
}

//! Active checks: one task per endpoint, on a runtime that serves no requests.
//!
//! The first check runs at once. An endpoint becomes healthy with its first success (or, after
//! having been unhealthy, with `healthy_after` in a row) and unhealthy after `unhealthy_after`
//! failures in a row; a new one whose first check fails is unhealthy at once.

use super::{
    Upstream,
    connect::{Connected, connect},
    endpoint::{Endpoint, Health},
};
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{sync::Arc, time::Duration};
use tidegate_config::{HealthCheck, UpstreamProtocol};
use tidegate_release::EndpointAdmin;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::{sleep, timeout},
};

/// The running check of an endpoint; dropping it stops the check.
pub(crate) struct Checker(AbortHandle);

impl Drop for Checker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Checks `endpoint` until the checker is dropped.
pub(crate) fn start(
    runtime: &tokio::runtime::Handle,
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
) -> Option<Checker> {
    let health = upstream.document.health.clone()?;
    let number = endpoint.begin_checks();
    let task = runtime.spawn(async move {
        let mut streak = Streak::default();
        while endpoint.is_checked_by(number) {
            if endpoint.admin() != Some(EndpointAdmin::Disable) {
                let result = check(&upstream, &endpoint, &health).await;
                if endpoint.is_checked_by(number) {
                    settle(&upstream, &endpoint, &health, &mut streak, result);
                }
            }
            sleep(jittered(health.interval)).await;
        }
    });
    Some(Checker(task.abort_handle()))
}

/// The interval, 10 % more or less, so that checks of many nodes and endpoints spread out.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.9..=1.1))
}

/// Results in a row.
#[derive(Default)]
struct Streak {
    successes: u32,
    failures: u32,
}

const CHANGED: &str = "endpoint health changed";

fn settle(
    upstream: &Upstream,
    endpoint: &Endpoint,
    health: &tidegate_config::Health,
    streak: &mut Streak,
    result: Result<(), String>,
) {
    let before = endpoint.health();
    match &result {
        Ok(()) => *streak = Streak { successes: streak.successes.saturating_add(1), failures: 0 },
        Err(_) => *streak = Streak { successes: 0, failures: streak.failures.saturating_add(1) },
    }
    let after = verdict(before, streak, health);
    let failure = result.err();
    if streak.successes + streak.failures == 1 {
        // The first after a reload or a turn: a checker before this one may have told an
        // upstream that is no longer in force.
        upstream.refresh();
    }
    if after != before {
        endpoint.set_health(after);
        upstream.refresh();
        let (upstream, endpoint) = (&upstream.name, endpoint.address);
        let (from, to, cause) = (before.word(), after.word(), failure.as_deref());
        match after {
            Health::Unhealthy => tracing::warn!(%upstream, %endpoint, from, to, cause, "{CHANGED}"),
            _ => tracing::info!(%upstream, %endpoint, from, to, "{CHANGED}"),
        }
    }
    endpoint.set_last_failure(failure);
}

fn verdict(before: Health, streak: &Streak, health: &tidegate_config::Health) -> Health {
    match before {
        Health::Unknown | Health::Unchecked if streak.successes > 0 => Health::Healthy,
        Health::Unknown if streak.failures > 0 => Health::Unhealthy,
        Health::Healthy | Health::Unchecked if streak.failures >= health.unhealthy_after => {
            Health::Unhealthy
        }
        Health::Unhealthy if streak.successes >= health.healthy_after => Health::Healthy,
        same => same,
    }
}

async fn check(
    upstream: &Upstream,
    endpoint: &Endpoint,
    health: &tidegate_config::Health,
) -> Result<(), String> {
    match timeout(health.timeout, probe(upstream, endpoint, &health.check)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {:?}", health.timeout)),
    }
}

async fn probe(
    upstream: &Upstream,
    endpoint: &Endpoint,
    check: &HealthCheck,
) -> Result<(), String> {
    let io = connect(upstream, endpoint).await.map_err(|error| error.to_string())?;
    let HealthCheck::Http { path, host, status } = check else { return Ok(()) };
    let authority = host.clone().unwrap_or_else(|| endpoint.address.to_string());
    let got = match (io, upstream.document.protocol) {
        (Connected::Plain(io), UpstreamProtocol::Http1) => get_h1(io, path, &authority).await,
        (Connected::Tls(io), UpstreamProtocol::Http1) => get_h1(io, path, &authority).await,
        (Connected::Plain(io), UpstreamProtocol::Http2) => {
            get_h2(io, "http", path, &authority).await
        }
        (Connected::Tls(io), UpstreamProtocol::Http2) => {
            get_h2(io, "https", path, &authority).await
        }
    };
    let got = got.map_err(|error| error.to_string())?;
    if (status.0..=status.1).contains(&got) {
        Ok(())
    } else {
        Err(format!("status {got}, expected {} to {}", status.0, status.1))
    }
}

type ProbeError = Box<dyn std::error::Error + Send + Sync>;

/// A check's answer is read to its end, up to this many bytes.
const BODY: usize = 64 * 1024;

async fn get_h1<IO>(io: IO, path: &str, authority: &str) -> Result<u16, ProbeError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("tidegate-health/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let _ = Limited::new(response.into_body(), BODY).collect().await;
        Ok(status)
    };
    drive(connection, exchange).await
}

async fn get_h2<IO>(io: IO, scheme: &str, path: &str, host: &str) -> Result<u16, ProbeError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    let request = Request::get(format!("{scheme}://{host}{path}"))
        .header(header::USER_AGENT, concat!("tidegate-health/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<bytes::Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        Ok(response.status().as_u16())
    };
    drive(connection, exchange).await
}

/// Runs an exchange on a connection that nobody else drives.
async fn drive<C>(
    connection: C,
    exchange: impl Future<Output = Result<u16, ProbeError>>,
) -> Result<u16, ProbeError>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        status = &mut exchange => status,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_the_thresholds() {
        let health = tidegate_config::Health {
            check: HealthCheck::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let streak = |successes, failures| Streak { successes, failures };
        for (before, streak, after) in [
            (Health::Unknown, streak(1, 0), Health::Healthy),
            (Health::Unknown, streak(0, 1), Health::Unhealthy),
            (Health::Healthy, streak(0, 2), Health::Healthy),
            (Health::Healthy, streak(0, 3), Health::Unhealthy),
            (Health::Unhealthy, streak(1, 0), Health::Unhealthy),
            (Health::Unhealthy, streak(2, 0), Health::Healthy),
        ] {
            assert_eq!(verdict(before, &streak, &health), after, "{before:?}");
        }
    }

    #[test]
    fn jitter_stays_within_ten_percent() {
        for _ in 0..1000 {
            let got = jittered(Duration::from_secs(10));
            assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&got));
        }
    }
}

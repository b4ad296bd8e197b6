//! Whether the zone's own servers show a record, before an authority looks: once it has seen
//! none, the order is lost.

use super::provider::Record;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tidegate_config::Propagation;
use tidegate_dns::{Data, Kind, Question, ask};
use tokio::{task::JoinSet, time::timeout};

/// One question to one server.
const PATIENCE: Duration = Duration::from_secs(3);
/// A server that does not answer is not waited for longer while others do.
const SILENCE: Duration = Duration::from_secs(10);

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Shows,
    Lacks,
    /// No answer, or none that says anything, for so long.
    Silent(Duration),
}

/// Waits until `servers` show the record, or says which do not.
pub(super) async fn shown(
    servers: &[SocketAddr],
    record: &Record,
    settings: &Propagation,
) -> Result<(), String> {
    let started = Instant::now();
    let mut heard = vec![started; servers.len()];
    loop {
        let mut looks = JoinSet::new();
        for (index, server) in servers.iter().copied().enumerate() {
            let record = record.clone();
            looks.spawn(async move { (index, look(server, &record).await) });
        }
        let mut views = vec![View::Silent(Duration::ZERO); servers.len()];
        for (index, shows) in looks.join_all().await {
            views[index] = match shows {
                Some(shows) => {
                    heard[index] = Instant::now();
                    if shows { View::Shows } else { View::Lacks }
                }
                None => View::Silent(heard[index].elapsed()),
            };
        }
        if is_shown(&views) {
            return Ok(());
        }
        if started.elapsed() + settings.interval > settings.timeout {
            return Err(report(servers, &views, record, settings.timeout));
        }
        tokio::time::sleep(settings.interval).await;
    }
}

fn is_shown(views: &[View]) -> bool {
    let enough = |view: &View| match view {
        View::Shows => true,
        View::Lacks => false,
        View::Silent(since) => *since >= SILENCE,
    };
    views.contains(&View::Shows) && views.iter().all(enough)
}

fn report(servers: &[SocketAddr], views: &[View], record: &Record, after: Duration) -> String {
    let whose = servers.iter().zip(views).filter_map(|(server, view)| match view {
        View::Shows => None,
        View::Lacks => Some(format!("`{server}` lacks it")),
        View::Silent(_) => Some(format!("`{server}` does not answer")),
    });
    let (fqdn, seconds) = (&record.fqdn, after.as_secs());
    let whose = whose.collect::<Vec<_>>().join(", ");
    format!(
        "the TXT record of `{fqdn}` is not everywhere after {seconds} s: {whose}; raise `timeout` \
         of `propagation` if the zone takes longer"
    )
}

/// Whether a server shows the record; `None` if it does not say.
async fn look(server: SocketAddr, record: &Record) -> Option<bool> {
    let question = Question { name: &record.fqdn, kind: Kind::Txt, recursive: false };
    let answer = timeout(PATIENCE, ask(server, &question)).await.ok()?.ok()?;
    let wanted = Data::Text(record.value.clone().into_bytes());
    // REFUSED and SERVFAIL say nothing of the record, NOERROR and NXDOMAIN do.
    matches!(answer.code, tidegate_dns::Code::NO_ERROR | tidegate_dns::Code::NO_NAME)
        .then(|| answer.found(&record.fqdn, Kind::Txt).contains(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_answer_have_to_show_it_and_one_at_least() {
        let (short, long) = (View::Silent(Duration::from_secs(1)), View::Silent(SILENCE));
        assert!(is_shown(&[View::Shows, View::Shows]));
        assert!(is_shown(&[View::Shows, long]));
        assert!(!is_shown(&[View::Shows, short]));
        assert!(!is_shown(&[View::Shows, View::Lacks]));
        assert!(!is_shown(&[long, long]));
        assert!(!is_shown(&[]));
    }
}

//! The built-in provider: signed updates of a zone (RFC 2136, RFC 8945).

use super::provider::{Action, Provider, ProviderError, Record};
use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tidegate_config::TsigAlgorithm;
use tidegate_dns::{Algorithm, Change, Code, Kind, Question, Tsig, Update, UpdateError, ask};

/// For finding the zone, and for the update.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends updates to one server.
#[derive(Debug)]
pub(super) struct Rfc2136 {
    server: SocketAddr,
    zone: Option<String>,
    key: Tsig,
}

impl Rfc2136 {
    pub(super) fn new(settings: &tidegate_config::Rfc2136) -> Result<Self, String> {
        let algorithm = match settings.algorithm {
            TsigAlgorithm::HmacSha256 => Algorithm::Sha256,
            TsigAlgorithm::HmacSha384 => Algorithm::Sha384,
            TsigAlgorithm::HmacSha512 => Algorithm::Sha512,
        };
        let secret = BASE64.decode(settings.secret.reveal());
        let secret = secret.map_err(|_| "`secret` is not base64".to_owned())?;
        let key = Tsig::new(&settings.key, algorithm, &secret);
        let key = key.ok_or_else(|| "`key` is not the name of a key".to_owned())?;
        Ok(Self { server: settings.server, zone: settings.zone.clone(), key })
    }

    /// The zone that `fqdn` lies in, by the server's word.
    async fn zone(&self, fqdn: &str) -> Result<String, ProviderError> {
        if let Some(zone) = &self.zone {
            return Ok(zone.clone());
        }
        let question = Question { name: fqdn, kind: Kind::Soa, recursive: false };
        let answer = ask(self.server, &question).await;
        let answer = answer.map_err(|error| self.failed(error.into(), fqdn))?;
        let zone = answer.zone().map(str::to_owned);
        let no_zone =
            || ProviderError::NoZone { server: self.server.to_string(), fqdn: fqdn.to_owned() };
        zone.ok_or_else(no_zone)
    }

    fn failed(&self, cause: UpdateError, fqdn: &str) -> ProviderError {
        const REFUSED: Code = Code(5);
        const NOT_AUTHORITATIVE: Code = Code(9);
        let remedy = match &cause {
            UpdateError::Refused(REFUSED) => {
                format!("let the key change TXT records of `{fqdn}`")
            }
            UpdateError::Refused(NOT_AUTHORITATIVE) => {
                "name the primary server of the zone".to_owned()
            }
            UpdateError::Signature(_) => {
                "compare `key`, `algorithm` and `secret` with the server's, and the clocks"
                    .to_owned()
            }
            UpdateError::Io(_) => "may this machine reach it over TCP and UDP?".to_owned(),
            _ => "see the server's log".to_owned(),
        };
        ProviderError::Update { server: self.server.to_string(), cause, remedy }
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    async fn change(&self, action: Action, record: &Record) -> Result<(), ProviderError> {
        let Record { fqdn, value, ttl, .. } = record;
        let change = match action {
            Action::Present => Change::Add { name: fqdn, ttl: *ttl, text: value },
            Action::Withdraw => Change::Remove { name: fqdn, text: value },
        };
        self.update(fqdn, &[change]).await
    }

    /// An update of nothing: the server looks at the zone and the signature all the same.
    async fn rehearse(&self, fqdn: &str) -> Result<(), ProviderError> {
        self.update(fqdn, &[]).await
    }

    fn server(&self) -> Option<SocketAddr> {
        Some(self.server)
    }
}

impl Rfc2136 {
    async fn update(&self, fqdn: &str, changes: &[Change<'_>]) -> Result<(), ProviderError> {
        let update = async {
            let zone = self.zone(fqdn).await?;
            let update = Update { zone: &zone, changes, key: Some(&self.key) };
            // Not the clock of tests: the server has the system's.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            update.send(self.server, now).await.map_err(|cause| self.failed(cause, fqdn))
        };
        let late = |_| ProviderError::Timeout {
            after: PATIENCE,
            remedy: "does the name server answer this machine over TCP and UDP?",
        };
        tokio::time::timeout(PATIENCE, update).await.map_err(late)?
    }
}

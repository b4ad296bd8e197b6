//! Where a name leads, as this machine's resolver sees it.

use std::{net::IpAddr, time::Duration};
use tidegate_dns::{Data, Kind, Resolver};
use tokio::task::JoinSet;

/// Addresses of a name that are looked at.
const MAX: usize = 4;
/// One look at one address.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses of a name, or why there is none.
pub(super) struct Addresses(Result<Vec<IpAddr>, String>);

impl Addresses {
    pub(super) async fn of(resolver: &Resolver, name: &str) -> Self {
        let mut found = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            match resolver.ask(name, kind).await {
                Ok(answer) => {
                    found.extend(answer.found(name, kind).into_iter().filter_map(
                        |data| match data {
                            Data::Address(address) => Some(address),
                            _ => None,
                        },
                    ));
                }
                Err(error) => {
                    return Self(Err(format!(
                        "cannot be looked up: {error}; see `servers` in `[dns]`"
                    )));
                }
            }
        }
        match found.is_empty() {
            true => {
                Self(Err("the name has no A or AAAA record: add one that leads here".to_owned()))
            }
            false => Self(Ok(found)),
        }
    }

    pub(super) fn told(&self) -> Result<String, String> {
        let addresses = self.0.as_ref().map_err(Clone::clone)?;
        let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        Ok(texts.join(", "))
    }

    /// Looks at each address, since an authority may take any; passes if all do.
    pub(super) async fn each<F>(&self, look: impl Fn(IpAddr) -> F) -> Result<String, String>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let addresses =
            self.0.as_ref().map_err(|_| "without an address nobody can look".to_owned())?;
        let mut looks = JoinSet::new();
        for &address in addresses.iter().take(MAX) {
            let look = look(address);
            looks.spawn(async move {
                let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
                let looked = tokio::time::timeout(PATIENCE, look).await;
                looked
                    .map_err(late)
                    .and_then(|looked| looked)
                    .map_err(|why| format!("{address}: {why}"))
            });
        }
        let mut faults: Vec<String> =
            looks.join_all().await.into_iter().filter_map(Result::err).collect();
        faults.sort();
        match faults.is_empty() {
            true => Ok("this node is reached".to_owned()),
            false => Err(faults.join("; ")),
        }
    }
}

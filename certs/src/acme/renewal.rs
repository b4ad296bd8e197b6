//! When the authority wants a certificate renewed (ACME renewal information, RFC 9773).

use super::{Orders, client::WireError};
use crate::stored::StoredRenewal;
use rand::Rng;
use serde::Deserialize;
use std::time::Duration;
use tidegate_config::Issuer;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Between two looks where the authority does not say (section 4.3.3).
const LOOK: Duration = Duration::from_secs(6 * 3600);
/// The shortest and longest wait between two looks that an authority may ask for.
const LOOKS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));

/// Section 4.2.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    suggested_window: Window,
}

#[derive(Deserialize)]
struct Window {
    start: String,
    end: String,
}

impl Window {
    /// In unix seconds; nothing if it is none.
    fn bounds(&self) -> Option<(i64, i64)> {
        let at = |text: &str| {
            OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
        };
        Some((at(&self.start)?, at(&self.end)?)).filter(|(start, end)| start < end)
    }
}

impl Orders {
    /// Asks `issuer` about the certificate `id`. Whatever comes of it is a record that says when
    /// to ask again.
    pub(crate) async fn renewal(
        &self,
        issuer: &Issuer,
        id: &str,
        known: Option<&StoredRenewal>,
    ) -> StoredRenewal {
        let now = self.clock.now();
        let known = known.filter(|known| known.certificate == id);
        let (window, wait) = match self.ask(issuer, id).await {
            Ok(Some(answer)) => answer,
            Ok(None) => (None, LOOK),
            Err(error) => {
                tracing::debug!(issuer = issuer.name, %error, "no renewal information");
                // What it said before still counts.
                (known.and_then(|known| known.window), LOOK)
            }
        };
        let next_check = crate::clock::after(now, wait).unix_timestamp();
        let chosen = window.map(|window| choose(known, window, &mut rand::rng()));
        StoredRenewal { certificate: id.to_owned(), window, chosen, next_check, revoked: false }
    }

    /// The window and how long to wait before the next look; nothing where the authority has no
    /// renewal information.
    async fn ask(
        &self,
        issuer: &Issuer,
        id: &str,
    ) -> Result<Option<(Option<(i64, i64)>, Duration)>, WireError> {
        let Ok(client) = self.client(issuer).await else { return Ok(None) };
        let Some(base) = client.directory().await?.renewal_info.clone() else { return Ok(None) };
        let url = format!("{}/{id}", base.trim_end_matches('/'));
        let answer = client.get(&url).await?;
        let window = answer.read::<Info>(&url)?.suggested_window.bounds();
        let wait = answer.retry_after.unwrap_or(LOOK).clamp(LOOKS.0, LOOKS.1);
        Ok(Some((window, wait)))
    }
}

/// A moment of the window, drawn once: again only if the window has moved away from it.
fn choose(known: Option<&StoredRenewal>, (start, end): (i64, i64), rng: &mut impl Rng) -> i64 {
    let kept = known.and_then(|known| known.chosen).filter(|at| (start..=end).contains(at));
    kept.unwrap_or_else(|| rng.random_range(start..=end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_kept_while_the_window_holds_it() {
        let mut rng = rand::rng();
        let known = |chosen| StoredRenewal {
            certificate: "id".into(),
            window: Some((0, 100)),
            chosen: Some(chosen),
            next_check: 0,
            revoked: false,
        };
        assert_eq!(choose(Some(&known(50)), (40, 60), &mut rng), 50);
        for _ in 0..100 {
            assert!((10..=20).contains(&choose(Some(&known(50)), (10, 20), &mut rng)));
            assert!((10..=20).contains(&choose(None, (10, 20), &mut rng)));
        }
    }

    #[test]
    fn a_window_that_ends_before_it_starts_is_none() {
        let window = |start: &str, end: &str| Window { start: start.into(), end: end.into() };
        let day = "2026-01-01T00:00:00Z";
        assert!(window(day, day).bounds().is_none());
        assert!(window(day, "soon").bounds().is_none());
        let (start, end) = window(day, "2026-01-01T02:00:00+01:00").bounds().unwrap();
        assert_eq!(end - start, 3600);
    }
}

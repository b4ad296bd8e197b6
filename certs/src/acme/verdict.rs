//! Whether an authority would take orders now, as far as it says without one.

use super::{
    Orders, account::slug, client::Directory, failure::Failure, order::offers, throttle::Lane,
};
use tidegate_config::Issuer;

/// What is known of an issuer.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) issuer: String,
    /// What CAA records call it.
    pub(crate) identities: Vec<String>,
    /// That it answers, or why nothing is to be had from it and what to do.
    pub(crate) outcome: Result<String, String>,
}

impl Orders {
    /// Asks `issuer` for what it offers, and nothing else.
    pub(crate) async fn judge(&self, issuer: &Issuer) -> Verdict {
        let directory = self.offered(issuer).await;
        let outcome = match &directory {
            Ok(directory) => self.fits(issuer, directory).await,
            Err(failure) => Err(failure.text.clone()),
        };
        let identities = directory.map_or_else(
            |_| Vec::new(),
            |directory| {
                let identities = directory.meta.caa_identities.iter();
                identities.map(|identity| identity.to_ascii_lowercase()).collect()
            },
        );
        Verdict { issuer: issuer.name.clone(), identities, outcome }
    }

    async fn offered(&self, issuer: &Issuer) -> Result<std::sync::Arc<Directory>, Failure> {
        let client = self.client(issuer).await?;
        client.directory().await.map_err(|error| Failure::of(&error, None))
    }

    async fn fits(&self, issuer: &Issuer, directory: &Directory) -> Result<String, String> {
        if directory.meta.external_account_required && issuer.eab.is_none() {
            return Err("it wants an external account: set `eab` of the issuer".to_owned());
        }
        if let Some(profile) = &issuer.profile {
            offers(directory, profile).map_err(|failure| failure.text)?;
        }
        let lane = Lane { slug: &slug(issuer), issuer, demanded: false };
        match self.throttles.held(&lane).await {
            Some(failure) => Err(failure.text),
            None => Ok("it answers".to_owned()),
        }
    }
}

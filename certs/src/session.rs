//! What a connection remembers of its handshake.

use crate::{client_auth::ClientAuth, client_identity::ClientIdentity, held::Served};
use rustls::{HandshakeKind, ServerConnection, pki_types::UnixTime};
use std::sync::Arc;

/// What a TLS connection was opened for, and by whom. It outlives the certificate and the policy,
/// so that neither a renewal nor a reload changes anything for open connections but who may use
/// them.
#[derive(Debug)]
pub struct Session {
    pub(crate) served: Arc<Served>,
    /// The name the certificate was chosen by, in lower case: the client's, or the default.
    pub(crate) name: String,
    /// Boxed: most connections have none.
    pub(crate) client: Option<Box<ClientIdentity>>,
    auth: Option<Arc<ClientAuth>>,
}

impl Session {
    pub(crate) fn new(served: Arc<Served>, name: String, auth: Option<Arc<ClientAuth>>) -> Self {
        Self { served, name, client: None, auth }
    }

    /// After the handshake: takes note of the client's certificate. In a resumed session it was
    /// not verified, which is left to the first request.
    pub fn established(&mut self, connection: &ServerConnection) -> Result<(), rustls::Error> {
        let Some(auth) = self.auth.take() else { return Ok(()) };
        let Some(chain) = connection.peer_certificates() else { return Ok(()) };
        let client = ClientIdentity::of(chain).ok_or(rustls::CertificateError::BadEncoding)?;
        if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            client.verified(&auth, UnixTime::now());
        }
        self.client = Some(Box::new(client));
        Ok(())
    }

    /// Who the client is by its certificate. Only where [`crate::ListenerTls::admits`] has just
    /// said so may anybody be told.
    pub fn client(&self) -> Option<&ClientIdentity> {
        self.client.as_deref()
    }
}

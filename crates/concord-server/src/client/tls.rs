//! Whom a client trusts, and who it says that it is.

use std::path::{Path, PathBuf};

use concord_net::tls::{Trust, client_config};

use super::error::ClientError;

/// Certificates of a client. Servers of `https://` endpoints are always verified: by their names, against these
/// authorities or else those of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM file with the authorities to trust, and no others.
    pub ca_cert: Option<PathBuf>,
    /// PEM files with a certificate and its key, to be shown to servers that ask.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// Whether anything is said.
    pub(super) fn is_set(&self) -> bool {
        self.ca_cert.is_some() || self.identity.is_some()
    }

    /// The configuration for the HTTP library. `is_secure`: any endpoint needs it.
    pub(super) fn configure(&self, is_secure: bool) -> Result<impl std::any::Any + use<>, ClientError> {
        let trust = match &self.ca_cert {
            Some(path) => Trust::File(path),
            None if is_secure => Trust::Authorities(rustls_native_certs::load_native_certs().certs),
            // The library wants a configuration, and nothing will use it.
            None => Trust::Authorities(Vec::new()),
        };
        let identity = self
            .identity
            .as_ref()
            .map(|(certificate, key)| (Path::new(certificate), Path::new(key)));
        client_config(trust, identity).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            ClientError::Certificates {
                reason: format!("{error}{}", cause.unwrap_or_default()),
            }
        })
    }
}

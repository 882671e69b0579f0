//! Certificates in the configuration: which settings go together, and whether the files can be used.

use concord_net::tls::{Tls, TlsError, TlsPurpose, TlsSettings};

use super::error::ConfigError;
use super::{AuthMode, Config, HttpConfig, PeerConfig};

/// What clients are offered: HTTP/2 first.
const HTTP_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The names of a listener's settings.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
    pub(super) ca: &'static str,
}

pub(super) const HTTP: Names = Names {
    certificate: "http.tls.certificate",
    key: "http.tls.key",
    ca: "http.tls.client_ca",
};
pub(super) const PEERS: Names = Names {
    certificate: "peers.tls.certificate",
    key: "peers.tls.key",
    ca: "peers.tls.ca",
};

/// A listener's settings put together; half a set is an error, never plaintext.
pub(super) fn settings(
    names: Names,
    certificate: Option<String>,
    key: Option<String>,
    ca: Option<String>,
) -> Result<Option<TlsSettings>, ConfigError> {
    match (certificate, key, ca) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), ca) => Ok(Some(TlsSettings {
            certificate: certificate.into(),
            key: key.into(),
            ca: ca.map(Into::into),
        })),
        (Some(_), None, _) => Err(ConfigError::contradiction(names.certificate, "needs", names.key)),
        (None, Some(_), _) => Err(ConfigError::contradiction(names.key, "needs", names.certificate)),
        (None, None, Some(_)) => Err(ConfigError::contradiction(names.ca, "needs", names.certificate)),
    }
}

/// Whether any listener has certificates.
pub(super) fn is_used(config: &Config) -> bool {
    let http = config.http.as_ref().and_then(|http| http.tls.as_ref());
    let peers = config.peers.as_ref().and_then(|peers| peers.tls.as_ref());
    http.or(peers).is_some()
}

/// A certificate proves who somebody is only where it was asked for and verified.
pub(super) fn check_auth(config: &Config) -> Result<(), ConfigError> {
    if !config.auth_by_certificate {
        return Ok(());
    }
    let setting = "auth.certificates";
    if config.auth == AuthMode::Off {
        return Err(ConfigError::contradiction(
            setting,
            "has no effect without",
            "auth.mode",
        ));
    }
    let http = config.http.as_ref().and_then(|http| http.tls.as_ref());
    if http.is_none_or(|tls| tls.ca.is_none()) {
        return Err(ConfigError::contradiction(setting, "needs", HTTP.ca));
    }
    Ok(())
}

pub(super) fn check_http(http: &HttpConfig) -> Result<(), ConfigError> {
    if http.tls.is_some() && http.plaintext {
        return Err(ConfigError::contradiction(
            "http.plaintext",
            "has no effect beside",
            HTTP.certificate,
        ));
    }
    Ok(())
}

pub(super) fn check_peers(peers: &PeerConfig) -> Result<(), ConfigError> {
    let Some(tls) = &peers.tls else { return Ok(()) };
    if peers.plaintext {
        return Err(ConfigError::contradiction(
            "peers.plaintext",
            "has no effect beside",
            PEERS.certificate,
        ));
    }
    if tls.ca.is_none() {
        return Err(ConfigError::contradiction(PEERS.certificate, "needs", PEERS.ca));
    }
    Ok(())
}

/// The listeners' certificates, read from their files: of HTTP and of peers. Blocks.
pub(crate) fn tls_of(config: &Config) -> Result<(Option<Tls>, Option<Tls>), ConfigError> {
    let http = config.http.as_ref().and_then(|http| http.tls.clone());
    let peers = config.peers.as_ref().and_then(|peers| peers.tls.clone());
    Ok((
        open(HTTP, TlsPurpose::Clients(HTTP_PROTOCOLS), http)?,
        open(PEERS, TlsPurpose::Peers, peers)?,
    ))
}

fn open(
    names: Names,
    purpose: TlsPurpose,
    settings: Option<TlsSettings>,
) -> Result<Option<Tls>, ConfigError> {
    settings
        .map(|settings| {
            Tls::open(purpose, settings.clone()).map_err(|error| unusable(names, &settings, &error))
        })
        .transpose()
}

/// An error of a file as one of the setting that names it.
fn unusable(names: Names, settings: &TlsSettings, error: &TlsError) -> ConfigError {
    let key = match error.path() {
        Some(path) if path == settings.key => names.key,
        Some(path) if settings.ca.as_deref() == Some(path) => names.ca,
        Some(_) | None => names.certificate,
    };
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    ConfigError::invalid(key, format!("cannot be used: {error}{cause}"))
}

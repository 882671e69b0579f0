//! What TLS means here: the one place that chooses provider, versions and checks.
//!
//! Every listener and every client is built by these functions, so that none can be laxer than the others.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};

use super::certificate::CertificateFacts;
use super::files::{PemFile, TlsError};
use super::verify::{self, DialerVerifier, ListenerVerifier};

/// For clients, of which not all speak the newest.
const CLIENT_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
/// Nodes are all ours.
const PEER_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13];
/// Keeps a peer connection from being taken for another protocol on the same port, and the reverse.
const PEER_ALPN: &[u8] = b"concord-peer/1";

/// No process-wide default is installed or asked for: a library must not, and two would panic.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A certificate with its chain and key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// What the first of the chain says.
    pub(super) facts: CertificateFacts,
}

impl Identity {
    /// Takes a chain and its key; they must belong together.
    pub(super) fn new(certificates: &PemFile, key: &PemFile) -> Result<Self, TlsError> {
        let chain = certificates.certificates()?;
        let Some((line, first)) = chain.first() else {
            return Err(TlsError::unfit(
                certificates.path(),
                "there is no PEM certificate in it",
            ));
        };
        let facts = CertificateFacts::read(first).map_err(|why| certificates.at(*line, why.to_string()))?;
        Ok(Self {
            key: key.key()?,
            facts,
            chain: chain.into_iter().map(|(_, certificate)| certificate).collect(),
        })
    }
}

/// What rustls says of a certificate and key, as an error of the key's file.
fn unusable(key: &Path, certificate: &Path) -> impl Fn(rustls::Error) -> TlsError {
    move |error| {
        if error == rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            let reason = format!(
                "this is not the key of the certificate in {}",
                certificate.display()
            );
            return TlsError::unfit(key, reason);
        }
        // Of a key the library tells nothing but its kind.
        TlsError::unfit(key, format!("cannot be used: {error}"))
    }
}

/// The authorities in a file, with what the one that ends first says.
pub(super) fn authorities(file: &PemFile) -> Result<(Arc<RootCertStore>, CertificateFacts), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut first_to_end: Option<CertificateFacts> = None;
    for (line, certificate) in file.certificates()? {
        let facts =
            CertificateFacts::read_issuer(&certificate).map_err(|why| file.at(line, why.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| file.at(line, format!("certificate cannot be an authority: {error}")))?;
        first_to_end = match first_to_end {
            Some(known) if known.not_after <= facts.not_after => Some(known),
            _ => Some(facts),
        };
    }
    match first_to_end {
        Some(facts) => Ok((Arc::new(roots), facts)),
        None => Err(TlsError::unfit(file.path(), "there is no PEM certificate in it")),
    }
}

/// Where an identity came from, for errors.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
    pub(super) ca: &'a Path,
}

/// For nodes that dial this one.
pub(super) fn peer_server(
    identity: &Identity,
    roots: &Arc<RootCertStore>,
    origin: Origin<'_>,
) -> Result<ServerConfig, TlsError> {
    let clients = verify::required_clients(Arc::clone(roots), provider())
        .map_err(|reason| TlsError::unfit(origin.ca, reason))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(PEER_VERSIONS)
        .map_err(unusable(origin.key, origin.certificate))?
        .with_client_cert_verifier(Arc::new(DialerVerifier::new(clients)))
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(unusable(origin.key, origin.certificate))?;
    config.alpn_protocols = vec![PEER_ALPN.to_vec()];
    forget_sessions(&mut config);
    Ok(config)
}

/// For dialling other nodes.
pub(super) fn peer_client(
    identity: &Identity,
    roots: &Arc<RootCertStore>,
    origin: Origin<'_>,
) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = ListenerVerifier::new(Arc::clone(roots), &provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(PEER_VERSIONS)
        .map_err(unusable(origin.key, origin.certificate))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(unusable(origin.key, origin.certificate))?;
    config.alpn_protocols = vec![PEER_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    // There is no name to send: peers are known by their certificates.
    config.enable_sni = false;
    Ok(config)
}

/// For clients. With authorities, each must show a certificate of theirs: asking without requiring
/// is no door (D-SEC-10).
pub(super) fn client_server(
    identity: &Identity,
    clients: Option<&Arc<RootCertStore>>,
    alpn: &[&[u8]],
    origin: Origin<'_>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(CLIENT_VERSIONS)
        .map_err(unusable(origin.key, origin.certificate))?;
    let builder = match clients {
        Some(roots) => {
            let clients = verify::required_clients(Arc::clone(roots), provider())
                .map_err(|reason| TlsError::unfit(origin.ca, reason))?;
            builder.with_client_cert_verifier(clients)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(unusable(origin.key, origin.certificate))?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    if clients.is_some() {
        forget_sessions(&mut config);
    }
    Ok(config)
}

/// A resumed session skips the check of certificates: whoever is known by one is checked each time.
fn forget_sessions(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

/// For a client of a server that it knows by name.
pub(super) fn named_client(
    roots: Arc<RootCertStore>,
    ca: &Path,
    identity: Option<(&Identity, Origin<'_>)>,
) -> Result<ClientConfig, TlsError> {
    let unfit = |reason: String| TlsError::unfit(ca, reason);
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(CLIENT_VERSIONS)
        .map_err(|error| unfit(error.to_string()))?
        // By name and authority. Without an authority nobody is accepted.
        .with_root_certificates(roots);
    match identity {
        Some((identity, origin)) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable(origin.key, origin.certificate)),
        None => Ok(builder.with_no_client_auth()),
    }
}

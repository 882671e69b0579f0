//! TLS for every listener and client: files in, connections out.
//!
//! ```text
//!   TlsSettings ── Tls::open ──▶ Tls ── accept ──▶ listeners (peers, HTTP)
//!        ▲  files                 │ └── connect ─▶ dialer
//!        └────── Tls::reload ─────┘      one policy: `policy`
//! ```
//!
//! There is one type of settings, one reader of files and one place that chooses versions and checks, so that
//! no listener can be laxer than the others. Whatever is configured is required: authorities for clients mean
//! that each client needs a certificate, and nothing ever falls back to less (D-SEC-10).
//!
//! A reload changes what later connections get. Those that are open keep what they have.

mod certificate;
mod files;
mod policy;
mod stream;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub use self::certificate::{CLUSTER_URI, CertificateFacts, NODE_URI, UnfitCertificate};
use self::files::PemFile;
pub use self::files::TlsError;
use self::policy::{Identity, Origin};
pub(crate) use self::stream::{ALERT_RECORD, HANDSHAKE_RECORD, PeerStream, ProvenNode};
pub use self::stream::{TlsFailure, TlsServerStream, is_refused, words};
use crate::limits::CERTIFICATE_WARNING_DAYS;
use crate::logging::LogLimiter;
use crate::stats::RefusalReason;

/// Which files a listener takes its certificate from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM: the certificate, then those between it and the authority, if there are any.
    pub certificate: PathBuf,
    /// PEM: its private key, unencrypted.
    pub key: PathBuf,
    /// PEM: the authorities whose certificates the other side must have. Peers need them; clients are
    /// asked for certificates if there are any.
    pub ca: Option<PathBuf>,
}

impl TlsSettings {
    /// A certificate and its key, and nothing asked of the other side.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            ca: None,
        }
    }

    /// Requires a certificate of these authorities of the other side.
    #[must_use]
    pub fn ca(mut self, ca: impl Into<PathBuf>) -> Self {
        self.ca = Some(ca.into());
        self
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPurpose {
    /// Other nodes: both sides show certificates of nodes. TLS 1.3.
    Peers,
    /// Clients, who are offered these protocols (ALPN). TLS 1.3 and 1.2.
    Clients(&'static [&'static [u8]]),
}

/// Certificates in use, and the way to newer ones.
pub struct Tls {
    purpose: TlsPurpose,
    settings: TlsSettings,
    current: RwLock<Arc<Loaded>>,
    /// Why the files that lie there now are not in use.
    problem: Mutex<Option<String>>,
    lines: LogLimiter,
}

/// What was read from the files.
struct Loaded {
    /// Of the files' contents.
    digests: Vec<[u8; 32]>,
    server: Arc<ServerConfig>,
    /// For dialling; peers only.
    client: Option<Arc<ClientConfig>>,
    facts: CertificateFacts,
    ca: Option<CertificateFacts>,
}

/// How the certificates of a listener are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStatus {
    /// The certificate that new connections get.
    pub certificate: CertificateFacts,
    /// Of the authorities, the one that ends first.
    pub ca: Option<CertificateFacts>,
    /// Why the files that lie there now are not in use, if they are not.
    pub problem: Option<String>,
}

/// What a reload found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// New files, in use from now on.
    Changed,
    /// The files are those in use.
    Unchanged,
}

impl Tls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file is missing, unreadable, not what it should be, if the key is not the certificate's
    /// or not private, or if peers have no authority.
    pub fn open(purpose: TlsPurpose, settings: TlsSettings) -> Result<Self, TlsError> {
        let loaded = load(purpose, &settings, None)?.ok_or(TlsError::NoAuthority)?;
        Ok(Self {
            purpose,
            settings,
            current: RwLock::new(Arc::new(loaded)),
            problem: Mutex::default(),
            lines: LogLimiter::default(),
        })
    }

    /// Whether a line about a refused handshake may be logged now, and how many were withheld since the last one: whoever
    /// connects over and over is not to fill a disk.
    pub fn admit_line(&self) -> Option<u64> {
        self.lines.admit(RefusalReason::Tls)
    }

    /// Reads the files again. Blocks. Files that cannot be used change nothing but [`TlsStatus::problem`].
    ///
    /// # Errors
    ///
    /// As [`Tls::open`]; in addition, a certificate of another node than before is refused.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        let before = self.loaded();
        let read = load(self.purpose, &self.settings, Some(&before.digests)).and_then(|loaded| {
            let is_same_holder = loaded
                .as_ref()
                .is_none_or(|loaded| loaded.facts.node_id == before.facts.node_id);
            match self.purpose {
                TlsPurpose::Peers if !is_same_holder => Err(TlsError::unfit(
                    &self.settings.certificate,
                    "certificate is of another node than before",
                )),
                TlsPurpose::Peers | TlsPurpose::Clients(_) => Ok(loaded),
            }
        });
        match read {
            Ok(loaded) => {
                *self.problem.lock() = None;
                let Some(loaded) = loaded else {
                    return Ok(Reloaded::Unchanged);
                };
                *self.current.write() = Arc::new(loaded);
                Ok(Reloaded::Changed)
            }
            Err(error) => {
                *self.problem.lock() = Some(with_cause(&error));
                Err(error)
            }
        }
    }

    /// How the certificates are.
    pub fn status(&self) -> TlsStatus {
        let loaded = self.loaded();
        TlsStatus {
            certificate: loaded.facts.clone(),
            ca: loaded.ca.clone(),
            problem: self.problem.lock().clone(),
        }
    }

    /// Where the files are.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read())
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("purpose", &self.purpose)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl TlsStatus {
    /// What an operator should know, one sentence each: what ends soon, what could not be read.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(problem) = &self.problem {
            warnings.push(format!("new certificates are not used: {problem}"));
        }
        let authority = self.ca.iter().map(|facts| ("certificate authority", facts));
        for (what, facts) in [("certificate", &self.certificate)].into_iter().chain(authority) {
            let left = facts.days_left(now);
            if left < 0 {
                warnings.push(format!("the {what} has expired"));
            } else if left < CERTIFICATE_WARNING_DAYS {
                warnings.push(format!("the {what} expires in {left} days"));
            }
        }
        warnings
    }
}

/// An error with what it came from, on one line.
fn with_cause(error: &TlsError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Reads and checks everything. `None`: the contents are those of `known`.
fn load(
    purpose: TlsPurpose,
    settings: &TlsSettings,
    known: Option<&[[u8; 32]]>,
) -> Result<Option<Loaded>, TlsError> {
    let certificate = PemFile::read(&settings.certificate)?;
    let key = PemFile::read_private(&settings.key)?;
    let ca = settings.ca.as_deref().map(PemFile::read).transpose()?;
    let files = [Some(&certificate), Some(&key), ca.as_ref()];
    let digests: Vec<_> = files.into_iter().flatten().map(PemFile::digest).collect();
    if known == Some(digests.as_slice()) {
        return Ok(None);
    }
    let identity = Identity::new(&certificate, &key)?;
    let authorities = ca.as_ref().map(policy::authorities).transpose()?;
    let origin = Origin {
        certificate: &settings.certificate,
        key: &settings.key,
        ca: settings.ca.as_deref().unwrap_or(&settings.certificate),
    };
    let roots = authorities.as_ref().map(|(roots, _)| roots);
    let (server, client) = match purpose {
        TlsPurpose::Peers => {
            if identity.facts.node_id.is_none() {
                let reason = format!("certificate names no node (a URI such as {NODE_URI}1)");
                return Err(TlsError::unfit(&settings.certificate, reason));
            }
            let roots = roots.ok_or(TlsError::NoAuthority)?;
            let server = policy::peer_server(&identity, roots, origin)?;
            (
                server,
                Some(Arc::new(policy::peer_client(&identity, roots, origin)?)),
            )
        }
        TlsPurpose::Clients(alpn) => (policy::client_server(&identity, roots, alpn, origin)?, None),
    };
    Ok(Some(Loaded {
        digests,
        server: Arc::new(server),
        client,
        facts: identity.facts,
        ca: authorities.map(|(_, facts)| facts),
    }))
}

/// Whom a client of servers trusts.
#[derive(Debug)]
pub enum Trust<'a> {
    /// The authorities in this PEM file, and no others.
    File(&'a Path),
    /// These authorities, as DER. Those that cannot be read are passed over.
    Authorities(Vec<CertificateDer<'static>>),
}

/// The configuration of a client that verifies its servers, always, and shows a certificate if it has one
/// (certificate and key file). Blocks.
///
/// # Errors
///
/// As [`Tls::open`].
pub fn client_config(trust: Trust<'_>, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, TlsError> {
    let (roots, ca) = match trust {
        Trust::File(path) => (policy::authorities(&PemFile::read(path)?)?.0, path),
        Trust::Authorities(certificates) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates);
            (Arc::new(roots), Path::new("the system's certificate authorities"))
        }
    };
    let shown = identity
        .map(|(certificate, key)| {
            let read = Identity::new(&PemFile::read(certificate)?, &PemFile::read_private(key)?)?;
            Ok((read, Origin { certificate, key, ca }))
        })
        .transpose()?;
    let shown = shown.as_ref().map(|(identity, origin)| (identity, *origin));
    policy::named_client(roots, ca, shown)
}

/// What the certificates in a PEM file say, in their order. Blocks.
///
/// # Errors
///
/// [`TlsError`] if it cannot be read, or there is none in it.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateFacts>, TlsError> {
    let file = PemFile::read(path)?;
    let read = |(line, certificate): (usize, CertificateDer<'_>)| {
        CertificateFacts::read(&certificate).map_err(|why| file.at(line, why.to_string()))
    };
    file.certificates()?.into_iter().map(read).collect()
}

/// Checks that a key is private, and that of the certificate. Blocks.
///
/// # Errors
///
/// [`TlsError`] if not.
pub fn check_key(certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let settings = TlsSettings::new(certificate, key);
    Tls::open(TlsPurpose::Clients(&[]), settings).map(|_| ())
}

/// Checks that the authorities in a PEM file issued this certificate. Blocks.
///
/// # Errors
///
/// [`TlsError`] if not.
pub fn check_issued(certificate: &CertificateDer<'_>, ca: &Path) -> Result<(), TlsError> {
    let (roots, _) = policy::authorities(&PemFile::read(ca)?)?;
    verify::required_clients(roots, policy::provider())
        .map_err(|reason| TlsError::unfit(ca, reason))?
        .verify_client_cert(certificate, &[], UnixTime::now())
        .map(|_| ())
        .map_err(|error| TlsError::unfit(ca, format!("did not issue the certificate: {error}")))
}

#[cfg(test)]
mod tests;

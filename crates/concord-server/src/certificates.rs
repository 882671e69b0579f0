//! The certificates of a node: read at the start, looked at again while it runs.
//!
//! ```text
//!   Certificates ── http ──▶ HTTP listener        every interval, or when asked:
//!        │      └── peers ─▶ peer listener, dialer   files read ── good ─▶ later connections
//!        └── status ─▶ status, logs                             └─ bad ──▶ the old ones stay, an error is logged
//! ```
//!
//! Not here: what TLS means and how files are read (`concord_net::tls`).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use concord_net::tls::{Reloaded, Tls, TlsStatus};
use parking_lot::Mutex;

use crate::config::{Config, ConfigError, tls_of};

/// Certificates that end soon are logged this often.
const REMIND: Duration = Duration::from_hours(24);

/// A certificate that a listener of this node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// Of which listener: `http` or `peers`.
    pub listener: &'static str,
    /// Of whom: `certificate` is this node's, `ca` the authority whose certificates the other side must have (of several,
    /// the one that ends first).
    pub role: &'static str,
    /// The common name, if it has one.
    pub common_name: Option<String>,
    /// When it ends, in seconds since the Unix epoch.
    pub not_after: i64,
    /// Whole days until then; negative: it has ended.
    pub days_left: i64,
}

/// What a node's listeners use.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    pub(crate) http: Option<Arc<Tls>>,
    pub(crate) peers: Option<Arc<Tls>>,
    /// When the warnings were logged, and which.
    reminded: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Certificates {
    /// Reads the files that the configuration names. Blocks.
    pub(crate) fn open(config: &Config) -> Result<Self, ConfigError> {
        let (http, peers) = tls_of(config)?;
        let certificates = Self {
            http: http.map(Arc::new),
            peers: peers.map(Arc::new),
            reminded: Mutex::default(),
        };
        certificates.remind();
        Ok(certificates)
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &Arc<Tls>)> {
        let http = self.http.iter().map(|tls| ("http", tls));
        http.chain(self.peers.iter().map(|tls| ("peers", tls)))
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Looks at the files again and says whether any certificate is a new one. Blocks.
    pub(crate) fn reload(&self) -> bool {
        let mut changed = false;
        for (listener, tls) in self.all() {
            let before = tls.status().problem;
            match tls.reload() {
                Ok(Reloaded::Changed) => {
                    changed = true;
                    let days_left = tls.status().certificate.days_left(SystemTime::now());
                    tracing::info!(listener, days_left, "new certificates are in use");
                }
                Ok(Reloaded::Unchanged) => {}
                Err(_) => {
                    let problem = tls.status().problem;
                    // The same fault is told once, not at every look.
                    if problem != before {
                        let problem = problem.unwrap_or_default();
                        tracing::error!(
                            listener,
                            problem,
                            "new certificates are not used; the old ones stay"
                        );
                    }
                }
            }
        }
        self.remind();
        changed
    }

    /// Logs what ends soon: when it is new, and every day.
    fn remind(&self) {
        let warnings = self.warnings();
        let mut reminded = self.reminded.lock();
        let is_told = reminded
            .as_ref()
            .is_some_and(|(when, told)| *told == warnings && when.elapsed() < REMIND);
        if is_told {
            return;
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        *reminded = Some((Instant::now(), warnings));
    }

    /// What an operator should know, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let now = SystemTime::now();
        let of = |(listener, tls): (&str, &Arc<Tls>)| {
            let warnings = tls.status().warnings(now);
            warnings
                .into_iter()
                .map(move |warning| format!("{listener}: {warning}"))
                .collect::<Vec<_>>()
        };
        self.all().flat_map(of).collect()
    }

    /// Each certificate in use.
    pub(crate) fn status(&self) -> Vec<CertificateStatus> {
        let now = SystemTime::now();
        let of = |(listener, tls): (&'static str, &Arc<Tls>)| {
            let TlsStatus { certificate, ca, .. } = tls.status();
            let shown = [("certificate", Some(certificate)), ("ca", ca)];
            shown.into_iter().filter_map(move |(role, facts)| {
                let facts = facts?;
                Some(CertificateStatus {
                    listener,
                    role,
                    not_after: facts.not_after,
                    days_left: facts.days_left(now),
                    common_name: facts.common_name,
                })
            })
        };
        self.all().flat_map(of).collect()
    }

    /// Looks at the files again at an interval, until aborted.
    pub(crate) async fn watch(self: Arc<Self>, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first is due at once, when they have just been read.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let certificates = Arc::clone(&self);
            // It fails only when the runtime ends, and this with it.
            let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
        }
    }
}

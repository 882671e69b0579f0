//! The audit log: what is written, how safely, and how long it is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::load::{put, secret_of, size, unused};
use super::settings::Draft;
use super::{Place, Profile, Secret};
use crate::limits;

/// When audit lines are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditSync {
    /// They are written at once and synced every [`AuditConfig::sync_interval`]; nobody waits. A process that is
    /// killed loses what it had not written yet, a power cut up to the interval.
    Async,
    /// They are synced as soon as they are written; nobody waits.
    Batch,
    /// The answer to a request waits until its line is on disk.
    Strict,
}

/// What becomes of requests while audit lines cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditFailure {
    /// They are performed. Lines that are lost are counted, told of in the log, and noted in the audit log.
    Allow,
    /// They are refused.
    Block,
}

/// How keys stand in audit lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditKeyMode {
    /// As they are.
    Plain,
    /// As a hash that only the holder of the audit secret can compute.
    Hash,
}

/// The audit log of a node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditConfig {
    /// Where it is; `None`: `audit` in the data directory.
    pub dir: Option<PathBuf>,
    /// When lines are on disk.
    pub sync: AuditSync,
    /// With [`AuditSync::Async`]: how often.
    pub sync_interval: Duration,
    /// What becomes of requests while lines cannot be written.
    pub on_failure: AuditFailure,
    /// Whether reads leave lines too. Those that are refused do in any case.
    pub log_reads: bool,
    /// How keys stand in lines.
    pub key_mode: AuditKeyMode,
    /// Seals the lines, so that nobody who does not know it can change them unnoticed. 16 bytes or more.
    pub secret: Option<Secret>,
    /// Size after which a new file begins. One begins with every day (UTC) too.
    pub rotate_bytes: u64,
    /// Days that files are kept; 0: for ever.
    pub retention_days: u64,
    /// What all files together may take; 0: no limit. The oldest go first.
    pub retention_bytes: u64,
    /// Lines that wait to be written; more are lost, and counted.
    pub queue_lines: usize,
}

impl AuditConfig {
    /// Every setting at its default.
    pub const fn new() -> Self {
        Self {
            dir: None,
            sync: AuditSync::Async,
            sync_interval: limits::AUDIT_SYNC_INTERVAL,
            on_failure: AuditFailure::Allow,
            log_reads: false,
            key_mode: AuditKeyMode::Plain,
            secret: None,
            rotate_bytes: limits::AUDIT_ROTATE_BYTES,
            retention_days: limits::AUDIT_RETENTION_DAYS,
            retention_bytes: limits::AUDIT_RETENTION_BYTES,
            queue_lines: limits::AUDIT_QUEUE_LINES,
        }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of the audit log, as a file and the layers over it have them.
#[derive(Debug, Default)]
pub(super) struct AuditDraft {
    pub(super) enabled: Option<bool>,
    pub(super) dir: Option<String>,
    pub(super) sync: Option<AuditSync>,
    pub(super) sync_interval: Option<Duration>,
    pub(super) on_failure: Option<AuditFailure>,
    pub(super) log_reads: Option<bool>,
    pub(super) key_mode: Option<AuditKeyMode>,
    pub(super) secret_file: Option<String>,
    pub(super) rotate_bytes: Option<u64>,
    pub(super) retention_days: Option<u64>,
    pub(super) retention_bytes: Option<u64>,
    pub(super) queue_lines: Option<u64>,
}

/// Puts the draft together; refuses what would have no effect.
pub(super) fn build(
    draft: &Draft,
    profile: Profile,
    places: &std::collections::BTreeMap<&'static str, Place>,
) -> Result<Option<AuditConfig>, ConfigError> {
    let draft = &draft.audit;
    if !draft.enabled.unwrap_or(profile == Profile::Prod) {
        let reason = "has no effect without";
        unused(places, "audit.", "audit.enabled", reason)?;
        return Ok(None);
    }
    let mut audit = AuditConfig::new();
    audit.dir = draft.dir.as_ref().map(PathBuf::from);
    put(&mut audit.sync, draft.sync);
    put(&mut audit.sync_interval, draft.sync_interval);
    put(&mut audit.on_failure, draft.on_failure);
    put(&mut audit.log_reads, draft.log_reads);
    put(&mut audit.key_mode, draft.key_mode);
    put(&mut audit.rotate_bytes, draft.rotate_bytes);
    put(&mut audit.retention_days, draft.retention_days);
    put(&mut audit.retention_bytes, draft.retention_bytes);
    audit.queue_lines = size("audit.queue_lines", draft.queue_lines, audit.queue_lines)?;
    audit.secret = draft.secret_file.as_deref().map(secret_of).transpose()?;
    if draft.sync_interval.is_some() && audit.sync != AuditSync::Async {
        return Err(ConfigError::contradiction(
            "audit.sync_interval",
            "has no effect unless async is",
            "audit.sync",
        ));
    }
    Ok(Some(audit))
}

pub(super) fn check(audit: &AuditConfig) -> Result<(), ConfigError> {
    if audit
        .secret
        .as_ref()
        .is_some_and(|secret| secret.expose().len() < limits::SECRET_BYTES_MIN)
    {
        return Err(ConfigError::invalid(
            "audit.secret_file",
            "must hold 16 bytes or more",
        ));
    }
    if audit.key_mode == AuditKeyMode::Hash && audit.secret.is_none() {
        // Keys can be guessed: a hash that everybody can compute hides nothing.
        return Err(ConfigError::missing(
            "audit.secret_file",
            "audit.key_mode = \"hash\" needs a secret to hash by",
        ));
    }
    if !limits::AUDIT_ROTATE_RANGE.contains(&audit.rotate_bytes) {
        return Err(ConfigError::invalid(
            "audit.rotate_bytes",
            "must be between 64 KiB and 4 GiB",
        ));
    }
    if audit.retention_bytes != 0 && audit.retention_bytes < audit.rotate_bytes {
        return Err(ConfigError::contradiction(
            "audit.retention_bytes",
            "must be 0 or at least",
            "audit.rotate_bytes",
        ));
    }
    if audit.queue_lines == 0 {
        return Err(ConfigError::invalid("audit.queue_lines", "must be 1 or more"));
    }
    Ok(())
}

//! Looking at a data directory: every checksum is checked, nothing is changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::batch::Batch;

use super::readonly::ReadOnly;
use crate::backup::{BackupHeader, BackupRepository};
use crate::identity::{self, IDENTITY, LOCK, LOG, SNAPSHOTS};
use crate::log::{self, Survey};
use crate::ports::{Disk, PeerIdentity};
use crate::snapshot_store::SnapshotStore;
use crate::storage_error::StorageError;
use crate::types::{LogId, Payload};

/// What a finding means for a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Ordinary: what a crash may leave, for example.
    Note,
    /// The node starts, but somebody should look.
    Warning,
    /// The node refuses to start, or would stop.
    Damage,
}

/// Something worth saying of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// Where in it, if that is known.
    pub offset: Option<u64>,
    /// What it is.
    pub what: String,
}

/// A segment of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The file.
    pub file: PathBuf,
    /// Its length.
    pub file_bytes: u64,
    /// How much of it is written.
    pub written_bytes: u64,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFacts {
    /// Term and node of the last vote, and whether it was for a leader that a quorum had.
    pub vote: Option<(u64, u64, bool)>,
    /// Term and index of the last purged entry.
    pub purged: Option<(u64, u64)>,
    /// Of the last entry known to be committed.
    pub committed: Option<(u64, u64)>,
    /// Of the last entry.
    pub last: Option<(u64, u64)>,
    /// Entries that can be read.
    pub entries: u64,
    /// Requests in them.
    pub requests: u64,
    /// The segments, oldest first.
    pub segments: Vec<SegmentFacts>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub file_bytes: u64,
    /// Whose state it is.
    pub cluster_id: u128,
    /// Term and index of the last entry in it.
    pub last: Option<(u64, u64)>,
    /// The members as of then, with their addresses.
    pub members: Vec<(u64, String)>,
}

/// What is in a data directory.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// Who it belongs to.
    pub identity: Option<PeerIdentity>,
    /// Its log, as far as it could be read.
    pub log: Option<LogFacts>,
    /// Its snapshots that are whole, oldest first.
    pub snapshots: Vec<SnapshotFacts>,
    /// The backups in it that are whole.
    pub backups: Vec<(PathBuf, BackupHeader)>,
    /// What is worth saying, worst first.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// The worst of the findings.
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn note(&mut self, severity: Severity, file: &Path, offset: Option<u64>, what: impl Into<String>) {
        self.findings.push(Finding {
            severity,
            file: file.to_path_buf(),
            offset,
            what: what.into(),
        });
    }

    fn fault(&mut self, error: &StorageError) {
        let (file, offset, what) = match error {
            StorageError::Corrupt { file, offset, what } => (file, Some(*offset), what.clone()),
            StorageError::Io {
                file, offset, source, ..
            } => (file, Some(*offset), source.to_string()),
            StorageError::Version { file, .. }
            | StorageError::NewerMachine { file, .. }
            | StorageError::Foreign { file, .. } => (file, None, error.to_string()),
            StorageError::Full { .. }
            | StorageError::Locked { .. }
            | StorageError::OtherNode { .. }
            | StorageError::OtherCluster { .. }
            | StorageError::TooLarge { .. }
            | StorageError::Misuse { .. }
            | StorageError::Closed => (&PathBuf::new(), None, error.to_string()),
        };
        self.note(Severity::Damage, file, offset, what);
    }
}

/// Reads everything in a data directory. Takes no lock, so that it works on a disk that can
/// only be read; in a directory that a node runs in, it sees a log that moves on.
pub fn examine(root: &Path, disk: Arc<dyn Disk>) -> Examination {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnly(disk));
    let mut found = Examination::default();
    match disk.list(root) {
        Ok(entries) => look_around(root, &entries, &mut found),
        Err(error) => {
            found.note(Severity::Damage, root, None, error.to_string());
            return found;
        }
    }
    match identity::read_identity(&*disk, root) {
        Ok(Some(identity)) => found.identity = Some(identity),
        Ok(None) => found.note(
            Severity::Warning,
            &root.join(IDENTITY),
            None,
            "there is no data directory here",
        ),
        Err(error) => found.fault(&error),
    }
    look_at_snapshots(root, &disk, &mut found);
    look_at_log(root, &disk, &mut found);
    look_at_backups(root, &disk, &mut found);
    found
        .findings
        .sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

fn look_around(root: &Path, entries: &[String], found: &mut Examination) {
    const OURS: [&str; 9] = [
        LOCK,
        IDENTITY,
        LOG,
        SNAPSHOTS,
        "promise",
        "removed",
        "audit",
        "backups",
        "lost+found",
    ];
    for name in entries {
        let path = root.join(name);
        if name == "recovering" {
            let what = "a recovery was interrupted here";
            found.note(Severity::Warning, &path, None, what);
        } else if name.starts_with("before-") {
            let what = "kept by a recovery; can be removed when the new cluster is in order";
            found.note(Severity::Note, &path, None, what);
        } else if !OURS.contains(&name.as_str()) {
            found.note(Severity::Note, &path, None, "not part of a data directory");
        }
    }
}

fn look_at_snapshots(root: &Path, disk: &Arc<dyn Disk>, found: &mut Examination) {
    let directory = root.join(SNAPSHOTS);
    let store = SnapshotStore::as_is(&directory, Arc::clone(disk));
    let Ok(names) = disk.list(&directory) else {
        return;
    };
    for name in names
        .iter()
        .filter(|name| name.ends_with(crate::small_file::TEMPORARY))
    {
        let what = "left by an interrupted snapshot; removed at the next start";
        found.note(Severity::Note, &directory.join(name), None, what);
    }
    for path in store.snapshot_paths().unwrap_or_default() {
        let file = store
            .open_file(&path)
            .and_then(|file| file.verify().map(|()| file));
        match file {
            Ok(file) => {
                let header = file.header();
                let cluster_id = header.cluster_id;
                let nodes = header.membership.membership().nodes();
                found.snapshots.push(SnapshotFacts {
                    file_bytes: file.file_bytes(),
                    cluster_id,
                    last: header.last_log_id.map(parts),
                    members: nodes.map(|(id, peer)| (*id, peer.address.clone())).collect(),
                    file: path.clone(),
                });
                let own = found.identity.and_then(|identity| identity.cluster_id);
                if own.is_some_and(|own| own != cluster_id) {
                    let what = format!("it is of cluster {cluster_id:032x}, the directory is not");
                    found.note(Severity::Damage, &path, None, what);
                }
            }
            Err(error) => found.fault(&error),
        }
    }
}

fn look_at_log(root: &Path, disk: &Arc<dyn Disk>, found: &mut Examination) {
    let Some(identity) = found.identity else {
        return;
    };
    let directory = root.join(LOG);
    let is_empty = disk.list(&directory).map_or(true, |names| names.is_empty());
    if identity.cluster_id.is_none() && is_empty {
        return;
    }
    let survey = match log::survey(&directory, identity.store_id, disk) {
        Ok(survey) => survey,
        Err(error) => return found.fault(&error),
    };
    if let Some((file, from, to)) = &survey.torn {
        let what = format!("a torn end up to byte {to}: never acknowledged, and cut at the next start");
        found.note(Severity::Note, file, Some(*from), what);
    }
    let facts = log_facts(&survey, &directory, found);
    let first = survey.reader.readable().start;
    let covered = found
        .snapshots
        .iter()
        .filter_map(|snapshot| snapshot.last)
        .map(|last| last.1);
    if first > covered.max().map_or(0, |index| index + 1) {
        let what = format!("it begins with entry {first}, and no whole snapshot holds what was before");
        found.note(Severity::Damage, &directory, None, what);
    }
    found.log = Some(facts);
}

fn log_facts(survey: &Survey, directory: &Path, found: &mut Examination) -> LogFacts {
    let segments = survey.segments.iter();
    let segments = segments.map(|(file, file_bytes, written)| SegmentFacts {
        file: file.clone(),
        file_bytes: *file_bytes,
        written_bytes: *written,
    });
    let mut facts = LogFacts {
        vote: survey
            .vote
            .map(|vote| (vote.leader_id.term, vote.leader_id.voted_for, vote.committed)),
        purged: survey.purged.map(parts),
        committed: survey.committed.map(parts),
        last: survey.last.map(parts),
        segments: segments.collect(),
        ..LogFacts::default()
    };
    for piece in survey.reader.pieces_blocking(survey.reader.readable()) {
        let entries = match piece {
            Ok(entries) => entries,
            Err(error) => {
                found.fault(&error);
                break;
            }
        };
        for entry in entries {
            facts.entries += 1;
            let Payload::Normal(batch) = &entry.payload else {
                continue;
            };
            match Batch::decode(batch.bytes()) {
                Ok(batch) => {
                    let requests = batch.groups.iter().map(|group| group.requests.len() as u64);
                    facts.requests += requests.sum::<u64>();
                }
                Err(error) => {
                    let what = format!("entry {} cannot be read: {error}", entry.log_id.index);
                    found.note(Severity::Damage, directory, None, what);
                }
            }
        }
    }
    facts
}

fn look_at_backups(root: &Path, disk: &Arc<dyn Disk>, found: &mut Examination) {
    let backups = BackupRepository::directory(&root.join("backups"), Arc::clone(disk));
    for listed in backups.list().unwrap_or_default() {
        let whole = listed.file.and_then(|file| file.verify(|_| {}).map(|_| file));
        match whole {
            Ok(file) => found
                .backups
                .push((file.path().to_path_buf(), file.header().clone())),
            Err(error) => found.fault(&error),
        }
    }
}

fn parts(id: LogId) -> (u64, u64) {
    (id.leader_id.term, id.index)
}

//! Backups of a running node: consistent cuts, made beside the traffic.

use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "http")]
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use concord_auth::AdminAction;
use concord_core::Store;
use concord_core::ids::{LogIndex, Millis, NodeId, Revision, Term, Timestamp};
use concord_core::view::ReadView;
use concord_raft::backup::{
    BackupEncoder, BackupFile, BackupHeader, BackupName, BackupRepository, InvalidBackupName, Listed,
    Retention,
};
use concord_raft::node::Node;
use concord_raft::os::{OsClock, OsDisk};
use concord_raft::ports::Clock as _;
use concord_raft::{ReadConsistency, StopReason, StorageError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Concord, Inner};
use crate::audit::Facts;
use crate::config::{BackupConfig, Config, ConfigError, S3Config};
use crate::error::{Error, ErrorKind};
use crate::judge::Caller;
use crate::telemetry::Event;

/// Pieces of a backup that may wait for whoever takes them.
const PIECES_AHEAD: usize = 4;
/// Where backups are kept in a data directory, unless the configuration says otherwise.
const DIRECTORY: &str = "backups";
const DAY_MS: u64 = 86_400_000;

/// The backups of a node. See [`Concord::backups`].
#[derive(Debug)]
pub struct Backups<'a> {
    pub(super) concord: &'a Concord,
    consistency: ReadConsistency,
}

/// A backup, as its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupInfo {
    /// Its name in the directory.
    pub name: String,
    /// The size of the file.
    pub file_bytes: u64,
    /// The cluster whose state it is.
    pub cluster_id: u128,
    /// The node that made it.
    pub node_id: NodeId,
    /// The revision that it shows.
    pub revision: Revision,
    /// The last log entry whose effect is in it.
    pub applied: LogIndex,
    /// A term in which what is in it was decided.
    pub term: Term,
    /// When it was made, by the clock of the node that made it.
    pub created_at: Timestamp,
    /// The release that made it.
    pub product: String,
    /// How many there are of what is in it, by name.
    pub counts: BTreeMap<String, u64>,
}

/// A file in the directory: a backup, or what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedBackup {
    /// Its name.
    pub name: String,
    /// What its header says; `Err`: why it cannot be read, in words.
    pub backup: Result<BackupInfo, String>,
}

/// A backup of which every byte was read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedBackup {
    /// What its header says.
    pub backup: BackupInfo,
    /// The SHA-256 that it ends with.
    pub sha256: [u8; 32],
    /// The bytes in it before compression.
    pub raw_bytes: u64,
}

/// Which backups stay: with both bounds, those that satisfy both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepBackups {
    /// Only so many of the newest.
    pub count: Option<usize>,
    /// Only those of so many last days.
    pub days: Option<u64>,
}

/// What a clean-up did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanedBackups {
    /// The names of those that went.
    pub removed: Vec<String>,
    /// Of those that stay.
    pub kept: Vec<String>,
    /// Of files that are no whole backups. They count for nothing and stay.
    pub damaged: Vec<String>,
}

impl Concord {
    /// The backups that this node makes and keeps, in the directory or bucket of its configuration.
    pub fn backups(&self) -> Backups<'_> {
        Backups {
            concord: self,
            consistency: ReadConsistency::Leader,
        }
    }
}

impl Backups<'_> {
    /// How fresh the cut shall be. The default holds every write that was acknowledged before
    /// it; `Eventual` is what this node has, also without a quorum.
    #[must_use]
    pub const fn consistency(mut self, consistency: ReadConsistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Makes a backup: one consistent cut of everything that is replicated, durable when this
    /// returns. Writes go on meanwhile.
    ///
    /// # Errors
    ///
    /// `backup_failed` if it cannot be written, and those of a read. There is then no backup.
    pub async fn create(&self) -> Result<BackupInfo, Error> {
        let began = Instant::now();
        let made = self.make().await;
        let service = self.concord.service();
        service.backups().counts.count(&made);
        service.telemetry().tell(|| match &made {
            Ok(made) => Event::BackupCreated {
                revision: made.revision,
                file_bytes: made.file_bytes,
                duration: began.elapsed(),
            },
            Err(error) => Event::BackupFailed {
                result: error.kind().code(),
                duration: began.elapsed(),
            },
        });
        made
    }

    async fn make(&self) -> Result<BackupInfo, Error> {
        let (header, view) = self.cut().await?;
        let backups = self.repository();
        // One at a time: each first removes what an interrupted one left.
        let _turn = self.concord.service().backup_turn().await;
        let made = blocking(move || backups.create::<Store>(&header, &view)).await?;
        let (name, file) = made?;
        Ok(BackupInfo::new(name.as_str(), &file))
    }

    /// Makes a backup and gives it out piece by piece, without a file on this node.
    ///
    /// # Errors
    ///
    /// Those of a read.
    pub async fn stream(&self) -> Result<BackupStream, Error> {
        let (header, view) = self.cut().await?;
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let streamed = header.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = encode(&streamed, &view, &sender) {
                // Whoever takes the pieces may have gone.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(BackupStream {
            name: BackupName::of(&header).to_string(),
            revision: header.revision,
            pieces,
        })
    }

    /// What is in the directory or bucket, oldest first.
    ///
    /// # Errors
    ///
    /// `backup_failed` if it cannot be read.
    pub async fn list(&self) -> Result<Vec<ListedBackup>, Error> {
        let list = async |_: Node<Store>| {
            let backups = self.repository();
            let listed = blocking(move || backups.list()).await??;
            Ok(listed.into_iter().map(ListedBackup::from).collect())
        };
        let facts = what("list", None);
        self.concord.administer(AdminAction::Backup, facts, list).await
    }

    /// Reads all of a backup and checks every byte.
    ///
    /// # Errors
    ///
    /// `corrupt` with what is wrong and where; `unsupported` if a newer release made it;
    /// `not_found`.
    pub async fn verify(&self, name: &str) -> Result<VerifiedBackup, Error> {
        let verify = async |_: Node<Store>| {
            let (backups, name) = self.find(name).await?;
            blocking(move || {
                let file = backups.open(&name)?;
                let verified = file.verify(|_| {})?;
                Ok(VerifiedBackup {
                    backup: BackupInfo::new(name.as_str(), &file),
                    sha256: verified.sha256,
                    raw_bytes: verified.raw_bytes,
                })
            })
            .await?
        };
        let facts = what("verify", Some(name));
        self.concord.administer(AdminAction::Backup, facts, verify).await
    }

    /// Removes a backup.
    ///
    /// # Errors
    ///
    /// `not_found`, `backup_failed`.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let remove = async |_: Node<Store>| {
            let (backups, name) = self.find(name).await?;
            Ok(blocking(move || backups.remove(&name)).await??)
        };
        let facts = what("remove", Some(name));
        self.concord.administer(AdminAction::Backup, facts, remove).await
    }

    /// Removes the backups that `keep` does not keep; never the newest one that is whole, and
    /// nothing that is damaged. With `dry_run` it only says what would go.
    ///
    /// # Errors
    ///
    /// `invalid_request` without any bound; `backup_failed`.
    pub async fn clean_up(&self, keep: KeepBackups, dry_run: bool) -> Result<CleanedBackups, Error> {
        let retention = Retention {
            keep_count: keep.count,
            keep_for: keep.days.map(|days| Millis::new(days.saturating_mul(DAY_MS))),
        };
        let backups = self.repository();
        let _turn = self.concord.service().backup_turn().await;
        let clean = async |_: Node<Store>| {
            if keep == KeepBackups::default() {
                return Err(Error::invalid_request(
                    "say how many backups to keep, or for how many days",
                ));
            }
            Ok(blocking(move || backups.clean_up(retention, OsClock.now(), dry_run)).await??)
        };
        let facts = what("clean_up", None);
        let cleaned = self.concord.administer(AdminAction::Backup, facts, clean).await?;
        let names = |names: Vec<BackupName>| names.iter().map(BackupName::to_string).collect();
        Ok(CleanedBackups {
            removed: names(cleaned.removed),
            kept: names(cleaned.kept),
            damaged: names(cleaned.damaged),
        })
    }

    /// A backup's file, for its bytes.
    pub(crate) async fn open(&self, name: &str) -> Result<BackupFile, Error> {
        let open = async |_: Node<Store>| {
            let (backups, name) = self.find(name).await?;
            Ok(blocking(move || backups.open(&name)).await??)
        };
        let facts = what("download", Some(name));
        self.concord.administer(AdminAction::Backup, facts, open).await
    }

    /// Where a backup is, for somebody who may know.
    async fn find(&self, name: &str) -> Result<(BackupRepository, BackupName), Error> {
        let name = BackupName::parse(name)?;
        let backups = self.repository();
        let (looked, wanted) = (backups.clone(), name.clone());
        if blocking(move || looked.contains(&wanted)).await?? {
            return Ok((backups, name));
        }
        Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no backup {name}"),
        ))
    }

    fn repository(&self) -> BackupRepository {
        self.concord.service().backups().repository.clone()
    }

    /// The view to be kept, and what is said of it. In the audit log it is the backup: with it
    /// everything that there is can leave.
    async fn cut(&self) -> Result<(BackupHeader, ReadView), Error> {
        let (consistency, timeout) = (self.consistency, self.concord.request_timeout());
        let cut = async |node: Node<Store>| {
            let view = node.read(consistency, Instant::now() + timeout).await?;
            Ok((node.status(), view))
        };
        let facts = what("create", None);
        let (status, view) = self.concord.administer(AdminAction::Backup, facts, cut).await?;
        let Some(cluster_id) = status.cluster_id else {
            return Err(Error::new(
                ErrorKind::NotReady,
                "this node belongs to no cluster yet",
            ));
        };
        let header = BackupHeader {
            cluster_id,
            node_id: status.node_id,
            // The view may be of an older one; no entry in it is of a later.
            term: status.term,
            applied: view.applied,
            revision: view.view.revision(),
            created_at: OsClock.now(),
            product: env!("CARGO_PKG_VERSION").to_owned(),
            counts: counts(&view.view),
        };
        // What is being restored is no part of what there is.
        Ok((header, view.view.without_restore()))
    }
}

/// What an audit line says: what is done, and to which backup, if that can be the name of one.
pub(super) fn what(change: &str, name: Option<&str>) -> Facts {
    let mut facts = vec![("change", change.to_owned().into())];
    if let Some(name) = name.and_then(|name| BackupName::parse(name).ok()) {
        facts.push(("name", name.to_string().into()));
    }
    facts
}

fn counts(view: &ReadView) -> Vec<(String, u64)> {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let statistics = view.statistics();
    let counts = [
        ("keys", statistics.usage.keys),
        ("bytes", statistics.usage.bytes),
        ("history_entries", number(statistics.history_entries)),
        ("leases", number(view.lease_count())),
        ("indexes", number(view.indexes().count())),
        ("subscriptions", number(view.subscriptions().count())),
    ];
    counts.map(|(name, count)| (name.to_owned(), count)).to_vec()
}

fn encode(
    header: &BackupHeader,
    view: &ReadView,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let (mut encoder, mut piece) = BackupEncoder::start(header)?;
    for chunk in <Store as concord_core::machine::Machine>::snapshot(view) {
        encoder.chunk(&chunk, &mut piece)?;
        if sender
            .blocking_send(Ok(std::mem::take(&mut piece).into()))
            .is_err()
        {
            return Ok(());
        }
    }
    encoder.finish(&mut piece);
    // As above: nobody may be left.
    let _ = sender.blocking_send(Ok(piece.into()));
    Ok(())
}

/// A backup on its way out.
pub struct BackupStream {
    /// The name that it would have as a file.
    pub name: String,
    /// The revision that it shows.
    pub revision: Revision,
    pieces: mpsc::Receiver<Result<Bytes, Error>>,
}

impl BackupStream {
    /// The next bytes; `None` at the end. Whether all have come, the file itself tells.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.pieces.recv().await
    }
}

impl fmt::Debug for BackupStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupStream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl BackupInfo {
    pub(crate) fn new(name: &str, file: &BackupFile) -> Self {
        let header = file.header();
        Self {
            name: name.to_owned(),
            file_bytes: file.file_bytes(),
            cluster_id: header.cluster_id,
            node_id: header.node_id,
            revision: header.revision,
            applied: header.applied,
            term: header.term,
            created_at: header.created_at,
            product: header.product.clone(),
            counts: header.counts.iter().cloned().collect(),
        }
    }
}

impl From<Listed> for ListedBackup {
    fn from(listed: Listed) -> Self {
        let name = listed.name.to_string();
        let backup = match listed.file {
            Ok(file) => Ok(BackupInfo::new(&name, &file)),
            Err(error) => Err(in_words(&error)),
        };
        Self { name, backup }
    }
}

impl From<InvalidBackupName> for Error {
    fn from(invalid: InvalidBackupName) -> Self {
        Self::invalid_request(invalid.to_string())
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Corrupt { .. } => ErrorKind::Corrupt,
            StorageError::Version { .. } | StorageError::NewerMachine { .. } => ErrorKind::Unsupported,
            StorageError::Full { .. } => ErrorKind::Overloaded,
            StorageError::TooLarge { .. } => ErrorKind::ValueTooLarge,
            // Only files of backups come here: what happens to the log stops the node.
            StorageError::Io { .. } => ErrorKind::BackupFailed,
            StorageError::Foreign { .. }
            | StorageError::Locked { .. }
            | StorageError::OtherNode { .. }
            | StorageError::OtherCluster { .. }
            | StorageError::Misuse { .. }
            | StorageError::Closed
            // Also what a later engine may add.
            | _ => ErrorKind::StorageFailed,
        };
        Self::new(kind, in_words(&error))
    }
}

/// With its cause, which says what to do.
pub(crate) fn in_words(error: &StorageError) -> String {
    if let StorageError::Io { source, .. } = error {
        return format!("{error}: {source}");
    }
    error.to_string()
}

/// Makes backups on a schedule, and removes those that are not to be kept, until the node stops.
pub(crate) fn schedule(concord: &Concord, config: &BackupConfig) {
    let Some(every) = config.interval else {
        return;
    };
    let keep = KeepBackups {
        count: config.keep_count,
        days: config.keep_days,
    };
    // Weak: a node that nobody else has stops.
    let node = Arc::downgrade(&concord.inner);
    let stopped = concord.service().node().stopped();
    tokio::spawn(run_schedule(node, stopped, every, keep));
}

async fn run_schedule(
    node: Weak<Inner>,
    mut stopped: watch::Receiver<Option<StopReason>>,
    every: Duration,
    keep: KeepBackups,
) {
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(Option::is_some) => return,
            () = tokio::time::sleep(every) => {}
        }
        let Some(inner) = node.upgrade() else {
            return;
        };
        let concord = Concord {
            inner,
            caller: Caller::Embedder,
        };
        // Each node would make its own: one is enough, and the leader's is the freshest.
        let status = concord.service().node().status();
        if status.leader != Some(status.node_id) {
            continue;
        }
        match concord.backups().create().await {
            Ok(made) => {
                tracing::info!(name = made.name, revision = %made.revision, "made a scheduled backup")
            }
            Err(error) => tracing::error!(%error, "a scheduled backup failed"),
        }
        if keep == KeepBackups::default() {
            continue;
        }
        match concord.backups().clean_up(keep, false).await {
            Ok(cleaned) if !cleaned.removed.is_empty() => {
                tracing::info!(removed = cleaned.removed.len(), "removed old backups");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "old backups could not be removed"),
        }
    }
}

/// Where a node keeps its backups, and how it went.
#[derive(Debug)]
pub(crate) struct BackupPlace {
    repository: BackupRepository,
    /// A directory of this machine for what is sent here to be restored.
    #[cfg(feature = "http")]
    arriving: PathBuf,
    counts: BackupCounts,
}

impl BackupPlace {
    /// As it is configured. Nothing is asked of a bucket yet.
    pub(crate) fn open(config: &Config) -> Result<Self, ConfigError> {
        let beside = config.data_dir.join(DIRECTORY);
        #[cfg_attr(
            not(feature = "http"),
            expect(unused_variables, reason = "nobody sends anything")
        )]
        let (repository, arriving) = match &config.backup.s3 {
            Some(s3) => (s3.backups()?, beside),
            None => {
                let directory = config.backup.dir.clone().unwrap_or(beside);
                let repository = BackupRepository::directory(&directory, Arc::new(OsDisk));
                (repository, directory)
            }
        };
        Ok(Self {
            repository,
            #[cfg(feature = "http")]
            arriving,
            counts: BackupCounts::default(),
        })
    }

    #[cfg(feature = "http")]
    pub(super) fn arriving(&self) -> &Path {
        &self.arriving
    }

    #[cfg(feature = "http")]
    pub(crate) const fn counts(&self) -> &BackupCounts {
        &self.counts
    }
}

impl S3Config {
    /// The backups that are there, for who has no node: to check them, or to make a data directory of one. What can be
    /// called on it blocks, and is not for tasks of a runtime. Nothing is asked of the bucket yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration: also that this program is built without the feature `s3`.
    pub fn backups(&self) -> Result<BackupRepository, ConfigError> {
        #[cfg(feature = "s3")]
        return Ok(BackupRepository::new(Arc::new(crate::s3::Bucket::open(self)?)));
        #[cfg(not(feature = "s3"))]
        return Err(crate::config::no_s3());
    }
}

/// What became of the backups that this node was to make.
#[derive(Debug, Default)]
pub(crate) struct BackupCounts {
    /// That were made.
    pub(crate) made: AtomicU64,
    /// That were not.
    pub(crate) failed: AtomicU64,
    /// When the last one was made, by this node's clock; 0 as long as none was.
    pub(crate) made_at_ms: AtomicU64,
}

impl BackupCounts {
    fn count(&self, made: &Result<BackupInfo, Error>) {
        match made {
            Ok(_) => {
                self.made.fetch_add(1, Ordering::Relaxed);
                self.made_at_ms.store(OsClock.now().get(), Ordering::Relaxed);
            }
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

pub(crate) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::new(ErrorKind::ShuttingDown, "the node is stopping"))
}

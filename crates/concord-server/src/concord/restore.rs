//! Restoring a backup into the cluster that runs: all of it at one revision, or nothing.
//!
//! ```text
//!   file ── every byte checked ──> begin ──> pieces, through the log ──> commit: the cluster shows the backup
//!                                                  └ anything wrong, or silence for a minute: forgotten
//! ```
//!
//! Not here: what a step does to the state, which is `concord_core::restore`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_auth::AdminAction;
use concord_core::Store;
use concord_core::ids::Revision;
use concord_core::limits::RESTORE_PIECE_BYTES_MAX;
use concord_core::machine::{Machine as _, Restorer as _};
use concord_core::reply::Reply;
use concord_core::restore::{RestoreId, RestoreStep};
use concord_core::version::{ClusterVersion, MachineVersion};
use concord_raft::backup::BackupFile;
use concord_raft::node::Node;
use concord_raft::os::OsDisk;
#[cfg(feature = "http")]
use concord_raft::ports::{Disk as _, DiskFile, OpenMode};
use concord_raft::{ReadConsistency, StorageError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Concord;
use super::backup::{BackupInfo, Backups, blocking, what};
use crate::error::{Error, ErrorKind};
use crate::service::random;
use crate::telemetry::Event;

/// Bytes of the snapshot in one request: few enough that the writes of others go on between two of them.
const PIECE_BYTES: usize = RESTORE_PIECE_BYTES_MAX / 8;
/// Chunks that are read ahead of those that are sent.
const CHUNKS_AHEAD: usize = 2;
/// How long a step is tried while the cluster has no leader; less than the cluster waits for the next one.
const STEP_PATIENCE: Duration = Duration::from_secs(40);
/// Between two attempts of a step.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// What a restore leaves as it is, and what it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Tokens, roles, tenants and their quotas stay as they are now. Without this the backup's are there again: also
    /// tokens that were revoked since.
    pub keep_policy: bool,
    /// Take a backup of another cluster. Revisions and leases that somebody remembers of this cluster may mean
    /// something else in it.
    pub other_cluster: bool,
}

/// A backup that the cluster shows now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoredBackup {
    /// The revision at which that happened. Whatever was before it is compacted.
    pub revision: Revision,
    /// The backup.
    pub backup: BackupInfo,
}

/// How far a restore is that is under way in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreProgress {
    /// How many pieces have come, of at most a mebibyte each.
    pub pieces: u64,
    /// Whether those were all.
    pub is_complete: bool,
    /// Keys so far.
    pub keys: u64,
}

impl Backups<'_> {
    /// Restores a backup of the directory of this node into the running cluster. Reads and writes go on meanwhile,
    /// with what is there now; then all of it gives way to the backup, at one revision that is greater than any
    /// before. If it fails or is interrupted, nothing has changed. Of two restores at once the later one wins.
    ///
    /// # Errors
    ///
    /// `corrupt`, `unsupported` or `invalid_request` if the backup is damaged, of a newer release or of another
    /// cluster, before anything is done; `not_found` if there is none of that name or another restore has begun;
    /// those of a write.
    pub async fn restore(&self, name: &str, options: RestoreOptions) -> Result<RestoredBackup, Error> {
        let _turn = self.restore_turn()?;
        let file = self.open(name).await?;
        self.restore_from(name, file, options).await
    }

    /// Restores a backup that is a file of this machine: see [`Self::restore`].
    ///
    /// # Errors
    ///
    /// As [`Self::restore`].
    pub async fn restore_file(&self, path: &Path, options: RestoreOptions) -> Result<RestoredBackup, Error> {
        let _turn = self.restore_turn()?;
        self.permit_restore().await?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let path = path.to_path_buf();
        let file = blocking(move || BackupFile::open(Arc::new(OsDisk), &path)).await??;
        self.restore_from(&name, file, options).await
    }

    /// How far the restore is that is under way in the cluster, if one is; as this node knows it.
    ///
    /// # Errors
    ///
    /// Those of a read.
    pub async fn restore_progress(&self) -> Result<Option<RestoreProgress>, Error> {
        let progress = async |_: Node<Store>| {
            let status = self.concord.service().restore_status();
            Ok(status.map(|status| RestoreProgress {
                pieces: status.pieces,
                is_complete: status.is_complete,
                keys: u64::try_from(status.keys).unwrap_or(u64::MAX),
            }))
        };
        let facts = what("restore_progress", None);
        self.concord
            .administer(AdminAction::Backup, facts, progress)
            .await
    }

    /// One restore at a time is driven by a node.
    fn restore_turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Error> {
        self.concord
            .service()
            .restore_turn()
            .ok_or_else(|| Error::new(ErrorKind::Overloaded, "this node is restoring a backup already"))
    }

    async fn permit_restore(&self) -> Result<(), Error> {
        let (caller, timeout) = (self.concord.caller(), self.concord.request_timeout());
        let service = self.concord.service();
        service.permit(caller, AdminAction::Restore, timeout).await
    }

    async fn restore_from(
        &self,
        name: &str,
        file: BackupFile,
        options: RestoreOptions,
    ) -> Result<RestoredBackup, Error> {
        let facts = vec![
            ("name", name.to_owned().into()),
            ("backup_revision", file.header().revision.get().into()),
            ("keep_policy", u64::from(options.keep_policy).into()),
        ];
        let backup = BackupInfo::new(name, &file);
        let restore = async |node: Node<Store>| {
            self.check(&node, &file, options).await?;
            Restoring {
                concord: self.concord,
                restore: RestoreId::new(u128::from_be_bytes(*random()?)),
            }
            .run(&node, file, options)
            .await
        };
        let revision = self
            .concord
            .administer(AdminAction::Restore, facts, restore)
            .await?;
        tracing::warn!(name, %revision, "a backup was restored: the cluster shows what it holds");
        let service = self.concord.service();
        service.telemetry().tell(|| Event::BackupRestored {
            revision,
            keys: service.node().published().view.statistics().usage.keys,
        });
        Ok(RestoredBackup { revision, backup })
    }

    /// Everything that can be said against a backup before the cluster hears of it.
    async fn check(
        &self,
        node: &Node<Store>,
        file: &BackupFile,
        options: RestoreOptions,
    ) -> Result<(), Error> {
        let (ours, theirs) = (node.status().cluster_id, file.header().cluster_id);
        if ours != Some(theirs) && !options.other_cluster {
            let ours = ours.unwrap_or_default();
            let message = format!(
                "the backup is of cluster {theirs:032x} and this is {ours:032x}; ask for another cluster's to be taken if that is meant"
            );
            return Err(Error::invalid_request(message).with("reason", "other_cluster".to_owned()));
        }
        let (whole, first) = (file.clone(), file.clone());
        blocking(move || whole.verify(|_| {})).await??;
        let needed = blocking(move || machine_of(&first)).await??;
        let deadline = Instant::now() + self.concord.request_timeout();
        wait_for_machine(|| node.status().machine.version, needed, deadline).await
    }
}

/// A new cluster is of the oldest machine until its members have said what they know (I24): a moment, for which a
/// backup waits that is of a newer one.
async fn wait_for_machine(
    ours: impl Fn() -> MachineVersion,
    needed: ClusterVersion,
    deadline: Instant,
) -> Result<(), Error> {
    let ClusterVersion {
        version: needed,
        release,
    } = needed;
    while ours() < needed {
        if needed > MachineVersion::NEWEST || Instant::now() >= deadline {
            let message = format!(
                "the backup is of machine version {needed}, and this cluster is at {}: every member has to be of Concord {release} or later",
                ours()
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        tokio::time::sleep(STEP_PAUSE).await;
    }
    Ok(())
}

/// Of which machine the state in a backup is.
fn machine_of(file: &BackupFile) -> Result<ClusterVersion, StorageError> {
    let mut restorer = Store::restorer();
    if let Some(first) = file.chunks()?.next() {
        // What it makes of the rest is judged where it is applied.
        let _ = restorer.feed(&first?);
    }
    Ok(restorer.version())
}

/// A restore that is driven from here.
struct Restoring<'a> {
    concord: &'a Concord,
    restore: RestoreId,
}

impl Restoring<'_> {
    async fn run(
        &self,
        node: &Node<Store>,
        file: BackupFile,
        options: RestoreOptions,
    ) -> Result<Revision, Error> {
        let keep_policy = options.keep_policy;
        self.step(RestoreStep::Begin { keep_policy }).await?;
        let outcome = self.bring(node, file, keep_policy).await;
        if outcome.is_err() {
            // If nobody takes this the cluster forgets the restore by itself.
            let _ = self.attempt(RestoreStep::Abort).await;
        }
        outcome
    }

    async fn bring(
        &self,
        node: &Node<Store>,
        file: BackupFile,
        keep_policy: bool,
    ) -> Result<Revision, Error> {
        let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || read(&file, &sender));
        let mut number = 0_u64;
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            let mut left = chunk;
            while !left.is_empty() {
                let bytes = left.split_to(left.len().min(PIECE_BYTES));
                let ends_chunk = left.is_empty();
                let piece = RestoreStep::Piece {
                    number,
                    ends_chunk,
                    bytes,
                };
                self.step(piece).await?;
                number = number.saturating_add(1);
            }
        }
        self.check_policy(node, keep_policy).await?;
        loop {
            if let Reply::Restored { revision } = self.step(RestoreStep::Commit).await? {
                return Ok(revision);
            }
        }
    }

    /// That somebody will be let in behind the restore.
    async fn check_policy(&self, node: &Node<Store>, keep_policy: bool) -> Result<(), Error> {
        if keep_policy {
            return Ok(());
        }
        let deadline = Instant::now() + self.concord.request_timeout();
        let latest = node.read(ReadConsistency::Leader, deadline).await?;
        let status = latest
            .view
            .restore()
            .filter(|status| status.restore == self.restore);
        let has_policy = !latest.view.policy_list(&[], None, 1).is_empty();
        if has_policy && status.is_some_and(|status| status.policy_records == 0) {
            let message =
                "the backup has no tokens, so that nobody could use the cluster behind it: keep the policy";
            return Err(Error::invalid_request(message).with("reason", "no_tokens".to_owned()));
        }
        Ok(())
    }

    /// Has a step applied, across changes of the leader: each can be sent again.
    async fn step(&self, step: RestoreStep) -> Result<Reply, Error> {
        let deadline = Instant::now() + STEP_PATIENCE;
        let mut is_open = false;
        loop {
            let error = match self.attempt(step.clone()).await {
                Ok(Reply::RestoreFailed { .. }) => {
                    let message = "what is in the backup is no state of a store that this release knows";
                    return Err(Error::new(ErrorKind::Corrupt, message));
                }
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if is_open && step == RestoreStep::Commit && error.kind() == ErrorKind::NotFound {
                // An attempt before may have been the last.
                let message = "whether the backup was restored is not known: look at what is there";
                return Err(Error::new(ErrorKind::OutcomeUnknown, message));
            }
            let is_lost = error.kind() == ErrorKind::OutcomeUnknown;
            if !(is_lost || error.kind().is_retryable()) || Instant::now() + STEP_PAUSE >= deadline {
                return Err(error);
            }
            is_open |= is_lost;
            tokio::time::sleep(STEP_PAUSE).await;
        }
    }

    async fn attempt(&self, step: RestoreStep) -> Result<Reply, Error> {
        let (caller, timeout) = (self.concord.caller(), self.concord.request_timeout());
        let service = self.concord.service();
        service.restore_step(caller, self.restore, step, timeout).await
    }
}

/// Reads a backup ahead of whoever sends it on.
fn read(file: &BackupFile, sender: &mpsc::Sender<Result<Bytes, StorageError>>) {
    let chunks = match file.chunks() {
        Ok(chunks) => chunks,
        Err(error) => {
            // Nobody may be left to hear it, here and below.
            let _ = sender.blocking_send(Err(error));
            return;
        }
    };
    for chunk in chunks {
        let has_failed = chunk.is_err();
        if sender.blocking_send(chunk).is_err() || has_failed {
            return;
        }
    }
}

/// A backup that comes over a connection, to be restored once it is here. The file goes with this.
#[cfg(feature = "http")]
pub(crate) struct Arriving<'a> {
    backups: &'a Backups<'a>,
    path: std::path::PathBuf,
    file: Arc<dyn DiskFile>,
    received: u64,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

/// How files begin and end that came to be restored.
#[cfg(feature = "http")]
const ARRIVING: (&str, &str) = ("restore-", ".tmp");

#[cfg(feature = "http")]
impl<'a> Backups<'a> {
    /// Takes a backup from elsewhere.
    pub(crate) async fn receive(&'a self) -> Result<Arriving<'a>, Error> {
        let turn = self.restore_turn()?;
        self.permit_restore().await?;
        let directory = self.concord.service().backups().arriving().to_path_buf();
        let name = format!(
            "{}{:032x}{}",
            ARRIVING.0,
            u128::from_be_bytes(*random()?),
            ARRIVING.1
        );
        let path = directory.join(name);
        let opened = path.clone();
        let file = blocking(move || {
            let failed = |error| StorageError::io("create", &opened, 0, error);
            OsDisk.create_dir_all(&directory).map_err(failed)?;
            // What a node left that was killed meanwhile: one at a time comes.
            for name in OsDisk.list(&directory).map_err(failed)? {
                if name.starts_with(ARRIVING.0) && name.ends_with(ARRIVING.1) {
                    OsDisk.remove(&directory.join(name)).map_err(failed)?;
                }
            }
            OsDisk.open(&opened, OpenMode::Create).map_err(failed)
        })
        .await??;
        Ok(Arriving {
            backups: self,
            path,
            file: Arc::from(file),
            received: 0,
            _turn: turn,
        })
    }
}

#[cfg(feature = "http")]
impl Arriving<'_> {
    /// Keeps some more of it.
    pub(crate) async fn take(&mut self, bytes: Bytes) -> Result<(), Error> {
        let (file, path, offset) = (Arc::clone(&self.file), self.path.clone(), self.received);
        self.received = offset.saturating_add(bytes.len() as u64);
        blocking(move || {
            file.write_all_at(&bytes, offset)
                .map_err(|error| StorageError::io("write", &path, offset, error))
        })
        .await??;
        Ok(())
    }

    /// Restores it.
    pub(crate) async fn restore(self, options: RestoreOptions) -> Result<RestoredBackup, Error> {
        let path = self.path.clone();
        let file = blocking(move || BackupFile::open(Arc::new(OsDisk), &path)).await??;
        self.backups
            .restore_from("sent with the request", file, options)
            .await
    }
}

#[cfg(feature = "http")]
impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if let Err(error) = OsDisk.remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove what came to be restored");
        }
    }
}

#[cfg(test)]
mod tests {
    use concord_core::version::Release;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn needs(version: MachineVersion) -> ClusterVersion {
        let release = Release::new(7, 8, 9);
        ClusterVersion { version, release }
    }

    /// I24: what a backup holds is applied only where every member knows how.
    #[tokio::test(start_paused = true)]
    async fn a_restore_waits_until_the_cluster_is_the_machine_of_the_backup() {
        let began = Instant::now();
        let raised_at = began + Duration::from_secs(3);
        let ours = || match Instant::now() < raised_at {
            true => MachineVersion::BASE,
            false => MachineVersion::NEWEST,
        };
        let waited = wait_for_machine(ours, needs(MachineVersion::NEWEST), began + PATIENCE).await;
        assert!(waited.is_ok() && Instant::now() >= raised_at, "{waited:?}");
        assert!(Instant::now() < raised_at + STEP_PAUSE * 2);
        for is_no_newer in [MachineVersion::BASE, MachineVersion::NEWEST] {
            let at_once = Instant::now();
            let waited = wait_for_machine(ours, needs(is_no_newer), at_once).await;
            assert!(waited.is_ok() && Instant::now() == at_once, "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restore_ends_with_who_has_to_change_if_the_cluster_stays_what_it_is() {
        let (began, ours) = (Instant::now(), || MachineVersion::BASE);
        let refused = wait_for_machine(ours, needs(MachineVersion::NEWEST), began + PATIENCE).await;
        let error = refused.unwrap_err();
        assert!(began.elapsed() >= PATIENCE && began.elapsed() < PATIENCE + STEP_PAUSE * 2);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        for part in [
            "machine version 2",
            "this cluster is at 1",
            "Concord 7.8.9 or later",
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
        // This program never can: no wait helps.
        let at_once = Instant::now();
        let newer = needs(MachineVersion::new(MachineVersion::NEWEST.get() + 1));
        let refused = wait_for_machine(|| MachineVersion::NEWEST, newer, at_once + PATIENCE).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(Instant::now(), at_once);
    }
}

//! A cluster of its own out of a survivor's data directory, when the quorum is lost for good.
//!
//! What the survivor has is its newest snapshot and its log, and all of both is kept, the
//! entries that it does not know to be committed included: one of them may have been
//! acknowledged by nodes that are gone, and then it must not be lost; none of them was ever
//! refused to anybody. What may be lost is what never reached this node.
//!
//! ```text
//!   DIR/recovering/   the new state is written, whole
//!   DIR/before-<ms>/  identity, promise, removed and snapshots go here; new snapshots come
//!                     then the log goes and comes; the new identity comes last
//! ```
//!
//! At every moment in between there is data without an identity, which no node starts with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::batch::Batch;
use concord_core::ids::{LogIndex, NodeId, Revision, Term, Timestamp};
use concord_core::machine::{Machine, Meta};

use super::readonly::ReadOnly;
use super::{OfflineError, found};
use crate::adapter::state_machine::recover;
use crate::identity::{self, IDENTITY, LOG, SNAPSHOTS};
use crate::log::{self, Host, Survey};
use crate::ports::{Disk, DiskLock, Entropy, PeerIdentity};
use crate::snapshot_store::SnapshotStore;
use crate::storage_error::StorageError;
use crate::types::{Entry, LogId, Membership, Payload, log_id};
use crate::versions;

const WORKSHOP: &str = "recovering";

/// What a survivor has, and what may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurvivorFacts {
    /// Who the directory belongs to.
    pub identity: PeerIdentity,
    /// The members that the survivor knows of, with their addresses.
    pub members: Vec<(NodeId, String)>,
    /// The entry that its newest snapshot ends with.
    pub snapshot: Option<LogIndex>,
    /// The last entry that it knows to be committed. Others may have known of more.
    pub committed: Option<LogIndex>,
    /// The last entry that it has: the new cluster begins behind it.
    pub last: LogIndex,
    /// The term of that entry.
    pub term: Term,
    /// Entries behind the last one known to be committed. They are kept: each may or may not
    /// have been acknowledged.
    pub unconfirmed_entries: u64,
    /// Requests in them.
    pub unconfirmed_requests: u64,
    /// The revision that the new cluster begins with.
    pub revision: Revision,
    /// The latest term that this node has heard of. If it is later than `term`, another leader
    /// may have taken writes that never came here.
    pub latest_term: Term,
}

/// A cluster that was forced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forced {
    /// The only member of the new cluster.
    pub identity: PeerIdentity,
    /// Where everything is that was in the directory before.
    pub saved: PathBuf,
}

/// A survivor's data directory, read and locked. Nothing is changed before
/// [`Survivor::force_new_cluster`].
pub struct Survivor<M: Machine> {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    machine: M,
    applied: LogId,
    facts: SurvivorFacts,
    _lock: Box<dyn DiskLock>,
}

impl<M: Machine> std::fmt::Debug for Survivor<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Survivor")
            .field("root", &self.root)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Survivor<M> {
    /// Reads all that a stopped node has, checking every byte.
    ///
    /// # Errors
    ///
    /// [`StorageError::Locked`] while a node runs in it, [`OfflineError::NoMember`], and damage.
    pub fn open(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, OfflineError> {
        let no_member = || OfflineError::NoMember {
            directory: root.to_path_buf(),
        };
        let exists = disk.exists(&root.join(IDENTITY));
        if !exists.map_err(|e| StorageError::io("look for", &root.join(IDENTITY), 0, e))? {
            return Err(no_member());
        }
        let lock = identity::lock(&*disk, root)?;
        let identity = identity::read_identity(&*disk, root)?.ok_or_else(no_member)?;
        let cluster_id = identity.cluster_id.ok_or_else(no_member)?;
        let reading: Arc<dyn Disk> = Arc::new(ReadOnly(Arc::clone(&disk)));
        let log = log::survey(&root.join(LOG), identity.store_id, &reading)?;
        let mut rebuilt = Rebuilt::<M>::from_snapshot(root, &reading, cluster_id)?;
        let snapshot = rebuilt.applied.map(|applied| LogIndex::new(applied.index));
        rebuilt.replay(root, &log)?;
        let Some(applied) = rebuilt.applied else {
            return Err(no_member());
        };
        let latest_term = log.vote.map_or(0, |vote| vote.leader_id.term);
        let facts = SurvivorFacts {
            identity,
            members: rebuilt.members(),
            snapshot,
            committed: log.committed.map(|id| LogIndex::new(id.index)),
            last: LogIndex::new(applied.index),
            term: Term::new(applied.leader_id.term),
            unconfirmed_entries: rebuilt.unconfirmed_entries,
            unconfirmed_requests: rebuilt.unconfirmed_requests,
            revision: M::revision_of(&rebuilt.machine.view()),
            latest_term: Term::new(latest_term.max(applied.leader_id.term)),
        };
        Ok(Self {
            root: root.to_path_buf(),
            disk,
            machine: rebuilt.machine,
            applied,
            facts,
            _lock: lock,
        })
    }

    /// What it has, and what may be lost.
    pub const fn facts(&self) -> &SurvivorFacts {
        &self.facts
    }

    /// Makes the directory that of a cluster with one member, under a new cluster id and a new
    /// store id, so that no member of the old cluster takes it for one of its own. What was in
    /// it is kept beside.
    ///
    /// # Errors
    ///
    /// The storage error. What was there is then still there, in `saved` or in its place, and
    /// no node starts with a mixture.
    pub fn force_new_cluster(
        mut self,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Forced, OfflineError> {
        self.machine.resume_at(now);
        let view = self.machine.view();
        let identity = found::draw(Some(self.facts.identity.node_id), entropy);
        let workshop = self.root.join(WORKSHOP);
        let occupied = self.exists(&workshop)?;
        if occupied {
            return Err(OfflineError::NotEmpty {
                directory: self.root.clone(),
                entry: format!("{WORKSHOP}, left by an interrupted recovery; remove it"),
            });
        }
        // The next leader's term is later than any that a member of the old cluster can have
        // told this node of.
        let applied = log_id(self.facts.latest_term.get(), self.applied.index);
        self.make_directory(&workshop)?;
        found::write_state::<M>(&workshop, &self.disk, &identity, applied, &view)?;
        let saved = self.root.join(format!("before-{:013}", now.get()));
        self.make_directory(&saved)?;
        for name in [IDENTITY, "promise", "removed", SNAPSHOTS] {
            self.move_over(&self.root, &saved, name)?;
        }
        self.move_over(&workshop, &self.root, SNAPSHOTS)?;
        self.move_over(&self.root, &saved, LOG)?;
        self.move_over(&workshop, &self.root, LOG)?;
        identity::write_identity(&*self.disk, &self.root, &identity)?;
        Ok(Forced { identity, saved })
    }

    fn make_directory(&self, path: &Path) -> Result<(), StorageError> {
        self.disk
            .create_dir_all(path)
            .map_err(|e| StorageError::io("create directory", path, 0, e))
    }

    fn exists(&self, path: &Path) -> Result<bool, StorageError> {
        self.disk
            .exists(path)
            .map_err(|e| StorageError::io("look for", path, 0, e))
    }

    /// Moves a file or directory, durably, if it is there.
    fn move_over(&self, from: &Path, to: &Path, name: &str) -> Result<(), StorageError> {
        let (source, target) = (from.join(name), to.join(name));
        if !self.exists(&source)? {
            return Ok(());
        }
        self.disk
            .rename(&source, &target)
            .map_err(|e| StorageError::io("rename", &source, 0, e))?;
        for directory in [to, from] {
            self.disk
                .sync_dir(directory)
                .map_err(|e| StorageError::io("sync directory", directory, 0, e))?;
        }
        Ok(())
    }
}

/// A machine on its way back.
struct Rebuilt<M> {
    machine: M,
    applied: Option<LogId>,
    membership: Membership,
    unconfirmed_entries: u64,
    unconfirmed_requests: u64,
}

impl<M: Machine> Rebuilt<M> {
    fn from_snapshot(root: &Path, disk: &Arc<dyn Disk>, cluster_id: u128) -> Result<Self, StorageError> {
        let mut rebuilt = Self {
            machine: M::empty(),
            applied: None,
            membership: Membership::default(),
            unconfirmed_entries: 0,
            unconfirmed_requests: 0,
        };
        let store = SnapshotStore::as_is(&root.join(SNAPSHOTS), Arc::clone(disk));
        let Some(file) = store.newest()? else {
            return Ok(rebuilt);
        };
        if file.header().cluster_id != cluster_id {
            return Err(StorageError::Foreign {
                file: file.path().to_path_buf(),
                found: file.header().cluster_id,
                expected: cluster_id,
            });
        }
        rebuilt.machine = recover::restore::<M>(&file, Host::Thread, M::NEWEST)?;
        rebuilt.applied = file.header().last_log_id;
        rebuilt.membership = file.header().membership.membership().clone();
        Ok(rebuilt)
    }

    /// Applies all that the log has behind the snapshot.
    fn replay(&mut self, root: &Path, log: &Survey) -> Result<(), StorageError> {
        let first = self.applied.map_or(0, |applied| applied.index + 1);
        let end = log.last.map_or(0, |last| last.index + 1);
        if first >= end {
            return Ok(());
        }
        if log.reader.readable().start > first {
            let what = format!("entries {first} and later are neither here nor in a snapshot");
            return Err(StorageError::corrupt(&root.join(LOG), 0, what));
        }
        let committed = log.committed.map(|committed| committed.index);
        for piece in log.reader.pieces_blocking(first..end) {
            for entry in piece? {
                let is_confirmed = committed.is_some_and(|committed| entry.log_id.index <= committed);
                let requests = self.apply(root, entry)?;
                if !is_confirmed {
                    self.unconfirmed_entries += 1;
                    self.unconfirmed_requests += requests;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, root: &Path, entry: Entry) -> Result<u64, StorageError> {
        let log_id = entry.log_id;
        self.applied = Some(log_id);
        match entry.payload {
            Payload::Blank => Ok(0),
            Payload::Membership(membership) => {
                self.membership = membership;
                Ok(0)
            }
            Payload::Normal(batch) => {
                let batch = Batch::decode(batch.bytes()).map_err(|error| {
                    let what = format!("entry {} cannot be read: {error}", log_id.index);
                    StorageError::corrupt(&root.join(LOG), 0, what)
                })?;
                let meta = Meta {
                    index: LogIndex::new(log_id.index),
                    term: Term::new(log_id.leader_id.term),
                };
                drop(self.machine.apply(meta, &batch));
                if let Some(needs) = versions::newer(&self.machine, M::NEWEST) {
                    return Err(StorageError::NewerMachine {
                        file: root.join(LOG),
                        what: format!("what follows entry {}", log_id.index),
                        needs,
                        known: M::NEWEST,
                    });
                }
                Ok(batch.groups.iter().map(|group| group.requests.len() as u64).sum())
            }
        }
    }

    fn members(&self) -> Vec<(NodeId, String)> {
        let nodes = self.membership.nodes();
        nodes
            .map(|(id, peer)| (NodeId::new(*id), peer.address.clone()))
            .collect()
    }
}

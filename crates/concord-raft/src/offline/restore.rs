//! A fresh data directory out of a backup.

use std::path::Path;
use std::sync::Arc;

use concord_core::ids::{NodeId, Revision, Timestamp};
use concord_core::machine::Machine;

use super::{OfflineError, found};
use crate::backup::BackupFile;
use crate::identity::{self, LOCK};
use crate::ports::{Disk, Entropy, PeerIdentity};
use crate::storage_error::StorageError;
use crate::types::log_id;

/// What a restore made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The new member of the new cluster.
    pub identity: PeerIdentity,
    /// The revision that it begins with.
    pub revision: Revision,
}

/// Makes a data directory whose node is a cluster of its own with the backup's state. What
/// runs out by itself has the time left at `now` that it had in the backup. The backup is
/// wholly verified before anything is made.
///
/// # Errors
///
/// [`OfflineError::NotEmpty`], or the storage error. What was made by then has no identity,
/// so no node starts with it; it can be removed.
pub fn restore<M: Machine>(
    backup: &BackupFile,
    root: &Path,
    node_id: Option<NodeId>,
    now: Timestamp,
    disk: &Arc<dyn Disk>,
    entropy: &dyn Entropy,
    progress: impl FnMut(u64),
) -> Result<Restored, OfflineError> {
    check_empty(root, &**disk)?;
    let mut machine = backup.machine::<M>(progress)?;
    machine.resume_at(now);
    let view = machine.view();
    disk.create_dir_all(root)
        .map_err(|e| StorageError::io("create directory", root, 0, e))?;
    let lock = identity::lock(&**disk, root)?;
    // Somebody may have come meanwhile.
    check_empty(root, &**disk)?;
    let identity = found::draw(node_id, entropy);
    let header = backup.header();
    let applied = log_id(header.term.get(), header.applied.get());
    found::write_state::<M>(root, disk, &identity, applied, &view)?;
    identity::write_identity(&**disk, root, &identity)?;
    drop(lock);
    Ok(Restored {
        identity,
        revision: M::revision_of(&view),
    })
}

fn check_empty(root: &Path, disk: &dyn Disk) -> Result<(), OfflineError> {
    let exists = disk
        .exists(root)
        .map_err(|e| StorageError::io("look for", root, 0, e))?;
    if !exists {
        return Ok(());
    }
    let entries = disk
        .list(root)
        .map_err(|e| StorageError::io("list", root, 0, e))?;
    // A fresh file system has the second.
    let found = entries
        .into_iter()
        .find(|name| name != LOCK && name != "lost+found");
    match found {
        None => Ok(()),
        Some(entry) => Err(OfflineError::NotEmpty {
            directory: root.to_path_buf(),
            entry,
        }),
    }
}

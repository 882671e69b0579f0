//! Writing the data directory of a cluster that has one member and a state already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use concord_core::machine::Machine;

use crate::config::LogConfig;
use crate::identity::{self, LOG, SNAPSHOTS};
use crate::log::{self, LogOptions};
use crate::ports::{Disk, Entropy, PeerIdentity};
use crate::snapshot_store::{SnapshotHeader, SnapshotStore};
use crate::storage_error::StorageError;
use crate::types::{LogId, Membership, Peer, StoredMembership, Vote};

/// A new member of a new cluster: every id but, perhaps, the node's is drawn.
pub(super) fn draw(node_id: Option<concord_core::ids::NodeId>, entropy: &dyn Entropy) -> PeerIdentity {
    let mut cluster_id = [0; 16];
    entropy.fill(&mut cluster_id);
    PeerIdentity {
        cluster_id: Some(u128::from_le_bytes(cluster_id).max(1)),
        ..identity::draw(node_id, entropy)
    }
}

/// Writes log and snapshots, durably, so that the log goes on behind `applied`. The caller
/// writes the identity when everything is in its place.
pub(super) fn write_state<M: Machine>(
    root: &Path,
    disk: &Arc<dyn Disk>,
    identity: &PeerIdentity,
    applied: LogId,
    view: &M::View,
) -> Result<(), StorageError> {
    let store = SnapshotStore::open(&root.join(SNAPSHOTS), Arc::clone(disk))?;
    let mut writer = store.create(SnapshotHeader {
        cluster_id: identity.cluster_id.unwrap_or_default(),
        last_log_id: Some(applied),
        membership: StoredMembership::new(Some(applied), only_member(identity)?),
    })?;
    for chunk in M::snapshot(view) {
        writer.write(&chunk)?;
    }
    writer.finish()?.verify()?;
    let segment_bytes = LogConfig::default().segment_bytes;
    let options = LogOptions::new(identity.store_id, segment_bytes);
    let (mut log, mut handle) = log::open(&root.join(LOG), options, Arc::clone(disk))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|e| StorageError::io("start a runtime for", root, 0, e))?;
    runtime.block_on(async {
        // A vote of the old term, so that the first election here is of a later one.
        log.set_vote(Vote::new(applied.leader_id.term, identity.node_id.get()))
            .await?;
        log.purge_upto(applied).await?;
        drop(log);
        handle.closed().await;
        Ok::<(), StorageError>(())
    })?;
    disk.sync_dir(root)
        .map_err(|e| StorageError::io("sync directory", root, 0, e))
}

/// The address is told to the cluster when the node starts.
fn only_member(identity: &PeerIdentity) -> Result<Membership, StorageError> {
    let id = identity.node_id.get();
    let peer = Peer {
        address: String::new(),
        store_id: identity.store_id,
    };
    let members = Membership::new(vec![BTreeSet::from([id])], BTreeMap::from([(id, peer)]));
    members.map_err(|error| StorageError::Misuse {
        what: error.to_string(),
    })
}

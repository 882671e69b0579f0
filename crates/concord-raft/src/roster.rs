//! Who was a member once and is not any more: their ids are never used again.
//!
//! A removed node that comes back with its old log could otherwise count towards a quorum
//! twice. Each node notes removals durably as it applies them; a joining node is told by
//! the one that admits it. The replicated membership itself has no place for them.
//!
//! File `removed` in the data directory; layout in `docs/log-format.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::ids::NodeId;
use parking_lot::RwLock;

use crate::codec::Decoder;
use crate::ports::Disk;
use crate::small_file::{self, Kind};
use crate::storage_error::StorageError;
use crate::types::Membership;

const KIND: Kind = Kind {
    magic: *b"CNCRDrmv",
    version: 1,
};
const FILE: &str = "removed";

/// The removed ids that this node knows of.
#[derive(Debug)]
pub(crate) struct Roster {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    removed: RwLock<BTreeSet<u64>>,
}

impl Roster {
    /// Reads what the data directory knows. Blocks.
    pub(crate) fn open(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, StorageError> {
        let path = root.join(FILE);
        let removed = match small_file::read(&*disk, &path, KIND)? {
            Some(body) => decode(&body).map_err(|what| StorageError::corrupt(&path, 0, what))?,
            None => BTreeSet::new(),
        };
        Ok(Self {
            path,
            disk,
            removed: RwLock::new(removed),
        })
    }

    /// Notes who is in `before` but not in `after`. Durable when it returns; blocks only
    /// when there is something to note.
    pub(crate) fn observe(&self, before: &Membership, after: &Membership) -> Result<(), StorageError> {
        let gone = before
            .nodes()
            .map(|(id, _)| *id)
            .filter(|id| after.get_node(id).is_none());
        self.note(gone)
    }

    /// Notes ids. Durable when it returns.
    pub(crate) fn note(&self, ids: impl IntoIterator<Item = u64>) -> Result<(), StorageError> {
        let mut removed = self.removed.write();
        let mut grown = removed.clone();
        grown.extend(ids);
        if grown.len() == removed.len() {
            return Ok(());
        }
        small_file::write(&*self.disk, &self.path, KIND, &encode(&grown))?;
        *removed = grown;
        Ok(())
    }

    /// Whether the id was removed once.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.removed.read().contains(&node.get())
    }

    /// All removed ids.
    pub(crate) fn removed(&self) -> BTreeSet<u64> {
        self.removed.read().clone()
    }
}

fn encode(removed: &BTreeSet<u64>) -> Vec<u8> {
    removed.iter().flat_map(|id| id.to_le_bytes()).collect()
}

fn decode(body: &[u8]) -> Result<BTreeSet<u64>, &'static str> {
    let mut decoder = Decoder::new(body);
    let mut removed = BTreeSet::new();
    for _ in 0..body.len() / 8 {
        removed.insert(decoder.u64()?);
    }
    decoder.end()?;
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::SimDisk;
    use crate::types::Peer;

    fn membership(ids: &[u64]) -> Membership {
        let nodes = ids.iter().map(|id| (*id, Peer::default())).collect::<Vec<_>>();
        Membership::new(
            vec![ids.iter().copied().collect()],
            nodes.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        )
        .unwrap()
    }

    #[test]
    fn removals_outlive_a_restart_and_additions_are_none() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let root = Path::new("/data");
        disk.create_dir_all(root).unwrap();
        let roster = Roster::open(root, Arc::clone(&disk)).unwrap();
        roster
            .observe(&membership(&[1, 2]), &membership(&[1, 2, 3]))
            .unwrap();
        assert!(roster.removed().is_empty());
        roster
            .observe(&membership(&[1, 2, 3]), &membership(&[1, 3]))
            .unwrap();
        drop(roster);
        let roster = Roster::open(root, disk).unwrap();
        assert!(roster.is_removed(NodeId::new(2)));
        assert!(!roster.is_removed(NodeId::new(3)));
    }
}

//! The data directory: who it belongs to, and that one process at a time has it.
//!
//! ```text
//! LOCK          held by the process that has the directory open
//! identity      node, store and (once it belongs to one) cluster id
//! log/          the write-ahead log
//! snapshots/    snapshot files
//! ```
//!
//! The store id is drawn when the directory is made. A wiped disk therefore comes back
//! with another one and is not mistaken for the member it was (I13); the cluster id is
//! written once (I14). Formats are in `docs/log-format.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::ids::NodeId;
use parking_lot::RwLock;

use crate::codec::Decoder;
use crate::ports::{Disk, DiskLock, Entropy, PeerIdentity};
use crate::small_file::{self, Kind};
use crate::storage_error::StorageError;

const KIND: Kind = Kind {
    magic: *b"CNCRDidn",
    version: 1,
};
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const IDENTITY: &str = "identity";
pub(crate) const LOG: &str = "log";
pub(crate) const SNAPSHOTS: &str = "snapshots";

/// Who this node is. Shared by everything that names it; changes once.
#[derive(Debug)]
pub struct Identity(RwLock<PeerIdentity>);

impl Identity {
    /// The identity as it is now.
    pub fn current(&self) -> PeerIdentity {
        *self.0.read()
    }
}

/// An open data directory. Dropping it gives the lock back, so it must outlive the log
/// and the snapshots in it.
#[derive(Debug)]
pub struct DataDirectory {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    identity: Arc<Identity>,
    _lock: Box<dyn DiskLock>,
}

impl DataDirectory {
    /// Opens the directory at `root`, making it if it is not there.
    ///
    /// `node_id` is the configured id: taken by a new directory (which draws one if it
    /// is `None`), compared with that of an existing one.
    ///
    /// # Errors
    ///
    /// [`StorageError::Locked`] while another process has it, [`StorageError::OtherNode`],
    /// [`StorageError::Corrupt`] if the identity is damaged, or missing beside a log.
    pub fn open(
        root: &Path,
        node_id: Option<NodeId>,
        disk: Arc<dyn Disk>,
        entropy: &dyn Entropy,
    ) -> Result<Self, StorageError> {
        disk.create_dir_all(root)
            .map_err(|e| StorageError::io("create directory", root, 0, e))?;
        let lock = lock(&*disk, root)?;
        let identity = match read_identity(&*disk, root)? {
            Some(identity) => identity,
            None => create_identity(&*disk, root, node_id, entropy)?,
        };
        if let Some(configured) = node_id
            && configured != identity.node_id
        {
            let (found, configured) = (identity.node_id.get(), configured.get());
            return Err(StorageError::OtherNode {
                directory: root.to_path_buf(),
                found,
                configured,
            });
        }
        for directory in [root.join(LOG), root.join(SNAPSHOTS)] {
            disk.create_dir_all(&directory)
                .map_err(|e| StorageError::io("create directory", &directory, 0, e))?;
        }
        disk.sync_dir(root)
            .map_err(|e| StorageError::io("sync directory", root, 0, e))?;
        let identity = Arc::new(Identity(RwLock::new(identity)));
        Ok(Self {
            root: root.to_path_buf(),
            disk,
            identity,
            _lock: lock,
        })
    }

    /// Who this directory belongs to.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// Ties the directory to a cluster, durably and for good. Call it once the log is
    /// open: from then on a missing log is damage, not a new node (I13).
    ///
    /// # Errors
    ///
    /// [`StorageError::OtherCluster`] if it belongs to another one (I14).
    pub fn join_cluster(&self, cluster_id: u128) -> Result<(), StorageError> {
        let mut identity = self.identity.0.write();
        match identity.cluster_id {
            Some(found) if found == cluster_id => Ok(()),
            Some(found) => Err(StorageError::OtherCluster {
                directory: self.root.clone(),
                found,
                wanted: cluster_id,
            }),
            None => {
                let joined = PeerIdentity {
                    cluster_id: Some(cluster_id),
                    ..*identity
                };
                write_identity(&*self.disk, &self.root, &joined)?;
                *identity = joined;
                Ok(())
            }
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the log is.
    pub fn log(&self) -> PathBuf {
        self.root.join(LOG)
    }

    /// Where the snapshots are.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join(SNAPSHOTS)
    }
}

/// Takes the lock of a data directory.
pub(crate) fn lock(disk: &dyn Disk, root: &Path) -> Result<Box<dyn DiskLock>, StorageError> {
    disk.lock(&root.join(LOCK)).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            StorageError::Locked {
                directory: root.to_path_buf(),
            }
        } else {
            StorageError::io("lock", &root.join(LOCK), 0, error)
        }
    })
}

/// Draws who a new directory belongs to; a node id unless one is given.
pub(crate) fn draw(node_id: Option<NodeId>, entropy: &dyn Entropy) -> PeerIdentity {
    let mut store_id = [0; 16];
    entropy.fill(&mut store_id);
    let node_id = node_id.unwrap_or_else(|| {
        let mut id = [0; 8];
        entropy.fill(&mut id);
        // 53 bits: exact in JSON numbers. Never 0, which means "no node".
        NodeId::new((u64::from_le_bytes(id) >> 11).max(1))
    });
    PeerIdentity {
        node_id,
        store_id: u128::from_le_bytes(store_id),
        cluster_id: None,
    }
}

/// Writes down who a directory belongs to.
pub(crate) fn write_identity(
    disk: &dyn Disk,
    root: &Path,
    identity: &PeerIdentity,
) -> Result<(), StorageError> {
    small_file::write(disk, &root.join(IDENTITY), KIND, &encode(identity))
}

/// Who a directory belongs to; `None` if nobody's data is in it.
pub(crate) fn read_identity(disk: &dyn Disk, root: &Path) -> Result<Option<PeerIdentity>, StorageError> {
    let path = root.join(IDENTITY);
    let Some(body) = small_file::read(disk, &path, KIND)? else {
        // A log without an identity is a member that lost its name: drawing a new one
        // would let it vote twice (I13).
        for directory in [LOG, SNAPSHOTS].map(|name| root.join(name)) {
            let exists = disk
                .exists(&directory)
                .map_err(|e| StorageError::io("look for", &directory, 0, e))?;
            if exists
                && !disk
                    .list(&directory)
                    .map_err(|e| StorageError::io("list", &directory, 0, e))?
                    .is_empty()
            {
                return Err(StorageError::corrupt(
                    &path,
                    0,
                    "it is missing, but there is data beside it",
                ));
            }
        }
        return Ok(None);
    };
    decode(&body)
        .map(Some)
        .map_err(|what| StorageError::corrupt(&path, 0, what))
}

fn create_identity(
    disk: &dyn Disk,
    root: &Path,
    node_id: Option<NodeId>,
    entropy: &dyn Entropy,
) -> Result<PeerIdentity, StorageError> {
    let identity = draw(node_id, entropy);
    write_identity(disk, root, &identity)?;
    Ok(identity)
}

fn encode(identity: &PeerIdentity) -> Vec<u8> {
    let mut body = Vec::with_capacity(41);
    body.extend_from_slice(&identity.node_id.get().to_le_bytes());
    body.extend_from_slice(&identity.store_id.to_le_bytes());
    body.push(u8::from(identity.cluster_id.is_some()));
    body.extend_from_slice(&identity.cluster_id.unwrap_or_default().to_le_bytes());
    body
}

fn decode(body: &[u8]) -> Result<PeerIdentity, &'static str> {
    let mut decoder = Decoder::new(body);
    let node_id = NodeId::new(decoder.u64()?);
    let store_id = decoder.u128()?;
    let (joined, cluster_id) = (decoder.flag()?, decoder.u128()?);
    decoder.end()?;
    if node_id.get() == 0 {
        return Err("its node id is 0");
    }
    Ok(PeerIdentity {
        node_id,
        store_id,
        cluster_id: joined.then_some(cluster_id),
    })
}

//! What this crate needs of the world: a disk, peers, a clock and randomness.
//!
//! Production implements them over the operating system and `concord-net`; the
//! simulator implements them over memory, one seed and virtual time. Nothing else in
//! this crate touches a file, a socket, a wall clock or a random source. (Timers and
//! tasks are tokio's, which the simulator pauses.)

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::{NodeId, Timestamp};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

/// The outside world of one node.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Other nodes.
    pub transport: Arc<dyn Transport>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; reads only.
    Read,
    /// It must exist; reads and writes.
    Write,
    /// It must not exist; it is made, for reads and writes.
    Create,
}

/// A file system, as far as the log, snapshots and identity need one. Calls block.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Makes a directory, for this user only (0700), and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Opens a file (new files 0600).
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Whether a file is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames within a file system, replacing the target. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes an exclusive lock that ends with the returned guard or the process.
    /// `WouldBlock` when another holder exists.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// Holds a lock file until dropped.
pub trait DiskLock: Debug + Send + Sync {}

/// Bytes that can be read at any place, and do not change meanwhile: a file, or an object of a bucket. Calls block.
pub trait ReadAt: Debug + Send + Sync {
    /// How many there are.
    fn size_bytes(&self) -> io::Result<u64>;
    /// Fills as much of `buffer` as there is from `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for Box<dyn DiskFile> {
    fn size_bytes(&self) -> io::Result<u64> {
        self.as_ref().len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_ref().read_at(buffer, offset)
    }
}

/// An open file with positioned I/O. Calls block.
pub trait DiskFile: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills as much of `buffer` as there is from `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file. Not durable before [`DiskFile::sync_data`].
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the written bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or grows (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Wall time. Only stamps proposals; every wait uses tokio's monotonic timers.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. May jump in either direction.
    fn now(&self) -> Timestamp;
}

/// A source of randomness fit for identities.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Where a peer is and who it must prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The node expected there; `None` while only an address is known (seeds, `--join`).
    pub node_id: Option<NodeId>,
    /// `host:port` of its peer listener.
    pub address: String,
}

/// Tells a node that looks for a cluster of members that it may ask to let it in.
///
/// It only suggests. What it says may be stale or wrong: nobody is a member before the cluster's log says so, and a node
/// joins nothing but the cluster that it was told of (I14).
pub trait Discovery: Debug + Send + Sync + 'static {
    /// The members heard of lately, the likeliest to answer first.
    fn members(&self) -> Vec<Suggestion>;
}

/// A member of a cluster, as somebody told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// Its cluster.
    pub cluster_id: u128,
    /// Its id there.
    pub node_id: NodeId,
    /// `host:port` of its peer listener.
    pub address: String,
}

/// Kinds of traffic that must not wait for each other; each has its own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes, heartbeats and other small calls.
    Control,
    /// Log replication.
    Append,
    /// Snapshot transfer.
    Snapshot,
    /// Proposals, read-index requests and administration sent to the leader.
    Forward,
}

/// Why a peer could not be reached or did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection: the request was certainly not delivered.
    #[error("peer {address} is unreachable: {reason}")]
    Unreachable {
        /// Whom we tried.
        address: String,
        /// Why, in words.
        reason: String,
    },
    /// The peer refused the hello: wrong secret, cluster, node or protocol. Not delivered.
    #[error("peer {address} refused the connection: {reason}")]
    Refused {
        /// Whom we tried.
        address: String,
        /// Why, in words.
        reason: String,
    },
    /// The connection ended after the request was sent: it may have been delivered.
    #[error("connection to {address} ended before the answer")]
    Interrupted {
        /// Whom we talked to.
        address: String,
    },
    /// No answer in time: it may have been delivered.
    #[error("no answer from {address} within {waited_ms} ms")]
    Timeout {
        /// Whom we asked.
        address: String,
        /// How long we waited.
        waited_ms: u64,
    },
    /// The message is over the frame limit. Not sent.
    #[error("message is {size_bytes} bytes, limit is {limit_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
}

/// A bidirectional, ordered, bounded stream of messages with one peer. Either half
/// ending ends the stream; a message once sent may or may not have arrived.
#[derive(Debug)]
pub struct Duplex {
    /// Messages to the peer. Waits when the peer is slow.
    pub sender: mpsc::Sender<Bytes>,
    /// Messages from the peer, in order.
    pub receiver: mpsc::Receiver<Bytes>,
}

/// Talks to peers. Messages are opaque; their meaning is this crate's (`message`).
pub trait Transport: Debug + Send + Sync + 'static {
    /// Sends a request and waits for its answer. Calls of one lane to one peer share a
    /// connection and may be answered out of order.
    fn call(
        &self,
        peer: &PeerAddress,
        lane: Lane,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Opens a message stream of its own connection.
    fn open(&self, peer: &PeerAddress, lane: Lane) -> BoxFuture<'static, Result<Duplex, TransportError>>;
}

/// Who sent something, proven by the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The node; never 0.
    pub node_id: NodeId,
    /// Random id of its data directory: tells a wiped or foreign directory from the member.
    pub store_id: u128,
    /// Its cluster; `None` while it belongs to none (bootstrap, join).
    pub cluster_id: Option<u128>,
}

/// What a node answers to its peers. Implemented by the node, driven by the transport.
pub trait Inbound: Send + Sync + 'static {
    /// Judges a peer that has proven the cluster secret, before any message of it is read.
    ///
    /// # Errors
    ///
    /// The reason, in words that may be sent to it, if it must not talk to this node.
    fn admit(&self, peer: &PeerIdentity, lane: Lane) -> Result<(), String>;
    /// Answers one request. Every input can be hostile.
    fn call(self: Arc<Self>, peer: PeerIdentity, lane: Lane, request: Bytes) -> BoxFuture<'static, Bytes>;
    /// Serves one stream until either half ends.
    fn stream(self: Arc<Self>, peer: PeerIdentity, lane: Lane, duplex: Duplex) -> BoxFuture<'static, ()>;
    /// Who this node is now. Changes once, when it joins or forms a cluster.
    fn identity(&self) -> PeerIdentity;
}

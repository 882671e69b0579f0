//! What the transport counts, for metrics. Leaves their exposition to the server.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection was refused or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Its first bytes were not a hello, or a malformed one.
    Malformed,
    /// No common protocol version.
    Version,
    /// Its proof of the cluster secret was wrong.
    Proof,
    /// It wanted another node.
    WrongNode,
    /// The node did not admit it: another cluster, a removed member, a wiped disk.
    NotAdmitted,
    /// It was not through the handshake in time.
    HandshakeTimeout,
    /// It ended the connection within the handshake.
    Abandoned,
    /// Too many connections: of all peers, of this one, or unproven ones.
    TooMany,
    /// Something that is not a frame, or not one that belongs there.
    Protocol,
    /// Nothing came from it, or it took nothing, for too long.
    Silent,
    /// Only one side uses TLS, or a certificate was not accepted.
    Tls,
}

impl RefusalReason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Version,
        Self::Proof,
        Self::WrongNode,
        Self::NotAdmitted,
        Self::HandshakeTimeout,
        Self::Abandoned,
        Self::TooMany,
        Self::Protocol,
        Self::Silent,
        Self::Tls,
    ];

    /// A stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Proof => "proof",
            Self::WrongNode => "wrong_node",
            Self::NotAdmitted => "not_admitted",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Abandoned => "abandoned",
            Self::TooMany => "too_many",
            Self::Protocol => "protocol",
            Self::Silent => "silent",
            Self::Tls => "tls",
        }
    }

    pub(crate) const fn slot(self) -> usize {
        match self {
            Self::Malformed => 0,
            Self::Version => 1,
            Self::Proof => 2,
            Self::WrongNode => 3,
            Self::NotAdmitted => 4,
            Self::HandshakeTimeout => 5,
            Self::Abandoned => 6,
            Self::TooMany => 7,
            Self::Protocol => 8,
            Self::Silent => 9,
            Self::Tls => 10,
        }
    }
}

/// A moment's figures of one transport or one listener. Everything but `open` only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetStats {
    /// Connections now.
    pub open: u64,
    /// Connections dialled or accepted, before any handshake.
    pub attempted: u64,
    /// Connections that were proven and admitted.
    pub established: u64,
    /// Dials that failed without a word of the peer.
    pub unreachable: u64,
    /// Payload and header bytes received after handshakes.
    pub bytes_received: u64,
    /// Payload and header bytes sent after handshakes.
    pub bytes_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Calls begun (transport) or served (listener).
    pub calls: u64,
    refused: [u64; RefusalReason::ALL.len()],
}

impl NetStats {
    /// Connections refused or dropped for `reason`.
    pub fn refused(&self, reason: RefusalReason) -> u64 {
        self.refused.get(reason.slot()).copied().unwrap_or(0)
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) open: AtomicU64,
    pub(crate) attempted: AtomicU64,
    pub(crate) established: AtomicU64,
    pub(crate) unreachable: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) frames_received: AtomicU64,
    pub(crate) frames_sent: AtomicU64,
    pub(crate) calls: AtomicU64,
    refused: [AtomicU64; RefusalReason::ALL.len()],
}

/// Adds to a counter. Counters order nothing, so relaxed.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn refuse(&self, reason: RefusalReason) {
        if let Some(counter) = self.refused.get(reason.slot()) {
            add(counter, 1);
        }
    }

    pub(crate) fn read(&self) -> NetStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NetStats {
            open: get(&self.open),
            attempted: get(&self.attempted),
            established: get(&self.established),
            unreachable: get(&self.unreachable),
            bytes_received: get(&self.bytes_received),
            bytes_sent: get(&self.bytes_sent),
            frames_received: get(&self.frames_received),
            frames_sent: get(&self.frames_sent),
            calls: get(&self.calls),
            refused: std::array::from_fn(|slot| self.refused.get(slot).map_or(0, get)),
        }
    }
}

/// Counts a connection as open while it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard(std::sync::Arc<Counters>);

impl OpenGuard {
    pub(crate) fn new(counters: &std::sync::Arc<Counters>) -> Self {
        add(&counters.open, 1);
        Self(std::sync::Arc::clone(counters))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_slot_and_name() {
        for (position, reason) in RefusalReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.slot(), position);
            let counters = Counters::default();
            counters.refuse(reason);
            let stats = counters.read();
            let total: u64 = RefusalReason::ALL
                .into_iter()
                .map(|other| stats.refused(other))
                .sum();
            assert_eq!((stats.refused(reason), total), (1, 1));
        }
        let names: std::collections::BTreeSet<_> = RefusalReason::ALL.map(RefusalReason::name).into();
        assert_eq!(names.len(), RefusalReason::ALL.len());
    }
}

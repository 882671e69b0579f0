//! What gossip counts, and the few lines that it logs of what it drops.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::limits::GOSSIP_WARNING_WINDOW;
use crate::stats::add;

/// Why a packet was dropped. Whoever sent it hears nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It has not the length that all packets have.
    Size,
    /// It is no packet of gossip, or it contradicts itself.
    Malformed,
    /// It is of a version that this node does not speak.
    Version,
    /// Its proof is not made with the cluster secret of this node.
    Proof,
    /// It comes from a member of another cluster.
    Cluster,
    /// It answers no question that is open: late, or sent again.
    Unasked,
    /// More came than this node looks at.
    Flood,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Size,
        Self::Malformed,
        Self::Version,
        Self::Proof,
        Self::Cluster,
        Self::Unasked,
        Self::Flood,
    ];

    /// A stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Proof => "proof",
            Self::Cluster => "cluster",
            Self::Unasked => "unasked",
            Self::Flood => "flood",
        }
    }

    const fn slot(self) -> usize {
        match self {
            Self::Size => 0,
            Self::Malformed => 1,
            Self::Version => 2,
            Self::Proof => 3,
            Self::Cluster => 4,
            Self::Unasked => 5,
            Self::Flood => 6,
        }
    }
}

/// A moment's figures. Everything but `contacts` only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GossipStats {
    /// Nodes that have answered lately.
    pub contacts: u64,
    /// Packets received, those that were dropped among them.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl GossipStats {
    /// Packets dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason.slot()).copied().unwrap_or(0)
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn receive(&self) {
        add(&self.received, 1);
    }

    pub(super) fn send(&self) {
        add(&self.sent, 1);
    }

    pub(super) fn drop_packet(&self, reason: DropReason) {
        if let Some(counter) = self.dropped.get(reason.slot()) {
            add(counter, 1);
        }
    }

    pub(super) fn read(&self, contacts: u64) -> GossipStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GossipStats {
            contacts,
            received: get(&self.received),
            sent: get(&self.sent),
            dropped: std::array::from_fn(|slot| self.dropped.get(slot).map_or(0, get)),
        }
    }
}

/// Lets one line of each reason through in each window: anybody can send packets.
#[derive(Debug, Default)]
pub(super) struct Warnings([Option<Instant>; DropReason::ALL.len()]);

impl Warnings {
    pub(super) fn admit(&mut self, reason: DropReason, now: Instant) -> bool {
        // What comes late is nobody's fault.
        if reason == DropReason::Unasked {
            return false;
        }
        let Some(last) = self.0.get_mut(reason.slot()) else {
            return false;
        };
        let is_due = last.is_none_or(|last| now.duration_since(last) >= GOSSIP_WARNING_WINDOW);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        for (position, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.slot(), position);
            let counters = Counters::default();
            counters.drop_packet(reason);
            let stats = counters.read(0);
            let total: u64 = DropReason::ALL.map(|other| stats.dropped(other)).iter().sum();
            assert_eq!((stats.dropped(reason), total), (1, 1));
        }
        let names: std::collections::BTreeSet<_> = DropReason::ALL.map(DropReason::name).into();
        assert_eq!(names.len(), DropReason::ALL.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_bad_packets_is_one_line_a_minute_for_each_reason() {
        let mut warnings = Warnings::default();
        let count = |warnings: &mut Warnings, reason| {
            (0..100)
                .filter(|_| warnings.admit(reason, Instant::now()))
                .count()
        };
        assert_eq!(count(&mut warnings, DropReason::Proof), 1);
        assert_eq!(count(&mut warnings, DropReason::Size), 1);
        assert_eq!(count(&mut warnings, DropReason::Unasked), 0);
        tokio::time::advance(GOSSIP_WARNING_WINDOW).await;
        assert_eq!(count(&mut warnings, DropReason::Proof), 1);
    }
}

//! Which connections a listener has, and which it may have.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use concord_core::ids::NodeId;
use concord_raft::ports::{Inbound, Lane, PeerIdentity};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::NetConfig;

/// The places of a listener. A place is held by a guard and comes back with its drop.
#[derive(Debug)]
pub(crate) struct Registry {
    connections_max: usize,
    unproven_max: usize,
    per_peer_max: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    connections: usize,
    next_id: u64,
    /// Oldest first.
    unproven: VecDeque<(u64, CancellationToken)>,
    of_peer: HashMap<NodeId, usize>,
}

/// A connection that has not proven itself. `evicted` is cancelled when it must go.
#[derive(Debug)]
pub(crate) struct Unproven {
    registry: Arc<Registry>,
    id: u64,
    pub(crate) evicted: CancellationToken,
}

/// A connection of a proven peer. Also held by the work that it left behind, so that a
/// peer cannot pile up work by reconnecting.
#[derive(Debug)]
pub(crate) struct Proven {
    registry: Arc<Registry>,
    peer: NodeId,
}

/// Whom this node admitted, and as whom it did: when it becomes somebody else (it forms or
/// joins a cluster), the judgement is made again.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) peer: PeerIdentity,
    lane: Lane,
    judged_as: Mutex<PeerIdentity>,
}

impl Standing {
    pub(crate) fn new(peer: PeerIdentity, lane: Lane, judged_as: PeerIdentity) -> Self {
        Self {
            peer,
            lane,
            judged_as: Mutex::new(judged_as),
        }
    }

    /// Whether the peer is still admitted.
    pub(crate) fn holds(&self, inbound: &dyn Inbound) -> bool {
        let own = inbound.identity();
        if *self.judged_as.lock() == own {
            return true;
        }
        let admitted = inbound.admit(&self.peer, self.lane).is_ok();
        if admitted {
            *self.judged_as.lock() = own;
        }
        admitted
    }
}

impl Registry {
    pub(crate) fn new(config: &NetConfig) -> Arc<Self> {
        Arc::new(Self {
            connections_max: config.connections_max.max(1),
            unproven_max: config.unproven_max.max(1),
            per_peer_max: config.connections_per_peer_max.max(1),
            places: Mutex::default(),
        })
    }

    /// A place for a new connection; the oldest unproven one makes room if there is none.
    /// `None` when only proven ones are left.
    pub(crate) fn accept(self: &Arc<Self>) -> Option<(Unproven, bool)> {
        let mut places = self.places.lock();
        let full = places.connections >= self.connections_max || places.unproven.len() >= self.unproven_max;
        if full {
            // It is counted until its task is gone, so both maxima may be passed for that moment.
            let (_, oldest) = places.unproven.pop_front()?;
            oldest.cancel();
        }
        places.connections += 1;
        let id = places.next_id;
        places.next_id += 1;
        let evicted = CancellationToken::new();
        places.unproven.push_back((id, evicted.clone()));
        Some((
            Unproven {
                registry: Arc::clone(self),
                id,
                evicted,
            },
            full,
        ))
    }

    /// A place among a proven peer's connections, if it has one left.
    pub(crate) fn prove(self: &Arc<Self>, peer: NodeId) -> Option<Proven> {
        let mut places = self.places.lock();
        let count = places.of_peer.entry(peer).or_default();
        if *count >= self.per_peer_max {
            return None;
        }
        *count += 1;
        places.connections += 1;
        Some(Proven {
            registry: Arc::clone(self),
            peer,
        })
    }

    #[cfg(test)]
    fn counts(&self) -> (usize, usize, usize) {
        let places = self.places.lock();
        (places.connections, places.unproven.len(), places.of_peer.len())
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        let mut places = self.registry.places.lock();
        places.connections -= 1;
        places.unproven.retain(|(id, _)| *id != self.id);
    }
}

impl Drop for Proven {
    fn drop(&mut self) {
        let mut places = self.registry.places.lock();
        places.connections -= 1;
        if let Some(count) = places.of_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                places.of_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(connections_max: usize, unproven_max: usize) -> Arc<Registry> {
        Registry::new(&NetConfig {
            connections_max,
            unproven_max,
            connections_per_peer_max: 2,
            ..NetConfig::default()
        })
    }

    #[test]
    fn flood_evicts_the_oldest_unproven_connection() {
        let registry = registry(10, 2);
        let (first, _) = registry.accept().unwrap();
        let (second, evicted_any) = registry.accept().unwrap();
        assert!(!evicted_any && !first.evicted.is_cancelled());
        let (_third, evicted_any) = registry.accept().unwrap();
        assert!(evicted_any && first.evicted.is_cancelled() && !second.evicted.is_cancelled());
    }

    #[test]
    fn proven_connections_are_never_evicted() {
        let registry = registry(2, 2);
        let proven = [
            registry.prove(NodeId::new(1)).unwrap(),
            registry.prove(NodeId::new(2)).unwrap(),
        ];
        assert!(registry.accept().is_none());
        drop(proven);
        assert!(registry.accept().is_some());
    }

    #[test]
    fn peer_has_its_share_and_gets_it_back() {
        let registry = registry(10, 2);
        let kept = registry.prove(NodeId::new(1)).unwrap();
        let other = registry.prove(NodeId::new(1)).unwrap();
        assert!(registry.prove(NodeId::new(1)).is_none());
        assert!(registry.prove(NodeId::new(2)).is_some());
        drop(other);
        assert!(registry.prove(NodeId::new(1)).is_some());
        drop(kept);
        assert_eq!(registry.counts(), (0, 0, 0));
    }
}

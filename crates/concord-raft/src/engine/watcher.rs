//! Follows openraft: passes on who leads and where members are, and notices when it, the
//! log or this node's membership ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use concord_core::ids::{NodeId, Term};
use concord_core::machine::Machine;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::RaftMetrics;
use tokio::sync::watch;

use super::Engine;
use crate::consensus::{LeaderRef, Leadership};
use crate::error::StopReason;
use crate::log::LogHealth;
use crate::ports::PeerAddress;
use crate::types::{Peer, TypeConfig};

/// Runs until the node stops.
pub(super) async fn run<M: Machine>(engine: Arc<Engine<M>>, mut health: watch::Receiver<LogHealth>) {
    let mut metrics = engine.metrics.clone();
    let mut log_open = true;
    loop {
        let now = metrics.borrow_watched().clone();
        // The log first: openraft stops because of it, and says less about it.
        if let LogHealth::Failed(error) = &*health.borrow_and_update() {
            engine.stop.set(StopReason::Storage {
                reason: error.to_string(),
            });
        }
        engine.observe(&now);
        if engine.stop.reason().is_some() {
            engine
                .leadership
                .send_if_modified(|leadership| leadership.leader.take().is_some());
            return;
        }
        tokio::select! {
            biased;
            changed = health.changed(), if log_open => log_open = changed.is_ok(),
            changed = metrics.changed() => if changed.is_err() {
                engine.stop.set(StopReason::Shutdown);
            },
            _ = engine.stop.stopped() => {}
        }
    }
}

impl<M: Machine> Engine<M> {
    fn observe(&self, now: &RaftMetrics<TypeConfig<M>>) {
        if let Err(fatal) = &now.running_state {
            self.stop.set(match fatal {
                Fatal::StorageError(error) => StopReason::Storage {
                    reason: error.to_string(),
                },
                Fatal::Panicked => StopReason::Defect {
                    reason: fatal.to_string(),
                },
                Fatal::Stopped => StopReason::Shutdown,
            });
            return;
        }
        let peers: BTreeMap<u64, Peer> = now
            .membership_config
            .nodes()
            .map(|(id, peer)| (*id, peer.clone()))
            .collect();
        if !peers.is_empty() {
            self.book.replace(peers);
        }
        let current = self.leadership_of(now);
        self.leadership.send_if_modified(|leadership| {
            let changed = *leadership != current;
            if changed {
                *leadership = current;
            }
            changed
        });
        if self.roster.is_removed(self.node_id) && now.state != ServerState::Leader {
            self.stop.set(StopReason::Removed);
        }
    }

    fn leadership_of(&self, now: &RaftMetrics<TypeConfig<M>>) -> Leadership {
        let leader = match now.current_leader {
            Some(id) if id == self.node_id.get() => {
                (now.state == ServerState::Leader).then_some(LeaderRef::Local)
            }
            Some(id) => self.book.get(id).map(|peer| {
                LeaderRef::Remote(PeerAddress {
                    node_id: Some(NodeId::new(id)),
                    address: peer.address,
                })
            }),
            None => None,
        };
        Leadership {
            term: Term::new(now.current_term),
            leader,
        }
    }
}

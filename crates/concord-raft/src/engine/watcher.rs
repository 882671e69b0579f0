//! Follows openraft: passes on who leads and where members are, and notices when it, the
//! log or this node's membership ends.
//!
//! It follows the metrics that change with votes and memberships only, not those that
//! change with every entry: it runs beside the write path.

use std::collections::BTreeMap;
use std::sync::Arc;

use concord_core::ids::{NodeId, Term};
use concord_core::machine::Machine;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::RaftServerMetrics;
use tokio::sync::watch;

use super::Engine;
use crate::consensus::{LeaderRef, Leadership};
use crate::error::StopReason;
use crate::log::LogHealth;
use crate::node::report::role_of;
use crate::observe::Standing;
use crate::ports::PeerAddress;
use crate::types::{Peer, TypeConfig};

/// Runs until the node stops.
pub(super) async fn run<M: Machine>(engine: Arc<Engine<M>>, mut health: watch::Receiver<LogHealth>) {
    let mut metrics = engine.server.clone();
    let (mut log_open, mut core_open) = (true, true);
    loop {
        let now = metrics.borrow_watched().clone();
        // The log first: openraft stops because of it, and says less about it.
        if let LogHealth::Failed(error) = &*health.borrow_and_update() {
            engine.stop.set(StopReason::Storage {
                reason: error.to_string(),
            });
        }
        if !core_open {
            engine.stop.set(engine.core_ended());
        }
        engine.observe(&now);
        if engine.stop.reason().is_some() {
            engine.sole_voter.end();
            engine
                .leadership
                .send_if_modified(|leadership| leadership.leader.take().is_some());
            return;
        }
        tokio::select! {
            biased;
            changed = health.changed(), if log_open => log_open = changed.is_ok(),
            changed = metrics.changed(), if core_open => core_open = changed.is_ok(),
            _ = engine.stop.stopped() => {}
        }
    }
}

impl<M: Machine> Engine<M> {
    /// Why openraft ended.
    fn core_ended(&self) -> StopReason {
        match self.metrics().running_state {
            Err(Fatal::StorageError(error)) => StopReason::Storage {
                reason: error.to_string(),
            },
            Err(Fatal::Stopped) => StopReason::Shutdown,
            Err(Fatal::Panicked) => StopReason::Defect {
                reason: Fatal::<TypeConfig<M>>::Panicked.to_string(),
            },
            Ok(()) => StopReason::Defect {
                reason: "it ended without a reason".to_owned(),
            },
        }
    }

    fn observe(&self, now: &RaftServerMetrics<TypeConfig<M>>) {
        let peers: BTreeMap<u64, Peer> = now
            .membership_config
            .nodes()
            .map(|(id, peer)| (*id, peer.clone()))
            .collect();
        if !peers.is_empty() {
            self.book.replace(peers);
        }
        let current = self.leadership_of(now);
        if let Some(watching) = &self.watching {
            watching.standing(Standing {
                role: role_of(now.state),
                term: current.term,
                leader: now.current_leader.map(NodeId::new),
            });
        }
        self.leadership.send_if_modified(|leadership| {
            let changed = *leadership != current;
            if changed && current.leader.is_some() && current.leader != leadership.leader {
                self.stats.leader_changes.add(1);
            }
            if changed {
                *leadership = current;
            }
            changed
        });
        if self.roster.is_removed(self.node_id) && now.state != ServerState::Leader {
            self.stop.set(StopReason::Removed);
        }
    }

    fn leadership_of(&self, now: &RaftServerMetrics<TypeConfig<M>>) -> Leadership {
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
            term: Term::new(now.vote.leader_id.term),
            leader,
        }
    }
}

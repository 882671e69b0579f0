//! The way to a newer machine: each node asks the others what they know, and the leader raises the cluster to what all
//! of them know.
//!
//! Asked anew for every raise, and while the membership stands still: nobody can be admitted between the answers and the
//! entry. Who comes back older in spite of its answer stops at that entry (I24).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use concord_core::version::MachineVersion;
use futures::future::join_all;
use tokio::time::Instant;

use super::Inner;
use crate::consensus::{Consensus, LeaderRef};
use crate::message::admin::VersionsKnown;
use crate::proposer::ProposeError;
use crate::types::{LogId, Peer};
use crate::versions;

/// How long a raise may take before the leader looks around again.
const RAISE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much less often a node asks when nothing waits for the answer.
const IDLE: u32 = 5;

/// What a change of makes it worth to ask at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scene {
    leads: bool,
    membership: Option<LogId>,
}

/// Runs until the node stops.
pub(super) async fn run<M: Machine>(inner: Arc<Inner<M>>) {
    let engine = &inner.engine;
    while engine.stop.reason().is_none() {
        let scene = inner.scene();
        inner.look_around(scene).await;
        let waits = scene.leads && inner.may_go_on();
        let pause = inner.config.timing.election_max * if waits { 1 } else { IDLE };
        tokio::select! {
            biased;
            _ = engine.stop.stopped() => return,
            goes_on = engine.until_server(|metrics| {
                let leads = metrics.state == openraft::ServerState::Leader;
                Scene { leads, membership: *metrics.membership_config.log_id() } != scene
            }) => if !goes_on { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl<M: Machine> Inner<M> {
    fn scene(&self) -> Scene {
        let metrics = self.engine.metrics();
        Scene {
            leads: metrics.state == openraft::ServerState::Leader,
            membership: *metrics.membership_config.log_id(),
        }
    }

    /// Whether this node knows a newer machine than the cluster is.
    fn may_go_on(&self) -> bool {
        self.engine.cluster_version().version < self.engine.versions.own().machine
    }

    /// Refuses what needs a machine that the cluster is not yet.
    pub(super) fn check_version(&self, needs: MachineVersion) -> Result<(), ProposeError> {
        let cluster = self.engine.cluster_version().version;
        if needs <= cluster {
            return Ok(());
        }
        Err(ProposeError::NotYet {
            needs,
            cluster,
            held_back_by: self.held_back_by(cluster),
        })
    }

    async fn look_around(&self, scene: Scene) {
        if self.formation.identity().cluster_id.is_none() || scene.membership.is_none() {
            return;
        }
        if self.ask_others().await.is_none() || !scene.leads {
            return;
        }
        // I24: nobody joins between the answers and the raise.
        let _still = self.members.hold().await;
        if let Some(to) = self.ask_others().await {
            self.raise(to).await;
        }
    }

    /// Asks all others what they know. Gives the machine that all know, if it is newer than the cluster.
    async fn ask_others(&self) -> Option<MachineVersion> {
        let others = self.others();
        let answers = self.ask(&others).await;
        let ids: BTreeSet<u64> = others.keys().copied().collect();
        let own = self.engine.versions.own().machine;
        let known = versions::known_by_all(own, &ids, &answers);
        self.engine.versions.heard(answers);
        known.filter(|known| *known > self.engine.cluster_version().version)
    }

    fn others(&self) -> BTreeMap<u64, Peer> {
        let membership = self.engine.membership();
        let own = self.engine.node_id.get();
        let others = membership.nodes().filter(|(id, _)| **id != own);
        others.map(|(id, peer)| (*id, peer.clone())).collect()
    }

    async fn ask(&self, others: &BTreeMap<u64, Peer>) -> BTreeMap<u64, VersionsKnown> {
        let (transport, own) = (self.members.transport(), self.engine.versions.own());
        let asked = others.iter().map(|(id, peer)| async move {
            let known = versions::ask(&**transport, NodeId::new(*id), peer, own).await;
            known.map(|known| (*id, known))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn raise(&self, to: MachineVersion) {
        let leads = self.engine.leadership().borrow().leader == Some(LeaderRef::Local);
        let (true, Some(request)) = (leads, M::raise(to)) else {
            return;
        };
        let deadline = Instant::now() + RAISE_TIMEOUT;
        match self.server.proposer.propose(request, deadline).await {
            Ok(_) => {
                tracing::info!(version = %to, "every member knows this machine: the cluster goes on to it")
            }
            Err(error) => {
                tracing::info!(%error, version = %to, "the cluster does not go on to this machine yet")
            }
        }
    }
}

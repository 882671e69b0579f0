//! What a node does beside its callers' work, each in a task of its own: wait out the
//! lease after a restart, check its address, end what another leader left half way,
//! notice that it was removed, and end everything when one part fails.

use std::sync::Arc;

use concord_core::machine::Machine;
use tokio::time::Instant;

use super::{Inner, Node, rollout, stand_down};
use crate::bootstrap;
use crate::error::{MembershipError, StopReason};
use crate::message::admin::{Acquaintance, MembershipChange};

/// How long a node may be without a leader before it asks whether it was removed, in
/// longest election timeouts.
const LEADERLESS: u32 = 3;

/// Lets openraft run, and starts the upkeep.
pub(super) async fn run<M: Machine>(node: &Node<M>, is_restart: bool) {
    let inner = &node.inner;
    if is_restart {
        inner.engine.votes.withhold();
        inner.engine.raft.runtime_config().elect(false);
    }
    let raft = inner.engine.raft.clone();
    let running = async move {
        raft.run();
        // An answer means that openraft has told what it recovered, so that the status of
        // a node that was just started is not that of an empty one.
        raft.is_initialized().await
    };
    if let Err(error) = inner.engine.seeds.scope(running).await {
        tracing::warn!(%error, "consensus stopped while it started");
    }
    if is_restart {
        tokio::spawn(open_votes(Arc::clone(inner)));
    }
    tokio::spawn(Arc::clone(&inner.members).finish_changes());
    tokio::spawn(notice_removal(Arc::clone(inner)));
    tokio::spawn(take_snapshots(Arc::clone(inner)));
    tokio::spawn(rollout::run(Arc::clone(inner)));
    tokio::spawn(stand_down::run(Arc::clone(inner)));
    tokio::spawn(supervise(Arc::clone(inner)));
}

/// When something failed: ends the rest, and answers whoever still waits.
async fn supervise<M: Machine>(inner: Arc<Inner<M>>) {
    let reason = inner.engine.stop.stopped().await;
    if reason != StopReason::Shutdown {
        inner.quit.send_replace(true);
        inner.end_raft().await;
    }
}

/// Asks for snapshots by the bytes of the log, and lets go of what is far behind one.
/// openraft counts entries, of which one can be a byte or a megabyte.
async fn take_snapshots<M: Machine>(inner: Arc<Inner<M>>) {
    let engine = &inner.engine;
    loop {
        tokio::select! {
            biased;
            _ = engine.stop.stopped() => return,
            () = engine.backlog.changed() => {}
        }
        let taken = engine.backlog.snapshot_index();
        // openraft learns of a snapshot a moment later, and purges no further than it knows.
        engine
            .until(|metrics| metrics.snapshot.map_or(0, |id| id.index) >= taken)
            .await;
        let is_due = engine.backlog.is_due();
        let purgeable = inner.log.purgeable(taken, inner.config.snapshot.log_bytes_kept);
        let raft = engine.raft.clone();
        let asked = engine.seeds.scope(async move {
            if is_due {
                raft.trigger().snapshot().await?;
            }
            match purgeable {
                Some(upto) => raft.trigger().purge_log(upto).await,
                None => Ok(()),
            }
        });
        if asked.await.is_err() {
            return;
        }
    }
}

/// Lets the node vote again: at once if it is the only voter, else when every lease that
/// it may have confirmed before it stopped has run out, and its address is its own.
async fn open_votes<M: Machine>(inner: Arc<Inner<M>>) {
    let engine = &inner.engine;
    let began = Instant::now();
    let own = engine.node_id.get();
    let known = engine.until_server(|metrics| metrics.membership_config.log_id().is_some());
    // Without a membership there is nobody to vote for, but it may come any time.
    let membership_known = tokio::time::timeout(inner.config.timing.election_max, known)
        .await
        .is_ok();
    let voters: Vec<u64> = engine.membership().voter_ids().collect();
    let alone = membership_known && voters == [own];
    if !alone {
        if let Some(reason) = copied(&inner).await {
            engine.stop.set(StopReason::Copied { reason });
            return;
        }
        tokio::time::sleep_until(began + inner.config.timing.election_max).await;
    }
    engine.votes.open();
    engine.raft.runtime_config().elect(true);
    if alone {
        // There is nobody to hear from first, so there is nothing to wait for. If it
        // fails, openraft has stopped, which others notice.
        let raft = engine.raft.clone();
        let electing = async move { raft.trigger().elect(false).await };
        let _ = engine.seeds.scope(electing).await;
    }
    announce_address(&inner).await;
}

/// This node's address in the membership, if it is another than the configured one.
fn old_address<M: Machine>(inner: &Inner<M>) -> Option<String> {
    let configured = inner.formation.address()?;
    let recorded = inner
        .engine
        .membership()
        .membership()
        .get_node(&inner.engine.node_id.get())?
        .address
        .clone();
    (recorded != configured && !recorded.is_empty()).then_some(recorded)
}

/// Why this directory is a copy: at the address that the members know, this very node
/// answers. Two of it would vote twice.
async fn copied<M: Machine>(inner: &Inner<M>) -> Option<String> {
    let recorded = old_address(inner)?;
    let transport = inner.members.transport();
    let found = bootstrap::describe(&**transport, &recorded, inner.formation.seat())
        .await
        .ok()?;
    let own = inner.formation.identity();
    (found.node.node_id == own.node_id).then(|| {
        format!(
            "node {} runs at {recorded}, so the data directory here is a copy: clear it, and start the node \
             with --join and without its node id",
            own.node_id
        )
    })
}

/// Tells the cluster this node's new address, if it has one.
async fn announce_address<M: Machine>(inner: &Inner<M>) {
    while inner.engine.stop.reason().is_none() {
        let configured = inner.formation.address().unwrap_or_default();
        let own = inner.engine.node_id.get();
        let membership = inner.engine.membership();
        match membership.membership().get_node(&own) {
            Some(peer) if peer.address != configured && !configured.is_empty() => {}
            _ => return,
        }
        match inner
            .members
            .change(MembershipChange::Move(inner.formation.seat()))
            .await
        {
            Ok(()) => return,
            Err(MembershipError::Conflict { reason }) => {
                inner.engine.stop.set(StopReason::Copied { reason });
                return;
            }
            Err(error) => tracing::warn!(%error, "the members do not know this node's new address yet"),
        }
        tokio::time::sleep(inner.config.timing.election_max).await;
    }
}

/// A removed node gets no more entries, so it may never see its own removal. When it has
/// been without a leader, or without a quorum to lead, for long, it asks around.
async fn notice_removal<M: Machine>(inner: Arc<Inner<M>>) {
    let pause = inner.config.timing.election_max * LEADERLESS;
    loop {
        tokio::select! {
            biased;
            _ = inner.engine.stop.stopped() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let leads = inner.engine.metrics().state == openraft::ServerState::Leader;
        if inner.engine.roster.is_removed(inner.engine.node_id) && !leads {
            inner.engine.stop.set(StopReason::Removed);
            return;
        }
        let belongs = inner.formation.identity().cluster_id.is_some();
        if belongs && inner.engine.silence() >= pause && is_removed_elsewhere(&inner).await {
            inner.engine.stop.set(StopReason::Removed);
            return;
        }
    }
}

async fn is_removed_elsewhere<M: Machine>(inner: &Inner<M>) -> bool {
    let own = inner.formation.identity();
    let membership = inner.engine.membership();
    let transport = inner.members.transport();
    for (id, peer) in membership.nodes() {
        if *id == own.node_id.get() {
            continue;
        }
        let asked = bootstrap::describe(&**transport, &peer.address, inner.formation.seat()).await;
        // Only a member that applied the removal says so.
        if let Ok(found) = asked
            && found.cluster_id == own.cluster_id
            && found.acquaintance == Acquaintance::Removed
        {
            return true;
        }
    }
    false
}

//! A leader whose disk is full hands over to another voter, which may have room.
//!
//! New data that comes by another node still goes through the log of the leader, which knows of a request nothing but its
//! bytes: it could neither refuse what is new nor find room for it. Nobody knows the disks of others, so if they
//! are all full, leadership goes round, slowly.

use std::sync::Arc;

use concord_core::machine::Machine;

use super::Inner;
use crate::error::MembershipError;
use crate::log::LogHealth;
use crate::message::admin::MembershipChange;

/// How long a node that handed over keeps the leadership that comes back to it, and how long it waits for another to be there to
/// take it, in longest election timeouts.
const KEPT: u32 = 20;
const RETRY: u32 = 2;

/// Runs until the node stops.
pub(super) async fn run<M: Machine>(inner: Arc<Inner<M>>) {
    let mut health = inner.log.health();
    let is_full = |health: &LogHealth| matches!(health, LogHealth::DiskFull(_));
    let engine = &inner.engine;
    loop {
        tokio::select! {
            biased;
            _ = engine.stop.stopped() => return,
            full = health.wait_for(is_full) => if full.is_err() { return },
        }
        tokio::select! {
            biased;
            _ = engine.stop.stopped() => return,
            room = health.wait_for(|health| !is_full(health)) => match room {
                Ok(_) => continue,
                Err(_) => return,
            },
            goes_on = engine.until_server(|metrics| metrics.state == openraft::ServerState::Leader) => {
                if !goes_on { return }
            }
        }
        let pause = match inner.members.serve(MembershipChange::Transfer(None)).await {
            Ok(()) => {
                tracing::warn!("the disk is full: this node has handed leadership over");
                KEPT
            }
            Err(MembershipError::OutcomeUnknown { .. }) => KEPT,
            // Also: there is no other voter.
            Err(error) => {
                tracing::debug!(%error, "the disk is full, and leadership stays here");
                RETRY
            }
        };
        tokio::select! {
            biased;
            _ = engine.stop.stopped() => return,
            () = tokio::time::sleep(inner.config.timing.election_max * pause) => {}
        }
    }
}

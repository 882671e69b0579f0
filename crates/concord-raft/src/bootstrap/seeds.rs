//! Forming a cluster from seeds: the initiator's part, and what the others do meanwhile.

use std::collections::BTreeMap;

use concord_core::machine::Machine;
use openraft::errors::{InitializeError, RaftError};

use super::{Formation, Setback, promise, removed, wiped};
use crate::message::admin::{Acquaintance, Describe, Description, PromiseRequest, Seat};
use crate::message::{self, Empty, Kind};
use crate::types::Peer;

impl<M: Machine> Formation<M> {
    /// One round over the seeds, which are sorted and have this node among them.
    pub(super) async fn try_seeds(&self, seeds: &[String]) -> Result<(), Setback> {
        let own = self.seat();
        let mut members = vec![own.clone()];
        let mut missing = Vec::new();
        for seed in seeds.iter().filter(|seed| **seed != own.peer.address) {
            let request = message::encode(Kind::Describe, &Describe { asker: own.clone() });
            match self.ask::<Description>(seed, None, request).await {
                Ok(description) => {
                    self.judge_seed(seed, &description).await?;
                    if description.cluster_id.is_some() {
                        return Ok(());
                    }
                    members.push(description.node);
                }
                Err(Setback::Wait(reason)) => missing.push(reason),
                Err(refused) => return Err(refused),
            }
        }
        promise::check_distinct(&members).map_err(Setback::Refused)?;
        if seeds.first() != Some(&own.peer.address) {
            return Err(Setback::Wait(match missing.first() {
                Some(reason) => reason.clone(),
                None => "waiting for the first seed to form the cluster".to_owned(),
            }));
        }
        match missing.first() {
            Some(reason) => Err(Setback::Wait(reason.clone())),
            None => self.initiate(members).await,
        }
    }

    /// What a seed's answer means for this node. Ok: go on; if the seed belongs to a
    /// cluster, then this node does so now, too.
    async fn judge_seed(&self, seed: &str, description: &Description) -> Result<(), Setback> {
        let own = self.seat();
        if description.node.peer.store_id == own.peer.store_id {
            return Err(Setback::Refused(format!(
                "the seed {seed} is this node itself, or a copy of its data directory"
            )));
        }
        if description.node.node_id == own.node_id {
            let id = own.node_id;
            return Err(Setback::Refused(format!(
                "the seed {seed} has node id {id} as well; give each node its own"
            )));
        }
        let Some(cluster_id) = description.cluster_id else {
            if description.node.peer.address == *seed {
                return Ok(());
            }
            return Err(Setback::Refused(format!(
                "the seed {seed} knows itself as {}; name it the same in all lists",
                description.node.peer.address
            )));
        };
        match &description.acquaintance {
            Acquaintance::Member => self.belong(cluster_id).await.map_err(Setback::Refused),
            Acquaintance::Replaced(seat) => Err(Setback::Refused(format!("{seed}: {}", wiped(seat)))),
            Acquaintance::Removed => Err(Setback::Refused(format!("{seed}: {}", removed(own.node_id)))),
            Acquaintance::Unknown => {
                let held = self.promises.held().map(|held| held.cluster_id);
                if held == Some(cluster_id) {
                    // It belongs, but has not seen its own membership yet.
                    return Err(Setback::Wait(format!("{seed} has not caught up yet")));
                }
                Err(Setback::Refused(format!(
                    "the seed {seed} belongs to cluster {cluster_id:032x}, of which this node is no member; \
                     start it with --join {seed} instead"
                )))
            }
        }
    }

    /// Forms the cluster with these members, this node among them, unless it has done so.
    pub(super) async fn initiate(&self, members: Vec<Seat>) -> Result<(), Setback> {
        let storage = |reason: String| Setback::Refused(reason);
        if self
            .engine
            .raft
            .is_initialized()
            .await
            .map_err(|error| storage(error.to_string()))?
        {
            // Stopped between initialising and writing that down.
            return match self.promises.held() {
                Some(held) => self.belong(held.cluster_id).await.map_err(storage),
                None => Err(storage(
                    "there is a log, but no record of how it began".to_owned(),
                )),
            };
        }
        let promise = self.own_promise(members).await?;
        let own = self.identity().node_id;
        for seat in promise.members.iter().filter(|seat| seat.node_id != own) {
            let request = message::encode(Kind::Promise, &promise);
            self.ask::<Empty>(&seat.peer.address, Some(seat.node_id), request)
                .await?;
        }
        // I14: all of them have promised this and nothing else.
        let nodes: BTreeMap<u64, Peer> = promise
            .members
            .iter()
            .map(|seat| (seat.node_id.get(), seat.peer.clone()))
            .collect();
        let raft = self.engine.raft.clone();
        let initialised = self
            .engine
            .seeds
            .scope(async move { raft.initialize(nodes).await })
            .await;
        match initialised {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(storage(error.to_string())),
        }
        self.belong(promise.cluster_id).await.map_err(storage)
    }

    /// What this node promises as the initiator: the promise it holds if that is of the
    /// same members, else the next round.
    async fn own_promise(&self, members: Vec<Seat>) -> Result<PromiseRequest, Setback> {
        let own = self.identity().node_id;
        let held = self.promises.held();
        if let Some(held) = &held
            && held.initiator == own
            && held.members == members
        {
            return Ok(held.clone());
        }
        let mut id = [0; 16];
        self.entropy.fill(&mut id);
        let promise = PromiseRequest {
            initiator: own,
            round: held.map_or(1, |held| held.round.saturating_add(1)),
            cluster_id: u128::from_le_bytes(id),
            members,
        };
        // Judged like anybody's: a node that promised itself to another initiator must
        // not initiate.
        let (promises, seat, asked) = (
            std::sync::Arc::clone(&self.promises),
            self.seat(),
            promise.clone(),
        );
        let seeds = promise::addresses(&asked.members);
        self.blocking
            .run(move || promises.promise(&seat, None, Some(&seeds), &asked))
            .await?;
        Ok(promise)
    }
}

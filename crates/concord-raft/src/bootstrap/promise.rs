//! The promise that keeps two clusters from forming (I14): each seed promises durably to
//! be initialised by one initiator, with one set of members, into one cluster.
//!
//! Why it is enough: a cluster is initialised only after *all* its members have promised
//! it, a node holds one promise, and gives it up only for a later round of the same
//! initiator, which has then not initialised the earlier one and never will. So two
//! clusters never share a member, whatever is restarted, repeated or reordered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::ids::NodeId;
use parking_lot::RwLock;

use crate::message::admin::{PromiseRequest, Seat};
use crate::message::{self, Refusal};
use crate::ports::Disk;
use crate::small_file::{self, Kind};
use crate::storage_error::StorageError;

const KIND: Kind = Kind {
    magic: *b"CNCRDprm",
    version: 1,
};
const FILE: &str = "promise";

/// What a node knows of itself when it is asked for a promise.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    /// Itself.
    pub(crate) seat: &'a Seat,
    /// Its cluster, if it belongs to one.
    pub(crate) cluster_id: Option<u128>,
    /// The seeds it was started with, sorted, if it was started with seeds.
    pub(crate) seeds: Option<&'a [String]>,
    /// What it has promised.
    pub(crate) held: Option<&'a PromiseRequest>,
}

/// What a promise needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It must be written down first.
    New,
    /// It was made before.
    Known,
}

/// Whether a node may promise what it is asked. Changes nothing.
pub(crate) fn judge(candidate: &Candidate<'_>, asked: &PromiseRequest) -> Result<Verdict, Refusal> {
    if let Some(cluster_id) = candidate.cluster_id {
        return if cluster_id == asked.cluster_id {
            Ok(Verdict::Known)
        } else {
            Err(Refusal::for_good(format!(
                "node {} belongs to cluster {cluster_id:032x} already; start the others with --join",
                candidate.seat.node_id
            )))
        };
    }
    check_members(candidate.seat, asked)?;
    let Some(seeds) = candidate.seeds else {
        return Err(Refusal::for_now(format!(
            "node {} was not started with seeds yet",
            candidate.seat.node_id
        )));
    };
    let asked_seeds = addresses(&asked.members);
    if seeds != asked_seeds {
        return Err(Refusal::for_good(format!(
            "node {} was started with the seeds {}, node {} with {}; give all the same list",
            candidate.seat.node_id,
            seeds.join(", "),
            asked.initiator,
            asked_seeds.join(", ")
        )));
    }
    match candidate.held {
        None => Ok(Verdict::New),
        Some(held) if held == asked => Ok(Verdict::Known),
        Some(held)
            if initiator_store(held) == initiator_store(asked) && held.initiator == asked.initiator =>
        {
            if asked.round > held.round {
                Ok(Verdict::New)
            } else {
                Err(Refusal::for_now(
                    "a later round of the same initiator is under way",
                ))
            }
        }
        Some(held) => Err(Refusal::for_good(format!(
            "node {} has promised itself to node {}, which may have formed cluster {:032x} with it; if that \
             never came to be, stop all seeds, clear their empty data directories and start again",
            candidate.seat.node_id, held.initiator, held.cluster_id
        ))),
    }
}

fn check_members(me: &Seat, asked: &PromiseRequest) -> Result<(), Refusal> {
    if let Err(reason) = check_distinct(&asked.members) {
        return Err(Refusal::for_good(reason));
    }
    if initiator_store(asked).is_none() {
        return Err(Refusal::for_good("the initiator is not one of the members"));
    }
    if !asked.members.contains(me) {
        // The initiator saw an earlier incarnation of this node; it asks again.
        return Err(Refusal::for_now(format!(
            "node {} is not what the initiator takes it for",
            me.node_id
        )));
    }
    let first = addresses(&asked.members).into_iter().next();
    let initiator = asked
        .members
        .iter()
        .find(|seat| seat.node_id == asked.initiator)
        .map(|seat| seat.peer.address.clone());
    if asked.members.len() > 1 && first != initiator {
        return Err(Refusal::for_good(
            "only the first seed of the sorted list initiates",
        ));
    }
    Ok(())
}

/// Refuses members that share an id, an address or a data directory.
pub(crate) fn check_distinct(members: &[Seat]) -> Result<(), String> {
    for (at, seat) in members.iter().enumerate() {
        for other in members.iter().skip(at + 1) {
            let (one, two) = (&seat.peer.address, &other.peer.address);
            if seat.node_id == other.node_id {
                let id = seat.node_id;
                return Err(format!(
                    "the seeds {one} and {two} both have node id {id}; give each its own"
                ));
            }
            if one == two {
                return Err(format!("the seed {one} is named twice"));
            }
            if seat.peer.store_id == other.peer.store_id {
                return Err(format!(
                    "the seeds {one} and {two} have copies of one data directory; clear one of them"
                ));
            }
        }
    }
    Ok(())
}

/// The addresses of members, sorted.
pub(crate) fn addresses(members: &[Seat]) -> Vec<String> {
    let mut addresses: Vec<String> = members.iter().map(|seat| seat.peer.address.clone()).collect();
    addresses.sort();
    addresses
}

fn initiator_store(promise: &PromiseRequest) -> Option<u128> {
    let seat = promise
        .members
        .iter()
        .find(|seat| seat.node_id == promise.initiator)?;
    Some(seat.peer.store_id)
}

/// The promise that this node holds, if any: file `promise` in the data directory.
#[derive(Debug)]
pub(crate) struct PromiseBook {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    held: RwLock<Option<PromiseRequest>>,
}

impl PromiseBook {
    /// Reads what the data directory holds. Blocks.
    pub(crate) fn open(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, StorageError> {
        let path = root.join(FILE);
        let held = match small_file::read(&*disk, &path, KIND)? {
            Some(body) => {
                let promise = message::decode(&body.into());
                Some(promise.map_err(|error| StorageError::corrupt(&path, 0, error.to_string()))?)
            }
            None => None,
        };
        Ok(Self {
            path,
            disk,
            held: RwLock::new(held),
        })
    }

    /// The promise held.
    pub(crate) fn held(&self) -> Option<PromiseRequest> {
        self.held.read().clone()
    }

    /// Judges and, if it may, holds a promise: durably, when it returns. Blocks. The lock
    /// makes judging and holding one step, however many ask at once.
    pub(crate) fn promise(
        &self,
        seat: &Seat,
        cluster_id: Option<u128>,
        seeds: Option<&[String]>,
        asked: &PromiseRequest,
    ) -> Result<(), Refusal> {
        let mut held = self.held.write();
        let candidate = Candidate {
            seat,
            cluster_id,
            seeds,
            held: held.as_ref(),
        };
        if judge(&candidate, asked)? == Verdict::New {
            self.write(asked)
                .map_err(|error| Refusal::for_now(error.to_string()))?;
            *held = Some(asked.clone());
        }
        Ok(())
    }

    fn write(&self, promise: &PromiseRequest) -> Result<(), StorageError> {
        let body = message::encode(message::Kind::Promise, promise);
        small_file::write(&*self.disk, &self.path, KIND, &body)
    }

    /// Whether the promise held is of this cluster and has this node as a member.
    pub(crate) fn expects(&self, cluster_id: Option<u128>, node_id: NodeId, store_id: u128) -> Option<u128> {
        let held = self.held.read();
        let held = held.as_ref()?;
        let is_member = held
            .members
            .iter()
            .any(|seat| seat.node_id == node_id && seat.peer.store_id == store_id);
        (is_member && cluster_id.is_none_or(|id| id == held.cluster_id)).then_some(held.cluster_id)
    }
}

#[cfg(test)]
mod tests;

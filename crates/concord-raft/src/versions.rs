//! Versions of the machine among members of different releases: where a node must stop, which member knows what, and
//! when the cluster goes on to a newer one.
//!
//! ```text
//!   an entry or a snapshot is of a newer machine ──> the node stops before anything of it is shown
//!   every node asks every other member, steadily ──> what each of them knows
//!   the leader: all know more than the cluster is ──> a raise, as a request like any other (`node/rollout.rs`)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use concord_core::ids::NodeId;
use concord_core::machine::{Machine, Restorer};
use concord_core::version::{ClusterVersion, MachineVersion};
use parking_lot::Mutex;

use crate::message::admin::VersionsKnown;
use crate::message::{self, Kind};
use crate::ports::{Lane, PeerAddress, Transport};
use crate::storage_error::StorageError;
use crate::types::Peer;

/// How long a node waits for another one to say what it knows.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What to do about a node that is older than what it reads.
pub(crate) fn too_old(what: &str, needs: ClusterVersion, known: MachineVersion) -> String {
    format!(
        "{what} is of machine version {}, and this program knows versions up to {known}: use Concord {} or newer. \
         Nothing was changed",
        needs.version, needs.release
    )
}

/// The version of a machine, if it is newer than what is known here.
// I24: such a machine is not driven on: from here on this replica would differ from the others.
pub(crate) fn newer<M: Machine>(machine: &M, known: MachineVersion) -> Option<ClusterVersion> {
    let version = machine.version();
    (version.version > known).then_some(version)
}

/// Refuses a snapshot of a newer machine, whether or not its form was understood.
pub(crate) fn check_restored<R: Restorer>(
    restorer: &R,
    file: &Path,
    known: MachineVersion,
) -> Result<(), StorageError> {
    let needs = restorer.version();
    if needs.version <= known {
        return Ok(());
    }
    Err(StorageError::NewerMachine {
        file: file.to_path_buf(),
        what: "the state".to_owned(),
        needs,
        known,
    })
}

/// What is known of the programs of the members: of each that answered when it was last asked.
#[derive(Debug)]
pub(crate) struct Versions {
    own: VersionsKnown,
    others: Mutex<BTreeMap<u64, VersionsKnown>>,
}

impl Versions {
    pub(crate) fn new(known: MachineVersion) -> Self {
        Self {
            own: VersionsKnown {
                machine: known,
                product: env!("CARGO_PKG_VERSION").to_owned(),
            },
            others: Mutex::default(),
        }
    }

    /// Of this node.
    pub(crate) const fn own(&self) -> &VersionsKnown {
        &self.own
    }

    /// Of another member, if it answered.
    pub(crate) fn of(&self, node: u64) -> Option<VersionsKnown> {
        self.others.lock().get(&node).cloned()
    }

    /// Takes down what one asked of all others gave.
    pub(crate) fn heard(&self, answers: BTreeMap<u64, VersionsKnown>) {
        *self.others.lock() = answers;
    }

    /// The members that keep the cluster from what this node knows: they know less, or do not answer.
    pub(crate) fn held_back_by(
        &self,
        members: impl Iterator<Item = u64>,
        own: NodeId,
        cluster: MachineVersion,
    ) -> Vec<NodeId> {
        if self.own.machine <= cluster {
            return Vec::new();
        }
        let others = self.others.lock();
        let knows = |id: &u64| {
            others
                .get(id)
                .is_some_and(|known| known.machine >= self.own.machine)
        };
        members
            .filter(|id| *id != own.get() && !knows(id))
            .map(NodeId::new)
            .collect()
    }
}

/// The newest machine that all members know, if all have answered.
pub(crate) fn known_by_all(
    own: MachineVersion,
    others: &BTreeSet<u64>,
    answers: &BTreeMap<u64, VersionsKnown>,
) -> Option<MachineVersion> {
    others.iter().try_fold(own, |least, id| {
        answers.get(id).map(|known| known.machine.min(least))
    })
}

/// Asks a node what it knows. `None`: it did not answer.
pub(crate) async fn ask(
    transport: &dyn Transport,
    node_id: NodeId,
    peer: &Peer,
    own: &VersionsKnown,
) -> Option<VersionsKnown> {
    let address = PeerAddress {
        node_id: Some(node_id),
        address: peer.address.clone(),
    };
    let request = message::encode(Kind::Versions, own);
    let answer = transport
        .call(&address, Lane::Forward, request, ASK_TIMEOUT)
        .await;
    match message::decode_answer::<VersionsKnown>(&answer.ok()?) {
        Ok(Ok(known)) => Some(known),
        // It was made before there was this question, and says that it does not know it.
        Ok(Err(refusal)) if !refusal.retry => Some(VersionsKnown {
            machine: MachineVersion::BASE,
            product: String::new(),
        }),
        Ok(Err(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(machine: u8) -> VersionsKnown {
        VersionsKnown {
            machine: MachineVersion::new(machine),
            product: "1.2.3".to_owned(),
        }
    }

    /// I24: a member that does not answer may be one that knows less.
    #[test]
    fn one_that_is_silent_holds_all_back() {
        let own = MachineVersion::new(3);
        let others = BTreeSet::from([2, 3]);
        let mut answers = BTreeMap::from([(2, knows(3))]);
        assert_eq!(known_by_all(own, &others, &answers), None);
        answers.insert(3, knows(2));
        assert_eq!(known_by_all(own, &others, &answers), Some(MachineVersion::new(2)));
        answers.insert(3, knows(9));
        assert_eq!(known_by_all(own, &others, &answers), Some(own));
        assert_eq!(known_by_all(own, &BTreeSet::new(), &answers), Some(own));
    }

    #[test]
    fn who_holds_back_is_named() {
        let versions = Versions::new(MachineVersion::new(3));
        let held = |cluster| {
            let found = versions.held_back_by(
                [1, 2, 3, 4].into_iter(),
                NodeId::new(1),
                MachineVersion::new(cluster),
            );
            found.into_iter().map(NodeId::get).collect::<Vec<_>>()
        };
        assert_eq!(held(2), [2, 3, 4]);
        versions.heard(BTreeMap::from([(2, knows(3)), (3, knows(2))]));
        assert_eq!(held(2), [3, 4]);
        assert_eq!(held(3), [0; 0], "nothing is held back");
    }
}

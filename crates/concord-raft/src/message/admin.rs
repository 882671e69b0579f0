//! Messages by which nodes come together and change who belongs: describe, promise, join,
//! and changes of the membership that are forwarded to the leader.

use concord_core::codec::DecodeError;
use concord_core::ids::NodeId;
use concord_core::version::MachineVersion;

use super::Body;
use super::raft::{read_peer, write_peer};
use super::wire::{Reader, Writer};
use crate::error::MembershipError;
use crate::limits;
use crate::types::Peer;

/// A node with where it is and which directory it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The node; never 0.
    pub(crate) node_id: NodeId,
    /// Its address and store id.
    pub(crate) peer: Peer,
}

/// "Who are you, and do you know me?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Describe {
    /// Who asks.
    pub(crate) asker: Seat,
}

/// The answer to [`Describe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// Who answers.
    pub(crate) node: Seat,
    /// Its cluster, if it belongs to one.
    pub(crate) cluster_id: Option<u128>,
    /// What that cluster knows of the asker.
    pub(crate) acquaintance: Acquaintance,
}

/// What a cluster knows of a node that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Acquaintance {
    /// Neither its id nor its address.
    Unknown,
    /// A member, with this very directory.
    Member,
    /// A member of this id or address has another directory: the asker's disk was wiped,
    /// or its address belonged to somebody else.
    Replaced(Seat),
    /// Its id was removed from the cluster; ids are never used again.
    Removed,
}

/// "Promise to be initialised by me, and by nobody else, with these members."
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PromiseRequest {
    /// Who will initialise the cluster: one of the members.
    pub(crate) initiator: NodeId,
    /// A later round of the same initiator replaces an earlier one.
    pub(crate) round: u64,
    /// The cluster that will be.
    pub(crate) cluster_id: u128,
    /// All of its first members.
    pub(crate) members: Vec<Seat>,
}

/// "Add me as a learner."
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    /// Who joins.
    pub(crate) joiner: Seat,
}

/// The answer to [`Join`]: the joiner is a member now. Also an invitation: "Belong to my
/// cluster", from a leader that was told to add the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Of this cluster.
    pub(crate) cluster_id: u128,
    /// The ids that were removed from it.
    pub(crate) removed: Vec<u64>,
}

/// What the program of a node knows. Asked with the asker's, answered with one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionsKnown {
    /// The newest machine.
    pub(crate) machine: MachineVersion,
    /// Its release, for people.
    pub(crate) product: String,
}

/// A change of who belongs or leads, forwarded to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MembershipChange {
    /// Add the node that answers at this address, as a learner.
    AddLearner(String),
    /// Let a learner vote, once it has caught up.
    Promote(NodeId),
    /// Remove a member.
    Remove(NodeId),
    /// Remove `old` and let the learner `new` vote, in one step.
    Replace {
        /// Who goes.
        old: NodeId,
        /// Who comes.
        new: NodeId,
    },
    /// Let this voter lead, or any other than the present leader.
    Transfer(Option<NodeId>),
    /// A member moved: the same directory is at another address now.
    Move(Seat),
    /// Add a joining node as a learner.
    Admit(Seat),
}

/// What the leader made of a [`MembershipChange`].
pub(crate) type MembershipAnswer = Result<(), MembershipError>;

impl Body for VersionsKnown {
    fn write(&self, out: &mut Writer) {
        out.u8(self.machine.get());
        out.text(super::wire::cut(&self.product, limits::PRODUCT_BYTES_MAX));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let machine = MachineVersion::new(reader.u8()?);
        let product = reader.text(limits::PRODUCT_BYTES_MAX)?;
        // It may grow at its end: who asks and who answers may be releases apart.
        reader.skip_rest();
        Ok(Self { machine, product })
    }
}

fn write_seat(out: &mut Writer, seat: &Seat) {
    out.u64(seat.node_id.get());
    write_peer(out, &seat.peer);
}

fn read_seat(reader: &mut Reader<'_>) -> Result<Seat, DecodeError> {
    Ok(Seat {
        node_id: read_node(reader)?,
        peer: read_peer(reader)?,
    })
}

fn read_node(reader: &mut Reader<'_>) -> Result<NodeId, DecodeError> {
    match reader.u64()? {
        0 => Err(reader.error("node id is 0")),
        id => Ok(NodeId::new(id)),
    }
}

impl Body for Describe {
    fn write(&self, out: &mut Writer) {
        write_seat(out, &self.asker);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            asker: read_seat(reader)?,
        })
    }
}

impl Body for Description {
    fn write(&self, out: &mut Writer) {
        write_seat(out, &self.node);
        out.option(self.cluster_id.as_ref(), |out, id| out.u128(*id));
        match &self.acquaintance {
            Acquaintance::Unknown => out.u8(0),
            Acquaintance::Member => out.u8(1),
            Acquaintance::Replaced(seat) => {
                out.u8(2);
                write_seat(out, seat);
            }
            Acquaintance::Removed => out.u8(3),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: read_seat(reader)?,
            cluster_id: reader.option(Reader::u128)?,
            acquaintance: match reader.u8()? {
                0 => Acquaintance::Unknown,
                1 => Acquaintance::Member,
                2 => Acquaintance::Replaced(read_seat(reader)?),
                3 => Acquaintance::Removed,
                _ => return Err(reader.error("unknown acquaintance")),
            },
        })
    }
}

impl Body for PromiseRequest {
    fn write(&self, out: &mut Writer) {
        out.u64(self.initiator.get());
        out.u64(self.round);
        out.u128(self.cluster_id);
        out.count(self.members.len());
        for member in &self.members {
            write_seat(out, member);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let initiator = read_node(reader)?;
        let (round, cluster_id) = (reader.u64()?, reader.u128()?);
        let count = reader.count(limits::MEMBERS_MAX, 28)?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            members.push(read_seat(reader)?);
        }
        Ok(Self {
            initiator,
            round,
            cluster_id,
            members,
        })
    }
}

impl Body for Join {
    fn write(&self, out: &mut Writer) {
        write_seat(out, &self.joiner);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            joiner: read_seat(reader)?,
        })
    }
}

impl Body for Joined {
    fn write(&self, out: &mut Writer) {
        out.u128(self.cluster_id);
        let removed = self.removed.get(..limits::REMOVED_MAX).unwrap_or(&self.removed);
        out.count(removed.len());
        for id in removed {
            out.u64(*id);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cluster_id = reader.u128()?;
        let count = reader.count(limits::REMOVED_MAX, 8)?;
        let removed = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
        Ok(Self { cluster_id, removed })
    }
}

impl Body for MembershipChange {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::AddLearner(address) => {
                out.u8(0);
                out.text(address);
            }
            Self::Promote(node) => {
                out.u8(1);
                out.u64(node.get());
            }
            Self::Remove(node) => {
                out.u8(2);
                out.u64(node.get());
            }
            Self::Replace { old, new } => {
                out.u8(3);
                out.u64(old.get());
                out.u64(new.get());
            }
            Self::Transfer(to) => {
                out.u8(4);
                out.option(to.as_ref(), |out, node| out.u64(node.get()));
            }
            Self::Move(seat) => {
                out.u8(5);
                write_seat(out, seat);
            }
            Self::Admit(seat) => {
                out.u8(6);
                write_seat(out, seat);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            0 => Self::AddLearner(reader.text(limits::ADDRESS_BYTES_MAX)?),
            1 => Self::Promote(read_node(reader)?),
            2 => Self::Remove(read_node(reader)?),
            3 => Self::Replace {
                old: read_node(reader)?,
                new: read_node(reader)?,
            },
            4 => Self::Transfer(reader.option(read_node)?),
            5 => Self::Move(read_seat(reader)?),
            6 => Self::Admit(read_seat(reader)?),
            _ => return Err(reader.error("unknown membership change")),
        })
    }
}

fn write_reason(out: &mut Writer, reason: &str) {
    out.text(super::wire::cut(reason, limits::REASON_BYTES_MAX));
}

impl Body for MembershipAnswer {
    fn write(&self, out: &mut Writer) {
        let error = match self {
            Ok(()) => return out.u8(0),
            Err(error) => error,
        };
        match error {
            MembershipError::NoCluster => out.u8(1),
            MembershipError::NoLeader => out.u8(2),
            MembershipError::Invalid { reason } => {
                out.u8(3);
                write_reason(out, reason);
            }
            MembershipError::UnknownNode { node } => {
                out.u8(4);
                out.u64(node.get());
            }
            MembershipError::Conflict { reason } => {
                out.u8(5);
                write_reason(out, reason);
            }
            MembershipError::NotCaughtUp {
                node,
                lag_entries,
                limit_entries,
            } => {
                out.u8(6);
                out.u64(node.get());
                out.u64(*lag_entries);
                out.u64(*limit_entries);
            }
            MembershipError::InProgress => out.u8(7),
            MembershipError::OutcomeUnknown { waited_ms } => {
                out.u8(8);
                out.u64(*waited_ms);
            }
            MembershipError::Silent { node } => {
                out.u8(9);
                out.u64(node.get());
            }
            // The other node stopped, not the one that asked: it may look for a new leader.
            MembershipError::Stopped(_) => out.u8(2),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let error = match reader.u8()? {
            0 => return Ok(Ok(())),
            1 => MembershipError::NoCluster,
            2 => MembershipError::NoLeader,
            3 => MembershipError::Invalid {
                reason: reader.text(limits::REASON_BYTES_MAX)?,
            },
            4 => MembershipError::UnknownNode {
                node: read_node(reader)?,
            },
            5 => MembershipError::Conflict {
                reason: reader.text(limits::REASON_BYTES_MAX)?,
            },
            6 => MembershipError::NotCaughtUp {
                node: read_node(reader)?,
                lag_entries: reader.u64()?,
                limit_entries: reader.u64()?,
            },
            7 => MembershipError::InProgress,
            8 => MembershipError::OutcomeUnknown {
                waited_ms: reader.u64()?,
            },
            9 => MembershipError::Silent {
                node: read_node(reader)?,
            },
            _ => return Err(reader.error("unknown membership error")),
        };
        Ok(Err(error))
    }
}

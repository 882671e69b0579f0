//! Raft's own messages. What comes from a peer is checked here for everything that
//! openraft takes for granted, because a wrong sequence would panic inside it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use concord_core::codec::DecodeError;

use super::Body;
use super::wire::{Reader, Writer};
use crate::limits;
use crate::types::{
    EncodedBatch, Entry, LogId, Membership, Payload, Peer, SnapshotMeta, StoredMembership, Vote, log_id,
};

/// Entries from a leader; none for a heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppendRequest {
    /// Which of the sender's sessions on this stream it belongs to: after a refusal the
    /// sender starts over, and answers to the old session mean nothing.
    pub(crate) session: u64,
    /// The leader.
    pub(crate) vote: Vote,
    /// The entry before the first.
    pub(crate) prev: Option<LogId>,
    /// What the leader knows to be committed.
    pub(crate) commit: Option<LogId>,
    /// Consecutive entries that follow `prev`.
    pub(crate) entries: Vec<Entry>,
}

/// The answer to an [`AppendRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendAnswer {
    /// The session of the request.
    pub(crate) session: u64,
    /// What became of it.
    pub(crate) outcome: AppendOutcome,
}

/// What a follower did with entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AppendOutcome {
    /// It holds, durably, everything up to this entry.
    Matched(Option<LogId>),
    /// It does not have the entry before the first.
    Conflict(LogId),
    /// It follows a later leader or candidate.
    HigherVote(Vote),
}

/// A candidate asks for a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VoteRequest {
    /// The candidate and its term.
    pub(crate) vote: Vote,
    /// The last entry of its log.
    pub(crate) last: Option<LogId>,
    /// The leader itself asked it to stand.
    pub(crate) transfer: bool,
}

/// The answer to a [`VoteRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VoteAnswer {
    /// The vote of the answering node.
    pub(crate) vote: Vote,
    /// Whether it votes for the candidate.
    pub(crate) granted: bool,
    /// The last entry of its log.
    pub(crate) last: Option<LogId>,
}

/// A leader asks a follower to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransferRequest {
    /// The leader.
    pub(crate) from: Vote,
    /// Who shall lead.
    pub(crate) to: u64,
    /// What it must hold to do so.
    pub(crate) last: Option<LogId>,
}

/// The answer to a [`TransferRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransferAnswer {
    /// It stands for election.
    Accepted,
    /// It follows another leader by now.
    VoteChanged(Vote),
    /// It does not hold enough of the log.
    Behind(Option<LogId>),
}

/// A snapshot follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotBegin {
    /// The leader.
    pub(crate) vote: Vote,
    /// What the snapshot is of.
    pub(crate) meta: SnapshotMeta,
    /// The size of the file.
    pub(crate) total_bytes: u64,
}

/// Consecutive bytes of a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotChunk(pub(crate) Bytes);

/// What became of a snapshot: the vote of the node that received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotAnswer {
    /// The vote of the answering node; higher than the leader's if that is deposed.
    pub(crate) vote: Vote,
}

fn number(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let value = reader.u64()?;
    if value > limits::NUMBER_MAX {
        return Err(reader.error("term or index over limit"));
    }
    Ok(value)
}

fn node_id(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match reader.u64()? {
        0 => Err(reader.error("node id is 0")),
        id => Ok(id),
    }
}

fn write_vote(out: &mut Writer, vote: &Vote) {
    out.u64(vote.leader_id.term);
    out.u64(vote.leader_id.voted_for);
    out.bool(vote.committed);
}

fn read_vote(reader: &mut Reader<'_>) -> Result<Vote, DecodeError> {
    let (term, node) = (number(reader)?, node_id(reader)?);
    let committed = reader.bool()?;
    Ok(if committed {
        Vote::new_committed(term, node)
    } else {
        Vote::new(term, node)
    })
}

fn write_log_id(out: &mut Writer, id: &LogId) {
    out.u64(id.leader_id.term);
    out.u64(id.index);
}

fn read_log_id(reader: &mut Reader<'_>) -> Result<LogId, DecodeError> {
    Ok(log_id(number(reader)?, number(reader)?))
}

fn write_membership(out: &mut Writer, membership: &Membership) {
    let sets = membership.get_joint_config();
    out.count(sets.len());
    for set in sets {
        out.count(set.len());
        for id in set {
            out.u64(*id);
        }
    }
    out.count(membership.nodes().count());
    for (id, peer) in membership.nodes() {
        out.u64(*id);
        write_peer(out, peer);
    }
}

/// Writes a member's address and store id.
pub(crate) fn write_peer(out: &mut Writer, peer: &Peer) {
    out.text(super::wire::cut(&peer.address, limits::ADDRESS_BYTES_MAX));
    out.u128(peer.store_id);
}

/// Reads a member's address and store id.
pub(crate) fn read_peer(reader: &mut Reader<'_>) -> Result<Peer, DecodeError> {
    Ok(Peer {
        address: reader.text(limits::ADDRESS_BYTES_MAX)?,
        store_id: reader.u128()?,
    })
}

fn read_membership(reader: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let mut sets = Vec::new();
    for _ in 0..reader.count(limits::VOTER_SETS_MAX, 4)? {
        let mut set = BTreeSet::new();
        for _ in 0..reader.count(limits::MEMBERS_MAX, 8)? {
            set.insert(node_id(reader)?);
        }
        sets.push(set);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.count(limits::MEMBERS_MAX, 28)? {
        let id = node_id(reader)?;
        nodes.insert(id, read_peer(reader)?);
    }
    // Refuses an empty set of voters and voters without an address.
    Membership::new(sets, nodes).map_err(|_| reader.error("membership contradicts itself"))
}

fn write_entry(out: &mut Writer, entry: &Entry) {
    write_log_id(out, &entry.log_id);
    match &entry.payload {
        Payload::Blank => out.u8(0),
        Payload::Normal(batch) => {
            out.u8(1);
            out.bytes(batch.bytes());
        }
        Payload::Membership(membership) => {
            out.u8(2);
            write_membership(out, membership);
        }
    }
}

/// The fewest bytes that an entry takes: log id and tag.
const ENTRY_BYTES_MIN: usize = 17;

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let log_id = read_log_id(reader)?;
    let payload = match reader.u8()? {
        0 => Payload::Blank,
        1 => Payload::Normal(EncodedBatch::new(reader.bytes(limits::LARGEST_ENTRY_BYTES)?)),
        2 => Payload::Membership(read_membership(reader)?),
        _ => return Err(reader.error("unknown entry tag")),
    };
    Ok(Entry { log_id, payload })
}

impl AppendRequest {
    /// An upper bound of its encoded size, so that encoding allocates once.
    fn size_hint(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entry| 32 + payload_bytes(entry)).sum();
        128 + entries
    }

    /// Encodes it, allocating once.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(self.size_hint());
        out.u8(super::VERSION);
        out.u8(super::Kind::Append.byte());
        self.write(&mut out);
        out.finish()
    }

    /// Raft's structure, which openraft asserts or assumes.
    fn check(&self, reader: &Reader<'_>) -> Result<(), DecodeError> {
        if !self.vote.committed {
            return Err(reader.error("append request of a node that does not lead"));
        }
        let mut next = self.prev.map_or(0, |prev| prev.index.saturating_add(1));
        let mut term = self.prev.map_or(0, |prev| prev.leader_id.term);
        for entry in &self.entries {
            if entry.log_id.index != next {
                return Err(reader.error("entries do not follow each other"));
            }
            if entry.log_id.leader_id.term < term {
                return Err(reader.error("terms of entries run back"));
            }
            next = next.saturating_add(1);
            term = entry.log_id.leader_id.term;
        }
        if term > self.vote.leader_id.term {
            return Err(reader.error("entry of a later term than the leader's"));
        }
        Ok(())
    }
}

/// The bytes that an entry's payload takes, roughly.
pub(crate) fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Blank => 0,
        Payload::Normal(batch) => batch.bytes().len(),
        Payload::Membership(membership) => 64 + membership.nodes().count().saturating_mul(64),
    }
}

impl Body for AppendRequest {
    fn write(&self, out: &mut Writer) {
        out.u64(self.session);
        write_vote(out, &self.vote);
        out.option(self.prev.as_ref(), write_log_id);
        out.option(self.commit.as_ref(), write_log_id);
        out.count(self.entries.len());
        for entry in &self.entries {
            write_entry(out, entry);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = reader.u64()?;
        let vote = read_vote(reader)?;
        let prev = reader.option(read_log_id)?;
        let commit = reader.option(read_log_id)?;
        let count = reader.count(limits::APPEND_ENTRIES_MAX, ENTRY_BYTES_MIN)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(read_entry(reader)?);
        }
        let request = Self {
            session,
            vote,
            prev,
            commit,
            entries,
        };
        request.check(reader)?;
        Ok(request)
    }
}

impl Body for AppendAnswer {
    fn write(&self, out: &mut Writer) {
        out.u64(self.session);
        match &self.outcome {
            AppendOutcome::Matched(matched) => {
                out.u8(0);
                out.option(matched.as_ref(), write_log_id);
            }
            AppendOutcome::Conflict(at) => {
                out.u8(1);
                write_log_id(out, at);
            }
            AppendOutcome::HigherVote(vote) => {
                out.u8(2);
                write_vote(out, vote);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = reader.u64()?;
        let outcome = match reader.u8()? {
            0 => AppendOutcome::Matched(reader.option(read_log_id)?),
            1 => AppendOutcome::Conflict(read_log_id(reader)?),
            2 => AppendOutcome::HigherVote(read_vote(reader)?),
            _ => return Err(reader.error("unknown append outcome")),
        };
        Ok(Self { session, outcome })
    }
}

impl Body for VoteRequest {
    fn write(&self, out: &mut Writer) {
        write_vote(out, &self.vote);
        out.option(self.last.as_ref(), write_log_id);
        out.bool(self.transfer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let request = Self {
            vote: read_vote(reader)?,
            last: reader.option(read_log_id)?,
            transfer: reader.bool()?,
        };
        if request.vote.committed {
            return Err(reader.error("candidate claims to lead already"));
        }
        Ok(request)
    }
}

impl Body for VoteAnswer {
    fn write(&self, out: &mut Writer) {
        write_vote(out, &self.vote);
        out.bool(self.granted);
        out.option(self.last.as_ref(), write_log_id);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            vote: read_vote(reader)?,
            granted: reader.bool()?,
            last: reader.option(read_log_id)?,
        })
    }
}

impl Body for TransferRequest {
    fn write(&self, out: &mut Writer) {
        write_vote(out, &self.from);
        out.u64(self.to);
        out.option(self.last.as_ref(), write_log_id);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: read_vote(reader)?,
            to: node_id(reader)?,
            last: reader.option(read_log_id)?,
        })
    }
}

impl Body for TransferAnswer {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Accepted => out.u8(0),
            Self::VoteChanged(vote) => {
                out.u8(1);
                write_vote(out, vote);
            }
            Self::Behind(last) => {
                out.u8(2);
                out.option(last.as_ref(), write_log_id);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Accepted),
            1 => Ok(Self::VoteChanged(read_vote(reader)?)),
            2 => Ok(Self::Behind(reader.option(read_log_id)?)),
            _ => Err(reader.error("unknown transfer answer")),
        }
    }
}

impl Body for SnapshotBegin {
    fn write(&self, out: &mut Writer) {
        write_vote(out, &self.vote);
        out.option(self.meta.last_log_id.as_ref(), write_log_id);
        out.option(self.meta.last_membership.log_id().as_ref(), write_log_id);
        write_membership(out, self.meta.last_membership.membership());
        out.u64(self.total_bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let vote = read_vote(reader)?;
        if !vote.committed {
            return Err(reader.error("snapshot of a node that does not lead"));
        }
        let last_log_id = reader.option(read_log_id)?;
        let membership_at = reader.option(read_log_id)?;
        let membership = read_membership(reader)?;
        if last_log_id.is_none() || membership_at > last_log_id {
            return Err(reader.error("snapshot of nothing, or older than its membership"));
        }
        Ok(Self {
            vote,
            meta: SnapshotMeta {
                last_log_id,
                last_membership: StoredMembership::new(membership_at, membership),
            },
            total_bytes: number(reader)?,
        })
    }
}

impl Body for SnapshotChunk {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.bytes(limits::SNAPSHOT_MESSAGE_BYTES)?;
        if bytes.is_empty() {
            return Err(reader.error("empty snapshot chunk"));
        }
        Ok(Self(bytes))
    }
}

impl Body for SnapshotAnswer {
    fn write(&self, out: &mut Writer) {
        write_vote(out, &self.vote);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            vote: read_vote(reader)?,
        })
    }
}

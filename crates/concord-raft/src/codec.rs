//! Byte forms shared by the log, the snapshot files and the peer messages: numbers are
//! little-endian, lengths come first, and decoding never panics or over-allocates.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::types::{LeaderId, LogId, Membership, Peer, StoredMembership, Vote, log_id};

/// What was wrong with some bytes, in words.
pub(crate) type Malformed = &'static str;

/// Reads fields from the front of a byte slice.
#[derive(Clone, Debug)]
pub(crate) struct Decoder<'a>(&'a [u8]);

macro_rules! number {
    ($name:ident, $type:ty) => {
        pub(crate) fn $name(&mut self) -> Result<$type, Malformed> {
            self.array().map(<$type>::from_le_bytes)
        }
    };
}

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(head)
    }

    number!(u8, u8);
    number!(u16, u16);
    number!(u32, u32);
    number!(u64, u64);
    number!(u128, u128);

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err("bytes are left over")
        }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a flag is neither 0 nor 1"),
        }
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, Malformed> {
        Ok(log_id(self.u64()?, self.u64()?))
    }

    pub(crate) fn optional_log_id(&mut self) -> Result<Option<LogId>, Malformed> {
        if self.flag()? {
            self.log_id().map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn vote(&mut self) -> Result<Vote, Malformed> {
        let leader_id = LeaderId {
            term: self.u64()?,
            voted_for: self.u64()?,
        };
        Ok(Vote {
            leader_id,
            committed: self.flag()?,
        })
    }

    pub(crate) fn optional_vote(&mut self) -> Result<Option<Vote>, Malformed> {
        if self.flag()? {
            self.vote().map(Some)
        } else {
            Ok(None)
        }
    }

    fn members(&mut self) -> Result<usize, Malformed> {
        let count = usize::from(self.u16()?);
        if count > limits::MEMBERS_MAX {
            Err("more members than the limit")
        } else {
            Ok(count)
        }
    }

    pub(crate) fn membership(&mut self) -> Result<Membership, Malformed> {
        let mut configs = Vec::new();
        for _ in 0..self.u8()? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.members()? {
                voters.insert(self.u64()?);
            }
            configs.push(voters);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.members()? {
            let node_id = self.u64()?;
            let store_id = self.u128()?;
            let len = usize::from(self.u16()?);
            if len > limits::ADDRESS_BYTES_MAX {
                return Err("an address is longer than the limit");
            }
            let address = std::str::from_utf8(self.slice(len)?).map_err(|_| "an address is not UTF-8")?;
            nodes.insert(
                node_id,
                Peer {
                    address: address.to_owned(),
                    store_id,
                },
            );
        }
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(configs, nodes).map_err(|_| "a voter is not among the nodes")
    }

    pub(crate) fn stored_membership(&mut self) -> Result<StoredMembership, Malformed> {
        Ok(StoredMembership::new(self.optional_log_id()?, self.membership()?))
    }
}

pub(crate) fn put_log_id(out: &mut Vec<u8>, log_id: &LogId) {
    out.extend_from_slice(&log_id.leader_id.term.to_le_bytes());
    out.extend_from_slice(&log_id.index.to_le_bytes());
}

pub(crate) fn put_optional_log_id(out: &mut Vec<u8>, log_id: Option<&LogId>) {
    out.push(u8::from(log_id.is_some()));
    if let Some(log_id) = log_id {
        put_log_id(out, log_id);
    }
}

pub(crate) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    out.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    out.push(u8::from(vote.committed));
}

pub(crate) fn put_optional_vote(out: &mut Vec<u8>, vote: Option<&Vote>) {
    out.push(u8::from(vote.is_some()));
    if let Some(vote) = vote {
        put_vote(out, vote);
    }
}

/// # Panics
///
/// If the membership is over the limits, which are checked where members are added.
pub(crate) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    const CHECKED: &str = "membership sizes are checked where members are added";
    let configs = membership.get_joint_config();
    out.push(u8::try_from(configs.len()).expect(CHECKED));
    for voters in configs {
        out.extend_from_slice(&u16::try_from(voters.len()).expect(CHECKED).to_le_bytes());
        for voter in voters {
            out.extend_from_slice(&voter.to_le_bytes());
        }
    }
    let count = membership.nodes().count();
    out.extend_from_slice(&u16::try_from(count).expect(CHECKED).to_le_bytes());
    for (node_id, peer) in membership.nodes() {
        out.extend_from_slice(&node_id.to_le_bytes());
        out.extend_from_slice(&peer.store_id.to_le_bytes());
        out.extend_from_slice(&u16::try_from(peer.address.len()).expect(CHECKED).to_le_bytes());
        out.extend_from_slice(peer.address.as_bytes());
    }
}

pub(crate) fn put_stored_membership(out: &mut Vec<u8>, stored: &StoredMembership) {
    put_optional_log_id(out, stored.log_id().as_ref());
    put_membership(out, stored.membership());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let peer = |n: u64| Peer {
            address: format!("host-{n}:7000"),
            store_id: u128::from(n) << 100,
        };
        let nodes = (1..=4).map(|n| (n, peer(n))).collect::<BTreeMap<_, _>>();
        Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])], nodes).unwrap()
    }

    #[test]
    fn memberships_read_back_and_no_shorter_form_decodes() {
        for membership in [membership(), Membership::default()] {
            let stored = StoredMembership::new(Some(log_id(3, 9)), membership);
            let mut bytes = Vec::new();
            put_stored_membership(&mut bytes, &stored);
            let mut decoder = Decoder::new(&bytes);
            assert_eq!(decoder.stored_membership(), Ok(stored));
            assert_eq!(decoder.end(), Ok(()));
            for cut in 0..bytes.len() {
                assert!(
                    Decoder::new(&bytes[..cut]).stored_membership().is_err(),
                    "cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn votes_read_back() {
        for vote in [Vote::new(7, 3), Vote::new_committed(u64::MAX, 1)] {
            let mut bytes = Vec::new();
            put_optional_vote(&mut bytes, Some(&vote));
            assert_eq!(Decoder::new(&bytes).optional_vote(), Ok(Some(vote)));
        }
    }
}

//! Batches and groups: what log entries and forwarded proposals carry.

use alloc::vec::Vec;

use bytes::Bytes;

use super::reader::Reader;
use super::{DecodeError, writer};
use crate::batch::{Batch, Group};
use crate::ids::{SessionId, Timestamp};

const VERSION: u8 = 1;
const OPENS: u8 = 1;
/// A group without requests: session, flags and three one-byte numbers.
const GROUP_BYTES_MIN: usize = 20;

impl Batch {
    /// Appends the batch in the form that the log keeps.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len_max());
        out.push(VERSION);
        writer::number(self.proposed_at.get(), out);
        writer::count(self.groups.len(), out);
        for group in &self.groups {
            encode_group(group, out);
        }
    }

    /// No fewer bytes than [`Batch::encode`] appends, and few more.
    #[must_use]
    pub fn encoded_len_max(&self) -> usize {
        self.groups
            .iter()
            .fold(21, |sum, group| sum.saturating_add(group_len_max(group)))
    }

    /// Whether bytes are a batch in a newer form than this program knows.
    #[must_use]
    pub fn is_newer(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|version| *version > VERSION)
    }

    /// Reads a batch. Its requests are slices of `bytes`: they keep it alive.
    ///
    /// # Errors
    ///
    /// If the bytes are not a batch of a known version.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let proposed_at = Timestamp::new(reader.number()?);
        let count = reader.count(GROUP_BYTES_MIN)?;
        let mut groups = Vec::with_capacity(count);
        for _ in 0..count {
            groups.push(decode_group(&mut reader, bytes)?);
        }
        reader.end()?;
        Ok(Self { proposed_at, groups })
    }
}

impl Group {
    /// Appends the group in the form that proposers send to a leader.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len_max());
        out.push(VERSION);
        encode_group(self, out);
    }

    /// No fewer bytes than [`Group::encode`] appends, and few more.
    #[must_use]
    pub fn encoded_len_max(&self) -> usize {
        group_len_max(self).saturating_add(1)
    }

    /// Reads a group. Its requests are slices of `bytes`: they keep it alive.
    ///
    /// # Errors
    ///
    /// If the bytes are not a group of a known version.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let group = decode_group(&mut reader, bytes)?;
        reader.end()?;
        Ok(group)
    }
}

fn version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.u8()? {
        VERSION => Ok(()),
        _ => Err(DecodeError {
            what: "unknown batch version",
            offset: 0,
        }),
    }
}

/// Session, flags, three numbers of at most ten bytes, and requests behind lengths of at most five.
fn group_len_max(group: &Group) -> usize {
    group.requests.iter().fold(17 + 30, |sum, request| {
        sum.saturating_add(request.len()).saturating_add(5)
    })
}

fn encode_group(group: &Group, out: &mut Vec<u8>) {
    out.extend_from_slice(&group.session.get().to_be_bytes());
    out.push(if group.opens { OPENS } else { 0 });
    writer::number(group.acked_below, out);
    writer::number(group.first_sequence, out);
    writer::count(group.requests.len(), out);
    for request in &group.requests {
        writer::bytes(request, out);
    }
}

fn decode_group(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Group, DecodeError> {
    let session = SessionId::new(u128::from_be_bytes(reader.array()?));
    let opens = match reader.u8()? {
        0 => false,
        OPENS => true,
        _ => return Err(reader.error("unknown group flags")),
    };
    let acked_below = reader.number()?;
    let first_sequence = reader.number()?;
    let count = reader.count(1)?;
    // A claimed request takes one byte there and 32 here: reserve for what the input can
    // really hold, and grow for the rest as it is found.
    let mut requests = Vec::with_capacity(count.min(reader.left() / 8));
    for _ in 0..count {
        requests.push(reader.shared(whole)?);
    }
    Ok(Group {
        session,
        opens,
        acked_below,
        first_sequence,
        requests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn sample() -> Batch {
        let group = |n: u64, requests: Vec<Bytes>| Group {
            session: SessionId::new((u128::from(n) << 100) | 7),
            opens: n == 1,
            acked_below: n * 1000,
            first_sequence: n * 1000 + 5,
            requests,
        };
        let requests = vec![Bytes::from_static(b"a"), Bytes::new(), Bytes::from(vec![7; 300])];
        Batch {
            proposed_at: Timestamp::new(1_800_000_000_000),
            groups: vec![group(1, vec![]), group(2, requests)],
        }
    }

    #[test]
    fn batches_and_groups_read_back() {
        let batch = sample();
        let mut out = Vec::new();
        batch.encode(&mut out);
        assert!(out.len() <= batch.encoded_len_max());
        let bytes = Bytes::from(out);
        assert_eq!(Batch::decode(&bytes), Ok(batch.clone()));
        for cut in 0..bytes.len() {
            assert!(Batch::decode(&bytes.slice(..cut)).is_err());
        }
        for group in batch.groups {
            let mut out = Vec::new();
            group.encode(&mut out);
            assert_eq!(Group::decode(&Bytes::from(out)), Ok(group));
        }
    }

    #[test]
    fn requests_share_the_batch_buffer() {
        let mut out = Vec::new();
        sample().encode(&mut out);
        let bytes = Bytes::from(out);
        let request = Batch::decode(&bytes).unwrap().groups[1].requests[2].clone();
        assert!(bytes.as_ptr_range().contains(&request.as_ptr()), "no copy");
    }

    #[test]
    fn an_unknown_version_is_refused() {
        assert_eq!(
            Batch::decode(&Bytes::from_static(&[2, 0, 0])),
            Err(DecodeError {
                what: "unknown batch version",
                offset: 0
            })
        );
    }
}

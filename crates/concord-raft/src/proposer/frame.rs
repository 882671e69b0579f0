//! Messages of the forward stream; little-endian, headed like all of `message`.
//!
//! ```text
//!  group:    version, 0x40, opens, session 16, acked_below 8, first_sequence 8, count 4, count × (length 4, request)
//!  replies:  version, 0x41, flags, count 4, count × (length 4, reply)      flag 1: the group is complete
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use concord_core::batch::Group;
use concord_core::ids::SessionId;
use concord_core::machine::Machine;

use crate::limits;

const VERSION: u8 = 1;
const GROUP: u8 = 0x40;
const REPLIES: u8 = 0x41;
const GROUP_HEADER_BYTES: usize = 3 + 16 + 8 + 8 + 4;
const REPLIES_HEADER_BYTES: usize = 3 + 4;

/// A message that the peer should not have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed forward message: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// The message for a group.
pub(super) fn encode_group(group: &Group) -> Bytes {
    let payload: usize = group.requests.iter().map(|request| request.len() + 4).sum();
    let mut out = BytesMut::with_capacity(GROUP_HEADER_BYTES + payload);
    out.put_u8(VERSION);
    out.put_u8(GROUP);
    out.put_u8(u8::from(group.opens));
    out.put_u128_le(group.session.get());
    out.put_u64_le(group.acked_below);
    out.put_u64_le(group.first_sequence);
    put_len(&mut out, group.requests.len());
    for request in &group.requests {
        put_len(&mut out, request.len());
        out.put_slice(request);
    }
    out.freeze()
}

/// Reads a group. Requests share the message's memory.
pub(super) fn decode_group(mut message: Bytes) -> Result<Group, Malformed> {
    if message.len() < GROUP_HEADER_BYTES {
        return Err(Malformed("short group"));
    }
    check_head(&mut message, GROUP)?;
    let opens = match message.get_u8() {
        0 => false,
        1 => true,
        _ => return Err(Malformed("opens is not a flag")),
    };
    let session = SessionId::new(message.get_u128_le());
    let acked_below = message.get_u64_le();
    let first_sequence = message.get_u64_le();
    let requests = take_items(&mut message)?;
    if requests.len() > limits::ENTRY_REQUESTS_MAX {
        return Err(Malformed("too many requests in a group"));
    }
    if first_sequence == 0
        || acked_below > first_sequence
        || first_sequence.checked_add(requests.len() as u64).is_none()
    {
        return Err(Malformed("impossible sequence numbers"));
    }
    Ok(Group {
        session,
        opens,
        acked_below,
        first_sequence,
        requests,
    })
}

/// The messages for the replies to one group: one, unless they are large together.
pub(super) fn encode_replies<M: Machine>(replies: &[M::Reply]) -> Vec<Bytes> {
    let mut messages = Vec::with_capacity(1);
    let mut out = begin_replies();
    let mut count = 0_u32;
    let mut reply_bytes = Vec::new();
    for reply in replies {
        reply_bytes.clear();
        M::encode_reply(reply, &mut reply_bytes);
        if count > 0 && out.len() + reply_bytes.len() > limits::REPLY_MESSAGE_BYTES_MAX {
            messages.push(end_replies(out, count, false));
            out = begin_replies();
            count = 0;
        }
        put_len(&mut out, reply_bytes.len());
        out.put_slice(&reply_bytes);
        count += 1;
    }
    messages.push(end_replies(out, count, true));
    messages
}

fn begin_replies() -> BytesMut {
    let mut out = BytesMut::with_capacity(4096);
    out.put_slice(&[VERSION, REPLIES, 0, 0, 0, 0, 0]);
    out
}

fn end_replies(mut out: BytesMut, count: u32, complete: bool) -> Bytes {
    if let Some(mut head) = out.get_mut(2..REPLIES_HEADER_BYTES) {
        head.put_u8(u8::from(complete));
        head.put_u32_le(count);
    }
    out.freeze()
}

/// Reads replies, and whether they complete their group.
pub(super) fn decode_replies<M: Machine>(mut message: Bytes) -> Result<(Vec<M::Reply>, bool), Malformed> {
    if message.len() < REPLIES_HEADER_BYTES {
        return Err(Malformed("short replies"));
    }
    check_head(&mut message, REPLIES)?;
    let complete = match message.get_u8() {
        0 => false,
        1 => true,
        _ => return Err(Malformed("complete is not a flag")),
    };
    let replies = take_items(&mut message)?
        .iter()
        .map(|bytes| M::decode_reply(bytes).map_err(|error| Malformed(error.what)))
        .collect::<Result<_, _>>()?;
    Ok((replies, complete))
}

fn check_head(message: &mut Bytes, kind: u8) -> Result<(), Malformed> {
    if message.get_u8() != VERSION {
        return Err(Malformed("unknown version"));
    }
    if message.get_u8() != kind {
        return Err(Malformed("unexpected kind of message"));
    }
    Ok(())
}

/// A count and as many items with their lengths, and nothing after them. The caller has
/// checked that the count is there.
fn take_items(message: &mut Bytes) -> Result<Vec<Bytes>, Malformed> {
    let count = message.get_u32_le() as usize;
    // An item takes four bytes at least, so memory is bounded by the message itself.
    if count > message.len() / 4 {
        return Err(Malformed("count is over the message"));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let length = message.try_get_u32_le().map_err(|_| Malformed("short length"))? as usize;
        if length > message.len() {
            return Err(Malformed("length is over the message"));
        }
        items.push(message.split_to(length));
    }
    if message.is_empty() {
        Ok(items)
    } else {
        Err(Malformed("bytes after the last item"))
    }
}

fn put_len(out: &mut BytesMut, len: usize) {
    // Requests and groups are limited far below 4 GiB; replies hold at most a few values.
    out.put_u32_le(u32::try_from(len).expect("lengths are limited far below 4 GiB"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Tally, TallyReply};

    fn group() -> Group {
        Group {
            session: SessionId::new(7 << 90),
            opens: false,
            acked_below: 3,
            first_sequence: 5,
            requests: vec!["a".into(), Bytes::new(), vec![1; 300].into()],
        }
    }

    fn replies() -> Vec<TallyReply> {
        let applied = TallyReply::Applied {
            nth: 4,
            request: "x".into(),
        };
        vec![applied, TallyReply::Expired, TallyReply::Stale]
    }

    #[test]
    fn groups_come_back_as_they_were() {
        assert_eq!(decode_group(encode_group(&group())), Ok(group()));
        let opening = Group {
            opens: true,
            requests: Vec::new(),
            acked_below: 1,
            first_sequence: 1,
            ..group()
        };
        assert_eq!(decode_group(encode_group(&opening)), Ok(opening));
    }

    #[test]
    fn replies_come_back_as_they_were_and_large_ones_in_several_messages() {
        let messages = encode_replies::<Tally>(&replies());
        assert_eq!(messages.len(), 1);
        assert_eq!(
            decode_replies::<Tally>(messages[0].clone()),
            Ok((replies(), true))
        );
        assert_eq!(
            decode_replies::<Tally>(encode_replies::<Tally>(&[])[0].clone()),
            Ok((Vec::new(), true))
        );

        let large = TallyReply::Applied {
            nth: 1,
            request: vec![9; 700 << 10].into(),
        };
        let messages = encode_replies::<Tally>(&[large.clone(), large.clone(), large]);
        let shapes: Vec<_> = messages
            .into_iter()
            .map(|message| {
                decode_replies::<Tally>(message).map(|(replies, complete)| (replies.len(), complete))
            })
            .collect();
        assert_eq!(shapes, [Ok((1, false)), Ok((1, false)), Ok((1, true))]);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_refused_or_read_without_panic() {
        for message in [
            encode_group(&group()),
            encode_replies::<Tally>(&replies())[0].clone(),
        ] {
            for end in 0..message.len() {
                assert!(decode_group(message.slice(..end)).is_err());
                assert!(decode_replies::<Tally>(message.slice(..end)).is_err());
                for value in [0, 1, 2, 0x7f, 0xff] {
                    let mut changed = message.to_vec();
                    changed[end] = value;
                    let _ = decode_group(changed.clone().into());
                    let _ = decode_replies::<Tally>(changed.into());
                }
            }
        }
    }
}

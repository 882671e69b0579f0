//! The unit of traffic after the handshake: a header and a payload. Pure.
//!
//! ```text
//! 0       4    5    6       8               16           20           24
//! │ length │kind│lane│ zero  │ correlation   │ header CRC │payload CRC │ payload ...
//! ```
//!
//! Numbers are big-endian; the header CRC32C covers bytes 0 to 16 and is checked, like
//! the length, before room for the payload is made. The checksums find accidents, not
//! attackers. Leaves what payloads mean to the engine, and sockets to `pipe`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use concord_raft::ports::Lane;

use crate::limits::{PAYLOAD_STEP_BYTES, READ_BYTES};

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 24;
/// Bytes that the header's own checksum covers.
const CHECKED_BYTES: usize = 16;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A call; the correlation id is the caller's choice and new on its connection.
    Request,
    /// The answer to the call of the same correlation id.
    Response,
    /// One message of a stream.
    Message,
    /// The sender sends no more messages on this stream.
    End,
    /// Nothing to say, still there.
    Alive,
    /// The call of the same correlation id was taken, but its answer cannot be sent.
    Failed,
}

impl FrameKind {
    const fn code(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Message => 3,
            Self::End => 4,
            Self::Alive => 5,
            Self::Failed => 6,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Message,
            4 => Self::End,
            5 => Self::Alive,
            6 => Self::Failed,
            _ => return None,
        })
    }
}

/// A lane's number on the wire.
pub(crate) const fn lane_code(lane: Lane) -> u8 {
    match lane {
        Lane::Control => 1,
        Lane::Append => 2,
        Lane::Snapshot => 3,
        Lane::Forward => 4,
    }
}

/// The lane of a number on the wire.
pub(crate) const fn lane_from_code(code: u8) -> Option<Lane> {
    Some(match code {
        1 => Lane::Control,
        2 => Lane::Append,
        3 => Lane::Snapshot,
        4 => Lane::Forward,
        _ => return None,
    })
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is for.
    pub(crate) kind: FrameKind,
    /// The lane of its connection.
    pub(crate) lane: Lane,
    /// Pairs calls and answers; 0 elsewhere.
    pub(crate) correlation: u64,
    /// The message; empty unless `kind` carries one.
    pub(crate) payload: Bytes,
}

/// Bytes that are not a frame of this connection. The connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FrameError {
    /// The header's checksum does not fit.
    #[error("frame header is damaged")]
    HeaderDamaged,
    /// The payload's checksum does not fit.
    #[error("frame payload is damaged")]
    PayloadDamaged,
    /// A kind that this version does not know.
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
    /// A frame of another lane than the connection's.
    #[error("frame is of lane {0}, not of this connection's")]
    ForeignLane(u8),
    /// Bytes that must be zero are not.
    #[error("reserved frame bytes are not zero")]
    ReservedBytes,
    /// A payload on a kind that has none.
    #[error("frame kind {0} carries no payload")]
    UnexpectedPayload(u8),
    /// Over the size limit. Found before room was made for it.
    #[error("frame payload is {size_bytes} bytes, limit is {limit_bytes}")]
    TooLarge {
        /// The announced size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
}

/// A checked header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    kind: FrameKind,
    lane: Lane,
    correlation: u64,
    payload_bytes: usize,
    payload_crc: u32,
}

impl FrameHeader {
    /// The header for a payload. `None` when the payload's length does not fit into 32 bits.
    pub(crate) fn new(kind: FrameKind, lane: Lane, correlation: u64, payload: &[u8]) -> Option<Self> {
        u32::try_from(payload.len()).ok()?;
        Some(Self {
            kind,
            lane,
            correlation,
            payload_bytes: payload.len(),
            payload_crc: crc32c::crc32c(payload),
        })
    }

    /// Appends the header's bytes.
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        let length = u32::try_from(self.payload_bytes).expect("checked when the header was made");
        let mut checked = [0_u8; CHECKED_BYTES];
        let mut rest = checked.as_mut_slice();
        rest.put_u32(length);
        rest.put_u8(self.kind.code());
        rest.put_u8(lane_code(self.lane));
        rest.put_u16(0);
        rest.put_u64(self.correlation);
        out.put_slice(&checked);
        out.put_u32(crc32c::crc32c(&checked));
        out.put_u32(self.payload_crc);
    }

    /// Reads a header of `lane`.
    ///
    /// # Errors
    ///
    /// [`FrameError`] for everything but a whole header within the limit.
    pub(crate) fn decode(
        bytes: &[u8; HEADER_BYTES],
        lane: Lane,
        payload_bytes_max: usize,
    ) -> Result<Self, FrameError> {
        let mut rest = bytes.as_slice();
        let length = rest.get_u32();
        let kind_code = rest.get_u8();
        let found_lane = rest.get_u8();
        let reserved = rest.get_u16();
        let correlation = rest.get_u64();
        let header_crc = rest.get_u32();
        let payload_crc = rest.get_u32();
        let (checked, _) = bytes.split_at(CHECKED_BYTES);
        if crc32c::crc32c(checked) != header_crc {
            return Err(FrameError::HeaderDamaged);
        }
        let kind = FrameKind::from_code(kind_code).ok_or(FrameError::UnknownKind(kind_code))?;
        if lane_from_code(found_lane) != Some(lane) {
            return Err(FrameError::ForeignLane(found_lane));
        }
        if reserved != 0 {
            return Err(FrameError::ReservedBytes);
        }
        // A length that does not fit into `usize` is over every limit.
        let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if payload_bytes > payload_bytes_max {
            return Err(FrameError::TooLarge {
                size_bytes: payload_bytes,
                limit_bytes: payload_bytes_max,
            });
        }
        let bare = match kind {
            FrameKind::Request | FrameKind::Response | FrameKind::Message => false,
            FrameKind::End | FrameKind::Alive | FrameKind::Failed => true,
        };
        if bare && payload_bytes != 0 {
            return Err(FrameError::UnexpectedPayload(kind_code));
        }
        Ok(Self {
            kind,
            lane,
            correlation,
            payload_bytes,
            payload_crc,
        })
    }

    fn into_frame(self, payload: Bytes) -> Result<Frame, FrameError> {
        if crc32c::crc32c(&payload) != self.payload_crc {
            return Err(FrameError::PayloadDamaged);
        }
        Ok(Frame {
            kind: self.kind,
            lane: self.lane,
            correlation: self.correlation,
            payload,
        })
    }
}

/// Where the next bytes from the socket belong.
#[derive(Debug)]
pub(crate) enum Room<'a> {
    /// Behind other bytes, any number.
    Any(&'a mut BytesMut),
    /// Into a payload, at most this many.
    Upto(&'a mut BytesMut, usize),
}

/// Turns a sequence of bytes into frames.
///
/// Holds at most [`READ_BYTES`] of small frames or one payload; room for a payload grows
/// with the bytes that arrive. Payloads are allocations of their own, so that a frame
/// that is kept does not keep its neighbours.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    lane: Lane,
    payload_bytes_max: usize,
    buffer: BytesMut,
    partial: Option<(FrameHeader, BytesMut)>,
}

impl FrameDecoder {
    /// A decoder at the start of a connection's traffic.
    pub(crate) fn new(lane: Lane, payload_bytes_max: usize) -> Self {
        Self {
            lane,
            payload_bytes_max,
            buffer: BytesMut::new(),
            partial: None,
        }
    }

    /// Where to put the next bytes, with room made.
    pub(crate) fn room(&mut self) -> Room<'_> {
        match &mut self.partial {
            None => {
                self.buffer.reserve(READ_BYTES);
                Room::Any(&mut self.buffer)
            }
            Some((header, payload)) => {
                let missing = header.payload_bytes.saturating_sub(payload.len());
                if payload.capacity() == payload.len() {
                    // Doubles, from one step up to the payload's length: few copies, and
                    // never much more than what has arrived.
                    payload.reserve(missing.min(payload.len().max(PAYLOAD_STEP_BYTES)));
                }
                Room::Upto(payload, missing)
            }
        }
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; the decoder is of no use after it.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some((header, payload)) = self.partial.take() {
            if payload.len() < header.payload_bytes {
                self.partial = Some((header, payload));
                return Ok(None);
            }
            return header.into_frame(payload.freeze()).map(Some);
        }
        let Some((bytes, _)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = FrameHeader::decode(bytes, self.lane, self.payload_bytes_max)?;
        self.buffer.advance(HEADER_BYTES);
        if self.buffer.len() >= header.payload_bytes {
            let (payload, _) = self.buffer.split_at(header.payload_bytes);
            let payload = Bytes::copy_from_slice(payload);
            self.buffer.advance(header.payload_bytes);
            return header.into_frame(payload).map(Some);
        }
        let mut payload = BytesMut::with_capacity(header.payload_bytes.min(PAYLOAD_STEP_BYTES));
        payload.extend_from_slice(&self.buffer);
        self.buffer.clear();
        self.partial = Some((header, payload));
        Ok(None)
    }

    /// Whether part of a frame is waiting for the rest.
    pub(crate) fn is_within_frame(&self) -> bool {
        self.partial.is_some() || !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests;

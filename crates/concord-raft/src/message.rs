//! What nodes say to each other, and its bytes.
//!
//! Every message is `[version][kind][body]`; integers are little-endian; the layout is in
//! `docs/log-format.md`, section "Peer messages". Decoding is total: any bytes give a
//! message within its limits or a [`DecodeError`], never a panic, and never an allocation
//! larger than the message itself. openraft's serde forms are not used: they change
//! between its releases.
//!
//! ```text
//!   lane      calls (request → answer)                     streams
//!   Control   append (heartbeat), vote, pre-vote, transfer
//!   Append                                                 append requests ⇄ append answers
//!   Snapshot                                               begin, chunks, end ⇄ answer
//!   Forward   describe, promise, join, invite, membership,         proposals (`proposer`)
//!             versions,
//!             and those of `proposer` and `read`
//! ```

pub(crate) mod admin;
pub(crate) mod raft;
pub(crate) mod wire;

use bytes::Bytes;
use concord_core::codec::DecodeError;

use wire::{Reader, Writer};

/// The version that this code writes. A reader refuses what it does not know.
pub(crate) const VERSION: u8 = 1;

/// The second byte of a message: what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// [`raft::AppendRequest`].
    Append,
    /// [`raft::VoteRequest`].
    Vote,
    /// A [`raft::VoteRequest`] that changes nothing.
    PreVote,
    /// [`raft::TransferRequest`].
    Transfer,
    /// [`raft::SnapshotBegin`].
    SnapshotBegin,
    /// Bytes of a snapshot file.
    SnapshotChunk,
    /// The end of a snapshot file.
    SnapshotEnd,
    /// [`admin::Describe`].
    Describe,
    /// [`admin::PromiseRequest`].
    Promise,
    /// [`admin::Join`].
    Join,
    /// [`admin::MembershipChange`].
    Membership,
    /// [`admin::Joined`], said to a node that did not ask.
    Invite,
    /// [`admin::VersionsKnown`], of who asks.
    Versions,
    /// Belongs to `proposer` and `read`, which have bytes of their own.
    Client(u8),
}

impl Kind {
    /// The first kind that belongs to `proposer` and `read`.
    pub(crate) const CLIENT_FIRST: u8 = 0x40;
    /// The last kind that belongs to `proposer` and `read`.
    pub(crate) const CLIENT_LAST: u8 = 0x5f;

    const fn byte(self) -> u8 {
        match self {
            Self::Append => 1,
            Self::Vote => 2,
            Self::PreVote => 3,
            Self::Transfer => 4,
            Self::SnapshotBegin => 8,
            Self::SnapshotChunk => 9,
            Self::SnapshotEnd => 10,
            Self::Describe => 16,
            Self::Promise => 17,
            Self::Join => 18,
            Self::Membership => 19,
            Self::Invite => 20,
            Self::Versions => 21,
            Self::Client(byte) => byte,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Append,
            2 => Self::Vote,
            3 => Self::PreVote,
            4 => Self::Transfer,
            8 => Self::SnapshotBegin,
            9 => Self::SnapshotChunk,
            10 => Self::SnapshotEnd,
            16 => Self::Describe,
            17 => Self::Promise,
            18 => Self::Join,
            19 => Self::Membership,
            20 => Self::Invite,
            21 => Self::Versions,
            Self::CLIENT_FIRST..=Self::CLIENT_LAST => Self::Client(byte),
            _ => return None,
        })
    }
}

/// A message body: has one byte form, in [`VERSION`].
pub(crate) trait Body: Sized {
    /// Appends the bytes.
    fn write(&self, out: &mut Writer);
    /// Reads them back.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Encodes a request.
pub(crate) fn encode(kind: Kind, body: &impl Body) -> Bytes {
    let mut out = Writer::default();
    out.u8(VERSION);
    out.u8(kind.byte());
    body.write(&mut out);
    out.finish()
}

/// What kind of message this is.
pub(crate) fn kind_of(message: &Bytes) -> Result<Kind, DecodeError> {
    let mut reader = Reader::new(message);
    version(&mut reader)?;
    kind(&mut reader)
}

/// Decodes a request whose kind is known.
pub(crate) fn decode<T: Body>(message: &Bytes) -> Result<T, DecodeError> {
    let mut reader = Reader::new(message);
    version(&mut reader)?;
    kind(&mut reader)?;
    let body = T::read(&mut reader)?;
    reader.end()?;
    Ok(body)
}

fn version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.u8()? {
        VERSION => Ok(()),
        _ => Err(reader.error("unknown message version")),
    }
}

fn kind(reader: &mut Reader<'_>) -> Result<Kind, DecodeError> {
    let byte = reader.u8()?;
    Kind::from_byte(byte).ok_or_else(|| reader.error("unknown message kind"))
}

/// Encodes the answer to a call: a body, or why there is none.
pub(crate) fn encode_answer<T: Body>(answer: &Result<T, Refusal>) -> Bytes {
    let mut out = Writer::default();
    out.u8(VERSION);
    match answer {
        Ok(body) => {
            out.u8(0);
            body.write(&mut out);
        }
        Err(refusal) => {
            out.u8(1);
            refusal.write(&mut out);
        }
    }
    out.finish()
}

/// Decodes the answer to a call.
pub(crate) fn decode_answer<T: Body>(message: &Bytes) -> Result<Result<T, Refusal>, DecodeError> {
    let mut reader = Reader::new(message);
    version(&mut reader)?;
    let answer = match reader.u8()? {
        0 => Ok(T::read(&mut reader)?),
        1 => Err(Refusal::read(&mut reader)?),
        _ => return Err(reader.error("unknown answer tag")),
    };
    reader.end()?;
    Ok(answer)
}

/// Why a peer did not do what it was asked. Nothing was changed by the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    /// Whether the same request may succeed later.
    pub(crate) retry: bool,
    /// In words; cut to [`crate::limits::REASON_BYTES_MAX`].
    pub(crate) reason: String,
}

impl Refusal {
    /// The same request fails again.
    pub(crate) fn for_good(reason: impl Into<String>) -> Self {
        Self {
            retry: false,
            reason: reason.into(),
        }
    }

    /// The same request may succeed later.
    pub(crate) fn for_now(reason: impl Into<String>) -> Self {
        Self {
            retry: true,
            reason: reason.into(),
        }
    }
}

impl Body for Refusal {
    fn write(&self, out: &mut Writer) {
        out.bool(self.retry);
        out.text(wire::cut(&self.reason, crate::limits::REASON_BYTES_MAX));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            retry: reader.bool()?,
            reason: reader.text(crate::limits::REASON_BYTES_MAX)?,
        })
    }
}

/// A body without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Empty;

impl Body for Empty {
    fn write(&self, _out: &mut Writer) {}

    fn read(_reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests;

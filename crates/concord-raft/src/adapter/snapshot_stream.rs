//! A snapshot on its way to a peer, and taking one in.
//!
//! ```text
//!   sender                              receiver
//!   begin: vote, meta, size      ──▶    checks the sender, makes a temporary file
//!   chunk, chunk, ...            ──▶    appends
//!   end                          ──▶    checks every byte, names the file, installs it
//!                                ◀──    its vote, or why not
//! ```

use std::time::Duration;

use bytes::Bytes;

use crate::blocking::Blocking;
use crate::limits;
use crate::message::raft::{SnapshotAnswer, SnapshotBegin, SnapshotChunk};
use crate::message::{self, Empty, Kind};
use crate::ports::{Duplex, Lane, PeerAddress, Transport, TransportError};
use crate::snapshot_store::SnapshotFile;
use crate::storage_error::StorageError;
use crate::types::{SnapshotMeta, Vote};

/// A peer that takes no chunk for this long is given up.
const STALL: Duration = Duration::from_secs(30);
/// A peer may take this long to check and install what it got: restoring is bound by its
/// processor and by the size, which is not.
const INSTALL: Duration = Duration::from_secs(600);

/// Why a snapshot did not reach a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the peer ended the snapshot stream")]
    Ended,
    #[error("the peer took nothing for {} ms", STALL.as_millis())]
    Stalled,
    #[error("the peer refused the snapshot: {0}")]
    Refused(String),
}

/// Sends a snapshot and waits until it is installed. Gives the receiver's vote.
pub(crate) async fn send(
    transport: &dyn Transport,
    peer: &PeerAddress,
    blocking: Blocking,
    vote: Vote,
    meta: SnapshotMeta,
    file: SnapshotFile,
) -> Result<Vote, SendError> {
    let mut duplex = transport.open(peer, Lane::Snapshot).await?;
    let begin = SnapshotBegin {
        vote,
        meta,
        total_bytes: file.file_bytes(),
    };
    put(&mut duplex, message::encode(Kind::SnapshotBegin, &begin)).await?;
    let raw = std::sync::Arc::new(blocking.run(move || file.open_raw()).await?);
    let mut offset = 0_u64;
    loop {
        let reader = std::sync::Arc::clone(&raw);
        let bytes = blocking
            .run(move || reader.read_at(offset, limits::SNAPSHOT_MESSAGE_BYTES))
            .await?;
        if bytes.is_empty() {
            break;
        }
        offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let chunk = SnapshotChunk(Bytes::from(bytes));
        put(&mut duplex, message::encode(Kind::SnapshotChunk, &chunk)).await?;
    }
    put(&mut duplex, message::encode(Kind::SnapshotEnd, &Empty)).await?;
    match tokio::time::timeout(INSTALL, duplex.receiver.recv()).await {
        Ok(Some(bytes)) => answer(&bytes),
        Ok(None) => Err(SendError::Ended),
        Err(_) => Err(SendError::Stalled),
    }
}

/// Hands one message to the stream, unless the peer has said something first: it only
/// does so to refuse, or because it follows a later leader.
async fn put(duplex: &mut Duplex, message: Bytes) -> Result<(), SendError> {
    let Duplex { sender, receiver } = duplex;
    tokio::select! {
        biased;
        early = receiver.recv() => match early {
            Some(bytes) => match answer(&bytes) {
                Ok(_) => Err(SendError::Ended),
                Err(error) => Err(error),
            },
            None => Err(SendError::Ended),
        },
        sent = tokio::time::timeout(STALL, sender.send(message)) => match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SendError::Ended),
            Err(_) => Err(SendError::Stalled),
        },
    }
}

fn answer(bytes: &Bytes) -> Result<Vote, SendError> {
    match message::decode_answer::<SnapshotAnswer>(bytes) {
        Ok(Ok(answer)) => Ok(answer.vote),
        Ok(Err(refusal)) => Err(SendError::Refused(refusal.reason)),
        Err(error) => Err(SendError::Refused(error.to_string())),
    }
}

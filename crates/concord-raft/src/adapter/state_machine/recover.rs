//! Bringing the machine back before consensus runs: the newest snapshot, then the log's
//! entries as far as they were committed.
//!
//! ```text
//!   one thread: all of the log is checked           another: the newest snapshot
//!          └────────────────────────┬───────────────────────┘
//!   one thread: log files ──▶ checked ──▶ decoded ──┐ a few pieces ahead
//!   another:                                        └──▶ Machine::apply ──▶ one view, at the end
//! ```
//!
//! openraft would do it too, 64 entries at a time and with a view published for each burst.
//! Nobody reads yet, and every view makes the writer copy what it changes next: without
//! them the machine changes in place.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use concord_core::codec::DecodeError;
use concord_core::machine::{Machine, Restorer};
use concord_core::version::MachineVersion;

use super::{Decoded, Files, StateMachine};
use crate::blocking::Blocking;
use crate::log::{Host, LogPieces, LogReader};
use crate::message::raft::payload_bytes;
use crate::snapshot_store::SnapshotFile;
use crate::storage_error::StorageError;
use crate::types::{Entry, LogId};
use crate::versions;

/// Pieces of the log, or chunks of a snapshot, that are read and unpacked before they are taken.
const PIECES_AHEAD: usize = 4;

/// A decoded entry and the bytes that it had.
type Item = (LogId, Decoded, usize);
type Piece = Result<Vec<Item>, io::Error>;

impl<M: Machine> StateMachine<M> {
    /// Takes in the newest snapshot.
    pub(crate) async fn recover_snapshot(mut self, host: Host) -> Result<Self, io::Error> {
        let work = move || self.newest_snapshot(host).map(|()| self);
        Blocking::new(host).run(work).await
    }

    /// Takes in the entries up to `committed` behind the snapshot, as far as they can be
    /// read: openraft says what is missing if some are. Publishes the result.
    pub(crate) async fn recover_log(
        self,
        log: LogReader,
        committed: Option<LogId>,
        host: Host,
    ) -> Result<Self, io::Error> {
        let work = move || self.replay_upto(&log, committed, host);
        Blocking::new(host).run(work).await
    }

    fn replay_upto(
        mut self,
        log: &LogReader,
        committed: Option<LogId>,
        host: Host,
    ) -> Result<Self, io::Error> {
        let first = self.applied.map_or(0, |applied| applied.index.saturating_add(1));
        let end = committed.map_or(0, |committed| committed.index.saturating_add(1));
        if first < end && log.readable().start <= first {
            let pieces = log.pieces_blocking(first..end);
            match host {
                Host::Task => self.replay(pieces)?,
                Host::Thread => self.replay_beside_reading(pieces)?,
            }
        }
        if self.applied.is_some() {
            self.publish_recovered();
        }
        Ok(self)
    }

    fn newest_snapshot(&mut self, host: Host) -> Result<(), io::Error> {
        let newest = self.files.store.newest();
        let Some(file) = newest.map_err(|error| self.files.failed(error))? else {
            return Ok(());
        };
        self.check_owner(&file)?;
        *self.machine.get_mut() =
            restore::<M>(&file, host, self.files.known).map_err(|error| self.files.failed(error))?;
        self.applied = file.header().last_log_id;
        self.note_snapshot(0, file.file_bytes());
        self.adopt(file.header().membership.clone())
    }

    fn replay(&mut self, pieces: LogPieces) -> Result<(), io::Error> {
        let files = self.files.clone();
        pieces
            .map(|piece| decode_piece(&files, piece))
            .try_for_each(|piece| self.apply_piece(piece))
    }

    fn replay_beside_reading(&mut self, pieces: LogPieces) -> Result<(), io::Error> {
        let files = self.files.clone();
        std::thread::scope(|scope| {
            let (ready, taken) = sync_channel(PIECES_AHEAD);
            scope.spawn(move || {
                for piece in pieces.map(|piece| decode_piece(&files, piece)) {
                    if ready.send(piece).is_err() {
                        return;
                    }
                }
            });
            self.apply_pieces(taken)
        })
    }

    fn apply_pieces(&mut self, pieces: Receiver<Piece>) -> Result<(), io::Error> {
        pieces.into_iter().try_for_each(|piece| self.apply_piece(piece))
    }

    fn apply_piece(&mut self, piece: Piece) -> Result<(), io::Error> {
        for (log_id, decoded, bytes) in piece? {
            self.backlog.add(bytes as u64);
            // Nobody waits for the replies: whoever did is gone, or asks again (I7).
            drop(self.apply_decoded(log_id, decoded)?);
        }
        Ok(())
    }
}

/// Reads a machine back from a snapshot; threads allowing, one unpacks while one builds.
// I4: what comes out is the state that went in; `finish` checks the totals.
pub(crate) fn restore<M: Machine>(
    file: &SnapshotFile,
    host: Host,
    known: MachineVersion,
) -> Result<M, StorageError> {
    let chunks = file.read()?;
    match host {
        Host::Task => rebuild::<M>(file, chunks, known),
        Host::Thread => std::thread::scope(|scope| {
            let (ready, taken) = sync_channel(PIECES_AHEAD);
            scope.spawn(move || {
                for chunk in chunks {
                    if ready.send(chunk).is_err() {
                        return;
                    }
                }
            });
            rebuild::<M>(file, taken, known)
        }),
    }
}

fn rebuild<M: Machine>(
    file: &SnapshotFile,
    chunks: impl IntoIterator<Item = Result<Bytes, StorageError>>,
    known: MachineVersion,
) -> Result<M, StorageError> {
    let damaged = |error: DecodeError| StorageError::corrupt(file.path(), 0, error.to_string());
    let mut restorer = M::restorer();
    for chunk in chunks {
        let fed = restorer.feed(&chunk?);
        versions::check_restored(&restorer, file.path(), known)?;
        fed.map_err(damaged)?;
    }
    restorer.finish().map_err(damaged)
}

fn decode_piece(files: &Files, piece: Result<Vec<Entry>, StorageError>) -> Piece {
    let entries = piece.map_err(|error| files.failed(error))?;
    let decoded = entries.into_iter().map(|entry| {
        let (log_id, bytes) = (entry.log_id, payload_bytes(&entry));
        Ok((log_id, Decoded::from_entry(entry, files)?, bytes))
    });
    decoded.collect()
}

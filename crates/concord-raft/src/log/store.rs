//! The write end of the log, and openraft's traits on both ends.

use std::fmt::Debug;
use std::io;
use std::ops::{Range, RangeBounds};

use concord_core::machine::Machine;
use futures::Stream;
use futures::stream::{self, StreamExt};
use openraft::errors::LeaderChanged;
use openraft::storage::{IOFlushed, LeaderBoundedStreamError, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, vote::RaftVote};
use tokio::sync::{mpsc, oneshot};

use super::reader::{LogReader, bounds};
use super::record::entry_bytes;
use super::writer::{Done, Request};
use crate::limits;
use crate::storage_error::StorageError;
use crate::types::{Entry, LeaderId, LogId, TypeConfig, Vote};

/// The write end of the log: openraft's `RaftLogStorage`. There is one; dropping it
/// closes the log, see [`super::LogHandle::closed`].
#[derive(Debug)]
pub struct LogStore {
    pub(super) reader: LogReader,
    pub(super) queue: mpsc::Sender<Request>,
    /// Appends are numbered.
    pub(super) ticket: u64,
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.reader.shared.close();
    }
}

impl LogStore {
    /// Adds entries: they can be read when this returns, and are durable when `done` is
    /// called. It is called once if this returns `Ok`, and not at all otherwise.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log; [`StorageError::Misuse`] if an entry does not
    /// follow the last one; [`StorageError::TooLarge`].
    pub async fn append_entries(&mut self, entries: Vec<Entry>, done: Done) -> Result<(), StorageError> {
        self.reader.shared.check()?;
        self.ticket += 1;
        {
            let mut state = self.reader.shared.state.lock();
            for entry in &entries {
                let size_bytes = entry_bytes(entry);
                let limit_bytes = limits::LARGEST_ENTRY_BYTES;
                if size_bytes > limit_bytes {
                    return Err(StorageError::TooLarge {
                        what: "log entry",
                        size_bytes,
                        limit_bytes,
                    });
                }
                let index = entry.log_id.index;
                state
                    .push(entry.clone(), size_bytes, self.ticket)
                    .map_err(|expected| StorageError::Misuse {
                        what: format!("entry {index} is appended where entry {expected} should be"),
                    })?;
            }
        }
        self.send(Request::Append {
            entries,
            ticket: self.ticket,
            done,
        })
        .await
    }

    /// Saves the vote; durable when this returns.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub async fn set_vote(&mut self, vote: Vote) -> Result<(), StorageError> {
        let (done, outcome) = oneshot::channel();
        let done: Done = Box::new(move |result| {
            // Nobody waits any more: the node is being dropped.
            let _ = done.send(result);
        });
        self.send(Request::Vote { vote, done }).await?;
        match outcome.await {
            Ok(Ok(())) => {
                self.reader.shared.state.lock().carried.vote = Some(vote);
                Ok(())
            }
            Ok(Err(_)) | Err(_) => self.reader.shared.check().and(Err(StorageError::Closed)),
        }
    }

    /// Notes how far the log is committed. Not synced: a restart may know less.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub async fn set_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.reader.shared.state.lock().carried.committed = committed;
        self.send(Request::Committed(committed)).await
    }

    /// How far the log was known to be committed, as far as it reaches.
    pub fn committed(&self) -> Option<LogId> {
        let state = self.reader.shared.state.lock();
        match (state.carried.committed, state.carried.last) {
            // It is noted without a sync, also for entries that a snapshot stands for.
            (Some(committed), Some(last)) if committed.index > last.index => Some(last),
            (Some(_), None) => None,
            (committed, _) => committed,
        }
    }

    /// Voids all entries after `last`; all entries, if it is `None`. Durable no later than
    /// what is appended next.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub async fn truncate(&mut self, last: Option<LogId>) -> Result<(), StorageError> {
        self.reader.shared.state.lock().truncate_after(last);
        self.send(Request::Truncate(last)).await
    }

    /// Gives up all entries up to `upto`. Space comes back by whole segments, later.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub async fn purge_upto(&mut self, upto: LogId) -> Result<(), StorageError> {
        self.reader.shared.state.lock().purge(upto);
        self.send(Request::Purge(upto)).await
    }

    /// A read end.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    async fn send(&self, request: Request) -> Result<(), StorageError> {
        self.reader.shared.check()?;
        self.queue.send(request).await.map_err(|_| StorageError::Closed)
    }
}

impl<M: Machine> RaftLogReader<TypeConfig<M>> for LogReader {
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderId,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, LeaderBoundedStreamError<TypeConfig<M>>>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let check = move |reader: &Self| {
            let vote = reader.vote();
            let leads = vote.is_some_and(|vote| vote.is_committed() && *RaftVote::leader_id(&vote) == leader);
            if leads {
                Ok(())
            } else {
                Err(LeaderBoundedStreamError::from(LeaderChanged::new(leader, vote)))
            }
        };
        self.pieces(bounds(range), check, |error| {
            LeaderBoundedStreamError::from(io::Error::from(error))
        })
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.pieces(bounds(range), |_| Ok(()), io::Error::from)
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.entries(range).await?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        Ok(self.some_entries(start..end).await?)
    }
}

impl LogReader {
    /// The entries of a range as a stream that holds only a bounded piece of them at a
    /// time. `check` is asked before and after each piece is read.
    fn pieces<'a, E: Send + 'a>(
        &'a mut self,
        range: Range<u64>,
        check: impl Fn(&Self) -> Result<(), E> + Send + 'a,
        wrap: impl Fn(StorageError) -> E + Send + 'a,
    ) -> impl Stream<Item = Result<Entry, E>> + Send + 'a {
        let state = (self, Some(range), check, wrap);
        let pieces = stream::unfold(state, |(reader, range, check, wrap)| async move {
            let range = range.filter(|range| !range.is_empty())?;
            let piece = match check(reader) {
                Ok(()) => reader.some_entries(range.clone()).await.map_err(&wrap),
                Err(error) => Err(error),
            };
            let piece = piece.and_then(|entries| check(reader).map(|()| entries));
            let rest = match &piece {
                Ok(entries) => entries.last().map(|last| last.log_id.index + 1..range.end),
                Err(_) => None,
            };
            let items: Vec<_> = match piece {
                Ok(entries) => entries.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            Some((stream::iter(items), (reader, rest, check, wrap)))
        });
        pieces.flatten().boxed()
    }
}

impl<M: Machine> RaftLogStorage<TypeConfig<M>> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig<M>>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.reader.ends();
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        Ok(self.set_vote(*vote).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.set_committed(committed).await?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig<M>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        Ok(self
            .append_entries(entries, Box::new(|result| callback.io_completed(result)))
            .await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.truncate(last_log_id).await?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        Ok(self.purge_upto(log_id).await?)
    }
}

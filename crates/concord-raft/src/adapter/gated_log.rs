//! The log with the gate of [`SoleVoter`] in front of it.

use std::io;
use std::sync::Arc;

use concord_core::machine::Machine;
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};

use crate::log::{LogReader, LogStore};
use crate::observe::Watching;
use crate::sole_voter::SoleVoter;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// openraft's `RaftLogStorage` over [`LogStore`]: tells the gate of votes and entries before the
/// log takes them, because from then on peers can learn of them.
#[derive(Debug)]
pub(crate) struct GatedLog {
    log: LogStore,
    gate: Arc<SoleVoter>,
    watching: Option<Arc<Watching>>,
}

impl GatedLog {
    pub(crate) const fn new(log: LogStore, gate: Arc<SoleVoter>, watching: Option<Arc<Watching>>) -> Self {
        Self { log, gate, watching }
    }
}

impl<M: Machine> RaftLogStorage<TypeConfig<M>> for GatedLog {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig<M>>, io::Error> {
        self.log.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.log.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.gate.voting(vote);
        RaftLogStorage::<TypeConfig<M>>::save_vote(&mut self.log, vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        RaftLogStorage::<TypeConfig<M>>::save_committed(&mut self.log, committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        RaftLogStorage::<TypeConfig<M>>::read_committed(&mut self.log).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig<M>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        self.gate.appending(&entries);
        let Some(watching) = &self.watching else {
            return self.log.append(entries, callback).await;
        };
        let (taken, watching) = (watching.taken(&entries), Arc::clone(watching));
        let done = move |result: Result<(), io::Error>| {
            watching.synced(taken);
            callback.io_completed(result);
        };
        Ok(self.log.append_entries(entries, Box::new(done)).await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        RaftLogStorage::<TypeConfig<M>>::truncate_after(&mut self.log, last_log_id).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        RaftLogStorage::<TypeConfig<M>>::purge(&mut self.log, log_id).await
    }
}

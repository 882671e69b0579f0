//! Runs random work on a log over a simulated disk, and opens copies of that disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use concord_raft::StorageError;
use concord_raft::log::{self, Host, LogOptions, LogStore};
use concord_raft::sim_disk::SimDisk;
use concord_raft::types::{EncodedBatch, Entry, LogId, Vote, log_id};
use openraft::EntryPayload;
use tokio::runtime::Runtime;

use crate::model::{Event, History, Model, Promise};

pub(crate) const SEGMENT_BYTES: u64 = 8 << 10;
pub(crate) const STORE_ID: u128 = 0x0123_4567_89ab_cdef;

pub(crate) fn directory() -> PathBuf {
    PathBuf::from("/data/log")
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

pub(crate) fn options(expect_existing: bool) -> LogOptions {
    let mut options = LogOptions::new(STORE_ID, SEGMENT_BYTES);
    options.tail_bytes = 1 << 10;
    options.host = Host::Task;
    options.expect_existing = expect_existing;
    options
}

/// Opens the log on a disk and reads all of it.
pub(crate) fn recover(disk: &SimDisk, expect_existing: bool) -> Result<Model, StorageError> {
    runtime().block_on(async {
        let (store, _handle) = log::open(&directory(), options(expect_existing), Arc::new(disk.clone()))?;
        read(&store).await
    })
}

pub(crate) async fn read(store: &LogStore) -> Result<Model, StorageError> {
    let mut reader = store.reader();
    let entries = reader.entries(..).await?;
    let (purged, last) = reader.ends();
    let entries = entries
        .into_iter()
        .map(|entry| (entry.log_id.index, entry))
        .collect();
    Ok(Model {
        vote: reader.vote(),
        purged,
        last,
        entries,
    })
}

/// A small deterministic generator.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// A log at work.
pub(crate) struct Work {
    pub(crate) disk: SimDisk,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) rng: Rng,
    runtime: Option<Runtime>,
    store: Option<LogStore>,
    term: u64,
    committed: u64,
}

impl Work {
    pub(crate) fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let mut work = Self {
            disk,
            history: Arc::default(),
            rng: Rng::new(seed),
            runtime: None,
            store: None,
            term: 1,
            committed: 0,
        };
        work.open(false).unwrap();
        work
    }

    pub(crate) fn open(&mut self, expect_existing: bool) -> Result<(), StorageError> {
        let runtime = runtime();
        let disk = Arc::new(self.disk.clone());
        let found = runtime.block_on(async {
            let (store, _handle) = log::open(&directory(), options(expect_existing), disk)?;
            let found = read(&store).await?;
            self.store = Some(store);
            Ok::<_, StorageError>(found)
        })?;
        self.runtime = Some(runtime);
        self.history.lock().unwrap().restart(found);
        Ok(())
    }

    /// Ends the process: what the writer has not done yet it never does.
    pub(crate) fn die(&mut self) {
        self.store = None;
        self.runtime = None;
        self.disk.kill();
    }

    /// Closes the log well.
    pub(crate) fn close(&mut self) {
        self.store = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            });
        }
    }

    /// A few random requests, in one drain or in several, then time for the writer.
    /// `false` once the log refuses.
    pub(crate) fn step(&mut self) -> bool {
        let Some(mut store) = self.store.take() else {
            return false;
        };
        let Some(runtime) = self.runtime.take() else {
            return false;
        };
        let ok = runtime.block_on(async {
            for _ in 0..=self.rng.below(3) {
                if self.request(&mut store).await.is_err() {
                    return false;
                }
            }
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            true
        });
        self.store = Some(store);
        self.runtime = Some(runtime);
        ok
    }

    async fn request(&mut self, store: &mut LogStore) -> Result<(), StorageError> {
        let (last_id, last, purged) = {
            let model = &self.history.lock().unwrap().model;
            (
                model.last,
                model.last.map_or(0, |id| id.index),
                model.purged.map_or(0, |id| id.index),
            )
        };
        let history = Arc::clone(&self.history);
        let id_of = |index: u64| {
            history
                .lock()
                .unwrap()
                .model
                .entries
                .get(&index)
                .map(|entry| entry.log_id)
        };
        match self.rng.below(20) {
            0..=13 => self.append(store, last_id).await,
            14 => {
                self.term += self.rng.below(2);
                let vote = Vote::new(self.term, 1 + self.rng.below(3));
                let upto = self.history.lock().unwrap().ask(Event::Vote(vote));
                store.set_vote(vote).await?;
                self.history.lock().unwrap().ack(upto);
                Ok(())
            }
            15 | 16 => {
                self.committed = self.committed.max(purged + self.rng.below(last - purged + 1));
                let committed = id_of(self.committed);
                if committed.is_some() {
                    store.set_committed(committed).await
                } else {
                    Ok(())
                }
            }
            17 => {
                let to = self.committed.max(purged) + self.rng.below(4);
                let Some(to) = id_of(to) else {
                    return Ok(());
                };
                self.term += 1;
                self.history.lock().unwrap().ask(Event::Truncate(Some(to)));
                store.truncate(Some(to)).await
            }
            _ => {
                // Sometimes past the end, as when a snapshot is installed.
                let upto = if self.rng.below(12) == 0 {
                    log_id(self.term, last + self.rng.below(5))
                } else if last - purged > 40 {
                    let index = purged + 1 + self.rng.below(last - purged - 10);
                    id_of(index).unwrap_or(log_id(self.term, last))
                } else {
                    return Ok(());
                };
                self.committed = self.committed.max(upto.index);
                self.history.lock().unwrap().ask(Event::Purge(upto));
                store.purge_upto(upto).await
            }
        }
    }

    async fn append(&mut self, store: &mut LogStore, last: Option<LogId>) -> Result<(), StorageError> {
        let first = last.map_or(0, |last| last.index + 1);
        let mut entries = Vec::new();
        for next in first..=first + self.rng.below(4) {
            let size = match self.rng.below(60) {
                // More than a segment of the usual size holds.
                0 => 8_000 + self.rng.below(5_000),
                1 | 2 => 2_000 + self.rng.below(3_000),
                3..=10 => 0,
                _ => self.rng.below(200),
            };
            let fill = u8::try_from(self.rng.below(256)).unwrap();
            let payload = match size {
                0 => EntryPayload::Blank,
                size => EntryPayload::Normal(EncodedBatch::new(Bytes::from(vec![
                    fill;
                    usize::try_from(size)
                        .unwrap()
                ]))),
            };
            entries.push(Entry {
                log_id: log_id(self.term, next),
                payload,
            });
        }
        let upto = {
            let mut history = self.history.lock().unwrap();
            for entry in &entries {
                history.ask(Event::Entry(entry.clone()));
            }
            history.events.len()
        };
        let history = Arc::clone(&self.history);
        let done = move |result: Result<(), std::io::Error>| {
            if result.is_ok() {
                history.lock().unwrap().ack(upto);
            }
        };
        store.append_entries(entries, Box::new(done)).await
    }

    pub(crate) fn promise(&self) -> Promise {
        self.history.lock().unwrap().promise()
    }
}

/// The log's segments on a disk.
pub(crate) fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.paths()
        .into_iter()
        .filter(|path| path.extension() == Some(Path::new("wal").as_os_str()))
        .collect()
}

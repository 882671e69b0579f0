//! Reading a log without changing it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::state::Shared;
use super::{Host, LogOptions, LogReader, recover};
use crate::ports::Disk;
use crate::storage_error::StorageError;
use crate::types::{LogId, Vote};

/// What a log on disk holds.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) reader: LogReader,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    /// Each segment with its length and how much of it was written.
    pub(crate) segments: Vec<(PathBuf, u64, u64)>,
    /// What a crash left of writes that were never acknowledged: file, from, to.
    pub(crate) torn: Option<(PathBuf, u64, u64)>,
}

/// Reads all of the log of a member, checking every checksum. Nothing is repaired.
pub(crate) fn survey(directory: &Path, store_id: u128, disk: &Arc<dyn Disk>) -> Result<Survey, StorageError> {
    let mut options = LogOptions::new(store_id, crate::limits::LOG_SEGMENT_BYTES_MIN);
    options.expect_existing = true;
    let mut recovered = recover::recover(disk, directory, &options)?;
    let state = std::mem::take(&mut recovered.state);
    let carried = state.carried.clone();
    let segments = state.segments.values();
    let segments = segments.map(|kept| (kept.segment.path.clone(), kept.segment.bytes, kept.written));
    let segments = segments.collect();
    let committed = match (carried.committed, carried.last) {
        (Some(committed), Some(last)) if committed.index > last.index => Some(last),
        (committed, _) => committed,
    };
    let path = recovered.segment.path.clone();
    Ok(Survey {
        reader: LogReader::new(Arc::new(Shared::new(state)), Host::Thread),
        vote: carried.vote,
        committed,
        purged: carried.purged,
        last: carried.last,
        segments,
        torn: recovered.torn.map(|end| (path, recovered.offset, end)),
    })
}

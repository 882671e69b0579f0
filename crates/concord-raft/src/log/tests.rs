//! What can only be seen from inside the log: what a recovery would still have to do.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::janitor::{Janitor, Maker};
use super::record::{FrameHeader, RawRecord, Record, Seed, put_record};
use super::segment::HEADER_BYTES;
use super::state::Shared;
use super::writer::{Request, Writer};
use super::{Host, LogOptions, LogStore, open, recover};
use crate::ports::Disk;
use crate::sim_disk::{Operation, SimDisk};
use crate::storage_error::StorageError;
use crate::types::{EncodedBatch, Entry, Payload, Vote, log_id};

const DIRECTORY: &str = "/log";

fn options() -> LogOptions {
    let mut options = LogOptions::new(5, 64 << 10);
    options.host = Host::Task;
    options.tail_bytes = 0;
    options
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

async fn append(store: &mut LogStore, entries: Vec<Entry>) {
    let (done, durable) = tokio::sync::oneshot::channel();
    let done = Box::new(move |outcome| done.send(outcome).unwrap());
    store.append_entries(entries, done).await.unwrap();
    durable.await.unwrap().unwrap();
}

fn entry(index: u64, bytes: usize) -> Entry {
    let payload = Payload::Normal(EncodedBatch::new(Bytes::from(vec![b'x'; bytes])));
    Entry {
        log_id: log_id(1, index),
        payload,
    }
}

/// Two frames were written without a sync between them; the second reached the disk, the
/// first did not. Both are void. If the second were left lying there, a new frame of the
/// first one's length would lead up to it, and it would be taken up.
#[test]
fn a_whole_frame_behind_a_torn_one_is_wiped_out() {
    let disk = SimDisk::new(1);
    let path = super::segment::path(Path::new(DIRECTORY), 1);
    block_on(async {
        let (mut store, _handle) = open(Path::new(DIRECTORY), options(), Arc::new(disk.clone())).unwrap();
        store.set_vote(Vote::new(1, 1)).await.unwrap();
    });
    let recovered = recover::recover(&as_dyn(&disk), Path::new(DIRECTORY), &options()).unwrap();
    let (end, sequence) = (recovered.offset, recovered.sequence);
    // A frame without records that follows one of 64 bytes which is not there.
    let header = FrameHeader {
        sequence: sequence + 2,
        durable: sequence,
        payload_bytes: 0,
        records: 0,
    };
    let mut bytes = disk.contents(&path).unwrap();
    let at = usize::try_from(end).unwrap() + 64;
    bytes[at..at + 32].copy_from_slice(&header.encode(Seed::new(5, 1), end + 64));
    disk.set_contents(&path, &bytes);

    let recovered = recover::recover(&as_dyn(&disk), Path::new(DIRECTORY), &options()).unwrap();
    assert!(recovered.offset == end && recovered.torn.is_some_and(|torn| torn > end + 64));
    recover::repair(&disk, Path::new(DIRECTORY), &recovered).unwrap();
    let recovered = recover::recover(&as_dyn(&disk), Path::new(DIRECTORY), &options()).unwrap();
    assert_eq!((recovered.offset, recovered.torn), (end, None));
}

fn as_dyn(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Entries are void from the moment they are truncated, whether they are read from memory,
/// through positions that the writer has not revised yet, or after a restart.
#[test]
fn truncated_entries_are_never_read_again() {
    let disk = SimDisk::new(1);
    block_on(async {
        let (mut store, _handle) = open(Path::new(DIRECTORY), options(), as_dyn(&disk)).unwrap();
        append(&mut store, (0..300).map(|index| entry(index, 100)).collect()).await;
        append(&mut store, (300..400).map(|index| entry(index, 100)).collect()).await;
        store.truncate(Some(log_id(1, 249))).await.unwrap();
        assert_eq!(store.reader().entries(240..).await.unwrap().len(), 10);
        let anew: Vec<Entry> = (250..500)
            .map(|index| Entry {
                log_id: log_id(2, index),
                ..entry(index, 90)
            })
            .collect();
        append(&mut store, anew.clone()).await;
        let read = store.reader().entries(245..).await.unwrap();
        assert_eq!(read.len(), 255);
        assert_eq!(read[5..], anew);
    });
    block_on(async {
        let (store, _handle) = open(Path::new(DIRECTORY), options(), as_dyn(&disk)).unwrap();
        let read = store.reader().entries(..).await.unwrap();
        assert!(
            read.iter()
                .all(|entry| entry.log_id.leader_id.term == 1 + u64::from(entry.log_id.index >= 250))
        );
        assert_eq!(read.len(), 500);
    });
}

/// Old segments go, from the first, and take their space with them.
#[test]
fn purging_removes_whole_segments_and_survives_a_restart() {
    let disk = SimDisk::new(1);
    let segments = |disk: &SimDisk| disk.paths().len();
    block_on(async {
        let (mut store, _handle) = open(Path::new(DIRECTORY), options(), as_dyn(&disk)).unwrap();
        store.set_vote(Vote::new(7, 3)).await.unwrap();
        for index in 0..400 {
            append(&mut store, vec![entry(index, 1_000)]).await;
        }
        let before = segments(&disk);
        store.purge_upto(log_id(1, 390)).await.unwrap();
        append(&mut store, vec![entry(400, 10)]).await;
        assert!(
            before >= 7 && segments(&disk) == 2,
            "{before} then {}",
            segments(&disk)
        );
    });
    block_on(async {
        let (store, _handle) = open(Path::new(DIRECTORY), options(), as_dyn(&disk)).unwrap();
        let reader = store.reader();
        assert_eq!(reader.vote(), Some(Vote::new(7, 3)), "the vote was carried on");
        assert_eq!(reader.ends(), (Some(log_id(1, 390)), Some(log_id(1, 400))));
        assert_eq!(store.reader().entries(..).await.unwrap().len(), 10);
    });
}

/// An entry that no segment of the usual size holds gets one of its own size; a hostile request must not stop a node, and
/// settings of nodes may differ.
#[test]
fn an_entry_larger_than_a_segment_gets_a_larger_one() {
    let disk = SimDisk::new(1);
    let (usual, large) = (options().segment_bytes, 300 << 10);
    let sizes: &[usize] = &[100, large, large + 1, 50, 60 << 10, 200];
    let lengths = |disk: &SimDisk| -> Vec<u64> {
        let files = disk.paths().into_iter().filter_map(|path| disk.contents(&path));
        files.map(|file| file.len() as u64).collect()
    };
    block_on(async {
        let (mut store, _handle) = open(Path::new(DIRECTORY), options(), as_dyn(&disk)).unwrap();
        for (index, size) in (0..).zip(sizes) {
            append(&mut store, vec![entry(index, *size)]).await;
        }
    });
    let lengths = lengths(&disk);
    let larger = lengths.iter().filter(|length| **length > large as u64).count();
    assert_eq!(larger, 2, "{lengths:?}");
    assert_eq!(
        lengths.last(),
        Some(&usual),
        "the next ones are as ever: {lengths:?}"
    );
    block_on(async {
        let (mut store, _handle) = open(Path::new(DIRECTORY), options(), as_dyn(&disk)).unwrap();
        let expected: Vec<Entry> = (0..)
            .zip(sizes)
            .map(|(index, size)| entry(index, *size))
            .collect();
        assert_eq!(store.reader().entries(..).await.unwrap(), expected);
        // Nobody makes such a thing: it is refused before anything of it is there.
        let too_large = vec![entry(6, crate::limits::LARGEST_ENTRY_BYTES + 1)];
        let refused = store.append_entries(too_large, Box::new(|_| {})).await;
        assert!(
            matches!(refused, Err(StorageError::TooLarge { .. })),
            "{refused:?}"
        );
        append(&mut store, vec![entry(6, 10)]).await;
        assert_eq!(store.reader().entries(..).await.unwrap().len(), 7);
    });
}

/// One read stays within its budget, and gives out one entry however large it is.
#[test]
fn a_limited_read_gives_at_least_one_entry() {
    let disk = SimDisk::new(1);
    block_on(async {
        let mut options = LogOptions::new(5, 16 << 20);
        options.host = Host::Task;
        let (mut store, _handle) = open(Path::new(DIRECTORY), options, as_dyn(&disk)).unwrap();
        append(&mut store, (0..6).map(|index| entry(index, 900 << 10)).collect()).await;
        append(&mut store, vec![entry(6, 5 << 20)]).await;
        assert_eq!(store.reader().some_entries(0..).await.unwrap().len(), 2);
        assert_eq!(store.reader().some_entries(6..).await.unwrap().len(), 1);
        assert_eq!(store.reader().entries(..).await.unwrap().len(), 7);
    });
    assert_eq!(HEADER_BYTES, 512);
}

/// Bytes that are whole where they were written do not pass one place on, in another
/// segment or in another store: a misdirected or stale write is not taken for data.
#[test]
fn frames_and_records_pass_only_where_they_were_written() {
    let header = FrameHeader {
        sequence: 3,
        durable: 2,
        payload_bytes: 40,
        records: 1,
    };
    let mut record = Vec::new();
    put_record(
        &mut record,
        Seed::new(5, 1),
        1_000,
        &Record::Vote(Vote::new(1, 2)),
    );
    for (store, segment, offset) in [(5, 1, 1_000), (5, 1, 1_008), (5, 2, 1_000), (6, 1, 1_000)] {
        let seed = Seed::new(store, segment);
        let here = (store, segment, offset) == (5, 1, 1_000);
        let frame = header.encode(Seed::new(5, 1), 1_000);
        assert_eq!(FrameHeader::decode(&frame, seed, offset).is_ok(), here);
        assert_eq!(RawRecord::check(&record, seed, offset).is_ok(), here);
    }
}

/// I12: what was queued behind a failed sync is refused without another touch of the disk.
#[test]
fn the_writer_does_nothing_after_a_failed_sync() {
    let disk = SimDisk::new(1);
    let directory = Path::new(DIRECTORY);
    let mut recovered = recover::recover(&as_dyn(&disk), directory, &options()).unwrap();
    recover::repair(&disk, directory, &recovered).unwrap();
    let shared = Arc::new(Shared::new(std::mem::take(&mut recovered.state)));
    let maker = Maker::new(
        as_dyn(&disk),
        directory.to_path_buf(),
        &options(),
        Arc::clone(&shared),
    );
    let janitor = Janitor::start(Host::Task, maker, None).unwrap();
    let mut writer = Writer::start(recovered, shared, janitor).unwrap();

    let outcomes: Arc<Mutex<Vec<bool>>> = Arc::default();
    let request = |index| {
        let outcomes = Arc::clone(&outcomes);
        let done = Box::new(move |outcome: Result<(), std::io::Error>| outcomes.lock().push(outcome.is_ok()));
        vec![Request::Append {
            entries: vec![entry(index, 10)],
            ticket: index + 1,
            done,
        }]
    };
    writer.drain(&mut request(0));
    disk.fail(Operation::Sync, 0, 1, std::io::ErrorKind::Other);
    writer.drain(&mut request(1));
    let changes = disk.counts().changes;
    writer.drain(&mut request(2));
    writer.seal();
    writer.finish();
    assert_eq!(*outcomes.lock(), [true, false, false]);
    assert_eq!(disk.counts().changes, changes);
}

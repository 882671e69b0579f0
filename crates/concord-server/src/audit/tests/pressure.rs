//! Disks that fail and queues that are full.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::tempdir;

use super::*;
use crate::audit::body::{Answered, Body, OK};
use crate::audit::disk::{Appender, Disk};
use crate::config::{AuditFailure, AuditSync};
use crate::error::ErrorKind;

/// A disk that is full when told so: it writes half of what it is given, and fails.
struct Moody(Arc<AtomicBool>);

struct MoodyFile(Arc<AtomicBool>, Box<dyn Appender>);

impl Disk for Moody {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        Ok(Box::new(MoodyFile(Arc::clone(&self.0), OsDisk.create(path)?)))
    }
}

impl Appender for MoodyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) && !bytes.is_empty() {
            self.1.append(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.1.truncate(len)
    }
}

fn open_moody(dir: &Path, config: &AuditConfig) -> (Recorder, Arc<AtomicBool>) {
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = Box::new(Moody(Arc::clone(&is_full)));
    let recorder = Recorder::start(config, dir.to_owned(), NodeId::new(7), disk).unwrap();
    (recorder, is_full)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            // tidy-allow(sleep): looks at what a thread does, which announces nothing.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let patience = std::time::Duration::from_secs(30);
    tokio::time::timeout(patience, waiting).await.expect(what);
}

/// Requests go on while the disk is full. What the queue cannot hold is counted and noted; the rest is written when
/// there is room.
#[tokio::test]
async fn a_full_disk_costs_lines_that_are_counted_and_no_request() {
    let dir = tempdir().unwrap();
    let mut config = AuditConfig::new();
    config.queue_lines = 10;
    let (recorder, is_full) = open_moody(dir.path(), &config);
    record(&recorder, "before").await.unwrap();
    recorder.flush().await;
    is_full.store(true, Ordering::SeqCst);
    record(&recorder, "held").await.unwrap();
    until("the writer fails", || recorder.status().failure.is_some()).await;
    for number in 0..50 {
        record(&recorder, format!("key:{number:03}")).await.unwrap();
    }
    let lost = recorder.status().lost;
    assert_eq!(lost, 40, "the queue takes ten");
    is_full.store(false, Ordering::SeqCst);
    until("the log is written again", || recorder.status().failure.is_none()).await;
    recorder.close().await;
    let report = verify(dir.path(), &config);
    assert!(report.intact, "what a failed write left is cut off: {report:?}");
    assert_eq!(report.lost, lost);
    assert_eq!(report.events, 52 - lost);
    assert_eq!(of_kind(dir.path(), "lost").len(), 1);
}

#[tokio::test]
async fn a_strict_log_that_blocks_lets_nothing_happen_unrecorded() {
    let dir = tempdir().unwrap();
    let mut config = AuditConfig::new();
    config.sync = AuditSync::Strict;
    config.on_failure = AuditFailure::Block;
    let (recorder, is_full) = open_moody(dir.path(), &config);
    record(&recorder, "a").await.unwrap();
    assert_eq!(
        of_kind(dir.path(), "event").len(),
        1,
        "it is in the file when the answer comes"
    );
    is_full.store(true, Ordering::SeqCst);
    // The first one finds out: it was performed, and its line is not on disk.
    let error = record(&recorder, "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    // The next ones are refused before anything happens.
    let error = record(&recorder, "c").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(!error.may_have_written());
    is_full.store(false, Ordering::SeqCst);
    until("the log is written again", || recorder.status().failure.is_none()).await;
    record(&recorder, "d").await.unwrap();
    recorder.close().await;
    let keys: Vec<_> = of_kind(dir.path(), "event")
        .iter()
        .map(|event| event["key"].clone())
        .collect();
    assert_eq!(
        keys,
        ["a", "b", "d"],
        "the line that was late is written in its place"
    );
    assert!(verify(dir.path(), &config).intact);
}

#[tokio::test]
async fn a_strict_log_that_allows_waits_for_a_working_disk_only() {
    let dir = tempdir().unwrap();
    let mut config = AuditConfig::new();
    config.sync = AuditSync::Strict;
    let (recorder, is_full) = open_moody(dir.path(), &config);
    is_full.store(true, Ordering::SeqCst);
    record(&recorder, "a").await.unwrap();
    record(&recorder, "b").await.unwrap();
    is_full.store(false, Ordering::SeqCst);
    until("the log is written again", || recorder.status().failure.is_none()).await;
    recorder.close().await;
    assert_eq!(of_kind(dir.path(), "event").len(), 2);
}

/// D-AUD-4: the first line of another day begins another file.
#[tokio::test]
async fn a_new_day_begins_a_new_file() {
    const DAY: u64 = 86_400 * 1_000_000;
    let dir = tempdir().unwrap();
    let recorder = open(dir.path(), &AuditConfig::new());
    let today = crate::audit::writer::now_micros();
    let shared = recorder.shared().unwrap();
    for time in [today, today + DAY, today + DAY, today + 2 * DAY] {
        let mut body = Body::new("put", |_| false, None, &Vec::new());
        let (event, bytes) = body.answered(&Answered {
            time,
            result: OK,
            revision: None,
            took_micros: 1,
            origin: None,
        });
        assert!(shared.queue.push(event, bytes, None));
    }
    recorder.close().await;
    let in_files: Vec<usize> = files::list(dir.path())
        .unwrap()
        .values()
        .map(|path| {
            std::fs::read_to_string(path)
                .unwrap()
                .matches("\"kind\":\"event\"")
                .count()
        })
        .collect();
    assert_eq!(in_files, [1, 2, 1]);
    assert!(verify(dir.path(), &AuditConfig::new()).intact);
}

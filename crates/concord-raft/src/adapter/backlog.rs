//! How much was applied that no snapshot holds: what a restart would have to replay.
//! Decides when the next snapshot is due.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counted by apply, read by the upkeep that asks for snapshots.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// A snapshot is due when so many bytes have been applied since the last one, or as many
    /// as that one has, whichever is more: then neither replay nor rewriting what has not
    /// changed ever costs more than about twice what is there.
    after_bytes: u64,
    /// Bytes of entries applied since the state that the newest snapshot holds.
    bytes: AtomicU64,
    /// The size of the newest snapshot.
    snapshot_bytes: AtomicU64,
    /// The last entry in it.
    snapshot_index: AtomicU64,
    changed: Notify,
}

impl Backlog {
    pub(crate) const fn new(after_bytes: u64) -> Self {
        Self {
            after_bytes,
            bytes: AtomicU64::new(0),
            snapshot_bytes: AtomicU64::new(0),
            snapshot_index: AtomicU64::new(0),
            changed: Notify::const_new(),
        }
    }

    /// So much was applied.
    pub(crate) fn add(&self, bytes: u64) {
        let limit = self.limit();
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before < limit && before.saturating_add(bytes) >= limit {
            self.changed.notify_one();
        }
    }

    /// What a snapshot of the state as of now will hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// The size of the newest snapshot.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Acquire)
    }

    /// There is a snapshot up to entry `index`, of a file with `file_bytes`, which holds
    /// `covered` of what was applied.
    pub(crate) fn covered(&self, covered: u64, index: u64, file_bytes: u64) {
        self.bytes.fetch_sub(covered, Ordering::AcqRel);
        self.snapshot_bytes.store(file_bytes, Ordering::Release);
        self.snapshot_index.store(index, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits until a snapshot has become due, or there is a new one.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn is_due(&self) -> bool {
        self.bytes() >= self.limit()
    }

    /// The last entry in the newest snapshot.
    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot_index.load(Ordering::Acquire)
    }

    fn limit(&self) -> u64 {
        self.after_bytes.max(self.snapshot_bytes.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_snapshot_is_due_after_as_many_bytes_as_the_last_one_has() {
        let backlog = Backlog::new(100);
        backlog.add(99);
        assert!(!backlog.is_due() && backlog.changed().now_or_never().is_none());
        backlog.add(1);
        assert!(backlog.is_due() && backlog.changed().now_or_never().is_some());
        let covered = backlog.bytes();
        backlog.add(20);
        backlog.covered(covered, 7, 150);
        assert_eq!(backlog.snapshot_index(), 7);
        assert!(
            backlog.changed().now_or_never().is_some(),
            "the log can be purged"
        );
        backlog.add(129);
        assert!(
            !backlog.is_due(),
            "20 were applied while it was written, then 129"
        );
        backlog.add(1);
        assert!(backlog.is_due());
    }
}

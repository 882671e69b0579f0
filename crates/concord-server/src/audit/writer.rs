//! The thread that writes lines.
//!
//! ```text
//!   queue ─▶ backlog ─▶ lines in memory ─▶ file ─▶ fsync ─▶ head.json
//!              │            └ one write for all that came together
//!              └ stays until its lines are in the file: a disk that fails costs nothing but the wait
//! ```
//!
//! A file that a write failed in is cut back to its last whole line; one that an fsync failed in is left as it
//! is, and the chain goes on in the next: what a retried fsync says is not to be trusted.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::disk::{Appender, Disk};
use super::files::{self, Head};
use super::line::{Chain, FORMAT, Kind};
use super::queue::{Backlog, Item, Waiter};
use super::recover::Opening;
use super::status::Shared;
use super::{retention, time};
use crate::config::{AuditConfig, AuditSync};
use crate::limits::{
    AUDIT_HEAD_INTERVAL, AUDIT_LINGER, AUDIT_RETENTION_INTERVAL, AUDIT_RETRY, AUDIT_WRITE_BYTES,
};

/// The file being written.
struct Current {
    number: u64,
    file: Box<dyn Appender>,
    len: u64,
    day: u64,
}

/// The state of the thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) config: AuditConfig,
    pub(super) dir: PathBuf,
    pub(super) disk: Box<dyn Disk>,
    pub(super) chain: Chain,
    /// What the header of the next file says about how it came to be.
    pub(super) opening: Opening,
    pub(super) next_file: u64,
    current: Option<Current>,
    backlog: Backlog,
    /// Of lines that are in the file and not synced.
    waiting: Vec<Waiter>,
    buffer: Vec<u8>,
    is_dirty: bool,
    synced_at: Instant,
    /// The last line that is on disk, and the one that the head file names.
    durable: Option<Head>,
    told: Option<u64>,
    told_at: Instant,
    retained_at: Instant,
    /// Held as long as the thread writes here.
    _lock: fs::File,
}

/// What a writer begins with.
pub(super) struct Begin {
    pub(super) shared: Arc<Shared>,
    pub(super) config: AuditConfig,
    pub(super) dir: PathBuf,
    pub(super) disk: Box<dyn Disk>,
    pub(super) chain: Chain,
    pub(super) opening: Opening,
    pub(super) next_file: u64,
    pub(super) lock: fs::File,
}

impl Writer {
    /// Opens the first file.
    pub(super) fn begin(begin: Begin) -> io::Result<Self> {
        let now = Instant::now();
        let mut writer = Self {
            shared: begin.shared,
            config: begin.config,
            dir: begin.dir,
            disk: begin.disk,
            chain: begin.chain,
            opening: begin.opening,
            next_file: begin.next_file,
            current: None,
            backlog: Backlog::default(),
            waiting: Vec::new(),
            buffer: Vec::new(),
            is_dirty: false,
            synced_at: now,
            durable: None,
            told: None,
            told_at: now,
            retained_at: now,
            _lock: begin.lock,
        };
        writer.open_file(now_micros())?;
        writer.sync()?;
        writer.tell_head()?;
        writer.retain();
        Ok(writer)
    }

    /// Writes until the queue is closed and everything in it is in the file.
    pub(super) fn run(mut self) {
        loop {
            let linger = match self.config.sync {
                AuditSync::Async => AUDIT_LINGER,
                AuditSync::Batch | AuditSync::Strict => Duration::ZERO,
            };
            let patience = self.patience();
            let mut is_closed = self.shared.queue.take(patience, linger, &mut self.backlog);
            while let Err(error) = self.round(is_closed) {
                self.fail(&error);
                if is_closed {
                    tracing::error!(
                        lines = self.backlog.items.len(),
                        "audit lines are lost: the node stops and they cannot be written"
                    );
                    return;
                }
                is_closed = self.shared.queue.pause(AUDIT_RETRY);
            }
            self.shared.recovered();
            if is_closed {
                return;
            }
        }
    }

    fn patience(&self) -> Duration {
        if self.is_dirty {
            self.config.sync_interval.saturating_sub(self.synced_at.elapsed())
        } else if self.durable.as_ref().map(|head| head.seq) != self.told {
            AUDIT_HEAD_INTERVAL.saturating_sub(self.told_at.elapsed())
        } else {
            AUDIT_RETENTION_INTERVAL
        }
    }

    /// Everything that is due.
    fn round(&mut self, is_last: bool) -> io::Result<()> {
        self.write_backlog()?;
        if is_last {
            self.close()?;
        }
        let is_due = match self.config.sync {
            AuditSync::Async => self.synced_at.elapsed() >= self.config.sync_interval,
            AuditSync::Batch | AuditSync::Strict => true,
        };
        if self.is_dirty && (is_due || is_last) {
            self.sync()?;
        }
        for waiter in self.waiting.drain(..) {
            // Who has stopped waiting does not want to know.
            let _ = waiter.send(true);
        }
        if is_last || self.told_at.elapsed() >= AUDIT_HEAD_INTERVAL {
            self.tell_head()?;
        }
        if self.retained_at.elapsed() >= AUDIT_RETENTION_INTERVAL {
            self.retain();
        }
        Ok(())
    }

    /// Writes what is in the backlog, in as few calls as possible, and takes it out.
    fn write_backlog(&mut self) -> io::Result<()> {
        loop {
            let now = self
                .backlog
                .items
                .iter()
                .find_map(time_of)
                .unwrap_or_else(now_micros);
            self.turn_over(now)?;
            let Some(current) = &mut self.current else {
                return Err(io::Error::other("no file is open"));
            };
            let room = self.config.rotate_bytes.saturating_sub(current.len);
            let before = self.chain.clone();
            let mut staged = 0;
            let mut unwritten = self.backlog.bytes.get(self.backlog.written..).unwrap_or_default();
            self.buffer.clear();
            for item in &self.backlog.items {
                let bytes = self.buffer.len();
                if staged > 0 && (bytes >= AUDIT_WRITE_BYTES || bytes as u64 >= room) {
                    break;
                }
                if time_of(item).is_some_and(|time| time::day(time) > current.day) {
                    break;
                }
                match item {
                    Item::Event { event, bytes, .. } => {
                        let (own, rest) = unwritten.split_at_checked(*bytes).unwrap_or_default();
                        self.chain.append_event(&mut self.buffer, event, own);
                        unwritten = rest;
                    }
                    Item::Lost { count, since } => {
                        append_lost(&mut self.chain, &mut self.buffer, *count, *since)
                    }
                    Item::Refused {
                        refusal,
                        count,
                        since,
                    } => append_refused(&mut self.chain, &mut self.buffer, refusal.name(), *count, *since),
                    Item::Barrier(_) => {}
                }
                staged += 1;
            }
            if let Err(error) = current.file.append(&self.buffer) {
                self.chain = before;
                self.take_back();
                return Err(error);
            }
            current.len += self.buffer.len() as u64;
            self.is_dirty |= !self.buffer.is_empty();
            self.shared
                .wrote(self.chain.seq, self.chain.head, current.number, self.buffer.len());
            self.waiting.extend(self.backlog.drain(staged));
            if self.backlog.items.is_empty() {
                return Ok(());
            }
        }
    }

    /// Cuts what a failed write may have left off the file; if that fails too, the next line opens another.
    fn take_back(&mut self) {
        if let Some(current) = &mut self.current
            && current.file.truncate(current.len).is_err()
        {
            self.abandon("write_failed");
        }
    }

    fn abandon(&mut self, cause: &'static str) {
        self.current = None;
        self.opening = Opening {
            cause,
            ..Opening::default()
        };
    }

    /// Opens the next file when this one is full or of another day.
    fn turn_over(&mut self, now: u64) -> io::Result<()> {
        if let Some(current) = &self.current {
            let is_old = time::day(now) > current.day;
            if !is_old && current.len < self.config.rotate_bytes {
                return Ok(());
            }
            self.sync()?;
            self.abandon("rotation");
        }
        self.open_file(now)?;
        self.retain();
        Ok(())
    }

    fn open_file(&mut self, now: u64) -> io::Result<()> {
        let number = self.next_file;
        let mut file = self
            .disk
            .create(&files::path_of(&self.dir, number))
            .inspect_err(|error| {
                // A name that is taken is not tried for ever.
                if error.kind() == io::ErrorKind::AlreadyExists {
                    self.next_file += 1;
                }
            })?;
        self.next_file = number + 1;
        let mut chain = self.chain.clone();
        self.buffer.clear();
        let opening = &self.opening;
        let (log, node) = (chain.log.clone(), chain.node);
        let (seal, key_id) = (chain.seal.name(), chain.seal.key_id().to_owned());
        let previous = chain.head;
        chain.append(&mut self.buffer, Kind::Header, now, |line| {
            line.number("format", FORMAT);
            line.text("log", &log);
            line.number("file", number);
            line.number("node", node);
            line.text("version", env!("CARGO_PKG_VERSION"));
            line.text("seal", seal);
            if !key_id.is_empty() {
                line.text("key_id", &key_id);
            }
            line.text("previous", previous.as_str());
            opening.write(line);
        });
        if let Err(error) = file.append(&self.buffer) {
            // Nothing of it is left to stand in the way of the next attempt.
            if fs::remove_file(files::path_of(&self.dir, number)).is_ok() {
                self.next_file = number;
            }
            return Err(error);
        }
        self.chain = chain;
        self.shared
            .wrote(self.chain.seq, self.chain.head, number, self.buffer.len());
        self.is_dirty = true;
        self.current = Some(Current {
            number,
            file,
            len: self.buffer.len() as u64,
            day: time::day(now),
        });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.synced_at = Instant::now();
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if let Err(error) = current.file.sync() {
            self.abandon("sync_failed");
            return Err(error);
        }
        self.is_dirty = false;
        self.durable = Some(Head {
            file: current.number,
            seq: self.chain.seq,
            hash: self.chain.head,
        });
        Ok(())
    }

    fn tell_head(&mut self) -> io::Result<()> {
        self.told_at = Instant::now();
        let Some(head) = self.durable.as_ref().filter(|head| Some(head.seq) != self.told) else {
            return Ok(());
        };
        files::write_head(&self.dir, &self.chain.log, head)?;
        self.told = Some(head.seq);
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        self.buffer.clear();
        let mut chain = self.chain.clone();
        chain.append(&mut self.buffer, Kind::Closed, now_micros(), |_| {});
        if let Err(error) = current.file.append(&self.buffer) {
            self.take_back();
            return Err(error);
        }
        current.len += self.buffer.len() as u64;
        self.chain = chain;
        self.shared
            .wrote(self.chain.seq, self.chain.head, current.number, self.buffer.len());
        self.is_dirty = true;
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        self.shared.failed(error);
        for waiter in self.waiting.drain(..) {
            let _ = waiter.send(false);
        }
        // Their lines stay, and are written when that is possible again; but they wait no longer.
        for item in &mut self.backlog.items {
            if let Item::Event { waiter, .. } = item
                && let Some(waiter) = waiter.take()
            {
                let _ = waiter.send(false);
            }
        }
        self.backlog
            .items
            .retain(|item| !matches!(item, Item::Barrier(_)));
    }

    /// Removes files that are too old or too many, after a line that says so is on disk.
    fn retain(&mut self) {
        self.retained_at = Instant::now();
        if let Err(error) = self.try_retain() {
            tracing::warn!(%error, "old audit files cannot be removed");
        }
    }

    fn try_retain(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        // Whoever checks all files would miss those that go now: next time, then.
        let Some(_guard) = shared.begin_retention() else {
            return Ok(());
        };
        let now = now_micros();
        let limits = retention::Limits {
            days: self.config.retention_days,
            bytes: self.config.retention_bytes,
        };
        let Some(surplus) = retention::surplus(&self.dir, limits, now)? else {
            return Ok(());
        };
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let mut chain = self.chain.clone();
        self.buffer.clear();
        chain.append(&mut self.buffer, Kind::Removed, now, |line| {
            line.number("from_file", surplus.first);
            line.number("upto_file", surplus.last);
            line.text("end_hash", surplus.end_hash.as_str());
            line.text("reason", surplus.reason);
        });
        if let Err(error) = current.file.append(&self.buffer) {
            self.take_back();
            return Err(error);
        }
        current.len += self.buffer.len() as u64;
        self.chain = chain;
        self.shared
            .wrote(self.chain.seq, self.chain.head, current.number, self.buffer.len());
        self.is_dirty = true;
        self.sync()?;
        for path in &surplus.paths {
            fs::remove_file(path)?;
        }
        tracing::info!(
            from_file = surplus.first,
            upto_file = surplus.last,
            reason = surplus.reason,
            "old audit files were removed"
        );
        Ok(())
    }
}

fn time_of(item: &Item) -> Option<u64> {
    match item {
        Item::Event { event, .. } => Some(event.time()),
        Item::Lost { .. } | Item::Refused { .. } | Item::Barrier(_) => None,
    }
}

fn append_lost(chain: &mut Chain, buffer: &mut Vec<u8>, count: u64, since: u64) {
    tracing::error!(
        lines = count,
        "audit lines were lost: they came faster than they could be written"
    );
    chain.append(buffer, Kind::Lost, now_micros(), |line| {
        line.number("count", count);
        line.text("since", &time::text(since));
    });
}

fn append_refused(chain: &mut Chain, buffer: &mut Vec<u8>, result: &str, count: u64, since: u64) {
    chain.append(buffer, Kind::Refused, now_micros(), |line| {
        line.text("result", result);
        line.number("count", count);
        line.text("since", &time::text(since));
    });
}

/// This node's clock.
pub(super) fn now_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

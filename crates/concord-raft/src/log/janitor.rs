//! Makes the next segment ahead of need and removes purged ones, so that the writer
//! neither fills nor unlinks files while callers wait.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::segment::{self, Segment};
use super::state::Shared;
use super::{Host, LogOptions};
use crate::ports::Disk;
use crate::storage_error::StorageError;

/// How often making a segment is tried again while the disk is full.
const RETRY: Duration = Duration::from_secs(1);
/// How often a writer that waits for a segment looks whether the log is being closed.
const CHECK: Duration = Duration::from_millis(100);

/// Where and how segments are made.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    store_id: u128,
    segment_bytes: u64,
    shared: Arc<Shared>,
}

impl Maker {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        options: &LogOptions,
        shared: Arc<Shared>,
    ) -> Self {
        let LogOptions {
            store_id,
            segment_bytes,
            ..
        } = *options;
        Self {
            disk,
            directory,
            store_id,
            segment_bytes,
            shared,
        }
    }

    /// Makes a segment that holds an entry of so many bytes; it takes the place of one of that number, in which there
    /// must be nothing.
    fn make(&self, Wanted { number, entry_bytes }: Wanted) -> Result<Segment, StorageError> {
        let made = segment::create(
            &*self.disk,
            &self.directory,
            self.store_id,
            number,
            self.segment_bytes.max(segment::bytes_for(entry_bytes)),
        );
        self.shared
            .note_space(made.as_ref().err().filter(|error| error.is_full()));
        made
    }

    /// Removes segments, oldest first. The directory is synced after each: a crash could
    /// otherwise take a later one and leave an earlier one, which looks like damage.
    fn remove(&self, segments: Vec<Segment>) {
        for segment in segments {
            let removed = self
                .disk
                .remove(&segment.path)
                .and_then(|()| self.disk.sync_dir(&self.directory));
            if let Err(error) = removed {
                // It is tried again when the log is opened next and purged further.
                tracing::warn!(file = %segment.path.display(), %error, "cannot remove a purged log segment");
                return;
            }
        }
    }
}

/// Which segment is wanted, and for what.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    number: u64,
    /// Of the largest entry that it is known to have to hold.
    entry_bytes: usize,
}

impl Wanted {
    /// Ahead of need, of the usual size.
    const fn next(number: u64) -> Self {
        Self {
            number,
            entry_bytes: 0,
        }
    }

    fn is_met_by(self, segment: &Segment) -> bool {
        segment.bytes >= segment::bytes_for(self.entry_bytes)
    }
}

/// Does its work where the log's options say.
#[derive(Debug)]
pub(super) enum Janitor {
    Thread(Thread),
    Task(Task),
}

impl Janitor {
    /// `ready` is the segment after the current one, if a recovery found it made.
    pub(super) fn start(host: Host, maker: Maker, ready: Option<Segment>) -> Result<Self, StorageError> {
        match host {
            Host::Thread => Thread::start(maker, ready).map(Self::Thread),
            Host::Task => Ok(Self::Task(Task {
                maker,
                wanted: None,
                ready,
            })),
        }
    }

    /// Asks for segment `number` ahead of its need.
    pub(super) fn prepare(&mut self, number: u64) {
        match self {
            Self::Thread(thread) => thread.prepare(number),
            Self::Task(task) => {
                if task.ready.is_none() {
                    task.wanted = Some(Wanted::next(number));
                    task.tick();
                }
            }
        }
    }

    /// Tries again what the disk had no space for. Once a drain.
    pub(super) fn tick(&mut self) {
        match self {
            Self::Thread(_) => {}
            Self::Task(task) => task.tick(),
        }
    }

    /// The segment that was asked for; waits until it is made. One that is too small for an entry of so many bytes,
    /// as most are for the largest, is made once more.
    pub(super) fn take(&mut self, number: u64, entry_bytes: usize) -> Result<Segment, StorageError> {
        let wanted = Wanted { number, entry_bytes };
        let segment = match self {
            Self::Thread(thread) => match thread.take()? {
                segment if wanted.is_met_by(&segment) => segment,
                _ => {
                    thread.send(Job::Prepare(wanted));
                    thread.take()?
                }
            },
            Self::Task(task) => match task.ready.take() {
                Some(segment) if wanted.is_met_by(&segment) => segment,
                _ => task.maker.make(wanted)?,
            },
        };
        if segment.number == number {
            Ok(segment)
        } else {
            Err(StorageError::Misuse {
                what: "segments out of order".to_owned(),
            })
        }
    }

    pub(super) fn remove(&mut self, segments: Vec<Segment>) {
        if segments.is_empty() {
            return;
        }
        match self {
            Self::Thread(thread) => thread.send(Job::Remove(segments)),
            Self::Task(task) => task.maker.remove(segments),
        }
    }
}

/// Works inside the writer's own task.
#[derive(Debug)]
pub(super) struct Task {
    maker: Maker,
    wanted: Option<Wanted>,
    ready: Option<Segment>,
}

impl Task {
    fn tick(&mut self) {
        if let Some(wanted) = self.wanted {
            match self.maker.make(wanted) {
                Ok(segment) => {
                    self.ready = Some(segment);
                    self.wanted = None;
                }
                Err(error) if error.is_full() => {}
                // Tried once more when the segment is needed, and reported then.
                Err(_) => self.wanted = None,
            }
        }
    }
}

enum Job {
    Prepare(Wanted),
    Remove(Vec<Segment>),
}

/// Works on a thread of its own.
#[derive(Debug)]
pub(super) struct Thread {
    shared: Arc<Shared>,
    ready: Option<Segment>,
    jobs: Option<Sender<Job>>,
    made: Receiver<Result<Segment, StorageError>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(maker: Maker, ready: Option<Segment>) -> Result<Self, StorageError> {
        let (jobs, todo) = channel();
        let (done, made) = channel();
        let shared = Arc::clone(&maker.shared);
        let directory = maker.directory.clone();
        let thread = std::thread::Builder::new()
            .name("concord-log-prep".to_owned())
            .spawn(move || run(&maker, &todo, &done))
            .map_err(|e| StorageError::io("start a thread for", &directory, 0, e))?;
        Ok(Self {
            shared,
            ready,
            jobs: Some(jobs),
            made,
            thread: Some(thread),
        })
    }

    fn send(&self, job: Job) {
        // A dead thread is noticed when its segment is needed.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }

    fn prepare(&self, number: u64) {
        if self.ready.is_none() {
            self.send(Job::Prepare(Wanted::next(number)));
        }
    }

    /// While the disk is full this waits for space: what is queued is not acknowledged
    /// meanwhile, and goes on by itself when there is some.
    fn take(&mut self) -> Result<Segment, StorageError> {
        if let Some(segment) = self.ready.take() {
            return Ok(segment);
        }
        loop {
            match self.made.recv_timeout(CHECK) {
                Ok(made) => return made,
                Err(RecvTimeoutError::Timeout) if !self.shared.is_closing() => {}
                Err(_) => return Err(StorageError::Closed),
            }
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It holds no result that anyone waits for; a panic of it was logged.
            let _ = thread.join();
        }
    }
}

fn run(maker: &Maker, todo: &Receiver<Job>, done: &Sender<Result<Segment, StorageError>>) {
    let mut queue = VecDeque::new();
    loop {
        let job = if queue.is_empty() {
            todo.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            todo.recv_timeout(RETRY)
        };
        match job {
            Ok(Job::Prepare(wanted)) => queue.push_back(wanted),
            Ok(Job::Remove(segments)) => maker.remove(segments),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(wanted) = queue.front() {
            match maker.make(*wanted) {
                Err(error) if error.is_full() => break,
                made => {
                    queue.pop_front();
                    if done.send(made).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

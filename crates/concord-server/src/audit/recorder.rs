//! The one door: whoever performs a request begins a line here, and finishes it with what came of it.
//!
//! ```text
//!   let line = recorder.begin(principal, &request)?;     // refused here if it could not be recorded
//!   let outcome = judge, then perform;
//!   line.finish(outcome, revision).await                 // strict: when the line is on disk
//! ```
//!
//! A line that is dropped instead, because its caller went away, is written too: with `outcome_unknown`.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use concord_auth::{Principal, Read};
use concord_core::ids::{NodeId, Revision};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::body::{Answered, Body, OK};
use super::chain::Keys;
use super::disk::{Disk, OsDisk};
use super::event::Audited;
use super::origin::{self, Origin};
use super::refusals::{Refusal, Room};
use super::status::{AuditStatus, Shared};
use super::writer::{Begin, Writer, now_micros};
use super::{files, recover};
use crate::config::{AuditConfig, AuditFailure, AuditKeyMode, AuditSync};
use crate::error::{Error, ErrorKind};
use crate::limits::AUDIT_BARRIER_TIMEOUT;

/// Why the audit log of a node cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log in {}", dir.display())]
pub struct AuditOpenError {
    /// Where it is.
    pub dir: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Where requests become lines, if there is an audit log.
#[derive(Debug)]
pub(crate) struct Recorder {
    active: Option<Active>,
}

struct Active {
    shared: Arc<Shared>,
    dir: PathBuf,
    keys: Option<Keys>,
    /// Keys of requests are hashed under these.
    hide: Option<Keys>,
    sync: AuditSync,
    on_failure: AuditFailure,
    log_reads: bool,
    /// For lines of refused reads.
    room: Room,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Recorder {
    /// No audit log: nothing is recorded, and nothing is paid for it.
    pub(crate) const fn off() -> Self {
        Self { active: None }
    }

    /// Opens the log and starts the thread that writes it. Blocks.
    pub(crate) fn open(config: &AuditConfig, data_dir: &Path, node: NodeId) -> Result<Self, AuditOpenError> {
        let dir = config.dir.clone().unwrap_or_else(|| data_dir.join("audit"));
        Self::start(config, dir.clone(), node, Box::new(OsDisk))
            .map_err(|source| AuditOpenError { dir, source })
    }

    pub(super) fn start(
        config: &AuditConfig,
        dir: PathBuf,
        node: NodeId,
        disk: Box<dyn Disk>,
    ) -> std::io::Result<Self> {
        let keys = config
            .secret
            .as_ref()
            .map(|secret| Keys::derive(secret.expose().as_bytes()));
        let lock = files::take(&dir)?;
        let found = recover::recover(&dir, node.get(), keys.as_ref(), random_name()?)?;
        if let Some(damage) = &found.opening.damage {
            tracing::error!(dir = %dir.display(), damage, "the audit log is damaged; it goes on behind the damage");
        }
        tracing::info!(
            dir = %dir.display(), behind = found.chain.seq, hash = %found.chain.head, "the audit log goes on"
        );
        let shared = Arc::new(Shared::new(config.queue_lines));
        let hide = match config.key_mode {
            AuditKeyMode::Plain => None,
            AuditKeyMode::Hash => keys.clone(),
        };
        let writer = Writer::begin(Begin {
            shared: Arc::clone(&shared),
            config: config.clone(),
            dir: dir.clone(),
            disk,
            chain: found.chain,
            opening: found.opening,
            next_file: found.next_file,
            lock,
        })?;
        let thread = thread::Builder::new()
            .name("concord-audit".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            active: Some(Active {
                shared,
                dir,
                keys,
                hide,
                sync: config.sync,
                on_failure: config.on_failure,
                log_reads: config.log_reads,
                room: Room::new(Instant::now()),
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Begins the line of a request. `who` is only asked where there is a log.
    ///
    /// # Errors
    ///
    /// `overloaded` if the line could not be written, and that is reason to refuse requests.
    pub(crate) fn begin<W: Deref<Target = Principal>>(
        &self,
        who: impl FnOnce() -> Option<W>,
        request: &impl Audited,
    ) -> Result<Line<'_>, Error> {
        if self.active.is_none() {
            return Ok(Line(None));
        }
        self.begin_at(Instant::now(), who, request)
    }

    /// The same of a request that began at this time.
    ///
    /// # Errors
    ///
    /// Those of [`Recorder::begin`].
    pub(crate) fn begin_at<W: Deref<Target = Principal>>(
        &self,
        began: Instant,
        who: impl FnOnce() -> Option<W>,
        request: &impl Audited,
    ) -> Result<Line<'_>, Error> {
        let Some(active) = &self.active else {
            return Ok(Line(None));
        };
        active.check()?;
        Ok(Line(Some(active.line(began, who().as_deref(), request))))
    }

    /// Whether there is a log.
    #[cfg(feature = "http")]
    pub(crate) const fn is_on(&self) -> bool {
        self.active.is_some()
    }

    /// Whether every read leaves a line.
    pub(crate) const fn logs_reads(&self) -> bool {
        match &self.active {
            Some(active) => active.log_reads,
            None => false,
        }
    }

    /// The line of a read that was judged just now, if it is to leave one: each does if so configured, and those that
    /// are refused as far as there is room.
    ///
    /// # Errors
    ///
    /// `overloaded` if the line could not be written, and that is reason to refuse requests.
    pub(crate) fn read<T, W: Deref<Target = Principal>>(
        &self,
        who: impl FnOnce() -> Option<W>,
        request: &Read<'_>,
        outcome: &Result<T, Error>,
    ) -> Result<Line<'_>, Error> {
        let Some(active) = &self.active else {
            return Ok(Line(None));
        };
        let refusal = outcome.as_ref().err().and_then(|error| Refusal::of(error.kind()));
        match refusal {
            // Of strangers only some, whatever is configured: there can be any number.
            Some(Refusal::Unauthorized) if !active.has_room(Refusal::Unauthorized) => Ok(Line(None)),
            Some(Refusal::Forbidden) if !active.log_reads && !active.has_room(Refusal::Forbidden) => {
                Ok(Line(None))
            }
            // It is refused anyway.
            Some(_) => Ok(Line(Some(active.line(Instant::now(), who().as_deref(), request)))),
            None if active.log_reads => {
                active.check()?;
                Ok(Line(Some(active.line(Instant::now(), who().as_deref(), request))))
            }
            None => Ok(Line(None)),
        }
    }

    /// Records that somebody who is nobody here was turned away before anything of the request was looked at.
    #[cfg(feature = "http")]
    pub(crate) fn turned_away(&self, error: &Error) {
        if let Some(active) = &self.active
            && let Some(refusal) = Refusal::of(error.kind())
            && active.has_room(refusal)
        {
            let body = Body::new("authenticate", |_| false, None, &Vec::new());
            active.draft(Instant::now(), body).push(error.code(), None, None);
        }
    }

    pub(crate) fn status(&self) -> AuditStatus {
        self.active
            .as_ref()
            .map(|active| active.shared.status())
            .unwrap_or_default()
    }

    /// What an operator should know of it.
    pub(crate) fn warning(&self) -> Option<String> {
        let status = self.active.as_ref()?.shared.status();
        match (status.failure, status.lost) {
            (Some(failure), _) => Some(format!("the audit log cannot be written: {failure}")),
            (None, 0) => None,
            (None, lost) => Some(format!(
                "{lost} lines of the audit log were lost since this node started"
            )),
        }
    }

    /// Where the log is, and the keys of its secret; `None`: there is no log.
    pub(super) fn place(&self) -> Option<(&Path, Option<&Keys>)> {
        self.active
            .as_ref()
            .map(|active| (active.dir.as_path(), active.keys.as_ref()))
    }

    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.active.as_ref().map(|active| &active.shared)
    }

    /// Waits until every line that was begun and finished before is in the file; not for ever, if the disk fails.
    pub(crate) async fn flush(&self) {
        if let Some(active) = &self.active {
            let (waiter, done) = oneshot::channel();
            active.shared.queue.barrier(waiter);
            // Lines that are not there yet are not shown: no more than that.
            let _ = tokio::time::timeout(AUDIT_BARRIER_TIMEOUT, done).await;
        }
    }

    /// Writes what is left, and ends. Later requests leave no line.
    pub(crate) async fn close(&self) {
        let Some(active) = &self.active else { return };
        active.shared.queue.close();
        let thread = active.thread.lock().take();
        if let Some(thread) = thread {
            // A thread that panicked has said so already.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // The thread writes what is left, and ends by itself.
        self.shared.queue.close();
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Active {
    /// Whether a request may be performed, as far as its line is concerned.
    fn check(&self) -> Result<(), Error> {
        match self.on_failure {
            AuditFailure::Allow => Ok(()),
            AuditFailure::Block if self.shared.is_failing() || self.shared.queue.is_full() => {
                let message = "the audit log cannot take the request's line: nothing is done without it";
                Err(Error::new(ErrorKind::Overloaded, message).with("reason", "audit".to_owned()))
            }
            AuditFailure::Block => Ok(()),
        }
    }

    fn line(&self, began: Instant, principal: Option<&Principal>, request: &impl Audited) -> Draft<'_> {
        self.draft(began, Body::of(request, principal, self.hide.as_ref()))
    }

    fn draft(&self, began: Instant, body: Body) -> Draft<'_> {
        Draft {
            active: self,
            began,
            took: None,
            body,
            is_open: true,
            origin: origin::current(),
        }
    }

    /// Whether a refusal leaves a line; if not, it is counted.
    fn has_room(&self, refusal: Refusal) -> bool {
        let has_room = self.room.take(refusal, Instant::now());
        if !has_room {
            self.shared.queue.count(refusal, now_micros());
        }
        has_room
    }
}

/// A line that is waiting for what comes of its request. Costs nothing where there is no log.
#[derive(Debug)]
#[must_use = "the line of a request must be finished with what came of it"]
pub(crate) struct Line<'a>(Option<Draft<'a>>);

#[derive(Debug)]
struct Draft<'a> {
    active: &'a Active,
    began: Instant,
    /// If somebody has measured that already.
    took: Option<Duration>,
    body: Body,
    /// Until the line is finished.
    is_open: bool,
    origin: Option<Arc<Origin>>,
}

impl Line<'_> {
    /// How long the request has taken, so that the clock is not asked again.
    pub(crate) fn took(mut self, took: Duration) -> Self {
        if let Some(draft) = &mut self.0 {
            draft.took = Some(took);
        }
        self
    }

    /// Finishes the line. In `strict` mode this returns when it is on disk.
    ///
    /// # Errors
    ///
    /// Those of `outcome`; `outcome_unknown` if the request was performed but its line could not be written,
    /// and that is reason to refuse requests.
    pub(crate) async fn finish<T>(
        mut self,
        outcome: Result<T, Error>,
        revision: impl FnOnce(&T) -> Option<Revision>,
    ) -> Result<T, Error> {
        let Some(draft) = self.0.take() else {
            return outcome;
        };
        let active = draft.active;
        let (result, revision) = match &outcome {
            Ok(answer) => (OK, revision(answer)),
            Err(error) => (error.code(), None),
        };
        let is_written = match active.sync {
            AuditSync::Async | AuditSync::Batch => {
                draft.push(result, revision, None);
                // What was lost here is refused at the door next time.
                true
            }
            // Nothing is written now: whoever asks need not wait to learn that.
            AuditSync::Strict if active.shared.is_failing() => {
                draft.push(result, revision, None);
                false
            }
            AuditSync::Strict => {
                let (waiter, written) = oneshot::channel();
                draft.push(result, revision, Some(waiter)) && written.await.unwrap_or(false)
            }
        };
        if is_written || active.on_failure == AuditFailure::Allow || outcome.is_err() {
            return outcome;
        }
        let message = "the request was performed, but its audit line could not be written";
        Err(Error::new(ErrorKind::OutcomeUnknown, message).with("reason", "audit".to_owned()))
    }
}

impl Line<'_> {
    /// Finishes the line without waiting for anything.
    pub(crate) fn finish_now<T>(mut self, outcome: &Result<T, Error>, revision: impl FnOnce(&T) -> Revision) {
        if let Some(draft) = self.0.take() {
            match outcome {
                Ok(answer) => draft.push(OK, Some(revision(answer)), None),
                Err(error) => draft.push(error.code(), None, None),
            };
        }
    }

    /// Leaves no line: nothing came of the request, and it is begun anew.
    pub(crate) fn withdraw(self) {
        if let Some(mut draft) = self.0 {
            draft.is_open = false;
        }
    }
}

impl Draft<'_> {
    /// `false`: the line is lost.
    fn push(
        mut self,
        result: &'static str,
        revision: Option<Revision>,
        waiter: Option<oneshot::Sender<bool>>,
    ) -> bool {
        self.is_open = false;
        self.hand_over(result, revision, waiter)
    }

    fn hand_over(
        &mut self,
        result: &'static str,
        revision: Option<Revision>,
        waiter: Option<oneshot::Sender<bool>>,
    ) -> bool {
        let took = self.took.unwrap_or_else(|| self.began.elapsed());
        let (event, bytes) = self.body.answered(&Answered {
            time: now_micros(),
            result,
            revision,
            took_micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            origin: self.origin.as_deref(),
        });
        let shared = &self.active.shared;
        let is_kept = shared.queue.push(event, bytes, waiter);
        if !is_kept {
            shared.lost_one();
        }
        is_kept
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Nobody waits for the answer any more: what came of it is not known here.
        if self.is_open {
            self.hand_over(ErrorKind::OutcomeUnknown.code(), None, None);
        }
    }
}

/// The name of a new log, from the system's own source of randomness.
fn random_name() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

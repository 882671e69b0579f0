//! One watcher: a stream of what happens to the keys that it watches.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use concord_core::ids::Revision;
use concord_core::view::{ReadView, ViewError};
use concord_query::watch::{self, Filter, Page, Position, WatchBatch, WatchEvent};
use futures::Stream;
use futures::stream::{self, TryStreamExt as _};
use tokio::time::{Instant, Sleep};

use super::crowd::{PAGE, Span};
use super::hub::{Hub, Registration};
use super::slot::{Due, WatcherStatus};
use super::standing::Standing;
use crate::error::Error;

/// What a watcher is to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) filter: Filter,
    pub(crate) with_previous: bool,
    /// Where to begin: behind this.
    pub(crate) after: Position,
    /// Say so after this long without an event.
    pub(crate) progress: Option<Duration>,
}

/// The changes of the keys that are watched, in the order of their revisions, each exactly
/// once: see [`Concord::watch`](crate::Concord::watch).
///
/// A stream of [`WatchBatch`]es, which ends after its first error. It holds at most one page of
/// events, however far behind it is, and dropping a future of it loses nothing.
pub struct Watcher {
    registration: Registration,
    plan: Plan,
    /// Everything up to here was looked at; what matched is in `ready`.
    position: Position,
    /// Behind the last batch that was given out.
    given: Position,
    /// Changes to be read: up to this revision, then nothing before that one.
    reading: Option<(Revision, Revision)>,
    ready: Ready,
    silence: Option<Pin<Box<Sleep>>>,
    standing: Standing,
    /// Whether an error has ended it.
    is_over: bool,
}

impl Watcher {
    pub(crate) fn open(hub: &Hub, plan: Plan, standing: Standing) -> Result<Self, Error> {
        let registration = hub.open(plan.filter.clone(), plan.after)?;
        let silence = plan.progress.map(|after| Box::pin(tokio::time::sleep(after)));
        Ok(Self {
            registration,
            position: plan.after,
            given: plan.after,
            plan,
            reading: None,
            ready: Ready::default(),
            silence,
            standing,
            is_over: false,
        })
    }

    /// Where a watcher would go on that takes over from this one now: behind everything that
    /// it has given, with [`Watch::after`](crate::Watch::after).
    pub fn position(&self) -> Position {
        if self.ready.rest().is_empty() {
            self.position
        } else {
            self.given
        }
    }

    /// Itself as an operator sees it.
    pub fn status(&self) -> WatcherStatus {
        self.registration.slot.status(self.registration.shared.routed())
    }

    /// The next batch; `None` after an error. To drop the future before it is done loses nothing.
    pub async fn next(&mut self) -> Option<Result<WatchBatch, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The same as single events, without the progress notifications.
    pub fn events(self) -> impl Stream<Item = Result<WatchEvent, Error>> + Send {
        self.map_ok(|batch| stream::iter(batch.events.into_iter().map(Ok)))
            .try_flatten()
    }

    /// Events that it holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.ready.rest().iter().map(|batch| batch.events.len()).sum()
    }

    /// A batch that is there already.
    fn take_ready(&mut self) -> Option<WatchBatch> {
        let batch = self.ready.next()?;
        self.given = batch.position;
        self.registration.slot.delivered(batch.position);
        self.restart_silence();
        Some(batch)
    }

    fn restart_silence(&mut self) {
        if let (Some(silence), Some(after)) = (&mut self.silence, self.plan.progress) {
            silence.as_mut().reset(Instant::now() + after);
        }
    }

    /// Reads the next page of what is due.
    fn read(&mut self, upto: Revision, routed: Revision) -> Result<(), Error> {
        let latest = self.registration.shared.views().load();
        // What is delivered is judged by the view that it is delivered from (compare CVE-2024-23944 of ZooKeeper).
        self.standing.renew(&latest.view)?;
        let page = self
            .page(&latest.view, upto)
            .map_err(|error| behind(self.position, error))?;
        let events = page.batches.iter().map(|batch| batch.events.len()).sum();
        self.registration.slot.count(events, page.bytes);
        self.position = self.position.max(page.position);
        // It was empty: a page is read when the one before is given out.
        self.ready = Ready {
            page: Some(page),
            given: 0,
        };
        if self.position >= Position::behind(upto) {
            self.reading = None;
            self.position = self.position.max(Position::behind(routed));
        }
        Ok(())
    }

    fn page(&self, view: &ReadView, upto: Revision) -> Result<Arc<Page>, ViewError> {
        let (plan, after) = (&self.plan, self.position);
        if let Some(shown) = self.standing.filter() {
            let span = (after, upto);
            let page = watch::read_shown(view, &plan.filter, Some(shown), plan.with_previous, span, PAGE)?;
            return Ok(Arc::new(page));
        }
        let span = Span {
            after,
            upto,
            with_previous: plan.with_previous,
        };
        let Registration { shared, slot } = &self.registration;
        shared.pages().read(view, (&slot.crowd, &plan.filter), span)
    }

    /// Judges again where the policy has moved, or the token's end has come. What was read and not delivered yet is
    /// read again then, by the new rights.
    fn stand(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if !self.standing.is_judged() {
            return Ok(());
        }
        let latest = self.registration.shared.views().load();
        let has_moved = self.standing.renew(&latest.view)?;
        self.standing.poll_end(&latest.view, context)?;
        if has_moved && !self.ready.rest().is_empty() {
            let upto = self.position.revision();
            self.reading = self.reading.or(Some((upto, upto)));
            self.ready = Ready::default();
            self.position = self.given;
        }
        Ok(())
    }

    /// Whether there is something to read now.
    fn look(&mut self, context: &Context<'_>) -> Result<bool, Error> {
        let routed = self.registration.shared.routed();
        match self.registration.slot.take(routed, context.waker()) {
            Due::Between(first, last) => {
                // Between what it has seen and `first` nothing concerns it.
                self.position = self.position.max(Position::before(first));
                self.reading = Some((last, routed));
                Ok(true)
            }
            Due::Nothing => {
                self.position = self.position.max(Position::behind(routed));
                Ok(false)
            }
            Due::Closed => Err(self.registration.shared.reason()),
        }
    }

    fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<WatchBatch, Error>>> {
        let Some(silence) = &mut self.silence else {
            return Poll::Pending;
        };
        if silence.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.restart_silence();
        self.given = self.position;
        Poll::Ready(Some(Ok(WatchBatch {
            revision: self.position.revision(),
            events: Vec::new(),
            position: self.position,
        })))
    }
}

/// The page that is given out, and how many of its batches were.
#[derive(Default)]
struct Ready {
    page: Option<Arc<Page>>,
    given: usize,
}

impl Ready {
    fn rest(&self) -> &[WatchBatch] {
        let page = self.page.as_ref();
        page.and_then(|page| page.batches.get(self.given..))
            .unwrap_or_default()
    }

    fn next(&mut self) -> Option<WatchBatch> {
        let batch = self.rest().first()?.clone();
        self.given = self.given.saturating_add(1);
        if self.rest().is_empty() {
            // Who waits holds nothing.
            *self = Self::default();
        }
        Some(batch)
    }
}

impl Stream for Watcher {
    type Item = Result<WatchBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Err(refused) = this.stand(context) {
            this.is_over = true;
            return Poll::Ready(Some(Err(refused)));
        }
        if let Some(batch) = this.take_ready() {
            return Poll::Ready(Some(Ok(batch)));
        }
        let found = match this.reading {
            Some(_) => Ok(true),
            None => this.look(context),
        };
        let outcome = match (found, this.reading) {
            (Ok(true), Some((upto, routed))) => this.read(upto, routed),
            (Ok(_), _) => return this.poll_progress(context),
            (Err(error), _) => Err(error),
        };
        if let Err(error) = outcome {
            this.is_over = true;
            return Poll::Ready(Some(Err(error)));
        }
        match this.take_ready() {
            Some(batch) => Poll::Ready(Some(Ok(batch))),
            None => {
                // A page without a match: others get their turn before the next one.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("filter", &self.plan.filter)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// Why the changes behind `position` cannot be read, with where to begin again.
pub(crate) fn behind(position: Position, error: ViewError) -> Error {
    let ViewError::Compacted { compact_revision } = error else {
        return error.into();
    };
    Error::from(error)
        .with("position", position.to_string())
        .with("restart_revision", compact_revision.next().get())
}

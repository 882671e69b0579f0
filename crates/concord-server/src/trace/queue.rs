//! Spans on their way from those who finish them to the exporter.
//!
//! Nobody waits for room: what finds none is lost. The exporter is woken twice for all that it takes at once, by the
//! first span and when there are enough or the time is up: to wake a task costs more than to make a span, and the
//! threads that would pay for it are those that serve requests.

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::GATHER;
use super::span::Span;
use crate::limits;

/// What waits for the exporter.
#[derive(Debug, Default)]
pub(super) struct SpanQueue {
    waiting: Mutex<Waiting>,
    /// There is a first span, or a reason not to wait for more.
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<Span>,
    /// Are dropped when everything before them was sent.
    flushes: Vec<oneshot::Sender<()>>,
    /// There will be no more.
    is_closed: bool,
}

impl Waiting {
    const fn is_urgent(&self) -> bool {
        self.spans.len() >= limits::TRACE_EXPORT_SPANS || !self.flushes.is_empty() || self.is_closed
    }
}

/// Spans that are sent together.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) spans: Vec<Span>,
    /// To be dropped when they are sent.
    pub(super) flushes: Vec<oneshot::Sender<()>>,
}

impl SpanQueue {
    /// Says whether there was room.
    pub(super) fn push(&self, span: Span) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.spans.len() >= limits::TRACE_QUEUE_SPANS {
            return false;
        }
        waiting.spans.push(span);
        let count = waiting.spans.len();
        drop(waiting);
        if count == 1 || count == limits::TRACE_EXPORT_SPANS {
            self.stirred.notify_one();
        }
        true
    }

    /// Everything that is there is to be sent now; `sent` is dropped when it was.
    pub(super) fn flush(&self, sent: oneshot::Sender<()>) {
        self.waiting.lock().flushes.push(sent);
        self.stirred.notify_one();
    }

    /// There will be no more.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.stirred.notify_one();
    }

    /// What comes within a moment, so that a span each is not a request each; `None` when there will be no more.
    pub(super) async fn gather(&self) -> Option<Gathered> {
        while !self.look(|waiting| !waiting.spans.is_empty() || waiting.is_urgent()) {
            self.stirred.notified().await;
        }
        let end = Instant::now() + GATHER;
        while !self.look(Waiting::is_urgent) {
            if timeout_at(end, self.stirred.notified()).await.is_err() {
                break;
            }
        }
        self.take()
    }

    fn look(&self, of: impl FnOnce(&Waiting) -> bool) -> bool {
        of(&self.waiting.lock())
    }

    fn take(&self) -> Option<Gathered> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed && waiting.spans.is_empty() && waiting.flushes.is_empty() {
            return None;
        }
        let count = waiting.spans.len().min(limits::TRACE_EXPORT_SPANS);
        let later = waiting.spans.split_off(count);
        let spans = std::mem::replace(&mut waiting.spans, later);
        let flushes = match waiting.spans.is_empty() {
            true => std::mem::take(&mut waiting.flushes),
            false => Vec::new(),
        };
        Some(Gathered { spans, flushes })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;
    use crate::trace::SpanKind;

    /// How often a task was woken.
    #[derive(Default)]
    struct Wakes(AtomicU64);

    impl Wakes {
        fn count(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn span(number: usize) -> Span {
        let id = u64::try_from(number).unwrap() + 1;
        Span::new("span".into(), SpanKind::Internal, 1, id)
    }

    fn ids(gathered: &Gathered) -> Vec<u64> {
        gathered.spans.iter().map(|span| span.span_id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_span_after_the_first_wakes_nobody_until_there_are_enough() {
        let queue = SpanQueue::default();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut gathering = pin!(queue.gather());
        assert!(gathering.as_mut().poll(&mut context).is_pending());
        assert!(queue.push(span(0)));
        assert_eq!(wakes.count(), 1);
        assert!(
            gathering.as_mut().poll(&mut context).is_pending(),
            "more may come"
        );
        for number in 1..limits::TRACE_EXPORT_SPANS - 1 {
            assert!(queue.push(span(number)));
        }
        assert_eq!(wakes.count(), 1);
        assert!(queue.push(span(limits::TRACE_EXPORT_SPANS - 1)));
        assert_eq!(wakes.count(), 2);
        assert!(matches!(gathering.poll(&mut context), Poll::Ready(Some(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_within_a_moment_is_sent_together_and_in_order() {
        let queue = SpanQueue::default();
        let began = Instant::now();
        assert!(queue.push(span(0)) && queue.push(span(1)));
        let gathered = queue.gather().await.unwrap();
        assert_eq!(ids(&gathered), [1, 2]);
        assert_eq!(began.elapsed(), GATHER);
        let many = limits::TRACE_EXPORT_SPANS + 3;
        for number in 0..many {
            assert!(queue.push(span(number)));
        }
        let began = Instant::now();
        assert_eq!(
            queue.gather().await.unwrap().spans.len(),
            limits::TRACE_EXPORT_SPANS
        );
        assert_eq!(began.elapsed(), Duration::ZERO, "there were enough");
        assert_eq!(ids(&queue.gather().await.unwrap()), [513, 514, 515]);
        assert_eq!(began.elapsed(), GATHER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_is_done_when_all_before_it_was_taken() {
        let queue = SpanQueue::default();
        for number in 0..=limits::TRACE_EXPORT_SPANS {
            assert!(queue.push(span(number)));
        }
        let (sent, flushed) = oneshot::channel();
        queue.flush(sent);
        let mut flushed = pin!(flushed);
        let began = Instant::now();
        drop(queue.gather().await);
        assert!(flushed.as_mut().now_or_never().is_none(), "one is left");
        drop(queue.gather().await);
        assert!(flushed.now_or_never().is_some());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_sent_at_the_end() {
        let queue = SpanQueue::default();
        assert!(queue.push(span(0)));
        queue.close();
        assert_eq!(ids(&queue.gather().await.unwrap()), [1]);
        assert!(queue.gather().await.is_none());
    }

    #[test]
    fn a_queue_without_room_takes_nothing() {
        let queue = SpanQueue::default();
        for number in 0..limits::TRACE_QUEUE_SPANS {
            assert!(queue.push(span(number)));
        }
        assert!(!queue.push(span(0)));
        assert_eq!(queue.take().unwrap().spans.len(), limits::TRACE_EXPORT_SPANS);
        assert!(queue.push(span(0)));
    }
}

//! An operation under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::task::coop;

/// The future of an operation. Nothing happens before the builder is awaited; dropping this
/// early leaves a write's outcome unknown, like a timeout.
pub struct Operation<'a, T>(State<'a, T>);

enum State<'a, T> {
    /// Answered without a wait: costs no allocation.
    Ready(Option<T>),
    Waiting(BoxFuture<'a, T>),
}

impl<'a, T> Operation<'a, T> {
    pub(super) fn ready(answer: T) -> Self {
        Self(State::Ready(Some(answer)))
    }

    /// What follows from the answer; as soon as it is there, if neither needs a wait.
    pub(super) fn and_then<U: Send + 'a>(
        self,
        next: impl FnOnce(T) -> Operation<'a, U> + Send + 'a,
    ) -> Operation<'a, U>
    where
        T: Send + 'a,
    {
        match self.0 {
            State::Ready(answer) => next(answer.expect("a future is not polled after it is ready")),
            State::Waiting(future) => Operation::waiting(async move { next(future.await).await }),
        }
    }

    pub(crate) fn waiting(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self(State::Waiting(Box::pin(future)))
    }
}

// An answer is moved out, never pinned.
impl<T> Unpin for Operation<'_, T> {}

impl<T> Future for Operation<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            State::Ready(answer) => {
                // Whoever asks in a loop must let other tasks run, also if no answer needs a wait.
                ready!(coop::poll_proceed(context)).made_progress();
                Poll::Ready(answer.take().expect("a future is not polled after it is ready"))
            }
            State::Waiting(future) => future.as_mut().poll(context),
        }
    }
}

impl<T> fmt::Debug for Operation<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::Operation;

    #[tokio::test]
    async fn a_loop_of_answers_lets_other_tasks_run() {
        let ran = Arc::new(AtomicBool::new(false));
        let other = Arc::clone(&ran);
        let task = tokio::spawn(async move { other.store(true, Ordering::Relaxed) });
        for _ in 0..10_000 {
            Operation::ready(()).await;
        }
        assert!(ran.load(Ordering::Relaxed), "one task had the thread for itself");
        task.await.expect("it ends");
    }
}

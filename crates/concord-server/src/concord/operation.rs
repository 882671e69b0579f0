//! An operation under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

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

    pub(super) fn waiting(future: impl Future<Output = T> + Send + 'a) -> Self {
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

//! Where callers leave their requests for the task.
//!
//! A channel would wake the task for each request. Here the task says how many it waits for:
//! while its entries are in flight and no more are wanted, callers only push, and the task
//! finds all of them at once when it is awake anyway.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Makes the two ends. What is in between is bounded by whoever sends.
pub(super) fn inbox<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            items: Vec::new(),
            wake_at: 1,
            is_open: true,
        }),
        wake: Notify::new(),
    });
    let end = SenderEnd(Arc::clone(&shared));
    (Sender(Arc::new(end)), Receiver(shared))
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

struct State<T> {
    items: Vec<T>,
    /// The receiver is woken when so many wait.
    wake_at: usize,
    /// Neither end is gone.
    is_open: bool,
}

/// The callers' end.
pub(super) struct Sender<T>(Arc<SenderEnd<T>>);

/// Goes with the last clone of the sender.
struct SenderEnd<T>(Arc<Shared<T>>);

/// The task's end.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Sender<T> {
    /// Leaves an item. `Err` when nobody takes items any more.
    pub(super) fn send(&self, item: T) -> Result<(), T> {
        let SenderEnd(shared) = &*self.0;
        let mut state = shared.state.lock();
        if !state.is_open {
            return Err(item);
        }
        state.items.push(item);
        let is_due = state.items.len() == state.wake_at;
        drop(state);
        if is_due {
            shared.wake.notify_one();
        }
        Ok(())
    }
}

impl<T> Drop for SenderEnd<T> {
    fn drop(&mut self) {
        self.0.state.lock().is_open = false;
        self.0.wake.notify_one();
    }
}

impl<T> Receiver<T> {
    /// Waits until `count` items wait. `false` when all senders are gone. Can be dropped and
    /// called again; a call that was dropped may make the next one look once in vain.
    pub(super) async fn wait(&self, count: usize) -> bool {
        loop {
            {
                let mut state = self.0.state.lock();
                if !state.is_open {
                    return false;
                }
                if state.items.len() >= count {
                    return true;
                }
                state.wake_at = count;
            }
            // A permit is kept for a wake that comes before this is polled.
            self.0.wake.notified().await;
        }
    }

    /// Appends all items to `taken`, oldest first.
    pub(super) fn take(&self, taken: &mut Vec<T>) {
        let mut state = self.0.state.lock();
        if taken.is_empty() {
            std::mem::swap(&mut state.items, taken);
        } else {
            taken.append(&mut state.items);
        }
    }

    /// Takes no more items.
    pub(super) fn close(&self) {
        self.0.state.lock().is_open = false;
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        // Dropped outside the lock: whoever waits for an item may learn of it now.
        let mut items = Vec::new();
        self.take(&mut items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn the_receiver_is_woken_at_the_count_it_waits_for() {
        let (sender, receiver) = inbox();
        for n in 0..2 {
            assert!(receiver.wait(3).now_or_never().is_none());
            sender.send(n).unwrap();
        }
        sender.send(2).unwrap();
        assert_eq!(receiver.wait(3).now_or_never(), Some(true));
        let mut taken = vec![9];
        receiver.take(&mut taken);
        assert_eq!(taken, [9, 0, 1, 2]);
        assert!(receiver.wait(1).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_waiting_receiver_learns_of_items_and_of_the_last_sender() {
        let (sender, receiver) = inbox();
        let other = sender.clone();
        let waiting = tokio::spawn(async move {
            let found = receiver.wait(2).await;
            let mut taken = Vec::new();
            receiver.take(&mut taken);
            (found, taken, receiver.wait(1).await)
        });
        tokio::task::yield_now().await;
        sender.send(1).unwrap();
        other.send(2).unwrap();
        tokio::task::yield_now().await;
        drop((sender, other));
        assert_eq!(waiting.await.unwrap(), (true, vec![1, 2], false));
    }

    #[test]
    fn items_are_dropped_with_the_receiver() {
        let (sender, receiver) = inbox();
        let item = Arc::new(());
        sender.send(Arc::clone(&item)).unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&item), 1);
        assert!(sender.send(item).is_err());
    }
}

//! The log of requests that took long: what kind, how long, what came of it, and who asked. Never a key or a value.
//!
//! Bounded: so many lines a second, and then how many there were besides.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use concord_auth::Principal;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::ErrorKind;

/// Lines in one second.
const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Tells slow requests, if that is asked for.
#[derive(Debug)]
pub(crate) struct SlowLog {
    threshold: Option<Duration>,
    count: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    left_out: u64,
}

impl SlowLog {
    pub(crate) fn new(threshold: Option<Duration>) -> Self {
        Self {
            threshold,
            count: AtomicU64::new(0),
            window: Mutex::new(Window {
                began: Instant::now(),
                lines: 0,
                left_out: 0,
            }),
        }
    }

    /// How many requests were slow since the node started.
    #[cfg(any(feature = "http", test))]
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Looks at a request that has ended; one compare if it was not slow.
    pub(crate) fn look(
        &self,
        operation: &str,
        took: Duration,
        error: Option<ErrorKind>,
        who: impl FnOnce() -> Option<std::sync::Arc<Principal>>,
    ) {
        if self.threshold.is_none_or(|threshold| took < threshold) {
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let Some(left_out) = self.window.lock().admit(Instant::now()) else {
            return;
        };
        let result = error.map_or("ok", ErrorKind::code);
        let who = who();
        let principal = who.as_ref().map(|who| who.name().unwrap_or(who.kind()));
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(operation, took_ms, result, principal, left_out, "slow request");
    }
}

impl Window {
    /// Whether there is room for a line: how many were left out before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.began) >= WINDOW {
            (self.began, self.lines) = (now, 0);
        }
        if self.lines >= LINES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.lines = self.lines.saturating_add(1);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_counted() {
        let log = SlowLog::new(Some(Duration::from_millis(5)));
        log.look("put", Duration::from_millis(4), None, || panic!("not slow"));
        assert_eq!(log.count(), 0);
        log.look("put", Duration::from_millis(5), Some(ErrorKind::Timeout), || None);
        assert_eq!(log.count(), 1);
        let off = SlowLog::new(None);
        off.look("put", Duration::MAX, None, || panic!("nobody asked for it"));
        assert_eq!(off.count(), 0);
    }

    #[test]
    fn lines_are_bounded_and_the_next_one_says_how_many_are_missing() {
        let began = Instant::now();
        let mut window = Window {
            began,
            lines: 0,
            left_out: 0,
        };
        for _ in 0..LINES_MAX {
            assert_eq!(window.admit(began), Some(0));
        }
        assert_eq!((window.admit(began), window.admit(began)), (None, None));
        assert_eq!(window.admit(began + WINDOW), Some(2));
        assert_eq!(window.admit(began + WINDOW), Some(0));
    }
}

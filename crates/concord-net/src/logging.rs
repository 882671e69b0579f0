//! Keeps log lines about misbehaving peers from becoming the damage.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::{LOG_LINES_MAX, LOG_WINDOW};
use crate::stats::RefusalReason;

/// Lets a few lines of each reason through in each window and counts the others.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter(Mutex<[Window; RefusalReason::ALL.len()]>);

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    withheld: u64,
}

impl LogLimiter {
    /// Whether a line may be written now, and how many were withheld since the last one.
    pub(crate) fn admit(&self, reason: RefusalReason) -> Option<u64> {
        let now = Instant::now();
        let mut windows = self.0.lock();
        let window = windows.get_mut(reason.slot())?;
        if window
            .since
            .is_none_or(|since| now.duration_since(since) >= LOG_WINDOW)
        {
            window.since = Some(now);
            window.lines = 0;
        }
        if window.lines >= LOG_LINES_MAX {
            window.withheld += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn flood_of_one_reason_is_counted_and_leaves_other_reasons_their_lines() {
        let limiter = LogLimiter::default();
        let written = (0..100)
            .filter(|_| limiter.admit(RefusalReason::Proof).is_some())
            .count();
        assert_eq!(written, 5);
        assert_eq!(limiter.admit(RefusalReason::Version), Some(0));
        tokio::time::advance(LOG_WINDOW).await;
        assert_eq!(limiter.admit(RefusalReason::Proof), Some(95));
    }
}

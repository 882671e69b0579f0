//! How many lines those can make who are refused: reads cost little to ask, and whoever has no token can ask, too. So that
//! nobody fills the disk, or pushes older lines out of it, by asking, only some of what is refused leaves a line each; the rest is
//! counted, and told every ten seconds at most.

use std::time::Instant;

use parking_lot::Mutex;

use crate::error::ErrorKind;
use crate::limits::{AUDIT_REFUSALS_AT_ONCE, AUDIT_REFUSALS_PER_SEC};

/// What a refusal says. Each has its own room: strangers cannot hide what somebody known has tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody knows who it is.
    Unauthorized,
    /// It is known who it is, and they may not.
    Forbidden,
}

impl Refusal {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Unauthorized, Self::Forbidden];

    /// `None`: an error that is no refusal.
    pub(super) fn of(kind: ErrorKind) -> Option<Self> {
        let (unauthorized, forbidden) = (ErrorKind::Unauthorized, ErrorKind::Forbidden);
        if kind == unauthorized {
            Some(Self::Unauthorized)
        } else {
            (kind == forbidden).then_some(Self::Forbidden)
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => ErrorKind::Unauthorized.code(),
            Self::Forbidden => ErrorKind::Forbidden.code(),
        }
    }
}

/// Parts that one line's room has, so that a nanosecond fills some.
const PARTS: u64 = 1_000_000_000;
const FULL: u64 = AUDIT_REFUSALS_AT_ONCE * PARTS;

/// Room for lines of refusals: it empties with each, and fills with time.
#[derive(Debug)]
pub(super) struct Room(Mutex<[(u64, Instant); 2]>);

impl Room {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new([(FULL, now); 2]))
    }

    /// Whether there is room for one more.
    pub(super) fn take(&self, refusal: Refusal, now: Instant) -> bool {
        let mut rooms = self.0.lock();
        let [unauthorized, forbidden] = &mut *rooms;
        let (left, filled_at) = match refusal {
            Refusal::Unauthorized => unauthorized,
            Refusal::Forbidden => forbidden,
        };
        let since = now.saturating_duration_since(*filled_at).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        *left = left
            .saturating_add(since.saturating_mul(AUDIT_REFUSALS_PER_SEC))
            .min(FULL);
        *filled_at = now;
        let is_free = *left >= PARTS;
        if is_free {
            *left -= PARTS;
        }
        is_free
    }
}

/// What was counted instead of told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    counts: [(u64, u64); 2],
    told_at: Option<Instant>,
}

impl Untold {
    /// Counts one; says whether it is the first.
    pub(super) fn add(&mut self, refusal: Refusal, time: u64) -> bool {
        let is_first = !self.is_pending();
        let [unauthorized, forbidden] = &mut self.counts;
        let (count, since) = match refusal {
            Refusal::Unauthorized => unauthorized,
            Refusal::Forbidden => forbidden,
        };
        if *count == 0 {
            *since = time;
        }
        *count += 1;
        is_first
    }

    /// Whether there is something to tell.
    pub(super) fn is_pending(&self) -> bool {
        self.counts.iter().any(|(count, _)| *count > 0)
    }

    /// What is to be told now, with count and first time: every ten seconds, or at the end.
    pub(super) fn due(&mut self, now: Instant, is_last: bool) -> Vec<(Refusal, u64, u64)> {
        let is_early = |at: Instant| now.saturating_duration_since(at) < super::queue::REFUSALS_TOLD_EVERY;
        if !self.is_pending() || (!is_last && self.told_at.is_some_and(is_early)) {
            return Vec::new();
        }
        self.told_at = Some(now);
        let counted = Refusal::ALL.into_iter().zip(std::mem::take(&mut self.counts));
        counted
            .filter(|(_, (count, _))| *count > 0)
            .map(|(refusal, (count, since))| (refusal, count, since))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_kind_has_its_room_and_it_fills_with_time() {
        let begin = Instant::now();
        let room = Room::new(begin);
        let taken = |now| {
            (0..5_000)
                .map(|_| u64::from(room.take(Refusal::Unauthorized, now)))
                .sum::<u64>()
        };
        assert_eq!(taken(begin), AUDIT_REFUSALS_AT_ONCE);
        assert!(
            room.take(Refusal::Forbidden, begin),
            "strangers take no room from the known"
        );
        let later = begin + Duration::from_secs(2);
        assert_eq!(taken(later), 2 * AUDIT_REFUSALS_PER_SEC);
        let whole_day = later + Duration::from_secs(86_400);
        assert_eq!(taken(whole_day), AUDIT_REFUSALS_AT_ONCE, "room is not saved up");
    }

    #[test]
    fn what_is_counted_is_told_now_and_then_and_at_the_end() {
        let now = Instant::now();
        let mut untold = Untold::default();
        assert!(untold.add(Refusal::Unauthorized, 5));
        assert!(!untold.add(Refusal::Unauthorized, 6));
        assert_eq!(untold.due(now, false), [(Refusal::Unauthorized, 2, 5)]);
        assert!(untold.add(Refusal::Forbidden, 7));
        assert_eq!(untold.due(now, false), []);
        assert_eq!(untold.due(now, true), [(Refusal::Forbidden, 1, 7)]);
        assert_eq!(untold.due(now, true), []);
    }
}

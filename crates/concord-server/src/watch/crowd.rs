//! Watchers of the same things, and the pages that they share.
//!
//! What a page holds follows from the filter, the place and the history alone, for nobody's rights enter here: so what
//! one watcher has read serves the others, who else would each copy, and unpack, the same values.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use concord_core::ids::Revision;
use concord_core::view::{ReadView, ViewError};
use concord_query::watch::{self, Filter, Page, PageLimits, Position};
use parking_lot::Mutex;

use crate::limits;

pub(super) const PAGE: PageLimits = PageLimits {
    events: limits::WATCH_PAGE_EVENTS,
    bytes: limits::WATCH_PAGE_BYTES,
    visits: limits::WATCH_PAGE_VISITS,
};

/// The watchers of one filter.
#[derive(Debug)]
pub(super) struct Crowd {
    id: usize,
    filter: Bytes,
    members: AtomicUsize,
}

/// All of them, by filter.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    crowds: HashMap<Bytes, Arc<Crowd>>,
    next_id: usize,
}

impl Crowds {
    pub(super) fn join(&mut self, filter: &Filter) -> Arc<Crowd> {
        let filter = filter.to_bytes();
        let crowd = self.crowds.entry(filter.clone()).or_insert_with(|| {
            self.next_id = self.next_id.wrapping_add(1);
            Arc::new(Crowd {
                id: self.next_id,
                filter,
                members: AtomicUsize::new(0),
            })
        });
        crowd.members.fetch_add(1, Ordering::Relaxed);
        Arc::clone(crowd)
    }

    pub(super) fn leave(&mut self, crowd: &Crowd) {
        if crowd.members.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.crowds.remove(&crowd.filter);
        }
    }
}

/// The pages that were read last.
#[derive(Debug, Default)]
pub(super) struct Pages {
    kept: [Mutex<Option<Kept>>; limits::WATCH_PAGES_KEPT],
}

#[derive(Debug)]
struct Kept {
    crowd: usize,
    of: Span,
    page: Arc<Page>,
}

/// What is read: behind the position, up to the revision, with or without the records of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) after: Position,
    pub(super) upto: Revision,
    pub(super) with_previous: bool,
}

impl Pages {
    /// The page of a span for a crowd: as another one of it has read it, or read from `view`, which contains
    /// `span.upto`.
    pub(super) fn read(
        &self,
        view: &ReadView,
        (crowd, filter): (&Crowd, &Filter),
        span: Span,
    ) -> Result<Arc<Page>, ViewError> {
        let read =
            || watch::read(view, filter, span.with_previous, span.after, span.upto, PAGE).map(Arc::new);
        if crowd.members.load(Ordering::Relaxed) < 2 {
            return read();
        }
        let Some(place) = self.kept.get(crowd.id % limits::WATCH_PAGES_KEPT) else {
            return read();
        };
        if let Some(kept) = &*place.lock()
            && (kept.crowd, kept.of) == (crowd.id, span)
        {
            return Ok(Arc::clone(&kept.page));
        }
        let page = read()?;
        if page.bytes <= limits::WATCH_PAGE_BYTES {
            let kept = Kept {
                crowd: crowd.id,
                of: span,
                page: Arc::clone(&page),
            };
            let before = place.lock().replace(kept);
            // It may hold much, and others wait for the lock.
            drop(before);
        }
        Ok(page)
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        for place in &self.kept {
            place.lock().take();
        }
    }
}

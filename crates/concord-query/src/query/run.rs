//! Answering a query from a view.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use concord_core::expr::Scope;
use concord_core::filter::Filter;
use concord_core::ids::{Revision, Timestamp};
use concord_core::limits::{HIDDEN_KEYS_MAX, SCAN_PAGE_BYTES};
use concord_core::record::{Record, RecordRef};
use concord_core::select::{Access, Candidate, Plan, QueryPosition, Walk};
use concord_core::view::{Direction, KeyFilter, ReadView, ViewError, pieces};

use super::project::projected;
use super::{InvalidQuery, OrderBy, Query, QueryCursor};
use crate::limits::STEPS_BETWEEN_LOOKS;

/// What a query answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Records, or what a projection shows of them.
    Pairs,
    /// Records without their values.
    Keys,
    /// How many there are, whatever limit and offset are.
    Count,
}

/// Where a query begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// At its first record, at the view's revision.
    Now,
    /// At its first record, at an older revision.
    At(Revision),
    /// Behind a page of it, at the revision of that.
    Behind(QueryCursor),
}

/// Why a query stopped before its page was full or all was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It has looked at as many records as it may.
    MaxScanned,
    /// Its time is over.
    Deadline,
}

impl Stop {
    /// Its name in every interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxScanned => "max_scanned",
            Self::Deadline => "deadline",
        }
    }
}

/// A page of a query.
#[derive(Clone, Debug)]
pub struct Found {
    /// The revision that was read at: the same on every page.
    pub revision: Revision,
    /// The clock by which times to live were judged.
    pub now: Timestamp,
    /// The records, in order.
    pub records: Vec<Record>,
    /// How many there are on the page, or that match at all, if that was asked.
    pub count: u64,
    /// Goes on behind this page; `None`: it was the last.
    pub cursor: Option<QueryCursor>,
    /// Why the page is short, if it could have been longer.
    pub stopped: Option<Stop>,
    /// How many records were looked at.
    pub scanned: u64,
}

/// Why a query has no answer. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It makes no sense.
    #[error("{0}")]
    Invalid(#[from] InvalidQuery),
    /// The cursor is of another query.
    #[error("cursor is not of this query")]
    ForeignCursor,
    /// The view cannot be asked so.
    #[error("{0}")]
    View(#[from] ViewError),
    /// It found nothing to answer with before it had to stop.
    #[error("query stopped after {scanned} records without an answer: {}", match .stopped {
        Stop::MaxScanned => "it may look at no more",
        Stop::Deadline => "its time is over",
    })]
    Stopped {
        /// Why.
        stopped: Stop,
        /// How many records were looked at.
        scanned: u64,
        /// Goes on from there; `None`: what is found in another order than is asked for must be looked at in one go.
        cursor: Option<QueryCursor>,
    },
}

impl Query {
    /// A page of the query. `is_over` says when to stop.
    ///
    /// # Errors
    ///
    /// [`QueryError`]: nothing was read, or not enough for an answer.
    pub fn run(
        &self,
        view: &ReadView,
        output: Output,
        start: &Start,
        is_over: impl FnMut() -> bool,
    ) -> Result<Found, QueryError> {
        self.run_shown(view, None, output, start, is_over)
    }

    /// As [`Query::run`], of the keys that `shown` shows. The cursor can be of a key that it hides: seal it.
    ///
    /// # Errors
    ///
    /// As [`Query::run`].
    pub fn run_shown(
        &self,
        view: &ReadView,
        shown: Option<&dyn KeyFilter>,
        output: Output,
        start: &Start,
        mut is_over: impl FnMut() -> bool,
    ) -> Result<Found, QueryError> {
        self.check()?;
        let filter = self.to_filter()?;
        let mut plan = view.plan(&filter);
        loop {
            let mut run = Run::new(self, view, &filter, output, start, &mut is_over)?;
            run.shown = shown;
            match run.walk(&plan) {
                Ok(()) => return run.finish(),
                // So far back an index cannot tell, but the keys can.
                Err(ViewError::TooManyChanges { .. }) => plan.access = Access::Keys(plan.keys.clone()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the order of an access is that of the query.
    pub(super) fn is_ordered_by(&self, access: &Access) -> bool {
        match (access, &self.order) {
            (Access::Nothing, _) | (Access::Keys(_), OrderBy::Key) => true,
            (Access::Index(access), OrderBy::Key) => access.is_point(),
            (Access::Keys(_), OrderBy::Value(_)) => false,
            (Access::Index(access), OrderBy::Value(extractor)) => {
                access.is_of_single_values() && access.definition().extractor() == extractor
            }
        }
    }
}

struct Run<'a, 'q> {
    query: &'q Query,
    view: &'a ReadView,
    filter: &'q Filter,
    /// Whom it is for sees only these keys.
    shown: Option<&'q dyn KeyFilter>,
    /// Keys that it does not.
    hidden: usize,
    output: Output,
    is_over: &'q mut dyn FnMut() -> bool,
    revision: Revision,
    now: Timestamp,
    after: Option<(Vec<u8>, Vec<u8>)>,
    skip: u64,
    counted: u64,
    work: u64,
    looked_at: u64,
    scanned: u64,
    records: Vec<Record>,
    bytes: usize,
    /// Behind which record to go on.
    last: Option<(Vec<u8>, Vec<u8>)>,
    is_more: bool,
    is_resumable: bool,
    stopped: Option<Stop>,
    damage: Option<ViewError>,
}

/// Matching records by what they are ordered by, and their keys.
type Sorted<'a> = BTreeMap<(Vec<u8>, Vec<u8>), RecordRef<'a>>;

impl<'a, 'q> Run<'a, 'q> {
    fn new(
        query: &'q Query,
        view: &'a ReadView,
        filter: &'q Filter,
        output: Output,
        start: &Start,
        is_over: &'q mut dyn FnMut() -> bool,
    ) -> Result<Self, QueryError> {
        let mut run = Self {
            query,
            view,
            filter,
            shown: None,
            hidden: 0,
            output,
            is_over,
            revision: view.revision(),
            now: view.now(),
            after: None,
            skip: if output == Output::Count { 0 } else { query.offset },
            counted: 0,
            work: 0,
            looked_at: 0,
            scanned: 0,
            records: Vec::new(),
            bytes: 0,
            last: None,
            is_more: false,
            is_resumable: true,
            stopped: None,
            damage: None,
        };
        match start {
            Start::Now => {}
            Start::At(revision) => run.revision = *revision,
            Start::Behind(cursor) => {
                let position = cursor.position_in(query).ok_or(QueryError::ForeignCursor)?;
                (run.revision, run.now) = (position.revision, position.now);
                (run.skip, run.counted) = (position.skip, position.counted);
                run.after = Some(position.after.clone());
                run.last.clone_from(&run.after);
            }
        }
        Ok(run)
    }

    fn walk(&mut self, plan: &Plan) -> Result<(), ViewError> {
        let is_in_order = self.view.is_in_order(&plan.access, self.revision)?;
        if is_in_order && self.query.is_ordered_by(&plan.access) {
            return self.stream(plan);
        }
        self.is_resumable = false;
        // A count goes on only where the next page finds things in the same order.
        if self.output == Output::Count && self.after.is_none() {
            self.count(plan)
        } else {
            self.sort(plan)
        }
    }

    /// Looks at one more record, unless it is time to stop; says whether it matches.
    fn look(&mut self, key: &[u8], record: Option<&RecordRef<'a>>) -> ControlFlow<(), bool> {
        if self.shown.is_some_and(|shown| !shown.shows(key)) {
            return self.hide();
        }
        // At least one, so that whoever goes on gets on.
        if self.scanned > 0 {
            if self.scanned >= self.query.max_scanned {
                self.stopped = Some(Stop::MaxScanned);
                return ControlFlow::Break(());
            }
            if self.work.saturating_sub(self.looked_at) >= STEPS_BETWEEN_LOOKS {
                self.looked_at = self.work;
                if (self.is_over)() {
                    self.stopped = Some(Stop::Deadline);
                    return ControlFlow::Break(());
                }
            }
        }
        self.scanned += 1;
        self.work += 1;
        let matches = record.is_some_and(|record| self.filter.holds(record, self.now, &mut self.work));
        ControlFlow::Continue(matches)
    }

    /// Passes over a record. What is hidden has a bound of its own: how many records may be looked at, and how many
    /// were, must not tell of it.
    fn hide(&mut self) -> ControlFlow<(), bool> {
        self.work += 1;
        if self.hidden >= HIDDEN_KEYS_MAX {
            self.stopped = Some(Stop::MaxScanned);
            return ControlFlow::Break(());
        }
        self.hidden += 1;
        ControlFlow::Continue(false)
    }

    /// Calls `visit` for each candidate that is behind `after` in the order of the walk.
    fn each(
        &mut self,
        access: &Access,
        walk: Walk<'_>,
        mut visit: impl FnMut(&mut Self, Candidate<'a, '_>) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        let view = self.view;
        let (Access::Keys(range), Some(_)) = (access, self.shown) else {
            return view.candidates(access, walk, |candidate| visit(self, candidate));
        };
        for piece in pieces(range, self.shown, walk.direction) {
            let mut flow = ControlFlow::Continue(());
            view.candidates(&Access::Keys(piece), walk, |candidate| {
                flow = visit(self, candidate);
                flow
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Records come in the order of the query.
    fn stream(&mut self, plan: &Plan) -> Result<(), ViewError> {
        let after = self.after.clone();
        let is_by_value = matches!(self.query.order, OrderBy::Value(_));
        let walk = Walk {
            direction: self.query.direction,
            revision: self.revision,
            after: after
                .as_ref()
                .map(|(value, key)| (value.as_slice(), key.as_slice())),
        };
        self.each(&plan.access, walk, |run, candidate| {
            let Candidate { key, value, record } = candidate;
            let matches = run.look(key, record.as_ref())?;
            if let Some(record) = record.filter(|_| matches) {
                if run.output == Output::Count {
                    run.counted += 1;
                } else if run.skip > 0 {
                    run.skip -= 1;
                } else if run.is_full() {
                    run.is_more = true;
                    return ControlFlow::Break(());
                } else {
                    run.push(&record);
                    if run.damage.is_some() {
                        return ControlFlow::Break(());
                    }
                }
            }
            let (by_value, by_key) = run.last.get_or_insert_default();
            by_value.clear();
            if is_by_value {
                by_value.extend_from_slice(value);
            }
            by_key.clear();
            by_key.extend_from_slice(key);
            ControlFlow::Continue(())
        })
    }

    /// The order does not matter.
    fn count(&mut self, plan: &Plan) -> Result<(), ViewError> {
        let walk = self.whole();
        self.each(&plan.access, walk, |run, candidate| {
            run.counted += u64::from(run.look(candidate.key, candidate.record.as_ref())?);
            ControlFlow::Continue(())
        })
    }

    const fn whole(&self) -> Walk<'static> {
        Walk {
            direction: Direction::Ascending,
            revision: self.revision,
            after: None,
        }
    }

    /// Records come in another order: the first ones are kept, and one more.
    fn sort(&mut self, plan: &Plan) -> Result<(), ViewError> {
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let most = skip.saturating_add(self.query.limit).saturating_add(1);
        let mut sorted = Sorted::new();
        let is_ascending = self.query.direction == Direction::Ascending;
        let (walk, after) = (self.whole(), self.after.clone());
        self.each(&plan.access, walk, |run, candidate| {
            let matches = run.look(candidate.key, candidate.record.as_ref())?;
            let Some(record) = candidate.record.filter(|_| matches) else {
                return ControlFlow::Continue(());
            };
            let value = match &run.query.order {
                OrderBy::Key => Vec::new(),
                OrderBy::Value(extractor) => extractor.sort_key(&record),
            };
            let place = (value, record.key().to_vec());
            let is_behind = after.as_ref().is_none_or(|after| {
                if is_ascending {
                    place > *after
                } else {
                    place < *after
                }
            });
            if is_behind && run.output == Output::Count {
                run.counted += 1;
            } else if is_behind {
                sorted.insert(place, record);
                if sorted.len() > most {
                    // The last one in order is not on this page.
                    let _ = if is_ascending {
                        sorted.pop_last()
                    } else {
                        sorted.pop_first()
                    };
                }
            }
            ControlFlow::Continue(())
        })?;
        if self.stopped.is_none() {
            self.take(sorted, is_ascending);
        }
        Ok(())
    }

    fn take(&mut self, mut sorted: Sorted<'a>, is_ascending: bool) {
        loop {
            let next = if is_ascending {
                sorted.pop_first()
            } else {
                sorted.pop_last()
            };
            let Some((place, record)) = next else { return };
            if self.skip > 0 {
                self.skip -= 1;
            } else if self.is_full() {
                self.is_more = true;
                return;
            } else {
                self.push(&record);
            }
            self.last = Some(place);
        }
    }

    fn is_full(&self) -> bool {
        self.records.len() >= self.query.limit || self.bytes >= SCAN_PAGE_BYTES
    }

    fn push(&mut self, record: &RecordRef<'a>) {
        let shown = match self.output {
            Output::Keys | Output::Count => record.to_record_without_value(),
            Output::Pairs if self.query.fields.is_empty() => match record.to_record() {
                Ok(record) => record,
                Err(damage) => {
                    self.damage = Some(damage.into());
                    return;
                }
            },
            Output::Pairs => {
                // Each field may take as much work as a predicate.
                self.work = self.work.saturating_add(STEPS_BETWEEN_LOOKS);
                Record {
                    value: projected(&self.query.fields, &Scope::of(record, self.now)),
                    ..record.to_record_without_value()
                }
            }
        };
        self.bytes = self
            .bytes
            .saturating_add(shown.key.as_bytes().len())
            .saturating_add(shown.value.bytes().len());
        self.records.push(shown);
    }

    fn finish(self) -> Result<Found, QueryError> {
        if let Some(damage) = self.damage {
            return Err(damage.into());
        }
        let goes_on = self.is_more || (self.stopped.is_some() && self.is_resumable);
        let position = self.last.filter(|_| goes_on).map(|after| QueryPosition {
            revision: self.revision,
            now: self.now,
            after,
            skip: self.skip,
            counted: self.counted,
        });
        let cursor = position.map(|position| QueryCursor::new(self.query, position));
        if let Some(stopped) = self.stopped
            && self.records.is_empty()
        {
            return Err(QueryError::Stopped {
                stopped,
                scanned: self.scanned,
                cursor,
            });
        }
        let shown = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        Ok(Found {
            revision: self.revision,
            now: self.now,
            count: if self.output == Output::Count {
                self.counted
            } else {
                shown
            },
            records: self.records,
            cursor,
            stopped: self.stopped,
            scanned: self.scanned,
        })
    }
}

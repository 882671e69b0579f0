//! Deletes by filter: decided here, on the state that they change.

use alloc::collections::BTreeSet;
use core::ops::ControlFlow;

use super::Store;
use super::draft::Draft;
use super::mutate::bytes;
use crate::check::check_matching;
use crate::filter::Filter;
use crate::key::Key;
use crate::limits::{DELETE_WHERE_KEYS_MAX, DELETE_WHERE_STEPS_MAX};
use crate::reply::{BatchUnit, Rejection, Reply};
use crate::select::{Walk, candidates, plan};
use crate::view::Direction;

impl Store {
    /// D-DATA-10: finds and removes in one step, so that nothing changes in between; as much as is
    /// asked for, or nothing.
    pub(super) fn delete_where(&mut self, filter: &Filter, limit: Option<u64>) -> Result<Reply, Rejection> {
        check_matching(limit)?;
        let (doomed, more) = self.doomed(filter, limit)?;
        let count = bytes(doomed.len());
        let mut draft = Draft::default();
        for key in &doomed {
            self.draft_delete(&mut draft, key);
        }
        let revision = self.commit(draft)?;
        Ok(Reply::DeletedWhere {
            revision,
            count,
            more,
        })
    }

    /// The keys to remove, the first ones in order, and whether there are more.
    fn doomed(&self, filter: &Filter, limit: Option<u64>) -> Result<(BTreeSet<Key>, bool), Rejection> {
        let most = limit.map_or(DELETE_WHERE_KEYS_MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let (state, mut work) = (&self.state, 0_u64);
        let plan = plan(state, filter);
        let is_in_order = plan.access.is_by_key(state);
        let (mut doomed, mut is_more, mut is_too_much) = (BTreeSet::new(), false, false);
        let walk = Walk {
            direction: Direction::Ascending,
            revision: state.revision,
            after: None,
        };
        let walked = candidates(state, &plan.access, walk, |candidate| {
            if let Some(record) = candidate.record
                && filter.holds(&record, state.now, &mut work)
            {
                doomed.insert(record.to_key());
                if doomed.len() > most {
                    // The greatest goes, so that what is left are the first ones.
                    doomed.pop_last();
                    is_more = true;
                }
            }
            is_too_much = work > DELETE_WHERE_STEPS_MAX;
            if is_too_much || (is_more && (is_in_order || limit.is_none())) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        // Of the state as it is, with an index that is there, a walk always succeeds.
        debug_assert_eq!(walked, Ok(()), "an access of this state can be walked");
        let refusal = |unit, count, limit| Rejection::BatchTooLarge { unit, count, limit };
        if is_too_much {
            return Err(refusal(BatchUnit::Steps, work, DELETE_WHERE_STEPS_MAX));
        }
        if is_more && limit.is_none() {
            let most = bytes(most);
            return Err(refusal(BatchUnit::MatchingKeys, most.saturating_add(1), most));
        }
        Ok((doomed, is_more))
    }
}

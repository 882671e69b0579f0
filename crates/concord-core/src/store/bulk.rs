//! Puts, deletes and touches of many: drafted item by item, committed at one revision.

use alloc::vec::Vec;

use super::Store;
use super::draft::Draft;
use crate::command::{PutItem, TouchItem};
use crate::key::Key;
use crate::reply::{Rejection, Reply, RequestPart};

impl Store {
    pub(super) fn put_many(&mut self, items: &[PutItem]) -> Result<Reply, Rejection> {
        let mut draft = Draft::default();
        // Every item is judged, not just the first (D-DATA-3).
        for (index, item) in items.iter().enumerate() {
            self.draft_put(&mut draft, item)
                .map_err(|cause| cause.in_part(RequestPart::Item, index))?;
        }
        let revision = self.commit(draft)?;
        Ok(Reply::WrittenMany { revision })
    }

    pub(super) fn delete_many(&mut self, keys: &[Key]) -> Result<Reply, Rejection> {
        let mut draft = Draft::default();
        let existed = keys
            .iter()
            .map(|key| self.draft_delete(&mut draft, key))
            .collect();
        let revision = self.commit(draft)?;
        Ok(Reply::DeletedMany { revision, existed })
    }

    pub(super) fn touch_many(&mut self, items: &[TouchItem]) -> Result<Reply, Rejection> {
        let mut draft = Draft::default();
        let mut outcomes = Vec::with_capacity(items.len());
        for (index, TouchItem { key, lifetime }) in items.iter().enumerate() {
            let outcome = self
                .draft_touch(&mut draft, key, *lifetime)
                .map_err(|cause| cause.in_part(RequestPart::Item, index))?;
            outcomes.push(outcome);
        }
        let revision = self.commit(draft)?;
        Ok(Reply::TouchedMany { revision, outcomes })
    }
}

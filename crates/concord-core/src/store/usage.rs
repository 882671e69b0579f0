//! What each namespace holds, counted from the changes themselves (I10).

use alloc::vec::Vec;

use super::Store;
use crate::codec::writer;
use crate::namespace::NamespaceCell;
use crate::state::State;
use crate::view::Usage;

/// Changes of one namespace's usage that are not in the tree yet: neighbouring writes mostly
/// share their namespace.
#[derive(Debug, Default)]
pub(super) struct UsageDelta {
    namespace: Vec<u8>,
    keys: i64,
    bytes: i64,
    /// What there is to know of the namespace, once somebody asked: what the state says that it holds, and its
    /// quota, if it has one. Neighbouring writes ask the same.
    seen: Option<(Usage, Option<NamespaceCell>)>,
}

impl UsageDelta {
    /// The quota of the namespace that was looked at last, and what it holds with all that is noted.
    pub(super) fn seen(&self) -> (Option<NamespaceCell>, Usage) {
        let (usage, cell) = self.seen.unwrap_or_default();
        (cell, grown(usage, self.keys, self.bytes))
    }

    /// Has the next who asks look anew.
    pub(super) fn forget_seen(&mut self) {
        self.seen = None;
    }
}

impl Store {
    /// Notes that a namespace has grown or shrunk.
    pub(super) fn count_usage(&mut self, namespace: &[u8], keys: i64, bytes: i64) {
        self.turn_to(namespace);
        self.usage_delta.keys = self.usage_delta.keys.saturating_add(keys);
        self.usage_delta.bytes = self.usage_delta.bytes.saturating_add(bytes);
    }

    fn turn_to(&mut self, namespace: &[u8]) {
        if self.usage_delta.namespace != namespace {
            self.flush_usage();
            self.usage_delta.forget_seen();
            self.usage_delta.namespace.clear();
            self.usage_delta.namespace.extend_from_slice(namespace);
        }
    }

    /// Looks at a namespace: see [`UsageDelta::seen`].
    pub(super) fn see_namespace(&mut self, namespace: &[u8]) {
        self.turn_to(namespace);
        if self.usage_delta.seen.is_none() {
            let cell = self.state.namespaces.get(namespace);
            let cell = cell.map(|cell| NamespaceCell::stored(&cell));
            let usage = self.state.usage.get(namespace);
            let usage = usage.map_or(Usage::default(), |cell| Usage::stored(&cell));
            self.usage_delta.seen = Some((usage, cell));
        }
    }

    /// Brings what was noted into the state.
    pub(super) fn flush_usage(&mut self) {
        let UsageDelta {
            namespace,
            keys,
            bytes,
            seen,
        } = &mut self.usage_delta;
        if *keys != 0 || *bytes != 0 {
            *seen = None;
            add(
                &mut self.state,
                namespace,
                core::mem::take(keys),
                core::mem::take(bytes),
            );
        }
    }
}

/// Changes a namespace's usage. One without keys is not listed.
pub(crate) fn add(state: &mut State, namespace: &[u8], keys: i64, bytes: i64) {
    let before = state
        .usage
        .get(namespace)
        .map_or(Usage::default(), |cell| Usage::stored(&cell));
    let after = grown(before, keys, bytes);
    if after.keys == 0 {
        state.usage.remove(namespace);
    } else {
        let mut cell = Vec::with_capacity(16);
        writer::number(after.keys, &mut cell);
        writer::number(after.bytes, &mut cell);
        state.usage.set(namespace, &cell);
    }
    state.total = grown(state.total, keys, bytes);
}

fn grown(usage: Usage, keys: i64, bytes: i64) -> Usage {
    Usage {
        keys: usage.keys.saturating_add_signed(keys),
        bytes: usage.bytes.saturating_add_signed(bytes),
    }
}

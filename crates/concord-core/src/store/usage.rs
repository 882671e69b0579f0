//! What each namespace holds, counted from the changes themselves (I10).

use alloc::vec::Vec;

use super::Store;
use crate::codec::writer;
use crate::state::State;
use crate::view::Usage;

/// Changes of one namespace's usage that are not in the tree yet: neighbouring writes mostly
/// share their namespace.
#[derive(Debug, Default)]
pub(super) struct UsageDelta {
    namespace: Vec<u8>,
    keys: i64,
    bytes: i64,
}

impl UsageDelta {
    /// A namespace's usage with what is noted of it.
    pub(super) fn added_to(&self, usage: Usage, namespace: &[u8]) -> Usage {
        if self.namespace == namespace {
            grown(usage, self.keys, self.bytes)
        } else {
            usage
        }
    }
}

impl Store {
    /// Notes that a namespace has grown or shrunk.
    pub(super) fn count_usage(&mut self, namespace: &[u8], keys: i64, bytes: i64) {
        if self.usage_delta.namespace != namespace {
            self.flush_usage();
            self.usage_delta.namespace.clear();
            self.usage_delta.namespace.extend_from_slice(namespace);
        }
        self.usage_delta.keys = self.usage_delta.keys.saturating_add(keys);
        self.usage_delta.bytes = self.usage_delta.bytes.saturating_add(bytes);
    }

    /// Brings what was noted into the state.
    pub(super) fn flush_usage(&mut self) {
        let UsageDelta {
            namespace,
            keys,
            bytes,
        } = &mut self.usage_delta;
        if *keys != 0 || *bytes != 0 {
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

//! The requests that change the store, in the form the log keeps for good.

use crate::ids::{Millis, Revision};
use crate::key::Key;
use crate::settings::Settings;
use crate::value::Value;

/// A request to change the store.
///
/// Log rule: variants and their codes are only added, never reordered, reused or hidden
/// behind a feature; see `docs/log-format.md`. Deliberately exhaustive: a new variant must
/// not compile until everything that judges commands has decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Store `value` under `key`.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Value,
        /// How long the key lives from this entry's replicated time on; `None`: for ever,
        /// also if it had a deadline before.
        ttl: Option<Millis>,
        /// Answer with the record that was replaced.
        return_previous: bool,
    },
    /// Remove `key`. Of an absent key: succeeds and changes nothing.
    Delete {
        /// What to remove.
        key: Key,
        /// Answer with the record that was removed.
        return_previous: bool,
    },
    /// Reset the time to live of `key`, which must exist. Another deadline is a write of the same
    /// value: new revision, version and event. The deadline it already has: changes nothing.
    Touch {
        /// Which.
        key: Key,
        /// How long it lives from this entry's replicated time on; `None`: for ever.
        ttl: Option<Millis>,
    },
    /// Add `delta` to the 64-bit number under `key`; an absent key counts as 0 and becomes a
    /// document integer. A `text` decimal stays text, a document integer a document.
    Increment {
        /// Which.
        key: Key,
        /// How much; may be negative.
        delta: i64,
        /// `Some`: the key lives this long from now on; `None`: its deadline stays as it is.
        ttl: Option<Millis>,
    },
    /// Forget the history up to and including `revision`; reads at `revision` still work.
    Compact {
        /// The oldest revision that stays readable.
        revision: Revision,
    },
    /// Replace the settings that decide in apply. Does not count as a revision.
    Configure(Settings),
}

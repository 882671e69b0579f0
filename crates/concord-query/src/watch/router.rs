//! Which watchers does a change concern?
//!
//! ```text
//!   key user:7 ──> exact   user:7                ──> those who watch this key
//!              └─> below   user:7? user: us ... ──> those whose keys all start so
//! ```
//!
//! Every other selector than a key has a literal prefix that all its keys share, be it empty, and is
//! filed under it. A change visits the prefixes of its key that somebody is filed under, never
//! the other watchers, so that 10,000 who wait for something else cost it nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use concord_core::key::KeyRange;
use concord_core::view::ChangeKind;

use super::filter::{Filter, Kinds, Selector};

/// Watchers by what they watch. `T` is a watcher; each is in it once.
pub struct Router<T> {
    exact: HashMap<Bytes, BTreeMap<T, Kinds>>,
    below: BTreeMap<Bytes, Below<T>>,
    len: usize,
}

/// Watchers whose keys all share a prefix.
struct Below<T> {
    /// They watch every key with it.
    whole: BTreeMap<T, Kinds>,
    /// They watch some of those keys.
    narrowed: BTreeMap<T, Filter>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            below: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<T: Ord + Clone> Router<T> {
    /// How many watchers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a watcher.
    pub fn insert(&mut self, watcher: T, filter: &Filter) {
        let replaced = match &filter.selector {
            Selector::Key(key) => self
                .exact
                .entry(key.clone().into_bytes())
                .or_default()
                .insert(watcher, filter.kinds)
                .is_some(),
            Selector::Prefix(prefix) => self
                .below(prefix.clone())
                .whole
                .insert(watcher, filter.kinds)
                .is_some(),
            Selector::Range(_) | Selector::Glob(_) | Selector::Pattern(_) => self
                .below(shared_prefix(&filter.selector))
                .narrowed
                .insert(watcher, filter.clone())
                .is_some(),
        };
        self.len = self.len.saturating_add(usize::from(!replaced));
    }

    /// Takes a watcher out that was added with the same filter.
    pub fn remove(&mut self, watcher: &T, filter: &Filter) {
        let removed = match &filter.selector {
            Selector::Key(key) => {
                let Some(watchers) = self.exact.get_mut(key.as_bytes()) else {
                    return;
                };
                let removed = watchers.remove(watcher).is_some();
                if watchers.is_empty() {
                    self.exact.remove(key.as_bytes());
                }
                removed
            }
            Selector::Prefix(_) | Selector::Range(_) | Selector::Glob(_) | Selector::Pattern(_) => {
                let prefix = shared_prefix(&filter.selector);
                let Some(below) = self.below.get_mut(&prefix) else {
                    return;
                };
                let removed =
                    below.whole.remove(watcher).is_some() || below.narrowed.remove(watcher).is_some();
                if below.whole.is_empty() && below.narrowed.is_empty() {
                    self.below.remove(&prefix);
                }
                removed
            }
        };
        self.len = self.len.saturating_sub(usize::from(removed));
    }

    /// Calls `found` once for every watcher that a change concerns, or may concern where to know it is more work
    /// than all who wait for the routing should wait for.
    pub fn route(&self, key: &[u8], kind: ChangeKind, mut found: impl FnMut(&T)) {
        if let Some(watchers) = self.exact.get(key) {
            visit(watchers, kind, &mut found);
        }
        self.each_prefix_of(key, |below| {
            visit(&below.whole, kind, &mut found);
            for (watcher, filter) in &below.narrowed {
                if filter.may_admit(key, kind) {
                    found(watcher);
                }
            }
        });
    }

    fn below(&mut self, prefix: Bytes) -> &mut Below<T> {
        self.below.entry(prefix).or_insert_with(|| Below {
            whole: BTreeMap::new(),
            narrowed: BTreeMap::new(),
        })
    }

    /// Calls `found` for each filed prefix of `key`, from long to short. Takes at most one step
    /// for each byte of the key, however many prefixes are filed.
    fn each_prefix_of(&self, key: &[u8], mut found: impl FnMut(&Below<T>)) {
        let mut longest = key;
        loop {
            let bounds = (Bound::Unbounded, Bound::Included(longest));
            let Some((prefix, below)) = self.below.range::<[u8], _>(bounds).next_back() else {
                return;
            };
            // The greatest filed prefix up to `longest`: none that is left to find can share
            // more of the key than this one does.
            let shared = key
                .iter()
                .zip(prefix.iter())
                .take_while(|(left, right)| left == right)
                .count();
            let mut next = Some(shared);
            if shared == prefix.len() {
                found(below);
                next = shared.checked_sub(1);
            }
            let Some(shorter) = next.and_then(|length| key.get(..length)) else {
                return;
            };
            longest = shorter;
        }
    }
}

fn visit<T>(watchers: &BTreeMap<T, Kinds>, kind: ChangeKind, found: &mut impl FnMut(&T)) {
    for (watcher, kinds) in watchers {
        if kinds.contains(kind) {
            found(watcher);
        }
    }
}

/// What all keys of a selector start with.
fn shared_prefix(selector: &Selector) -> Bytes {
    match selector {
        Selector::Key(key) => key.clone().into_bytes(),
        Selector::Prefix(prefix) => prefix.clone(),
        Selector::Glob(glob) => glob.literal_prefix().clone(),
        Selector::Pattern(pattern) => pattern.literal_prefix().clone(),
        Selector::Range(range) => range_prefix(range),
    }
}

/// Whatever lies between two bounds starts with what both start with.
fn range_prefix(range: &KeyRange) -> Bytes {
    let Some(end) = range.end() else {
        return Bytes::new();
    };
    let shared = range
        .start()
        .iter()
        .zip(end)
        .take_while(|(left, right)| left == right)
        .count();
    Bytes::copy_from_slice(range.start().get(..shared).unwrap_or_default())
}

impl<T> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("watchers", &self.len)
            .field("keys", &self.exact.len())
            .field("prefixes", &self.below.len())
            .finish()
    }
}

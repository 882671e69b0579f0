//! Namespaces with quotas: how much of the store the keys before a `:` may take, and how often their tenant may ask.
//!
//! What a namespace holds follows from its keys (I10) and is judged at apply, where nothing can come in between: a
//! request that makes it hold more is refused if that is more than it may. How often is a bucket in the state, which
//! the replicated clock fills. So every replica judges alike, and a restart or another leader forgets nothing.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::ids::{Millis, Timestamp};
use crate::limits::KEY_BYTES_MAX;

/// How much a namespace may hold, and how often its tenant may ask. `None`: as the store allows; 0: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceQuota {
    /// Keys.
    pub max_keys: Option<u64>,
    /// Bytes of keys and stored values.
    pub max_storage_bytes: Option<u64>,
    /// Requests a second of its tenant, which may come at once.
    pub max_ops_per_sec: Option<u64>,
}

impl NamespaceQuota {
    /// No limits but those of the store.
    pub const UNLIMITED: Self = Self {
        max_keys: None,
        max_storage_bytes: None,
        max_ops_per_sec: None,
    };
}

/// A change of a namespace. What it holds stays as it is, unless its keys are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceEdit {
    /// What stands before the first `:` of its keys.
    pub namespace: Bytes,
    /// How much it may hold from now on.
    pub quota: NamespaceQuota,
    /// Whether its keys are deleted: a bounded number with each batch from this one on, each such number at one
    /// revision. Until all are gone the namespace takes no writes, and readers see those that are left.
    pub delete_keys: bool,
}

/// A namespace as a view shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceStatus {
    /// How much it may hold, and how often its tenant may ask.
    pub quota: NamespaceQuota,
    /// Whether its keys are being deleted.
    pub is_emptying: bool,
    /// How many requests its tenant could make at the time of the view, if they are limited.
    pub operations_left: Option<u64>,
}

/// Whether something can be a namespace of keys.
pub(crate) fn is_namespace(bytes: &[u8]) -> bool {
    (1..KEY_BYTES_MAX).contains(&bytes.len()) && !bytes.contains(&b':')
}

/// Operations are counted in thousandths, so that each millisecond fills the bucket exactly.
const OPERATION: u64 = 1_000;

/// The wait that is told to those who may never ask: nothing will have changed before.
const NEVER_MS: u64 = 60_000;

/// What is kept of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceCell {
    pub(crate) quota: NamespaceQuota,
    pub(crate) is_emptying: bool,
    /// What was in the bucket, in thousandths of an operation, at `filled_at`.
    level: u64,
    filled_at: Timestamp,
}

impl NamespaceCell {
    /// A namespace whose tenant has not asked yet.
    pub(crate) const fn new(quota: NamespaceQuota, is_emptying: bool, now: Timestamp) -> Self {
        let level = match quota.max_ops_per_sec {
            Some(max) => max.saturating_mul(OPERATION),
            None => 0,
        };
        Self {
            quota,
            is_emptying,
            level,
            filled_at: now,
        }
    }

    /// The namespace under another quota. What its tenant has asked counts on.
    pub(crate) fn under(self, quota: NamespaceQuota, now: Timestamp) -> Self {
        let fresh = Self::new(quota, self.is_emptying, now);
        match self.quota.max_ops_per_sec {
            Some(_) => Self {
                level: self.level_at(now).min(fresh.level),
                ..fresh
            },
            None => fresh,
        }
    }

    /// Whether it is as any namespace that nothing is known of.
    pub(crate) fn is_plain(&self) -> bool {
        self.quota == NamespaceQuota::UNLIMITED && !self.is_emptying
    }

    /// What is in the bucket.
    fn level_at(&self, now: Timestamp) -> u64 {
        let Some(max) = self.quota.max_ops_per_sec else {
            return 0;
        };
        // `max` operations a second are `max` thousandths a millisecond.
        let filled = now.since(self.filled_at).get().saturating_mul(max);
        self.level
            .saturating_add(filled)
            .min(max.saturating_mul(OPERATION))
    }

    /// Takes an operation out of the bucket; if there is none, says how long until there is.
    pub(crate) fn spend(&mut self, now: Timestamp) -> Result<(), Millis> {
        let Some(max) = self.quota.max_ops_per_sec else {
            return Ok(());
        };
        let level = self.level_at(now);
        match level.checked_sub(OPERATION) {
            Some(left) => {
                (self.level, self.filled_at) = (left, now);
                Ok(())
            }
            None if max == 0 => Err(Millis::new(NEVER_MS)),
            None => Err(Millis::new(OPERATION.saturating_sub(level).div_ceil(max))),
        }
    }

    pub(crate) fn status(&self, now: Timestamp) -> NamespaceStatus {
        let limited = self.quota.max_ops_per_sec;
        NamespaceStatus {
            quota: self.quota,
            is_emptying: self.is_emptying,
            operations_left: limited.map(|_| self.level_at(now) / OPERATION),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        encode_quota(&self.quota, &mut out);
        out.push(u8::from(self.is_emptying));
        writer::number(self.level, &mut out);
        writer::number(self.filled_at.get(), &mut out);
        out
    }

    pub(crate) fn decode(cell: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(cell);
        let quota = decode_quota(&mut reader)?;
        let is_emptying = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(reader.error("malformed namespace")),
        };
        let (level, filled_at) = (reader.number()?, Timestamp::new(reader.number()?));
        reader.end()?;
        Ok(Self {
            quota,
            is_emptying,
            level,
            filled_at,
        })
    }

    /// Reads a cell of the store.
    ///
    /// # Panics
    ///
    /// If it is damaged: only this module writes it, and a restore checks it.
    pub(crate) fn stored(cell: &[u8]) -> Self {
        Self::decode(cell).expect("namespaces are written by this module and checked on restore")
    }

    /// Whether it says what a store at `now` can have said.
    pub(crate) fn is_sane(&self, now: Timestamp) -> bool {
        let most = self.quota.max_ops_per_sec.unwrap_or(0).saturating_mul(OPERATION);
        !self.is_plain() && self.filled_at <= now && self.level <= most
    }
}

pub(crate) fn encode_quota(quota: &NamespaceQuota, out: &mut Vec<u8>) {
    let NamespaceQuota {
        max_keys,
        max_storage_bytes,
        max_ops_per_sec,
    } = quota;
    for limit in [max_keys, max_storage_bytes, max_ops_per_sec] {
        writer::optional(*limit, out);
    }
}

pub(crate) fn decode_quota(reader: &mut Reader<'_>) -> Result<NamespaceQuota, DecodeError> {
    Ok(NamespaceQuota {
        max_keys: reader.optional()?,
        max_storage_bytes: reader.optional()?,
        max_ops_per_sec: reader.optional()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::new(ms)
    }

    fn ops(max: u64) -> NamespaceQuota {
        NamespaceQuota {
            max_ops_per_sec: Some(max),
            ..NamespaceQuota::UNLIMITED
        }
    }

    #[test]
    fn a_bucket_holds_a_second_and_fills_with_the_clock() {
        let mut cell = NamespaceCell::new(ops(4), false, at(1_000));
        for left in (0..4).rev() {
            assert_eq!(cell.spend(at(1_000)), Ok(()));
            assert_eq!(cell.status(at(1_000)).operations_left, Some(left));
        }
        assert_eq!(cell.spend(at(1_000)), Err(Millis::new(250)));
        assert_eq!(cell.spend(at(1_249)), Err(Millis::new(1)));
        assert_eq!(cell.spend(at(1_250)), Ok(()));
        assert_eq!(cell.spend(at(1_250)), Err(Millis::new(250)));
        // However long nobody asks, no more than a second's worth comes at once.
        assert_eq!(cell.status(at(9_000)).operations_left, Some(4));
        assert_eq!(NamespaceCell::decode(&cell.encode()), Ok(cell));
    }

    #[test]
    fn nothing_is_allowed_at_a_limit_of_none_and_all_without_one() {
        let mut none = NamespaceCell::new(ops(0), false, at(1));
        assert_eq!(none.spend(at(u64::MAX)), Err(Millis::new(NEVER_MS)));
        let mut all = NamespaceCell::new(NamespaceQuota::UNLIMITED, false, at(1));
        assert_eq!(all.spend(at(1)), Ok(()));
        assert_eq!(all.status(at(1)).operations_left, None);
        let mut most = NamespaceCell::new(ops(u64::MAX), false, at(1));
        assert_eq!(most.spend(at(2)), Ok(()));
    }

    /// D-SEC-9: another quota forgives nothing.
    #[test]
    fn what_was_asked_counts_on_under_another_quota() {
        let mut cell = NamespaceCell::new(ops(2), true, at(1_000));
        assert_eq!(cell.spend(at(1_000)), Ok(()));
        assert_eq!(cell.spend(at(1_000)), Ok(()));
        let more = cell.under(ops(10), at(1_000));
        assert_eq!(more.status(at(1_000)).operations_left, Some(0));
        assert!(more.is_emptying);
        assert_eq!(
            more.under(ops(1), at(9_000)).status(at(9_000)).operations_left,
            Some(1)
        );
        let unlimited = more.under(NamespaceQuota::UNLIMITED, at(1_000));
        assert!(unlimited.is_sane(at(1_000)));
        assert!(!unlimited.is_plain(), "it is still being emptied");
    }

    #[test]
    fn namespaces_are_what_stands_before_a_colon() {
        assert!(is_namespace(b"a") && is_namespace(&[0xff; KEY_BYTES_MAX - 1]));
        assert!(!is_namespace(b"") && !is_namespace(b"a:") && !is_namespace(&[1; KEY_BYTES_MAX]));
    }
}

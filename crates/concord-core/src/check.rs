//! What can be said against a request without looking at the state: judged where requests
//! come in, before they cost the log its space, and again at apply.

use bytes::Bytes;

use crate::command::{Command, Lifetime, PutItem};
use crate::limits::{
    BATCH_ITEMS_MAX, DELETE_WHERE_KEYS_MAX, POLICY_EDIT_BYTES_MAX, POLICY_EDITS_MAX, POLICY_KEY_BYTES_MAX,
    POLICY_RECORD_BYTES_MAX, RESTORE_PIECE_BYTES_MAX, TTL_MS_MAX, TXN_COMPARES_MAX, TXN_DEPTH_MAX,
    TXN_OPERATIONS_MAX, TXN_PARTS_MAX,
};
use crate::policy::PolicyChange;
use crate::reply::{BatchUnit, InvalidRequestReason, Rejection, RequestPart};
use crate::restore::RestoreStep;
use crate::txn::{Operation, Txn};
use crate::value::StoredValue;

impl Command {
    /// Judges sizes, counts and lifetimes. Nothing else decides in advance: a request that
    /// passes may still be refused at apply.
    ///
    /// # Errors
    ///
    /// The refusal that apply would answer with under this limit on values.
    pub fn check(&self, value_bytes_max: u64) -> Result<(), Rejection> {
        match self {
            Self::Put { value, lifetime, .. } => {
                check_value_size(value, value_bytes_max)?;
                check_lifetime(*lifetime)
            }
            Self::Touch { lifetime, .. } => check_lifetime(*lifetime),
            Self::Increment { ttl, .. } => check_lifetime((*ttl).into()),
            Self::PutMany { items } => {
                check_count(BatchUnit::Items, items.len(), BATCH_ITEMS_MAX)?;
                check_each(RequestPart::Item, items, |item| check_put(item, value_bytes_max))
            }
            Self::DeleteMany { keys } => check_count(BatchUnit::Items, keys.len(), BATCH_ITEMS_MAX),
            Self::TouchMany { items } => {
                check_count(BatchUnit::Items, items.len(), BATCH_ITEMS_MAX)?;
                check_each(RequestPart::Item, items, |item| check_lifetime(item.lifetime))
            }
            Self::Txn(txn) => {
                check_shape(txn, 1, &mut 0)?;
                check_operations(txn, value_bytes_max)
            }
            Self::Idempotent { command, .. } => {
                if let Self::Idempotent { .. }
                | Self::Guarded { .. }
                | Self::EditPolicy(_)
                | Self::Restore { .. } = command.as_ref()
                {
                    let reason = InvalidRequestReason::Malformed;
                    return Err(Rejection::InvalidRequest { reason });
                }
                command.check(value_bytes_max)
            }
            Self::Guarded { command, .. } => {
                if let Self::Guarded { .. } = command.as_ref() {
                    let reason = InvalidRequestReason::Malformed;
                    return Err(Rejection::InvalidRequest { reason });
                }
                command.check(value_bytes_max)
            }
            Self::EditPolicy(change) => check_policy_change(change),
            Self::Restore {
                step: RestoreStep::Piece { bytes, .. },
                ..
            } if bytes.len() > RESTORE_PIECE_BYTES_MAX => {
                let reason = InvalidRequestReason::BackupPiece;
                Err(Rejection::InvalidRequest { reason })
            }
            // Decoding has judged the filter, and a limit of none at all deletes nothing.
            Self::DeleteWhere { limit, .. } => check_matching(*limit),
            Self::LeaseGrant { ttl, .. } => check_lifetime(Lifetime::Ttl(*ttl)),
            Self::Delete { .. }
            | Self::Compact { .. }
            | Self::Configure(_)
            | Self::Restore { .. }
            | Self::LeaseKeepAlive { .. }
            | Self::LeaseRevoke { .. }
            | Self::CreateIndex { .. }
            | Self::DropIndex { .. }
            | Self::Reindex { .. }
            | Self::CreateSubscription { .. }
            | Self::DeleteSubscription { .. }
            | Self::AckSubscription { .. }
            | Self::ResetSubscription { .. } => Ok(()),
        }
    }
}

/// Judges the sizes of a change of the policy.
pub(crate) fn check_policy_change(change: &PolicyChange) -> Result<(), Rejection> {
    let edits = change.edits.len().saturating_add(change.namespaces.len());
    check_count(BatchUnit::PolicyEdits, edits, POLICY_EDITS_MAX)?;
    let mut bytes = 0_usize;
    for edit in &change.edits {
        let record_bytes = edit.record.as_ref().map_or(0, Bytes::len);
        let is_sane =
            (1..=POLICY_KEY_BYTES_MAX).contains(&edit.key.len()) && record_bytes <= POLICY_RECORD_BYTES_MAX;
        if !is_sane {
            let reason = InvalidRequestReason::PolicyRecord;
            return Err(Rejection::InvalidRequest { reason });
        }
        bytes = bytes.saturating_add(edit.key.len()).saturating_add(record_bytes);
    }
    check_count(BatchUnit::PolicyBytes, bytes, POLICY_EDIT_BYTES_MAX)
}

/// That a delete by filter asks for no more than it may delete.
pub(crate) fn check_matching(limit: Option<u64>) -> Result<(), Rejection> {
    let asked = limit.map_or(0, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    check_count(BatchUnit::MatchingKeys, asked, DELETE_WHERE_KEYS_MAX)
}

pub(crate) fn check_count(unit: BatchUnit, count: usize, limit: usize) -> Result<(), Rejection> {
    if count <= limit {
        Ok(())
    } else {
        Err(Rejection::too_large(unit, count, limit))
    }
}

/// What counts is the value itself, not how small it is packed.
pub(crate) fn check_value_size(value: &StoredValue, limit_bytes: u64) -> Result<(), Rejection> {
    let size_bytes = u64::try_from(value.raw_len()).unwrap_or(u64::MAX);
    if size_bytes <= limit_bytes {
        return Ok(());
    }
    Err(Rejection::ValueTooLarge {
        size_bytes,
        limit_bytes,
    })
}

/// Whether a lifetime can be had, apart from the lease that it may name.
pub(crate) fn check_lifetime(lifetime: Lifetime) -> Result<(), Rejection> {
    match lifetime {
        Lifetime::Ttl(ttl) if !(1..=TTL_MS_MAX).contains(&ttl.get()) => {
            Err(Rejection::InvalidTtl { ttl_ms: ttl.get() })
        }
        Lifetime::Forever | Lifetime::Ttl(_) | Lifetime::Lease(_) => Ok(()),
    }
}

fn check_put(item: &PutItem, value_bytes_max: u64) -> Result<(), Rejection> {
    check_value_size(&item.value, value_bytes_max)?;
    check_lifetime(item.lifetime)
}

/// Every item is judged, not just the first (D-DATA-3).
fn check_each<T>(
    part: RequestPart,
    items: &[T],
    check: impl Fn(&T) -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    for (index, item) in items.iter().enumerate() {
        check(item).map_err(|cause| cause.in_part(part, index))?;
    }
    Ok(())
}

fn check_shape(txn: &Txn, level: usize, parts: &mut usize) -> Result<(), Rejection> {
    check_count(BatchUnit::Levels, level, TXN_DEPTH_MAX)?;
    check_count(BatchUnit::Compares, txn.compares.len(), TXN_COMPARES_MAX)?;
    *parts = parts.saturating_add(txn.compares.len());
    for branch in [&txn.success, &txn.failure] {
        check_count(BatchUnit::Operations, branch.len(), TXN_OPERATIONS_MAX)?;
        *parts = parts.saturating_add(branch.len());
    }
    check_count(BatchUnit::Parts, *parts, TXN_PARTS_MAX)?;
    for operation in txn.success.iter().chain(&txn.failure) {
        if let Operation::Txn(nested) = operation {
            check_shape(nested, level.saturating_add(1), parts)?;
        }
    }
    Ok(())
}

/// Judges the operations of both branches, also of the one that will not be performed.
pub(crate) fn check_operations(txn: &Txn, value_bytes_max: u64) -> Result<(), Rejection> {
    let check = |operation: &Operation| match operation {
        Operation::Put { item, .. } => check_put(item, value_bytes_max),
        Operation::Touch(item) => check_lifetime(item.lifetime),
        Operation::Txn(nested) => check_operations(nested, value_bytes_max),
        Operation::Get { .. } | Operation::Delete { .. } => Ok(()),
    };
    check_each(RequestPart::Success, &txn.success, check)?;
    check_each(RequestPart::Failure, &txn.failure, check)
}

//! The values within requests and replies, to be packed or unpacked: a request before it is
//! replicated, a reply when it has come to who asked.
//!
//! What a request only compares with stays as it is: nothing of it is kept.

use crate::command::Command;
use crate::limits::REQUEST_BYTES_MAX;
use crate::record::StoredRecord;
use crate::reply::{Rejection, Reply};
use crate::txn::{Operation, OperationResult, Txn, TxnOutcome};
use crate::value::{CorruptValue, StoredValue};

impl Command {
    /// Lets every value that the command stores be changed.
    pub fn each_value(&mut self, visit: &mut dyn FnMut(&mut StoredValue)) {
        match self {
            Self::Put { value, .. } => visit(value),
            Self::PutMany { items } => items.iter_mut().for_each(|item| visit(&mut item.value)),
            Self::Txn(txn) => each_value_of(txn, visit),
            Self::Idempotent { command, .. } | Self::Guarded { command, .. } => command.each_value(visit),
            Self::Delete { .. }
            | Self::Touch { .. }
            | Self::Increment { .. }
            | Self::Compact { .. }
            | Self::Configure(_)
            | Self::CreateIndex { .. }
            | Self::DropIndex { .. }
            | Self::Reindex { .. }
            | Self::CreateSubscription { .. }
            | Self::DeleteSubscription { .. }
            | Self::AckSubscription { .. }
            | Self::ResetSubscription { .. }
            | Self::DeleteMany { .. }
            | Self::TouchMany { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseKeepAlive { .. }
            | Self::DeleteWhere { .. }
            | Self::LeaseRevoke { .. }
            | Self::EditPolicy(_)
            // What a backup holds stays as it was kept.
            | Self::Restore { .. } => {}
        }
    }

    /// The same command with its values unpacked; `None` if none is packed, or one is
    /// damaged.
    pub(crate) fn unpacked(&mut self) -> Option<Self> {
        let mut raw_bytes = 0_usize;
        self.each_value(&mut |value| {
            if value.is_packed() {
                raw_bytes = raw_bytes.saturating_add(value.raw_len());
            }
        });
        // What came as a request is not larger; what claims to be is not unpacked.
        if !(1..=REQUEST_BYTES_MAX).contains(&raw_bytes) {
            return None;
        }
        let mut plain = self.clone();
        let mut is_damaged = false;
        plain.each_value(&mut |value| is_damaged |= value.make_plain().is_err());
        (!is_damaged).then_some(plain)
    }
}

fn each_value_of(txn: &mut Txn, visit: &mut dyn FnMut(&mut StoredValue)) {
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match operation {
            Operation::Put { item, .. } => visit(&mut item.value),
            Operation::Txn(nested) => each_value_of(nested, visit),
            Operation::Get { .. } | Operation::Delete { .. } | Operation::Touch(_) => {}
        }
    }
}

impl Reply {
    /// How many bytes its packed values are when they are unpacked.
    #[must_use]
    pub fn packed_raw_bytes(&mut self) -> usize {
        let mut bytes = 0_usize;
        each_record(self, &mut |record| {
            if record.value.is_packed() {
                bytes = bytes.saturating_add(record.value.raw_len());
            }
        });
        bytes
    }

    /// Unpacks the values of its records, so that
    /// [`StoredRecord::into_plain`] has each of them.
    ///
    /// # Errors
    ///
    /// If one is damaged.
    pub fn unpack(&mut self) -> Result<(), CorruptValue> {
        let mut outcome = Ok(());
        each_record(self, &mut |record| {
            if let Err(damage) = record.value.make_plain() {
                outcome = Err(damage);
            }
        });
        outcome
    }
}

fn each_record(reply: &mut Reply, visit: &mut dyn FnMut(&mut StoredRecord)) {
    match reply {
        Reply::Written { previous, .. } | Reply::Deleted { previous, .. } => {
            previous.iter_mut().for_each(visit);
        }
        Reply::Txn { outcome, .. } => each_record_of(outcome, visit),
        Reply::Rejected(rejection) => refused(rejection).into_iter().for_each(visit),
        Reply::Touched { .. }
        | Reply::Incremented { .. }
        | Reply::Compacted { .. }
        | Reply::Configured { .. }
        | Reply::IndexChanged { .. }
        | Reply::SubscriptionChanged { .. }
        | Reply::WrittenMany { .. }
        | Reply::DeletedMany { .. }
        | Reply::TouchedMany { .. }
        | Reply::LeaseGranted { .. }
        | Reply::LeaseKept { .. }
        | Reply::DeletedWhere { .. }
        | Reply::LeaseRevoked { .. }
        | Reply::PolicyEdited { .. }
        | Reply::Restoring { .. }
        | Reply::RestoreFailed { .. }
        | Reply::Restored { .. } => {}
    }
}

fn each_record_of(outcome: &mut TxnOutcome, visit: &mut dyn FnMut(&mut StoredRecord)) {
    for result in &mut outcome.results {
        match result {
            OperationResult::Records { records, .. } => records.iter_mut().for_each(&mut *visit),
            OperationResult::Written { previous } => previous.iter_mut().for_each(&mut *visit),
            OperationResult::Deleted { previous, .. } => previous.iter_mut().for_each(&mut *visit),
            OperationResult::Txn(nested) => each_record_of(nested, visit),
            OperationResult::Touched(_) => {}
        }
    }
}

/// The record that a refusal was judged by.
fn refused(rejection: &mut Rejection) -> Option<&mut StoredRecord> {
    if let Rejection::ConditionFailed { current } = rejection {
        return current.as_deref_mut();
    }
    if let Rejection::InPart { cause, .. } = rejection {
        return refused(cause);
    }
    None
}

//! The policy: changed as a whole, and asked whether it is still the one by which a request was allowed.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use super::Store;
use super::mutate::bytes;
use crate::check::check_policy_change;
use crate::limits::{POLICY_BYTES_MAX, POLICY_RECORDS_MAX};
use crate::policy::{Caller, Guard, PolicyChange};
use crate::reply::{Quota, Rejection, Reply};

impl Store {
    /// Performs a request on somebody's behalf.
    pub(super) fn guarded(&mut self, guard: &Guard, request: &Bytes) -> Reply {
        // I22: judged in the order of the log, so whatever was acknowledged before is seen.
        let has_ended = guard.expires_at.is_some_and(|end| self.state.now >= end);
        if guard.policy_revision != self.state.policy_revision || has_ended {
            return Reply::Rejected(self.policy_changed());
        }
        if let Some(tenant) = &guard.tenant
            && let Err(rejection) = self.spend_operation(tenant)
        {
            return Reply::Rejected(rejection);
        }
        self.caller = Caller {
            principal: guard.principal,
            is_confined: guard.is_confined,
        };
        let reply = self.plain_request(request);
        self.caller = Caller::NOBODY;
        reply
    }

    /// Whether no request is being applied on somebody's behalf.
    pub(crate) fn is_nobodys(&self) -> bool {
        self.caller.principal.is_nobody() && !self.caller.is_confined
    }

    pub(super) fn edit_policy(&mut self, change: &PolicyChange) -> Result<Reply, Rejection> {
        if change
            .expected
            .is_some_and(|expected| expected != self.state.policy_revision)
        {
            return Err(self.policy_changed());
        }
        check_policy_change(change)?;
        self.check_namespaces(&change.namespaces)?;
        // The last edit of a key is what counts, for the bounds too.
        let edits: BTreeMap<&Bytes, Option<&Bytes>> = change
            .edits
            .iter()
            .map(|edit| (&edit.key, edit.record.as_ref()))
            .collect();
        let (mut records, mut size) = (self.state.policy.len(), self.state.policy_bytes);
        for (key, record) in &edits {
            if let Some(old) = self.state.policy.get(key) {
                records = records.saturating_sub(1);
                size = size.saturating_sub(bytes(key.len().saturating_add(old.len())));
            }
            if let Some(new) = record {
                records = records.saturating_add(1);
                size = size.saturating_add(bytes(key.len().saturating_add(new.len())));
            }
        }
        if records > POLICY_RECORDS_MAX {
            let (quota, limit) = (Quota::PolicyRecords, bytes(POLICY_RECORDS_MAX));
            return Err(Rejection::QuotaExceeded { quota, limit });
        }
        if size > POLICY_BYTES_MAX {
            let (quota, limit) = (Quota::PolicyBytes, POLICY_BYTES_MAX);
            return Err(Rejection::QuotaExceeded { quota, limit });
        }
        for (key, record) in edits {
            match record {
                Some(record) => {
                    self.state.policy.set(key, record);
                }
                None => {
                    self.state.policy.remove(key);
                }
            }
        }
        self.state.policy_bytes = size;
        for edit in &change.namespaces {
            self.edit_namespace(edit);
        }
        if change.expected.is_some() {
            self.state.policy_revision = self.state.policy_revision.saturating_add(1);
        }
        Ok(Reply::PolicyEdited {
            revision: self.state.revision,
            policy_revision: self.state.policy_revision,
        })
    }

    const fn policy_changed(&self) -> Rejection {
        Rejection::PolicyChanged {
            policy_revision: self.state.policy_revision,
        }
    }
}

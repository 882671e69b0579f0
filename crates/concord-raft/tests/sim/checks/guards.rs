//! Nothing is done by a right that is gone (I22, D-SEC-1): writers write down by which revision of the policy they
//! were judged, as the value, and behind a change of the policy nothing is written that was judged before it.

use std::collections::BTreeMap;

use concord_core::{Command, Reply};

use super::ledger::Ledger;
use crate::history::{Asked, Request, Said};

/// Writers who are judged have their keys under this.
pub(crate) const GUARDED: &str = "guarded:";

/// Checks what was written against the changes that were acknowledged. Says how many writes it judged.
pub(crate) fn check(requests: &[Request], ledger: &Ledger) -> Result<u64, String> {
    // By the revision of the keys behind which they stand.
    let mut changes: BTreeMap<u64, u64> = BTreeMap::new();
    let mut makers: BTreeMap<u64, u64> = BTreeMap::new();
    for request in requests {
        let Asked::Command(Command::EditPolicy(_)) = &request.asked else {
            continue;
        };
        let Said::Reply(Reply::PolicyEdited {
            revision,
            policy_revision,
        }) = &request.said
        else {
            continue;
        };
        let made = makers.insert(*policy_revision, revision.get());
        if made.is_some() {
            return Err(format!("I22: two changes made policy {policy_revision}"));
        }
        let newest = changes.entry(revision.get()).or_default();
        *newest = (*newest).max(*policy_revision);
    }
    judge_writes(&changes, ledger)
}

fn judge_writes(changes: &BTreeMap<u64, u64>, ledger: &Ledger) -> Result<u64, String> {
    let (mut newest, mut judged) = (0, 0);
    let mut changes = changes.iter().peekable();
    for revision in 2..=ledger.last() {
        // A change at a revision of the keys is behind it, and before all later ones.
        while let Some((_, policy)) = changes.next_if(|(at, _)| **at < revision) {
            newest = newest.max(*policy);
        }
        for event in ledger.changes(revision) {
            let Some(record) = event
                .record
                .as_ref()
                .filter(|_| event.key.starts_with(GUARDED.as_bytes()))
            else {
                continue;
            };
            let text = record.value.as_text().and_then(|text| text.parse().ok());
            let judged_by: u64 = text.unwrap_or(0);
            if judged_by < newest {
                return Err(format!(
                    "I22: what policy {judged_by} allowed was written at revision {revision}, behind a change to {newest}"
                ));
            }
            // It is proof of a change, also if nobody was told of that.
            newest = judged_by;
            judged += 1;
        }
    }
    Ok(judged)
}

//! Locks as etcd makes them: who created the oldest key under a prefix holds it, its revision
//! of creation is the fencing token. No two holders share one, they grow from holder to
//! holder, and what a holder wrote under its token is not followed by anything under an older
//! one (D-REC-1, D-REC-3).

use std::collections::BTreeMap;

use super::ledger::Ledger;
use crate::history::Acquired;

/// Under these the wanters of a lock have their keys, and its holders write their tokens.
pub(crate) const LOCK: &str = "lock:";
pub(crate) const FENCED: &str = "fenced:";

/// Checks what holders saw and wrote. Says how often the lock went to another holder.
pub(crate) fn check(acquired: &[Acquired], ledger: &Ledger) -> Result<u64, String> {
    let mut by_lock: BTreeMap<&[u8], Vec<&Acquired>> = BTreeMap::new();
    for holder in acquired {
        by_lock.entry(&holder.lock).or_default().push(holder);
    }
    let mut handed_over = 0;
    for holders in by_lock.values_mut() {
        holders.sort_by_key(|holder| holder.revision);
        for holder in holders.iter() {
            check_oldest(holder, ledger)?;
        }
        for pair in holders.windows(2) {
            let same = pair[0].key == pair[1].key;
            let grows = pair[0].token < pair[1].token;
            if same != (pair[0].token == pair[1].token) || !(same || grows) {
                return Err(format!(
                    "D-REC-3: tokens must grow from holder to holder: {pair:?}"
                ));
            }
            handed_over += u64::from(!same);
        }
    }
    check_fenced(ledger)?;
    Ok(handed_over)
}

/// Whoever saw that it holds a lock had the oldest key in the view that it saw.
fn check_oldest(holder: &Acquired, ledger: &Ledger) -> Result<(), String> {
    let Some(state) = ledger.state(holder.revision) else {
        return Ok(());
    };
    let wanters = state.iter().filter(|(key, _)| key.starts_with(&holder.lock));
    let oldest = wanters.min_by_key(|(_, record)| record.create_revision);
    match oldest {
        Some((key, record)) if *key == holder.key && record.create_revision.get() == holder.token => Ok(()),
        other => Err(format!("D-REC-3: {holder:?} was not the holder, but {other:?}")),
    }
}

/// Tokens under a fence never get smaller.
fn check_fenced(ledger: &Ledger) -> Result<(), String> {
    let mut newest: BTreeMap<&[u8], u64> = BTreeMap::new();
    for revision in 2..=ledger.last() {
        for event in ledger.changes(revision) {
            let Some(record) = event
                .record
                .as_ref()
                .filter(|_| event.key.starts_with(FENCED.as_bytes()))
            else {
                continue;
            };
            let token: u64 = record
                .value
                .as_text()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let before = newest.insert(&event.key, token).unwrap_or(0);
            if token < before {
                return Err(format!(
                    "D-REC-3: token {token} wrote at revision {revision} behind token {before}"
                ));
            }
        }
    }
    Ok(())
}

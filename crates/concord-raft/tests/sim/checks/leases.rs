//! Ends: a lease takes all its keys along at one revision and never comes back (I19), and
//! nothing ends before its time (I17).

use std::collections::BTreeMap;

use concord_core::ids::LeaseId;
use concord_core::view::ChangeKind;
use concord_core::{Command, Lifetime, ReadView, Rejection, Reply};

use super::ledger::Ledger;
use crate::history::{Asked, Request, Said};

/// Looks at what one view shows: nothing in it is due, and every lease that is named exists.
pub(crate) fn look(view: &ReadView) -> Result<(), String> {
    let now = view.now();
    let all = concord_core::KeyRange::all();
    for record in view.records(&all, concord_core::Direction::Ascending) {
        if record.expires_at().is_some_and(|deadline| deadline <= now) {
            return Err(format!("I17: at {now} there is {:?}", record.to_record()));
        }
        if record.lease().is_some_and(|lease| view.lease(lease).is_none()) {
            return Err(format!("I19: there is no lease of {:?}", record.to_record()));
        }
    }
    match view.leases(None).find(|lease| lease.expires_at <= now) {
        Some(lease) => Err(format!("I19: at {now} there is {lease:?}")),
        None => Ok(()),
    }
}

/// `clock`: the earliest replicated time at which each revision was seen.
pub(crate) fn check(
    requests: &[Request],
    ledger: &Ledger,
    clock: &BTreeMap<u64, u64>,
) -> Result<u64, String> {
    let mut ended: BTreeMap<LeaseId, u64> = BTreeMap::new();
    for revision in 2..=ledger.last() {
        let seen_at = clock.range(revision..).map(|(_, now)| *now).min();
        for event in ledger.changes(revision) {
            let of_ended = event.record.as_ref().and_then(|record| record.lease);
            if let Some(end) = of_ended.and_then(|lease| ended.get(&lease)) {
                return Err(format!(
                    "I19: a lease that ended at {end} has {event:?} at {revision}"
                ));
            }
            let Some(previous) = event
                .previous
                .as_ref()
                .filter(|_| event.kind == ChangeKind::Expire)
            else {
                continue;
            };
            let deadline = previous.expires_at.map(|deadline| deadline.get());
            if let (Some(deadline), Some(seen_at)) = (deadline, seen_at)
                && seen_at < deadline
            {
                return Err(format!("I17: at {seen_at} it was over with {previous:?}"));
            }
            if deadline.is_none() {
                let lease = previous
                    .lease
                    .ok_or_else(|| format!("I17: no reason to end: {previous:?}"))?;
                ended.entry(lease).or_insert(revision);
            }
        }
        if let Some(state) = ledger.state(revision) {
            let left = state
                .values()
                .find(|record| record.lease.is_some_and(|lease| ended.contains_key(&lease)));
            if let Some(left) = left {
                return Err(format!(
                    "I19: at revision {revision} its lease had ended, but there is {left:?}"
                ));
            }
        }
    }
    check_answers(requests, &ended, clock)?;
    Ok(ended.len() as u64)
}

/// What was said of leases agrees with when they ended.
fn check_answers(
    requests: &[Request],
    ended: &BTreeMap<LeaseId, u64>,
    clock: &BTreeMap<u64, u64>,
) -> Result<(), String> {
    // By lease: when somebody was told that it is gone.
    let mut gone: BTreeMap<LeaseId, u64> = BTreeMap::new();
    for request in requests {
        let (Said::Reply(reply), Some(told_at)) = (&request.said, request.told_at) else {
            continue;
        };
        let lease = if let Reply::Rejected(rejection) = reply {
            missing_lease(rejection)
        } else {
            lease_of(&request.asked).filter(|_| matches!(reply, Reply::LeaseRevoked { .. }))
        };
        if let Some(lease) = lease {
            let first = gone.entry(lease).or_insert(told_at);
            *first = told_at.min(*first);
        }
        if let Reply::LeaseKept {
            lease,
            revision,
            expires_at,
            ..
        }
        | Reply::LeaseGranted {
            lease,
            revision,
            expires_at,
            ..
        } = reply
            && let Some(end) = ended.get(lease)
        {
            let seen_at = clock.range(end..).map(|(_, now)| *now).min();
            if revision.get() >= *end || seen_at.is_some_and(|seen_at| seen_at < expires_at.get()) {
                return Err(format!(
                    "I19: lease {lease} ended at revision {end}, which was seen at {seen_at:?}, but: {reply:?}"
                ));
            }
        }
    }
    for request in requests {
        let Said::Reply(reply) = &request.said else {
            continue;
        };
        let named = lease_of(&request.asked).filter(|_| !matches!(reply, Reply::Rejected(_)));
        if let Some(told_at) = named.and_then(|lease| gone.get(&lease))
            && request.asked_at > *told_at
        {
            return Err(format!(
                "I19: its lease was gone before it was asked: {request:?}"
            ));
        }
    }
    Ok(())
}

fn missing_lease(rejection: &Rejection) -> Option<LeaseId> {
    if let Rejection::InPart { cause, .. } = rejection {
        return missing_lease(cause);
    }
    if let Rejection::LeaseNotFound { lease } = rejection {
        return Some(*lease);
    }
    None
}

/// The one lease without which a request cannot succeed.
fn lease_of(asked: &Asked) -> Option<LeaseId> {
    match asked {
        Asked::Command(Command::Idempotent { command, .. }) => lease_of(&Asked::Command((**command).clone())),
        Asked::Command(Command::LeaseKeepAlive { lease } | Command::LeaseRevoke { lease }) => Some(*lease),
        Asked::Command(Command::Put {
            lifetime: Lifetime::Lease(lease),
            ..
        }) => Some(*lease),
        Asked::Command(_) | Asked::Read(_) => None,
    }
}

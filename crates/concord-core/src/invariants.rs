//! Checks that hold between the parts of a store after every batch. They look at everything:
//! for tests and offline verification, never on a hot path.
//!
//! | check | invariant |
//! | --- | --- |
//! | usage recounted from the live records | I10 |
//! | expiry queue is exactly the live deadlines, none of them past | I17 |
//! | keys of leases are those whose records say so, no lease has ended | I19 |
//! | the bytes of the policy recounted, nobody asks between requests | I22 |
//! | what idempotency keys remember is bounded and in the order of age | I21 |
//! | changes follow each other without gaps, and every revision since compaction has some | I11 |
//! | the chains of versions lead through every change since compaction, in order | I11 |
//! | the entries of every index are those that a full scan finds | I20 |
//! | what a restore has brought is a store itself, once it is whole | I23 |
//! | session totals recounted, blocks disjoint | I7 |

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::idempotency::Remembered;
use crate::ids::{LeaseId, Revision, SessionId, Timestamp};
use crate::index::scope;
use crate::key::namespace_of;
use crate::lease::{LeaseCell, attached, decode_lease_key};
use crate::limits::{IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX, POLICY_BYTES_MAX, POLICY_RECORDS_MAX};
use crate::namespace::NamespaceCell;
use crate::record::RecordRef;
use crate::record::cell::{self, Place, StoredCell};
use crate::state::{State, VersionCell, change};
use crate::store::{SessionHeader, SessionTable, Staging, Store, age_key, decode_replies, session_key_parts};
use crate::value::StoredRef;
use crate::view::{PackedUsage, Usage};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Violation {
    /// Its number, as in `docs/invariants.md`.
    pub invariant: &'static str,
    /// What was found.
    pub detail: String,
}

/// Checks a store between batches.
///
/// # Errors
///
/// The first violation that was found.
pub fn check(store: &Store) -> Result<(), Violation> {
    let state = store.state();
    let State {
        live,
        graves,
        changes,
        replaced,
        sessions,
        leases,
        lease_keys,
        idempotency,
        subscriptions,
        policy,
        namespaces,
        emptying,
        usage,
        ..
    } = state;
    changes.check().map_err(|detail| Violation {
        invariant: "I11",
        detail: detail.into(),
    })?;
    for tree in [
        live,
        graves,
        replaced,
        sessions,
        leases,
        lease_keys,
        idempotency,
        subscriptions,
        policy,
        namespaces,
        emptying,
        usage,
    ] {
        tree.check().map_err(|detail| Violation {
            invariant: "tree",
            detail: detail.into(),
        })?;
    }
    check_usage(state)?;
    check_expiry(store)?;
    check_leases(store)?;
    check_idempotency(store)?;
    check_policy(store)?;
    check_namespaces(state)?;
    check_records(state)?;
    check_changes(state)?;
    check_indexes(state)?;
    check_staged(store)?;
    check_sessions(state, store.sessions())
}

/// What is staged is there together with what works on it.
fn check_staged(store: &Store) -> Result<(), Violation> {
    let staged = store.state().staged.as_ref();
    hold("I23", staged.is_some() == store.staging().is_some(), || {
        "a restore without what works on it, or the other way around".into()
    })?;
    let (Some(staged), Some(Staging::Whole(whole))) = (staged, store.staging()) else {
        return Ok(());
    };
    let all = whole.state().indexes.len();
    match &staged.indexed {
        Some(indexed) if indexed.indexes >= all => check(whole),
        Some(_) => Ok(()),
        None => hold("I23", false, || "a restore is whole and does not know it".into()),
    }
}

fn hold(invariant: &'static str, condition: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if condition {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            detail: detail(),
        })
    }
}

fn equal<T: PartialEq + core::fmt::Debug>(
    invariant: &'static str,
    what: &str,
    kept: T,
    counted: T,
) -> Result<(), Violation> {
    hold(invariant, kept == counted, || {
        format!("{what} kept as {kept:?}, counted {counted:?}")
    })
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// I10: usage kept equals usage counted from the data.
fn check_usage(state: &State) -> Result<(), Violation> {
    let mut counted: BTreeMap<Vec<u8>, Usage> = BTreeMap::new();
    let mut total = Usage::default();
    let mut packed = PackedUsage::default();
    for (key, cell) in state.live.iter() {
        let StoredCell::Record { header, value, .. } = cell::stored(cell.as_bytes()) else {
            continue;
        };
        if header.is_packed {
            packed.add(value.len(), StoredRef::new(header.format, true, value).raw_len());
        }
        let size = length(key.len().saturating_add(value.len()));
        for usage in [counted.entry(namespace_of(key).to_vec()).or_default(), &mut total] {
            usage.keys += 1;
            usage.bytes += size;
        }
    }
    let kept = state
        .usage
        .iter()
        .map(|(namespace, cell)| (namespace.to_vec(), Usage::stored(&cell)));
    equal("I10", "usage", kept.collect(), counted)?;
    equal("I10", "packed values", state.packed, packed)?;
    equal("I10", "total usage", state.total, total)
}

/// I17: no live record is due, and the queue knows every deadline.
fn check_expiry(store: &Store) -> Result<(), Violation> {
    let mut deadlines = BTreeSet::new();
    let mut crowd: BTreeMap<Timestamp, usize> = BTreeMap::new();
    for (key, cell) in store.state().live.iter() {
        let StoredCell::Record { header, .. } = cell::stored(cell.as_bytes()) else {
            continue;
        };
        if let Some(deadline) = header.expires_at {
            hold("I17", deadline > store.state().now, || {
                format!("{} is due", key.escape_ascii())
            })?;
            deadlines.insert((deadline, key));
            *crowd.entry(deadline).or_default() += 1;
        }
    }
    hold("I17", store.expiry().iter().eq(deadlines), || {
        "expiry queue differs from the records".into()
    })?;
    for (key, cell) in store.state().leases.iter() {
        let lease = decode_lease_key(key).map_err(|_| broken("malformed lease"))?;
        let keys = attached::count(&store.state().lease_keys, lease);
        let weight = usize::try_from(keys).unwrap_or(usize::MAX).saturating_add(1);
        *crowd.entry(LeaseCell::stored(&cell).expires_at).or_default() += weight;
    }
    equal("I17", "deadlines", store.expiry().crowd(), &crowd)
}

fn broken(detail: &str) -> Violation {
    Violation {
        invariant: "I19",
        detail: detail.into(),
    }
}

/// I19: the keys of each lease are those whose records name it, it exists and has not ended.
fn check_leases(store: &Store) -> Result<(), Violation> {
    let state = store.state();
    let mut counted: BTreeMap<LeaseId, Vec<&[u8]>> = BTreeMap::new();
    for (key, cell) in state.live.iter() {
        if let StoredCell::Record { header, .. } = cell::stored(cell.as_bytes())
            && let Some(lease) = header.lease
        {
            hold("I19", header.expires_at.is_none(), || {
                format!("{} has a deadline and a lease", key.escape_ascii())
            })?;
            counted.entry(lease).or_default().push(key);
        }
    }
    let mut deadlines = BTreeSet::new();
    let mut entries = 0;
    for (key, cell) in state.leases.iter() {
        let lease = decode_lease_key(key).map_err(|_| broken("malformed lease"))?;
        let deadline = LeaseCell::stored(&cell).expires_at;
        hold("I19", deadline > state.now, || format!("lease {lease} has ended"))?;
        deadlines.insert((deadline, lease));
        let keys = counted.remove(&lease).unwrap_or_default();
        equal(
            "I19",
            "keys",
            attached::count(&state.lease_keys, lease),
            length(keys.len()),
        )?;
        entries += keys.len() + usize::from(!keys.is_empty());
        hold(
            "I19",
            attached::keys(&state.lease_keys, lease, None).eq(keys),
            || format!("keys of lease {lease} differ from the records"),
        )?;
    }
    hold("I19", counted.is_empty(), || "keys on no lease".into())?;
    equal("I19", "entries", state.lease_keys.len(), entries)?;
    hold("I19", store.expiry().leases().eq(deadlines), || {
        "expiry queue differs from the leases".into()
    })
}

/// I21: what is remembered keeps its bounds, and its order of age is that of its times.
fn check_idempotency(store: &Store) -> Result<(), Violation> {
    let mut ages = BTreeSet::new();
    let mut bytes = 0;
    for (name, cell) in store.state().idempotency.iter() {
        let remembered = Remembered::stored(&cell);
        hold("I21", remembered.at <= store.state().now, || {
            "idempotency key from the future".into()
        })?;
        ages.insert(age_key(remembered.at, name));
        bytes += length(name.len().saturating_add(cell.len()));
    }
    let is_bounded = ages.len() <= IDEMPOTENCY_KEYS_MAX && bytes <= IDEMPOTENCY_BYTES_MAX;
    hold("I21", is_bounded, || "too many idempotency keys".into())?;
    let (by_age, kept) = store.idempotency().totals();
    equal("I21", "bytes of idempotency keys", kept, bytes)?;
    hold("I21", by_age.eq(ages.iter().map(Vec::as_slice)), || {
        "idempotency keys are not in the order of age".into()
    })
}

/// I22: the policy keeps its bounds, and nobody's rights outlast their request.
fn check_policy(store: &Store) -> Result<(), Violation> {
    let state = store.state();
    let bytes = state
        .policy
        .iter()
        .map(|(key, record)| length(key.len().saturating_add(record.len())));
    equal("I22", "bytes of the policy", state.policy_bytes, bytes.sum())?;
    let is_bounded = state.policy.len() <= POLICY_RECORDS_MAX && state.policy_bytes <= POLICY_BYTES_MAX;
    hold("I22", is_bounded, || "too many records of the policy".into())?;
    hold("I22", store.is_nobodys(), || "a caller is left over".into())
}

/// I10: of a namespace only what can be is known, and those that are being emptied are known as such.
fn check_namespaces(state: &State) -> Result<(), Violation> {
    let mut emptying = BTreeSet::new();
    for (namespace, cell) in state.namespaces.iter() {
        let cell = NamespaceCell::stored(&cell);
        hold("I10", cell.is_sane(state.now), || {
            format!("namespace {} is {cell:?}", namespace.escape_ascii())
        })?;
        if cell.is_emptying {
            emptying.insert(namespace.to_vec());
        }
    }
    let kept = state.emptying.iter().map(|(namespace, _)| namespace.to_vec());
    equal("I10", "namespaces being emptied", kept.collect(), emptying)
}

/// The live tree holds records only, and their numbers make sense.
fn check_records(state: &State) -> Result<(), Violation> {
    hold("I11", state.compact_revision <= state.revision, || {
        "compacted beyond the revision".into()
    })?;
    for (key, cell) in state.live.iter() {
        let sane = match cell::stored(cell.as_bytes()) {
            StoredCell::Tombstone { .. } => false,
            StoredCell::Record { header, .. } => {
                let versions = header
                    .mod_revision
                    .get()
                    .saturating_sub(header.create_revision.get());
                header.create_revision > Revision::EMPTY
                    && header.mod_revision <= state.revision
                    && (1..=versions.saturating_add(1)).contains(&header.version)
            }
        };
        hold("I11", sane, || {
            format!("record of {} makes no sense", key.escape_ascii())
        })?;
    }
    Ok(())
}

/// I11: the change log has no gaps, and its sizes are what is counted.
fn check_changes(state: &State) -> Result<(), Violation> {
    let mut bytes: u64 = state
        .graves
        .iter()
        .map(|(key, cell)| length(key.len() + cell.len()))
        .sum();
    bytes += state
        .replaced
        .iter()
        .map(|(key, cell)| length(key.len() + cell.len()))
        .sum::<u64>();
    let mut last: Option<Place> = None;
    let mut revisions_since = 0;
    let mut changes_since = 0;
    let mut apart = Vec::new();
    for (place, cell) in state.changes.iter() {
        let key = change::key(place);
        bytes += length(key.len() + cell.len());
        let follows = match last {
            // Compaction may have taken the first changes of the oldest revision.
            None => true,
            Some(last) if last.revision == place.revision => place.order == last.order + 1,
            Some(last) => place.order == 0 && place.revision == last.revision.next(),
        };
        hold("I11", follows, || {
            format!("change {place:?} does not follow {last:?}")
        })?;
        let is_since = place.revision > state.compact_revision;
        changes_since += u64::from(is_since);
        revisions_since += u64::from(is_since && last.is_none_or(|last| last.revision < place.revision));
        last = Some(place);
        if change::stored(cell).before == change::Before::Apart {
            apart.push(key.to_vec());
        }
    }
    let expected = state.revision.get() - state.compact_revision.max(Revision::EMPTY).get();
    equal("I11", "revisions since compaction", revisions_since, expected)?;
    equal("I11", "history bytes", state.history_bytes, bytes)?;
    for (key, cell) in state.graves.iter() {
        let place = cell::stored(cell.as_bytes()).link().place;
        let is_in_log = state.changes.get(place).is_some();
        hold("I11", is_in_log, || {
            format!("tombstone of {} outlives its change", key.escape_ascii())
        })?;
    }
    let kept_apart = state.replaced.iter().map(|(key, _)| key.to_vec());
    hold("I11", kept_apart.eq(apart), || {
        "large replaced versions differ from the changes".into()
    })?;
    equal(
        "I11",
        "changes of all keys since compaction",
        check_chains(state)?,
        changes_since,
    )
}

/// I11: from each key's newest version the chain leads back to compaction through changes of
/// that key. Says how many changes there were on the way.
fn check_chains(state: &State) -> Result<u64, Violation> {
    let mut visited = 0;
    for (key, newest) in state.live.iter().chain(state.graves.iter()) {
        let mut version = VersionCell::alone(newest);
        loop {
            let read = cell::stored(version.bytes);
            let place = read.link().place;
            for anchor in read.link().anchors().chain([place]) {
                let is_right = match state.changes.get(anchor).map(change::stored) {
                    Some(entry) => entry.key == key,
                    None => anchor.revision <= state.compact_revision,
                };
                hold("I11", is_right, || {
                    format!("chain of {} breaks at {anchor:?}", key.escape_ascii())
                })?;
            }
            if place.revision <= state.compact_revision {
                break;
            }
            visited += 1;
            let Some(before) = state.before(place) else { break };
            let revision = cell::stored(before.bytes).revision();
            hold("I11", revision < place.revision, || {
                format!("{} has versions out of order", key.escape_ascii())
            })?;
            version = before;
        }
    }
    Ok(visited)
}

/// I20: an index has an entry for each value of each record that it covers, and no other.
fn check_indexes(state: &State) -> Result<(), Violation> {
    for index in state.indexes.iter() {
        index.entries.check().map_err(|detail| Violation {
            invariant: "tree",
            detail: detail.into(),
        })?;
        let mut expected = BTreeSet::new();
        let mut values = BTreeSet::new();
        for (key, cell) in state.live.iter() {
            let record = RecordRef::new(key, VersionCell::alone(cell));
            let Some(record) = record.filter(|record| index.covers(key, record.mod_revision())) else {
                continue;
            };
            for value in index.values(&scope(&record)) {
                let mut entry = value.clone();
                entry.extend_from_slice(key);
                expected.insert(entry);
                let is_first = values.insert(value);
                hold("I20", is_first || !index.definition.is_unique(), || {
                    format!("{} has a value twice", index.definition.name())
                })?;
            }
        }
        let kept = index.entries.iter().map(|(entry, _)| entry.to_vec()).collect();
        equal("I20", "entries of an index", kept, expected)?;
    }
    Ok(())
}

/// I7: what sessions remember is what their headers say.
fn check_sessions(state: &State, table: &SessionTable) -> Result<(), Violation> {
    let mut counted: BTreeMap<SessionId, (u64, u64, u64)> = BTreeMap::new();
    let mut headers: BTreeMap<SessionId, SessionHeader> = BTreeMap::new();
    for (key, cell) in state.sessions.iter() {
        let malformed = |_| Violation {
            invariant: "I7",
            detail: "malformed session".into(),
        };
        let (id, first) = session_key_parts(key).map_err(malformed)?;
        let Some(first) = first else {
            headers.insert(id, SessionHeader::decode(&cell).map_err(malformed)?);
            continue;
        };
        let replies = length(decode_replies(cell.as_bytes()).map_err(malformed)?.len());
        let (known_upto, all_replies, all_bytes) = counted.entry(id).or_default();
        hold("I7", first >= *known_upto, || {
            "a sequence number has two replies".into()
        })?;
        *known_upto = first.saturating_add(replies);
        *all_replies += replies;
        *all_bytes += length(cell.len());
    }
    let mut expected = SessionTable::default();
    for (&id, header) in &headers {
        let (_, replies, bytes) = counted.remove(&id).unwrap_or_default();
        equal(
            "I7",
            "replies",
            (header.replies, header.reply_bytes),
            (replies, bytes),
        )?;
        expected.by_last_use.insert((header.last_used, id));
        expected.reply_bytes += bytes;
    }
    hold("I7", counted.is_empty(), || "replies of no session".into())?;
    equal("I7", "sessions", table, &expected)?;
    equal("I7", "sessions told of", state.session_usage, table.usage())
}

//! What revisions say, across keys: they are one order of all writes, so answers can be
//! checked against time and against each other without any search.

use std::collections::BTreeMap;

use crate::history::{EventualRead, Operation, Outcome, Question};

/// Checks writes and linearizable reads against time: what was told before another was
/// asked has no later revision (I5, I6), and no two writes share one (I7).
pub(crate) fn check(history: &[Operation]) -> Result<(), String> {
    let answered: Vec<_> = history
        .iter()
        .filter_map(|operation| Some((operation, operation.told?, operation.revision?)))
        .collect();
    let mut writers: BTreeMap<u64, &Operation> = BTreeMap::new();
    for (operation, _, revision) in answered
        .iter()
        .filter(|(operation, ..)| changed_something(operation))
    {
        if let Some(other) = writers.insert(*revision, operation) {
            return Err(format!(
                "I7: two writes have revision {revision}: {other:?} and {operation:?}"
            ));
        }
    }
    // By time: the highest revision that anybody was told before each question.
    let mut moments: Vec<(u64, Option<&Operation>, u64)> = Vec::new();
    for (operation, told, revision) in answered {
        moments.push((operation.asked, Some(operation), revision));
        moments.push((told, None, revision));
    }
    moments.sort_unstable_by_key(|(moment, ..)| *moment);
    let mut told_upto = 0;
    for (_, asked, revision) in moments {
        match asked {
            Some(operation) if revision < told_upto => {
                return Err(format!(
                    "I6: revision {told_upto} was known before {operation:?} was asked"
                ));
            }
            Some(operation) if revision == told_upto && changed_something(operation) => {
                return Err(format!(
                    "I5: revision {told_upto} was known before {operation:?} made it"
                ));
            }
            Some(_) => {}
            None => told_upto = told_upto.max(revision),
        }
    }
    Ok(())
}

fn changed_something(operation: &Operation) -> bool {
    match operation.outcome {
        Outcome::Stored | Outcome::Number(_) => true,
        Outcome::Deleted { existed } => existed,
        Outcome::Refused | Outcome::Unmet(_) | Outcome::Value(_) | Outcome::Unknown | Outcome::Never => false,
    }
}

/// Checks reads of any level: one key has one value at one revision, on every node (I9,
/// I15), and through one handle the revision does not go back (I16).
pub(crate) fn check_views(history: &[Operation], eventual: &[EventualRead]) -> Result<(), String> {
    let mut latest: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    for read in eventual {
        let before = latest.insert((read.node, read.life), read.revision);
        if before.is_some_and(|before| before > read.revision) {
            return Err(format!(
                "I16: a handle had shown revision {before:?} before {read:?}"
            ));
        }
    }
    let strong = history.iter().filter_map(|operation| {
        match (operation.question, operation.outcome, operation.revision) {
            (Question::Get, Outcome::Value(value), Some(revision)) => Some((operation.key, revision, value)),
            _ => None,
        }
    });
    let weak = eventual.iter().map(|read| (read.key, read.revision, read.value));
    let mut values: BTreeMap<(usize, u64), Option<i64>> = BTreeMap::new();
    for (key, revision, value) in strong.chain(weak) {
        let other = *values.entry((key, revision)).or_insert(value);
        if other != value {
            return Err(format!(
                "I9: key {key} at revision {revision} was read as {other:?} and as {value:?}"
            ));
        }
    }
    Ok(())
}

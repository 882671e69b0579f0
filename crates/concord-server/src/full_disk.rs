//! What a node with a full disk still takes.

use concord_core::{Command, Operation, RestoreStep, Txn};

/// Whether a command takes data away, or lets it go sooner.
pub(crate) fn gives_space_back(command: &Command) -> bool {
    match command {
        Command::Delete { .. }
        | Command::DeleteMany { .. }
        | Command::DeleteWhere { .. }
        | Command::LeaseRevoke { .. }
        | Command::DropIndex { .. }
        | Command::DeleteSubscription { .. }
        | Command::Compact { .. }
        | Command::Configure(_) => true,
        Command::Idempotent { command, .. } | Command::Guarded { command, .. } => gives_space_back(command),
        // Rights can be taken back at any time.
        Command::EditPolicy(change) => change.edits.iter().any(|edit| edit.record.is_none()),
        // To give up a restore lets go of all that it brought.
        Command::Restore { step, .. } => *step == RestoreStep::Abort,
        Command::Txn(txn) => only_deletes(txn),
        Command::Put { .. }
        | Command::Touch { .. }
        | Command::Increment { .. }
        | Command::PutMany { .. }
        | Command::TouchMany { .. }
        | Command::LeaseGrant { .. }
        // Small, but for ever: it would use up the room that deletes need.
        | Command::LeaseKeepAlive { .. }
        | Command::CreateSubscription { .. }
        | Command::AckSubscription { .. }
        | Command::ResetSubscription { .. }
        | Command::CreateIndex { .. }
        | Command::Reindex { .. } => false,
    }
}

/// Whether a transaction changes nothing but by deletes, whichever branch is performed.
fn only_deletes(txn: &Txn) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .all(|operation| match operation {
            Operation::Get { .. } | Operation::Delete { .. } => true,
            Operation::Put { .. } | Operation::Touch(_) => false,
            Operation::Txn(inner) => only_deletes(inner),
        })
}

#[cfg(test)]
mod tests {
    use concord_core::{IdempotencyKey, Key, Keys, LeaseId, Lifetime, TouchItem};

    use super::*;

    fn delete() -> Operation {
        Operation::Delete {
            keys: Keys::One(Key::try_from("a").unwrap()),
            return_previous: false,
        }
    }

    fn touch() -> Operation {
        Operation::Touch(TouchItem {
            key: Key::try_from("a").unwrap(),
            lifetime: Lifetime::Forever,
        })
    }

    fn txn(success: Vec<Operation>) -> Txn {
        Txn {
            compares: vec![],
            success,
            failure: vec![],
        }
    }

    #[test]
    fn only_what_takes_data_away_goes_on() {
        let nested = |inner| Command::Txn(txn(vec![delete(), Operation::Txn(txn(vec![inner]))]));
        let once = |command| Command::Idempotent {
            key: IdempotencyKey::new("once").unwrap(),
            command: Box::new(command),
        };
        let lease = LeaseId::new(1);
        let goes_on = [
            nested(delete()),
            once(nested(delete())),
            Command::LeaseRevoke { lease },
        ];
        let is_refused = [
            nested(touch()),
            once(nested(touch())),
            Command::LeaseKeepAlive { lease },
        ];
        for command in &goes_on {
            assert!(gives_space_back(command), "{command:?}");
        }
        for command in &is_refused {
            assert!(!gives_space_back(command), "{command:?}");
        }
    }
}

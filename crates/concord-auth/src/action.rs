//! Every action there is, and what each needs.
//!
//! Each *field* that reads or binds needs its own right: a put that answers with the
//! previous record also reads it (compare CVE-2026-44283 of etcd).

use concord_core::{Command, Operation, Txn};

use crate::permission::{Permission, Permissions};

const NOTHING: Permissions = Permissions::of(&[]);
const READ: Permissions = Permissions::of(&[Permission::Read]);
const WRITE: Permissions = Permissions::of(&[Permission::Write]);
const DELETE: Permissions = Permissions::of(&[Permission::Delete]);
const ADMIN: Permissions = Permissions::of(&[Permission::Admin]);

/// What a request wants to do: one name for each kind, exhaustive on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Store a value.
    Put,
    /// Remove a key.
    Delete,
    /// Reset a time to live.
    Touch,
    /// Add to a number.
    Increment,
    /// Forget history.
    Compact,
    /// Change replicated settings.
    Configure,
    /// Make a secondary index.
    CreateIndex,
    /// Forget a secondary index.
    DropIndex,
    /// Fill a secondary index anew.
    Reindex,
    /// Store many values.
    PutMany,
    /// Remove many keys.
    DeleteMany,
    /// Reset many times to live.
    TouchMany,
    /// Compare, then read and change.
    Txn,
    /// Make a lease.
    LeaseGrant,
    /// Let a lease live on.
    LeaseKeepAlive,
    /// End a lease and remove its keys.
    LeaseRevoke,
    /// Any read.
    Read(ReadAction),
    /// Any change of the cluster itself.
    Admin(AdminAction),
}

/// Reads, which never enter the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadAction {
    /// One key.
    Get,
    /// A range of keys.
    Scan,
    /// Records by the values that an index knows them by.
    Lookup,
    /// Which indexes there are: shows the prefixes and fields that others use.
    ListIndexes,
    /// The versions of a key.
    History,
    /// Leases and the keys on them.
    Lease,
    /// Changes of keys as they happen, with the records before and after. Judged again
    /// whenever there is something to deliver.
    Watch,
    /// Who watches what on a node: shows the keys and prefixes that others watch.
    ListWatches,
    /// How the cluster is: roles, terms, lag, sizes. Shows no key.
    Status,
    /// The replicated settings.
    Settings,
}

/// Changes of the cluster itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminAction {
    /// Add, promote, remove or replace a member.
    ChangeMembers,
    /// Move leadership.
    TransferLeadership,
    /// Write a snapshot now.
    Snapshot,
}

/// Something that can be judged.
pub trait Request {
    /// What it wants to do.
    fn action(&self) -> Action;
    /// The rights it needs, all of them.
    fn needs(&self) -> Permissions;
}

impl Request for Command {
    fn action(&self) -> Action {
        match self {
            Self::Put { .. } => Action::Put,
            Self::Delete { .. } => Action::Delete,
            Self::Touch { .. } => Action::Touch,
            Self::Increment { .. } => Action::Increment,
            Self::Compact { .. } => Action::Compact,
            Self::Configure(_) => Action::Configure,
            Self::CreateIndex { .. } => Action::CreateIndex,
            Self::DropIndex { .. } => Action::DropIndex,
            Self::Reindex { .. } => Action::Reindex,
            Self::PutMany { .. } => Action::PutMany,
            Self::DeleteMany { .. } => Action::DeleteMany,
            Self::TouchMany { .. } => Action::TouchMany,
            Self::Txn(_) => Action::Txn,
            Self::LeaseGrant { .. } => Action::LeaseGrant,
            Self::LeaseKeepAlive { .. } => Action::LeaseKeepAlive,
            Self::LeaseRevoke { .. } => Action::LeaseRevoke,
            Self::Idempotent { command, .. } => command.action(),
        }
    }

    fn needs(&self) -> Permissions {
        match self {
            // A condition asks what is stored, and its refusal answers with it.
            Self::Put {
                condition,
                return_previous,
                ..
            } => with_read(WRITE, *return_previous || condition.is_some()),
            Self::Delete {
                condition,
                return_previous,
                ..
            } => with_read(DELETE, *return_previous || condition.is_some()),
            Self::Touch { .. }
            | Self::PutMany { .. }
            | Self::TouchMany { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseKeepAlive { .. } => WRITE,
            // Its answer may be that of an earlier request, but only of the same.
            Self::Idempotent { command, .. } => command.needs(),
            // The keys of a lease are deleted with it; its answer tells how many.
            Self::LeaseRevoke { .. } => with_read(DELETE, true),
            Self::DeleteMany { .. } => DELETE,
            // The answer to one without any part still tells the revision.
            Self::Txn(txn) => match needs_of(txn) {
                NOTHING => READ,
                needs => needs,
            },
            // Its answer is the value.
            Self::Increment { .. } => with_read(WRITE, true),
            // An index is about the keys of everybody, and a unique one tells of their values.
            Self::Compact { .. }
            | Self::Configure(_)
            | Self::CreateIndex { .. }
            | Self::DropIndex { .. }
            | Self::Reindex { .. } => ADMIN,
        }
    }
}

impl Request for ReadAction {
    fn action(&self) -> Action {
        Action::Read(*self)
    }

    fn needs(&self) -> Permissions {
        match self {
            Self::Get
            | Self::Scan
            | Self::Lookup
            | Self::History
            | Self::Lease
            | Self::Watch
            | Self::Status => READ,
            Self::ListIndexes | Self::ListWatches | Self::Settings => ADMIN,
        }
    }
}

impl Request for AdminAction {
    fn action(&self) -> Action {
        Action::Admin(*self)
    }

    fn needs(&self) -> Permissions {
        match self {
            Self::ChangeMembers | Self::TransferLeadership | Self::Snapshot => ADMIN,
        }
    }
}

/// The rights that a transaction needs whichever branch is performed: which one it is tells
/// what the compares read.
fn needs_of(txn: &Txn) -> Permissions {
    let compares = with_read(NOTHING, !txn.compares.is_empty());
    let operations = txn.success.iter().chain(&txn.failure);
    operations.fold(compares, |needs, operation| {
        needs.union(match operation {
            Operation::Get { .. } => READ,
            Operation::Put { return_previous, .. } => with_read(WRITE, *return_previous),
            // Its answer says how many there were.
            Operation::Delete { .. } => with_read(DELETE, true),
            Operation::Touch(_) => WRITE,
            Operation::Txn(txn) => needs_of(txn),
        })
    })
}

const fn with_read(needed: Permissions, reads: bool) -> Permissions {
    if reads { needed.union(READ) } else { needed }
}

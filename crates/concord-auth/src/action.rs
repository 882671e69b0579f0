//! Every action there is, and what each needs.
//!
//! Each part says where it needs a right ([`Place`]): at a key, over a range, or in the cluster. What
//! does not say which keys it is about needs a right that no ACL narrows.
//!
//! Each *field* that reads or binds needs its own right: a put that answers with the
//! previous record also reads it (compare CVE-2026-44283 of etcd).

use concord_core::{Command, Key, KeyRange, Keys, Operation, Txn};

use crate::permission::{Permission, Permissions};
use crate::rights::Place;

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
    /// Remember a place in the change log.
    CreateSubscription,
    /// Forget one.
    DeleteSubscription,
    /// Move one on.
    AckSubscription,
    /// Have one begin anew.
    ResetSubscription,
    /// Store many values.
    PutMany,
    /// Remove many keys.
    DeleteMany,
    /// Remove what a filter holds of.
    DeleteWhere,
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
    /// Change tokens, roles, ACLs or tenants.
    EditPolicy,
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
    /// Records by what their keys and values are.
    Query,
    /// How a query would be answered: shows how many records there are.
    Explain,
    /// Which indexes there are: shows the prefixes and fields that others use.
    ListIndexes,
    /// The versions of a key.
    History,
    /// Leases and the keys on them.
    Lease,
    /// Changes of keys as they happen, with the records before and after. Judged again
    /// whenever there is something to deliver.
    Watch,
    /// A durable subscription by its name: what it is about, and how far its consumers are.
    Subscriptions,
    /// Which durable subscriptions there are: shows the keys that others are interested in.
    ListSubscriptions,
    /// Who watches what on a node: shows the keys and prefixes that others watch.
    ListWatches,
    /// How the cluster is: roles, terms, lag, sizes. Shows no key.
    Status,
    /// The replicated settings.
    Settings,
    /// The audit log of a node: who did what, with the keys.
    Audit,
    /// Tokens, roles and ACLs, and why somebody may do something.
    Policy,
    /// How much a namespace holds and may hold: shows how many keys there are.
    Usage,
    /// Who the caller is, and what they may do.
    Whoami,
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
    /// Make, list, read, check and remove backups: everything that there is leaves in one.
    Backup,
    /// Replace everything that there is by what a backup holds.
    Restore,
}

impl Action {
    /// Its name in audit lines: stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Touch => "touch",
            Self::Increment => "increment",
            Self::Compact => "compact",
            Self::Configure => "configure",
            Self::CreateIndex => "create_index",
            Self::DropIndex => "drop_index",
            Self::Reindex => "reindex",
            Self::CreateSubscription => "create_subscription",
            Self::DeleteSubscription => "delete_subscription",
            Self::AckSubscription => "ack_subscription",
            Self::ResetSubscription => "reset_subscription",
            Self::PutMany => "put_many",
            Self::DeleteMany => "delete_many",
            Self::DeleteWhere => "delete_where",
            Self::TouchMany => "touch_many",
            Self::Txn => "txn",
            Self::LeaseGrant => "lease_grant",
            Self::LeaseKeepAlive => "lease_keep_alive",
            Self::LeaseRevoke => "lease_revoke",
            Self::EditPolicy => "edit_policy",
            Self::Read(read) => read.name(),
            Self::Admin(admin) => admin.name(),
        }
    }
}

impl ReadAction {
    /// Its name in audit lines: stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Scan => "scan",
            Self::Lookup => "lookup",
            Self::Query => "query",
            Self::Explain => "explain",
            Self::ListIndexes => "list_indexes",
            Self::History => "history",
            Self::Lease => "lease",
            Self::Watch => "watch",
            Self::Subscriptions => "subscription",
            Self::ListSubscriptions => "list_subscriptions",
            Self::ListWatches => "list_watches",
            Self::Status => "status",
            Self::Settings => "settings",
            Self::Audit => "audit",
            Self::Policy => "policy",
            Self::Usage => "usage",
            Self::Whoami => "whoami",
        }
    }
}

impl AdminAction {
    /// Its name in audit lines: stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChangeMembers => "change_members",
            Self::TransferLeadership => "transfer_leadership",
            Self::Snapshot => "snapshot",
            Self::Backup => "backup",
            Self::Restore => "restore",
        }
    }
}

/// A read, and where. What it shows beside values counts: whether a key exists, its time to live, its
/// versions, the keys on a lease, how many records there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// A key, now or in the past: its value, whether it exists, how long it has left.
    Get(&'a [u8]),
    /// Many keys, all or none of them.
    GetMany(&'a [Key]),
    /// The versions of a key.
    History(&'a [u8]),
    /// A range: what may not be seen of it is left out.
    Scan(&'a KeyRange),
    /// By values of the index of this name: what may not be seen is left out.
    Lookup(&'a str),
    /// By any filter, of keys in this range: what may not be seen is left out.
    Query(&'a KeyRange),
    /// How a query of keys in this range would be answered. It counts what it would read, so nothing can be left out.
    Explain(&'a KeyRange),
    /// Changes of what is there: those of keys that may not be seen are left out.
    Watch(Place<'a>),
    /// Leases: to those who may not see every key only their own, with the keys that they may see.
    Lease,
    /// Which indexes there are.
    ListIndexes,
    /// A durable subscription by its name, and what it is about.
    Subscriptions,
    /// Which durable subscriptions there are.
    ListSubscriptions,
    /// Who watches what on a node.
    ListWatches,
    /// How the cluster is.
    Status,
    /// The replicated settings.
    Settings,
    /// The audit log of a node.
    Audit,
    /// Tokens, roles, ACLs.
    Policy,
    /// How much the keys of this range take and may take: of a tenant, all of its namespace.
    Usage(&'a KeyRange),
    /// The caller.
    Whoami,
}

/// Something that can be judged.
pub trait Request {
    /// What it wants to do.
    fn action(&self) -> Action;

    /// Says what it needs where, once for each part of it.
    fn demands(&self, ask: &mut dyn FnMut(Place<'_>, Permissions));

    /// The rights it needs, all of them, wherever that is.
    fn needs(&self) -> Permissions {
        let mut all = NOTHING;
        self.demands(&mut |_, needed| all = all.union(needed));
        all
    }
}

impl<T: Request> Request for &T {
    fn action(&self) -> Action {
        (**self).action()
    }

    fn demands(&self, ask: &mut dyn FnMut(Place<'_>, Permissions)) {
        (**self).demands(ask);
    }
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
            Self::CreateSubscription { .. } => Action::CreateSubscription,
            Self::DeleteSubscription { .. } => Action::DeleteSubscription,
            Self::AckSubscription { .. } => Action::AckSubscription,
            Self::ResetSubscription { .. } => Action::ResetSubscription,
            Self::PutMany { .. } => Action::PutMany,
            Self::DeleteMany { .. } => Action::DeleteMany,
            Self::DeleteWhere { .. } => Action::DeleteWhere,
            Self::TouchMany { .. } => Action::TouchMany,
            Self::Txn(_) => Action::Txn,
            Self::LeaseGrant { .. } => Action::LeaseGrant,
            Self::LeaseKeepAlive { .. } => Action::LeaseKeepAlive,
            Self::LeaseRevoke { .. } => Action::LeaseRevoke,
            Self::EditPolicy(_) => Action::EditPolicy,
            Self::Restore { .. } => Action::Admin(AdminAction::Restore),
            Self::Idempotent { command, .. } | Self::Guarded { command, .. } => command.action(),
        }
    }

    fn demands(&self, ask: &mut dyn FnMut(Place<'_>, Permissions)) {
        match self {
            // A condition asks what is stored, and its refusal answers with it.
            Self::Put {
                key,
                condition,
                return_previous,
                ..
            } => ask(at(key), with_read(WRITE, *return_previous || condition.is_some())),
            Self::Delete {
                key,
                condition,
                return_previous,
            } => ask(
                at(key),
                with_read(DELETE, *return_previous || condition.is_some()),
            ),
            Self::Touch { key, .. } => ask(at(key), WRITE),
            // Its answer is the value.
            Self::Increment { key, .. } => ask(at(key), with_read(WRITE, true)),
            Self::PutMany { items } => at_each(items.iter().map(|item| &item.key), WRITE, ask),
            Self::TouchMany { items } => at_each(items.iter().map(|item| &item.key), WRITE, ask),
            Self::DeleteMany { keys } => at_each(keys.iter(), DELETE, ask),
            // A filter asks what is stored, and the answer tells how much of it there was.
            Self::DeleteWhere { filter, .. } => ask(Place::Range(filter.range()), with_read(DELETE, true)),
            // The answer to one without any part still tells the revision.
            Self::Txn(txn) if is_empty(txn) => ask(Place::Anywhere, READ),
            Self::Txn(txn) => demands_of(txn, ask),
            // Its answer may be that of an earlier request, but only of the same. A guard gives nobody any right.
            Self::Idempotent { command, .. } | Self::Guarded { command, .. } => command.demands(ask),
            // A lease has no keys yet. Whoever may write some may make one.
            Self::LeaseGrant { .. } => ask(Place::Anywhere, WRITE),
            // Its keys can be anybody's. Those whose rights are narrowed have their own leases alone, which
            // apply sees to: see `Principal::guard`.
            Self::LeaseKeepAlive { .. } => ask(Place::Anywhere, WRITE),
            // The keys of a lease are deleted with it; its answer tells how many.
            Self::LeaseRevoke { .. } => ask(Place::Anywhere, with_read(DELETE, true)),
            // The name is the cluster's, and what others have read by it is lost to them, or comes again.
            Self::CreateSubscription { .. }
            | Self::DeleteSubscription { .. }
            | Self::AckSubscription { .. }
            | Self::ResetSubscription { .. } => ask(Place::Cluster, with_read(WRITE, true)),
            // An index is about the keys of everybody, and a unique one tells of their values.
            Self::Compact { .. }
            | Self::Configure(_)
            | Self::CreateIndex { .. }
            | Self::DropIndex { .. }
            | Self::Reindex { .. }
            | Self::EditPolicy(_)
            | Self::Restore { .. } => ask(Place::Cluster, ADMIN),
        }
    }
}

impl Read<'_> {
    /// Which read it is.
    #[must_use]
    pub const fn kind(&self) -> ReadAction {
        match self {
            Self::Get(_) | Self::GetMany(_) => ReadAction::Get,
            Self::History(_) => ReadAction::History,
            Self::Scan(_) => ReadAction::Scan,
            Self::Lookup(_) => ReadAction::Lookup,
            Self::Query(_) => ReadAction::Query,
            Self::Explain(_) => ReadAction::Explain,
            Self::Watch(_) => ReadAction::Watch,
            Self::Lease => ReadAction::Lease,
            Self::ListIndexes => ReadAction::ListIndexes,
            Self::Subscriptions => ReadAction::Subscriptions,
            Self::ListSubscriptions => ReadAction::ListSubscriptions,
            Self::ListWatches => ReadAction::ListWatches,
            Self::Status => ReadAction::Status,
            Self::Settings => ReadAction::Settings,
            Self::Audit => ReadAction::Audit,
            Self::Policy => ReadAction::Policy,
            Self::Usage(_) => ReadAction::Usage,
            Self::Whoami => ReadAction::Whoami,
        }
    }
}

impl Request for Read<'_> {
    fn action(&self) -> Action {
        Action::Read(self.kind())
    }

    fn demands(&self, ask: &mut dyn FnMut(Place<'_>, Permissions)) {
        match self {
            Self::Get(key) | Self::History(key) => ask(Place::Key(key), READ),
            Self::GetMany(keys) => at_each(keys.iter(), READ, ask),
            // Whoever may read all of them may count them.
            Self::Usage(range) => ask(Place::Range(range), READ),
            // Its answer is filtered by key: whoever may read something gets that.
            Self::Scan(_) | Self::Lookup(_) | Self::Query(_) | Self::Watch(_) | Self::Lease => {
                ask(Place::Anywhere, READ);
            }
            // The answer is not filtered by keys.
            Self::Explain(_) | Self::Subscriptions | Self::Status => ask(Place::Cluster, READ),
            Self::ListIndexes
            | Self::ListSubscriptions
            | Self::ListWatches
            | Self::Settings
            | Self::Audit
            | Self::Policy => ask(Place::Cluster, ADMIN),
            // Whoever is somebody may know who.
            Self::Whoami => {}
        }
    }
}

impl Request for AdminAction {
    fn action(&self) -> Action {
        Action::Admin(*self)
    }

    fn demands(&self, ask: &mut dyn FnMut(Place<'_>, Permissions)) {
        match self {
            Self::ChangeMembers
            | Self::TransferLeadership
            | Self::Snapshot
            | Self::Backup
            | Self::Restore => {
                ask(Place::Cluster, ADMIN);
            }
        }
    }
}

/// What a transaction needs whichever branch is performed, nested ones too: which branch it is tells what the
/// compares read (compare CVE-2026-33343 of etcd).
fn demands_of(txn: &Txn, ask: &mut dyn FnMut(Place<'_>, Permissions)) {
    for compare in &txn.compares {
        ask(within(&compare.keys), READ);
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Get { keys, .. } => ask(within(keys), READ),
            Operation::Put {
                item,
                return_previous,
            } => ask(at(&item.key), with_read(WRITE, *return_previous)),
            // Its answer says how many there were.
            Operation::Delete { keys, .. } => ask(within(keys), with_read(DELETE, true)),
            Operation::Touch(item) => ask(at(&item.key), WRITE),
            Operation::Txn(inner) => demands_of(inner, ask),
        }
    }
}

/// Whether a transaction reads and changes nothing.
fn is_empty(txn: &Txn) -> bool {
    let mut operations = txn.success.iter().chain(&txn.failure);
    txn.compares.is_empty()
        && operations.all(|operation| matches!(operation, Operation::Txn(inner) if is_empty(inner)))
}

/// The same at every one of these keys. A list without any still gives an answer to those who could have
/// named one.
fn at_each<'a>(
    keys: impl ExactSizeIterator<Item = &'a Key>,
    needed: Permissions,
    ask: &mut dyn FnMut(Place<'_>, Permissions),
) {
    if keys.len() == 0 {
        ask(Place::Anywhere, needed);
    }
    for key in keys {
        ask(at(key), needed);
    }
}

fn at(key: &Key) -> Place<'_> {
    Place::Key(key.as_bytes())
}

fn within(keys: &Keys) -> Place<'_> {
    match keys {
        Keys::One(key) => Place::Key(key.as_bytes()),
        Keys::Range(range) => Place::Range(range),
    }
}

const fn with_read(needed: Permissions, reads: bool) -> Permissions {
    if reads { needed.union(READ) } else { needed }
}

//! What one line tells of a request: what it is about, and facts. Never a value.

use bytes::Bytes;
use concord_auth::{Action, AdminAction, Place, Read, Request};
use concord_core::command::Lifetime;
use concord_core::ids::Revision;
use concord_core::reply::Reply;
use concord_core::{Command, KeyRange, PolicyChange};

use super::chain::{Keys, NameHash};
use super::line::Fields;
use crate::error::Detail;
use crate::limits::AUDIT_KEYS_SHOWN;

/// Facts about a request that are neither keys nor values.
pub(crate) type Facts = Vec<(&'static str, Detail)>;

/// A key or a run of keys. The bytes are anybody's: any at all (D-AUD-1).
enum Where {
    Key(Bytes),
    Range(KeyRange),
}

impl Where {
    fn of(place: Place<'_>) -> Option<Self> {
        match place {
            Place::Key(key) => Some(Self::Key(Bytes::copy_from_slice(key))),
            Place::Range(range) => Some(Self::Range(range.clone())),
            Place::Anywhere | Place::Cluster => None,
        }
    }

    fn place(&self) -> Place<'_> {
        match self {
            Self::Key(key) => Place::Key(key),
            Self::Range(range) => Place::Range(range),
        }
    }

    /// Each key with its length before it, so that no two lists are hashed alike.
    fn add_to(&self, hash: &mut NameHash) {
        let mut add = |bytes: &[u8]| {
            hash.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(bytes);
        };
        match self {
            Self::Key(key) => add(key),
            Self::Range(range) => {
                add(range.start());
                add(range.end().unwrap_or_default());
            }
        }
    }
}

/// Appends what a request is about. Says whether that is one key, which is there as it is; otherwise it is there as text.
/// `hide`: keys are there as their hashes under these.
pub(super) fn put_target(bytes: &mut Vec<u8>, request: &impl Audited, hide: Option<&Keys>) -> bool {
    let begin = bytes.len();
    let (mut count, mut is_key) = (0_u64, false);
    // Most requests are about one key: that is copied from where it is.
    request.places(&mut |place| {
        count += u64::from(matches!(place, Place::Key(_) | Place::Range(_)));
        if count > 1 {
            return;
        }
        match (place, hide) {
            (Place::Key(key), None) => {
                bytes.extend_from_slice(key);
                is_key = true;
            }
            (place, hide) => Fields::more(bytes).place(place, hide),
        }
    });
    if count <= 1 {
        return is_key;
    }
    bytes.truncate(begin);
    let (mut first, mut hash) = (Vec::new(), NameHash::new(hide));
    request.places(&mut |place| {
        if let Some(place) = Where::of(place) {
            place.add_to(&mut hash);
            if first.len() < AUDIT_KEYS_SHOWN {
                first.push(place);
            }
        }
    });
    Fields::more(bytes).object("keys", |line| {
        line.number("count", count);
        line.array("first", &first, |line, one| line.place(one.place(), hide));
        line.text("hash", hash.finish().as_str());
    });
    false
}

/// A request that leaves a line in the audit log.
pub(crate) trait Audited: Request {
    /// What it is about: where it needs rights, so no kind of request can be without.
    fn places(&self, tell: &mut dyn FnMut(Place<'_>)) {
        self.demands(&mut |place, _| tell(place));
    }

    /// What else there is to say of it. Neither keys nor values.
    fn facts(&self) -> Facts;
}

impl Audited for Command {
    fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        add_facts(self, &mut facts);
        facts
    }
}

impl Audited for Read<'_> {
    /// What is looked through, also where a right to anything there is enough.
    fn places(&self, tell: &mut dyn FnMut(Place<'_>)) {
        match self {
            Self::Scan(range) | Self::Query(range) | Self::Explain(range) => tell(Place::Range(range)),
            Self::Watch(place) => tell(*place),
            Self::Get(_)
            | Self::GetMany(_)
            | Self::History(_)
            | Self::Lookup(_)
            | Self::Lease
            | Self::ListIndexes
            | Self::Subscriptions
            | Self::ListSubscriptions
            | Self::ListWatches
            | Self::Status
            | Self::Settings
            | Self::Audit
            | Self::Policy
            | Self::Usage(_)
            | Self::Whoami => self.demands(&mut |place, _| tell(place)),
        }
    }

    /// Of a lookup the index, and not the values: those are of records. Of others the keys say all.
    fn facts(&self) -> Facts {
        match self {
            Self::Lookup(index) => vec![("index", (*index).to_owned().into())],
            Self::Get(_)
            | Self::GetMany(_)
            | Self::History(_)
            | Self::Scan(_)
            | Self::Query(_)
            | Self::Explain(_)
            | Self::Watch(_)
            | Self::Lease
            | Self::ListIndexes
            | Self::Subscriptions
            | Self::ListSubscriptions
            | Self::ListWatches
            | Self::Status
            | Self::Settings
            | Self::Audit
            | Self::Policy
            | Self::Usage(_)
            | Self::Whoami => Facts::new(),
        }
    }
}

/// A change of the cluster itself, with what it is about.
#[derive(Debug)]
pub(crate) struct AdminRequest {
    pub(crate) action: AdminAction,
    pub(crate) facts: Facts,
}

impl Request for AdminRequest {
    fn action(&self) -> Action {
        self.action.action()
    }

    fn demands(&self, ask: &mut dyn FnMut(Place<'_>, concord_auth::Permissions)) {
        self.action.demands(ask);
    }
}

impl Audited for AdminRequest {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }
}

/// Exhaustive: a new command does not compile until somebody has decided what its line tells.
fn add_facts(command: &Command, facts: &mut Facts) {
    match command {
        Command::Put {
            lifetime, condition, ..
        } => {
            add_lifetime(*lifetime, facts);
            add_flag("conditional", condition.is_some(), facts);
        }
        Command::Delete { condition, .. } => add_flag("conditional", condition.is_some(), facts),
        Command::Touch { lifetime, .. } => add_lifetime(*lifetime, facts),
        Command::Increment { ttl, .. } => add_lifetime((*ttl).into(), facts),
        Command::Compact { revision } => facts.push(("compact_revision", revision.get().into())),
        Command::Configure(settings) => {
            let keep = settings.compaction;
            facts.push(("value_bytes_max", settings.value_bytes_max.into()));
            facts.push(("keep_ms", bound(keep.keep_ms.map(|ms| ms.get()))));
            facts.push(("keep_revisions", bound(keep.keep_revisions)));
            facts.push(("keep_bytes", bound(keep.keep_bytes)));
        }
        Command::CreateIndex { definition, .. } => {
            facts.push(("index", definition.name().to_string().into()))
        }
        Command::DropIndex { name } | Command::Reindex { name } => {
            facts.push(("index", name.to_string().into()))
        }
        Command::CreateSubscription { name, .. } | Command::DeleteSubscription { name } => {
            facts.push(("subscription", name.to_string().into()));
        }
        Command::AckSubscription { name, upto } => {
            facts.push(("subscription", name.to_string().into()));
            facts.push(("upto", upto.get().into()));
        }
        Command::ResetSubscription { name, after } => {
            facts.push(("subscription", name.to_string().into()));
            facts.extend(after.map(|after| ("after", after.get().into())));
        }
        Command::LeaseGrant { lease, ttl } => {
            facts.push(("lease", lease.get().into()));
            facts.push(("ttl_ms", ttl.get().into()));
        }
        Command::LeaseKeepAlive { lease } | Command::LeaseRevoke { lease } => {
            facts.push(("lease", lease.get().into()));
        }
        Command::DeleteWhere { limit, .. } => facts.extend(limit.map(|limit| ("limit", limit.into()))),
        Command::Txn(txn) => add_flag("conditional", !txn.compares.is_empty(), facts),
        Command::EditPolicy(change) => {
            facts.push(("edits", number(change.edits.len())));
            facts.push(("changes", changes_of(change).into()));
            if !change.namespaces.is_empty() {
                facts.push(("namespaces", namespaces_of(change).into()));
            }
        }
        // A restore is one line, however many steps it takes.
        Command::Restore { .. } => {}
        // The guard says what the service has judged, which the line says itself.
        Command::Guarded { command, .. } => add_facts(command, facts),
        Command::Idempotent { command, .. } => {
            add_flag("idempotent", true, facts);
            add_facts(command, facts);
        }
        // Their keys say all.
        Command::PutMany { .. } | Command::DeleteMany { .. } | Command::TouchMany { .. } => {}
    }
}

/// Whom or what the first edits of a policy are about, by the names that everybody knows them by. Never a record:
/// those of tokens hold hashes of secrets.
fn changes_of(change: &PolicyChange) -> String {
    let named = change.edits.iter().filter_map(|edit| {
        let subject = concord_auth::policy::subject_of(&edit.key)?;
        let verb = if edit.record.is_some() { "" } else { "removed " };
        Some(format!("{verb}{subject}"))
    });
    named.take(AUDIT_KEYS_SHOWN).collect::<Vec<_>>().join(", ")
}

/// The namespaces that change with it, and of which the keys go.
fn namespaces_of(change: &PolicyChange) -> String {
    let named = change.namespaces.iter().map(|edit| {
        let namespace = String::from_utf8_lossy(&edit.namespace);
        let keys = if edit.delete_keys { " and its keys" } else { "" };
        format!("{namespace}{keys}")
    });
    named.take(AUDIT_KEYS_SHOWN).collect::<Vec<_>>().join(", ")
}

fn number(count: usize) -> Detail {
    Detail::Number(u64::try_from(count).unwrap_or(u64::MAX))
}

fn add_lifetime(lifetime: Lifetime, facts: &mut Facts) {
    match lifetime {
        Lifetime::Forever => {}
        Lifetime::Ttl(ttl) => facts.push(("ttl_ms", ttl.get().into())),
        Lifetime::Lease(lease) => facts.push(("lease", lease.get().into())),
    }
}

fn add_flag(name: &'static str, holds: bool, facts: &mut Facts) {
    if holds {
        facts.push((name, 1.into()));
    }
}

fn bound(number: Option<u64>) -> Detail {
    number.map_or_else(|| Detail::Text("none".to_owned()), Detail::Number)
}

/// The revision that a write is answered with.
pub(crate) fn revision_of(reply: &Reply) -> Option<Revision> {
    match reply {
        Reply::Written { revision, .. }
        | Reply::Deleted { revision, .. }
        | Reply::Touched { revision, .. }
        | Reply::Incremented { revision, .. }
        | Reply::Compacted { revision }
        | Reply::Configured { revision }
        | Reply::IndexChanged { revision }
        | Reply::SubscriptionChanged { revision, .. }
        | Reply::WrittenMany { revision, .. }
        | Reply::DeletedMany { revision, .. }
        | Reply::TouchedMany { revision, .. }
        | Reply::Txn { revision, .. }
        | Reply::LeaseGranted { revision, .. }
        | Reply::LeaseKept { revision, .. }
        | Reply::DeletedWhere { revision, .. }
        | Reply::LeaseRevoked { revision, .. } => Some(*revision),
        Reply::PolicyEdited { revision, .. }
        | Reply::Restoring { revision, .. }
        | Reply::RestoreFailed { revision }
        | Reply::Restored { revision } => Some(*revision),
        Reply::Rejected(_) => None,
    }
}

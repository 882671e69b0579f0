//! What one line tells of a request: who, what, where, with which result. Never a value.

use std::sync::Arc;

use bytes::Bytes;
use concord_auth::{Action, AdminAction, Place, Principal, Read, Request};
use concord_core::command::Lifetime;
use concord_core::ids::Revision;
use concord_core::reply::Reply;
use concord_core::{Command, PolicyChange};

use super::chain::{Hash, Keys, NameHash};
use super::origin::Origin;
use crate::error::Detail;
use crate::limits::AUDIT_KEYS_SHOWN;

/// Facts about a request that are neither keys nor values.
pub(crate) type Facts = Vec<(&'static str, Detail)>;

/// The result of a request that was performed.
pub(super) const OK: &str = "ok";

/// One request, after it was answered.
#[derive(Debug)]
pub(super) struct Event {
    /// Microseconds since the Unix epoch, by this node's clock.
    pub(super) time: u64,
    pub(super) took_micros: u64,
    pub(super) operation: &'static str,
    pub(super) target: Target,
    /// [`OK`], or the name of the error.
    pub(super) result: &'static str,
    /// `None`: somebody who is nobody here.
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) revision: Option<Revision>,
    pub(super) facts: Facts,
    /// `None`: it came from within this process.
    pub(super) origin: Option<Arc<Origin>>,
}

impl Event {
    /// Roughly what it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let keys = match &self.target {
            Target::None => 0,
            Target::One(place) => place.weight(),
            Target::Many { first, .. } => first.iter().map(Where::weight).sum(),
        };
        let origin = self.origin.as_ref().map_or(0, |origin| {
            size_of::<Origin>() + origin.request_id.as_ref().map_or(0, |id| id.len())
        });
        size_of::<Self>() + keys + self.facts.len() * size_of::<(&str, Detail)>() + origin
    }
}

/// What a request is about.
#[derive(Debug)]
pub(super) enum Target {
    /// No key: the cluster.
    None,
    /// One key, or one run of keys.
    One(Where),
    /// Several of them.
    Many {
        /// How many.
        count: u64,
        /// The first of them.
        first: Vec<Where>,
        /// Of all of them.
        hash: Hash,
    },
}

/// A key or a run of keys. The bytes are anybody's: any at all (D-AUD-1).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Where {
    Key(Bytes),
    Range { start: Bytes, end: Option<Bytes> },
}

impl Where {
    fn of(place: Place<'_>) -> Option<Self> {
        match place {
            Place::Key(key) => Some(Self::Key(Bytes::copy_from_slice(key))),
            Place::Range(range) => Some(Self::Range {
                start: Bytes::copy_from_slice(range.start()),
                end: range.end().map(Bytes::copy_from_slice),
            }),
            Place::Anywhere | Place::Cluster => None,
        }
    }

    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Key(key) => key.len(),
                Self::Range { start, end } => start.len() + end.as_ref().map_or(0, Bytes::len),
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
            Self::Range { start, end } => {
                add(start);
                add(end.as_deref().unwrap_or_default());
            }
        }
    }
}

impl Target {
    /// What a request is about is where it needs rights: so no kind of request can be without.
    pub(super) fn of(request: &(impl Request + ?Sized), keys: Option<&Keys>) -> Self {
        let mut gathering = Gathering {
            first: None,
            many: None,
            keys,
        };
        request.demands(&mut |place, _| {
            if let Some(place) = Where::of(place) {
                gathering.add(place);
            }
        });
        gathering.finish()
    }
}

/// Most requests are about one key: only the second one starts a list.
struct Gathering<'a> {
    first: Option<Where>,
    many: Option<(u64, Vec<Where>, NameHash)>,
    keys: Option<&'a Keys>,
}

impl Gathering<'_> {
    fn add(&mut self, place: Where) {
        if let Some((count, shown, hash)) = &mut self.many {
            *count += 1;
            place.add_to(hash);
            if shown.len() < AUDIT_KEYS_SHOWN {
                shown.push(place);
            }
            return;
        }
        let Some(first) = self.first.take() else {
            self.first = Some(place);
            return;
        };
        let mut hash = NameHash::new(self.keys);
        first.add_to(&mut hash);
        place.add_to(&mut hash);
        self.many = Some((2, vec![first, place], hash));
    }

    fn finish(self) -> Target {
        match (self.many, self.first) {
            (Some((count, first, hash)), _) => Target::Many {
                count,
                first,
                hash: hash.finish(),
            },
            (None, Some(place)) => Target::One(place),
            (None, None) => Target::None,
        }
    }
}

/// A request that leaves a line in the audit log.
pub(crate) trait Audited: Request {
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

/// Its keys, where it has some, say all.
impl Audited for Read<'_> {
    fn facts(&self) -> Facts {
        Facts::new()
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

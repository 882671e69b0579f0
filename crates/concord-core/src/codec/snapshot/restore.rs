//! Chunks to a store. Every item is checked as it arrives: a snapshot comes from elsewhere,
//! and the rest of the crate relies on what is in the trees.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{END, HEAD, Section, VERSION, VERSION_1, VERSION_2};
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::idempotency::{Remembered, check_name};
use crate::ids::{LeaseId, LogIndex, Revision, Timestamp};
use crate::index::Index;
use crate::key::{check_key, namespace_of};
use crate::lease::{LeaseCell, attached, decode_lease_key};
use crate::limits::{
    COMPACTION_MARKS_MAX, INDEXES_MAX, NAMESPACES_MAX, POLICY_BYTES_MAX, POLICY_KEY_BYTES_MAX,
    POLICY_RECORD_BYTES_MAX, POLICY_RECORDS_MAX, SUBSCRIPTIONS_MAX,
};
use crate::machine::Restorer;
use crate::namespace::{NamespaceCell, is_namespace};
use crate::record::cell::{self, StoredCell};
use crate::reply::Reply;
use crate::restore::Staged;
use crate::settings::Settings;
use crate::state::{Mark, State, change};
use crate::store::{
    ExpiryQueue, IdempotencyTable, SessionHeader, SessionTable, Staging, Store, add_usage, decode_replies,
    derive_entries, session_key_parts,
};
use crate::subscription::{SubscriptionCell, SubscriptionName};
use crate::value::{StoredRef, check_packed, check_value};
use crate::version::{ClusterVersion, MachineVersion};

/// Rebuilds a store from the chunks of a snapshot.
#[derive(Debug)]
pub struct StoreRestorer {
    state: State,
    expiry: ExpiryQueue,
    sessions: SessionTable,
    idempotency: IdempotencyTable,
    /// The version of all its chunks; 0 before the first.
    version: u8,
    /// Number of the next chunk.
    number: u64,
    stage: Stage,
    /// The greatest key of the section so far.
    last: Vec<u8>,
    /// The session that the next block must belong to, what is left of its header's totals,
    /// and where its last block ended.
    open_session: Option<OpenSession>,
    /// Changes whose replaced version lies apart.
    versions_apart: usize,
    /// Leases that keys hang on and that have not come yet.
    leases_missing: usize,
    /// Whether this is what is staged itself, in which nothing is.
    is_nested: bool,
    /// The newest machine whose state it takes.
    machine: MachineVersion,
    /// Rebuilds what is staged.
    staged: Option<Box<Self>>,
    /// Keys of a chunk that are not in the usage yet; none between chunks.
    counted: Counted,
}

/// Keys of one namespace, which come one after the other: they are added to the usage together.
#[derive(Debug, Default)]
struct Counted {
    namespace: Vec<u8>,
    keys: i64,
    bytes: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Sections(Section),
    Done,
}

#[derive(Clone, Copy, Debug)]
struct OpenSession {
    id: crate::ids::SessionId,
    replies_left: u64,
    bytes_left: u64,
    known_upto: u64,
}

impl StoreRestorer {
    pub(crate) fn new() -> Self {
        Self {
            state: State::empty(),
            expiry: ExpiryQueue::default(),
            sessions: SessionTable::default(),
            idempotency: IdempotencyTable::default(),
            version: 0,
            number: 0,
            stage: Stage::Head,
            last: Vec::new(),
            open_session: None,
            versions_apart: 0,
            leases_missing: 0,
            is_nested: false,
            machine: MachineVersion::NEWEST,
            staged: None,
            counted: Counted::default(),
        }
    }

    /// For what a restore brings.
    pub(crate) fn nested() -> Self {
        Self {
            is_nested: true,
            ..Self::new()
        }
    }

    /// Takes the state of this machine, and of older ones. What a restore brings is judged by the machine that the
    /// replicas are when it comes, on all of them alike (I24).
    pub(crate) fn set_machine(&mut self, machine: MachineVersion) {
        self.machine = machine;
    }

    /// Reads of a format that is not known here whose machine it is: every format begins with that.
    fn note_newer(&mut self, reader: &mut Reader<'_>) {
        let mut version = || {
            reader.number()?;
            reader.u8()?;
            ClusterVersion::decode(reader)
        };
        if let Ok(version) = version() {
            self.state.version = version;
        }
    }

    /// Whether everything has come.
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Notes how far it is.
    pub(crate) fn note(&self, staged: &mut Staged) {
        staged.version = self.version;
        staged.chunks = self.number;
        staged.state = self.state.clone();
    }

    /// The store, once everything has come, without the entries of its indexes.
    pub(crate) fn into_store(self) -> Store {
        Store::from_state(self.state, self.expiry, self.sessions, self.idempotency)
    }

    /// The head of what is staged, under no key, or a chunk of it.
    fn staged(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        if self.is_nested {
            return Err(malformed("a restore within a restore"));
        }
        if key.is_empty() {
            self.state.staged = Some(Arc::new(Staged::decode_head(cell)?));
            let mut nested = Self::nested();
            nested.set_machine(self.state.version.version);
            self.staged = Some(Box::new(nested));
            return Ok(());
        }
        let nested = self.staged.as_mut();
        let nested = nested.ok_or(malformed("a restore without a head"))?;
        nested.feed(&Bytes::copy_from_slice(cell))
    }

    /// What works on what is staged, as far as that had come.
    fn staging(&mut self) -> Result<Option<Staging>, DecodeError> {
        let (Some(mut nested), Some(staged)) = (self.staged.take(), self.state.staged_mut()) else {
            return Ok(None);
        };
        if nested.is_done() != staged.indexed.is_some() {
            return Err(malformed("a restore is cut short"));
        }
        if staged.indexed.is_some() {
            let whole = nested.finish()?;
            staged.state = whole.state().clone();
            return Ok(Some(Staging::Whole(Box::new(whole))));
        }
        // The next chunk goes on where those ended that it came in.
        (nested.version, nested.number) = (staged.version, staged.chunks);
        staged.state = nested.state.clone();
        Ok(Some(Staging::Fed(nested)))
    }

    fn item(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let offset = reader.offset();
        let out_of_order = DecodeError {
            what: "snapshot item out of order",
            offset,
        };
        match (self.stage, reader.u8()?) {
            (Stage::Head, HEAD) => {
                head(&mut self.state, (self.version, self.machine), reader)?;
                self.stage = Stage::Sections(Section::Live);
                Ok(())
            }
            (Stage::Sections(_), END) => {
                self.end(reader)?;
                self.stage = Stage::Done;
                Ok(())
            }
            (Stage::Sections(current), tag) => {
                let section = Section::from_tag(tag).ok_or(DecodeError {
                    what: "unknown snapshot item",
                    offset,
                })?;
                if section < current {
                    return Err(out_of_order);
                }
                let is_first = section > current || section.len(&self.state) == 0;
                self.stage = Stage::Sections(section);
                let (key, cell) = (reader.bytes()?, reader.bytes()?);
                if !is_first && key <= self.last.as_slice() {
                    return Err(out_of_order);
                }
                self.last.clear();
                self.last.extend_from_slice(key);
                let taken = match section {
                    Section::Live => self.live(key, cell),
                    Section::Graves => self.grave(key, cell),
                    Section::Changes => self.change(key, cell),
                    Section::Replaced => self.replaced(key, cell),
                    Section::Sessions => self.session(key, cell),
                    Section::Leases => self.lease(key, cell),
                    Section::Indexes => self.index(key, cell),
                    Section::Idempotency => self.remembered(key, cell),
                    Section::Subscriptions => self.subscription(key, cell),
                    Section::Policy => self.policy(key, cell),
                    Section::Namespaces => self.namespace(key, cell),
                    Section::Staged => self.staged(key, cell),
                };
                taken.map_err(|error| DecodeError {
                    what: error.what,
                    offset,
                })
            }
            (Stage::Head | Stage::Done, _) => Err(out_of_order),
        }
    }

    fn live(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        check_key(key).map_err(|_| malformed("invalid key"))?;
        let StoredCell::Record { header, value, .. } = self.version(cell, self.state.revision.next())? else {
            return Err(malformed("live record is a tombstone"));
        };
        if let Some(deadline) = header.expires_at {
            if deadline <= self.state.now {
                return Err(malformed("live record is expired"));
            }
            self.expiry.insert(deadline, key);
        }
        if let Some(lease) = header.lease {
            let is_first = attached::count(&self.state.lease_keys, lease) == 0;
            self.leases_missing = self.leases_missing.saturating_add(usize::from(is_first));
            attached::add(&mut self.state.lease_keys, lease, key);
        }
        if header.is_packed {
            let unpacked = StoredRef::new(header.format, true, value).raw_len();
            self.state.packed.add(value.len(), unpacked);
        }
        // `item` has seen that keys come in order.
        self.state.live.append(key, cell);
        let size = i64::try_from(key.len().saturating_add(value.len()));
        let size = size.map_err(|_| malformed("value too large"))?;
        let namespace = namespace_of(key);
        if self.counted.namespace != namespace {
            self.count();
            self.counted.namespace.extend_from_slice(namespace);
        }
        self.counted.keys = self.counted.keys.saturating_add(1);
        self.counted.bytes = self.counted.bytes.saturating_add(size);
        Ok(())
    }

    /// Adds what was counted to the usage.
    fn count(&mut self) {
        let Counted {
            namespace,
            keys,
            bytes,
        } = &mut self.counted;
        if *keys > 0 {
            add_usage(&mut self.state, namespace, *keys, *bytes);
        }
        namespace.clear();
        (*keys, *bytes) = (0, 0);
    }

    /// Checks a version of a key that must be older than `before`.
    fn version<'a>(&self, cell: &'a [u8], before: Revision) -> Result<StoredCell<'a>, DecodeError> {
        let version = cell::decode(cell)?;
        if let StoredCell::Record { header, value, .. } = &version {
            // What a frame holds is judged by whoever unpacks it.
            let is_valid = if header.is_packed {
                check_packed(value).is_ok()
            } else {
                check_value(header.format, value).is_ok()
            };
            if !is_valid {
                return Err(malformed("invalid value"));
            }
        }
        let link = version.link();
        let mut anchors = link.anchors();
        if link.place.revision >= before || anchors.any(|anchor| anchor.revision >= link.place.revision) {
            return Err(malformed("version from the future"));
        }
        Ok(version)
    }

    fn grave(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        check_key(key).map_err(|_| malformed("invalid key"))?;
        if let StoredCell::Record { .. } = self.version(cell, self.state.revision.next())? {
            return Err(malformed("tombstone is a record"));
        }
        if self.state.live.contains_key(key) {
            return Err(malformed("tombstone of a live key"));
        }
        self.state.graves.set(key, cell);
        self.count_history(key, cell);
        Ok(())
    }

    fn change(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        let place = change::decode_key(key)?;
        let entry = change::decode(cell)?;
        check_key(entry.key).map_err(|_| malformed("invalid key in a change"))?;
        if place.revision > self.state.revision {
            return Err(malformed("change from the future"));
        }
        match entry.before {
            change::Before::Nothing => {}
            change::Before::Apart => self.versions_apart += 1,
            change::Before::Here(version) => {
                self.version(version, place.revision)?;
            }
        }
        self.state.changes.push(place, |out| out.extend_from_slice(cell));
        self.count_history(key, cell);
        Ok(())
    }

    fn replaced(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        let place = change::decode_key(key)?;
        self.version(cell, place.revision)?;
        let change = self.state.changes.get(place);
        let is_apart = change.is_some_and(|cell| change::stored(cell).before == change::Before::Apart);
        if !is_apart {
            return Err(malformed("replaced version of no change"));
        }
        self.state.replaced.set(key, cell);
        self.count_history(key, cell);
        Ok(())
    }

    fn count_history(&mut self, key: &[u8], cell: &[u8]) {
        let size = u64::try_from(key.len().saturating_add(cell.len())).unwrap_or(u64::MAX);
        self.state.history_bytes = self.state.history_bytes.saturating_add(size);
    }

    fn session(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        let (id, first) = session_key_parts(key)?;
        match (first, &mut self.open_session) {
            (None, open) => {
                check_complete(open.as_ref())?;
                let header = SessionHeader::decode(cell)?;
                if header.last_used > self.state.now {
                    return Err(malformed("session from the future"));
                }
                self.sessions.by_last_use.insert((header.last_used, id));
                self.sessions.reply_bytes = self.sessions.reply_bytes.saturating_add(header.reply_bytes);
                let (replies_left, bytes_left) = (header.replies, header.reply_bytes);
                *open = Some(OpenSession {
                    id,
                    replies_left,
                    bytes_left,
                    known_upto: 0,
                });
            }
            (Some(first), Some(open)) if open.id == id && first >= open.known_upto => {
                let replies = decode_replies(cell)?;
                for reply in &replies {
                    Reply::decode(&Bytes::copy_from_slice(reply))?;
                }
                let (count, size) = (length(replies.len()), length(cell.len()));
                let (Some(replies_left), Some(bytes_left), Some(known_upto)) = (
                    open.replies_left.checked_sub(count),
                    open.bytes_left.checked_sub(size),
                    first.checked_add(count),
                ) else {
                    return Err(malformed("session totals do not add up"));
                };
                *open = OpenSession {
                    id,
                    replies_left,
                    bytes_left,
                    known_upto,
                };
            }
            (Some(_), _) => return Err(malformed("replies of no session")),
        }
        self.state.sessions.set(key, cell);
        Ok(())
    }

    fn lease(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        let (id, lease) = (decode_lease_key(key)?, LeaseCell::decode(cell)?);
        if lease.expires_at <= self.state.now {
            return Err(malformed("lease has ended"));
        }
        let keys = attached::count(&self.state.lease_keys, id);
        self.leases_missing = self.leases_missing.saturating_sub(usize::from(keys > 0));
        self.expiry.insert_lease(lease.expires_at, id, keys);
        self.state.leases.set(key, cell);
        Ok(())
    }

    fn index(&mut self, name: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        let index = Index::decode(cell)?;
        if index.definition.name().as_str().as_bytes() != name {
            return Err(malformed("index under another name"));
        }
        if index.since > self.state.revision {
            return Err(malformed("index from the future"));
        }
        if self.state.indexes.len() >= INDEXES_MAX {
            return Err(malformed("too many indexes"));
        }
        Arc::make_mut(&mut self.state.indexes).push(index);
        Ok(())
    }

    fn remembered(&mut self, name: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        check_name(name)?;
        let remembered = Remembered::decode(cell)?;
        if remembered.at > self.state.now {
            return Err(malformed("idempotency key from the future"));
        }
        Reply::decode(&Bytes::copy_from_slice(remembered.reply))?;
        self.idempotency.insert(remembered.at, name, cell);
        self.state.idempotency.set(name, cell);
        Ok(())
    }

    fn subscription(&mut self, name: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        SubscriptionName::of_bytes(name).map_err(|_| malformed("malformed name of a subscription"))?;
        let subscription = SubscriptionCell::decode(cell)?;
        let is_sane = subscription.acked <= self.state.revision
            && subscription.created_at <= subscription.acked_at
            && subscription.acked_at <= self.state.now;
        if !is_sane {
            return Err(malformed("subscription from the future"));
        }
        if self.state.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(malformed("too many subscriptions"));
        }
        self.state.subscriptions.set(name, cell);
        Ok(())
    }

    /// A record of the policy, or its revision, under no key.
    fn policy(&mut self, key: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        if key.is_empty() {
            let mut reader = Reader::new(cell);
            self.state.policy_revision = reader.number()?;
            reader.end()?;
            return if self.state.policy_revision == 0 || !self.state.policy.is_empty() {
                Err(malformed("malformed revision of the policy"))
            } else {
                Ok(())
            };
        }
        if key.len() > POLICY_KEY_BYTES_MAX || cell.len() > POLICY_RECORD_BYTES_MAX {
            return Err(malformed("record of the policy is too large"));
        }
        let size = length(key.len().saturating_add(cell.len()));
        self.state.policy_bytes = self.state.policy_bytes.saturating_add(size);
        self.state.policy.set(key, cell);
        if self.state.policy.len() > POLICY_RECORDS_MAX || self.state.policy_bytes > POLICY_BYTES_MAX {
            return Err(malformed("too many records of the policy"));
        }
        Ok(())
    }

    fn namespace(&mut self, namespace: &[u8], cell: &[u8]) -> Result<(), DecodeError> {
        let decoded = NamespaceCell::decode(cell)?;
        if !is_namespace(namespace) || !decoded.is_sane(self.state.now) {
            return Err(malformed("malformed namespace"));
        }
        if self.state.namespaces.len() >= NAMESPACES_MAX {
            return Err(malformed("too many namespaces"));
        }
        if decoded.is_emptying {
            self.state.emptying.set(namespace, &[]);
        }
        self.state.namespaces.set(namespace, cell);
        Ok(())
    }

    fn end(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        check_complete(self.open_session.as_ref())?;
        let count = match self.version {
            VERSION_1 => Section::COUNT_1,
            // Written before a section was added: it had none of that.
            _ => reader.count(1)?.min(Section::ALL.len()),
        };
        if self.leases_missing != 0 {
            return Err(reader.error("lease of a key is missing"));
        }
        for (place, section) in Section::ALL.into_iter().enumerate() {
            if place >= count {
                if section.len(&self.state) != 0 {
                    return Err(reader.error("snapshot totals do not add up"));
                }
                continue;
            }
            if reader.number()? != length(section.len(&self.state)) {
                return Err(reader.error("snapshot totals do not add up"));
            }
        }
        if self.versions_apart != self.state.replaced.len() {
            return Err(reader.error("replaced versions are missing"));
        }
        Ok(())
    }
}

impl Restorer for StoreRestorer {
    type Machine = Store;

    fn version(&self) -> ClusterVersion {
        self.state.version
    }

    fn feed(&mut self, chunk: &Bytes) -> Result<(), DecodeError> {
        let mut reader = Reader::new(chunk);
        let version = reader.u8()?;
        let newest = if self.machine < MachineVersion::KEEPS_VERSION {
            VERSION_2
        } else {
            VERSION
        };
        if version > VERSION && self.version == 0 {
            self.note_newer(&mut reader);
        }
        if !(VERSION_1..=newest).contains(&version) || ![0, version].contains(&self.version) {
            return Err(DecodeError {
                what: "unknown snapshot version",
                offset: 0,
            });
        }
        self.version = version;
        if reader.number()? != self.number {
            return Err(DecodeError {
                what: "snapshot chunk out of order",
                offset: 1,
            });
        }
        self.number += 1;
        while reader.left() > 0 {
            self.item(&mut reader)?;
        }
        self.count();
        Ok(())
    }

    fn finish(mut self) -> Result<Store, DecodeError> {
        if self.stage != Stage::Done {
            return Err(malformed("snapshot is cut short"));
        }
        derive_entries(&mut self.state);
        let staging = self.staging()?;
        Ok(self.into_store().with_staging(staging))
    }
}

fn head(
    state: &mut State,
    (version, machine): (u8, MachineVersion),
    reader: &mut Reader<'_>,
) -> Result<(), DecodeError> {
    if version == VERSION {
        state.version = ClusterVersion::decode(reader)?;
        if !(MachineVersion::KEEPS_VERSION..=machine).contains(&state.version.version) {
            return Err(reader.error("state of a machine that is not known here"));
        }
    }
    state.applied = LogIndex::new(reader.number()?);
    state.revision = Revision::new(reader.number()?);
    state.compact_revision = Revision::new(reader.number()?);
    state.now = Timestamp::new(reader.number()?);
    if version != VERSION_1 {
        state.last_lease = LeaseId::new(reader.number()?);
    }
    state.settings = Settings::decode(reader)?;
    if state.compact_revision > state.revision {
        return Err(reader.error("compaction beyond the revision"));
    }
    let count = reader.count(2)?;
    if count > COMPACTION_MARKS_MAX {
        return Err(reader.error("too many time marks"));
    }
    let mut marks = Vec::with_capacity(count);
    for _ in 0..count {
        let mark = Mark {
            at: Timestamp::new(reader.number()?),
            revision: Revision::new(reader.number()?),
        };
        let is_later = marks
            .last()
            .is_none_or(|last: &Mark| last.at < mark.at && last.revision <= mark.revision);
        if !is_later || mark.at > state.now || mark.revision > state.revision {
            return Err(reader.error("time marks out of order"));
        }
        marks.push(mark);
    }
    state.marks = Arc::new(marks);
    Ok(())
}

fn check_complete(session: Option<&OpenSession>) -> Result<(), DecodeError> {
    match session {
        Some(open) if open.replies_left != 0 || open.bytes_left != 0 => {
            Err(malformed("session totals do not add up"))
        }
        Some(_) | None => Ok(()),
    }
}

/// An error whose offset the caller knows.
const fn malformed(what: &'static str) -> DecodeError {
    DecodeError { what, offset: 0 }
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

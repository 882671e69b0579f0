//! Reads of one key.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use concord_auth::Read;
use concord_core::ids::Revision;
use concord_core::key::{Key, check_key};
use concord_core::limits;
use concord_core::settings::Settings;
use concord_core::view::{Direction, HistoryRequest, ReadView, Version};
use concord_raft::ReadConsistency;
use serde::de::DeserializeOwned;

use super::Concord;
use super::operation::Operation;
use crate::answer::{Answer, Entry, Remaining};
use crate::compression::off_the_workers;
use crate::error::{Error, ErrorKind};
use crate::limits::{PACK_INLINE_BYTES, UNPACKED_BYTES_MAX};
use crate::service::{ReadPlan, Seen};

impl Concord {
    /// Reads a key.
    ///
    /// # Errors
    ///
    /// `invalid_key`; `compacted` or `future_revision` with [`Get::revision`]; `no_quorum`,
    /// `not_ready`, `timeout`, `overloaded`. Reads never write.
    ///
    /// # Consistency
    ///
    /// `leader` unless chosen otherwise: linearizable while clocks drift little. The answer
    /// says which revision it shows.
    pub fn get<K: AsRef<[u8]>>(&self, key: K) -> Get<'_, K> {
        Get {
            concord: self,
            key,
            revision: None,
            plan: self.read_plan(),
        }
    }

    /// Reads a key whose value is a document, as a `T`. Errors and consistency as
    /// [`Concord::get`]; `invalid_value` if it is no document or not a `T`.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct User {
    ///     name: String,
    ///     age: u8,
    /// }
    ///
    /// db.put_doc("user:1", &User { name: "Ada".to_owned(), age: 36 }).await?;
    /// let user = db.get_doc::<User>("user:1").await?.into_inner();
    /// assert_eq!(user.map(|user| user.age), Some(36));
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_doc<T>(&self, key: impl AsRef<[u8]>) -> GetDoc<'_, T> {
        GetDoc {
            get: self.get(Bytes::copy_from_slice(key.as_ref())),
            document: PhantomData,
        }
    }

    /// Whether a key exists. Errors and consistency as [`Concord::get`].
    pub fn exists<K: AsRef<[u8]>>(&self, key: K) -> Exists<'_, K> {
        Exists(self.get(key))
    }

    /// How long a key has left; `None` if it does not exist. Errors and consistency as [`Concord::get`].
    pub fn ttl<K: AsRef<[u8]>>(&self, key: K) -> GetTtl<'_, K> {
        GetTtl(self.get(key))
    }

    /// The versions of a key that are still kept, newest first. Errors and consistency as
    /// [`Concord::get`].
    pub fn history(&self, key: impl AsRef<[u8]>) -> History<'_> {
        let key =
            Key::copy_of(key.as_ref()).map_err(|error| Error::new(ErrorKind::InvalidKey, error.to_string()));
        History {
            concord: self,
            key,
            direction: Direction::Descending,
            limit: limits::HISTORY_PAGE_MAX,
            after: None,
            plan: self.read_plan(),
        }
    }

    /// The settings that the whole cluster judges by. Errors and consistency as [`Concord::get`];
    /// `forbidden`.
    pub fn settings(&self) -> GetSettings<'_> {
        GetSettings {
            concord: self,
            plan: self.read_plan(),
        }
    }

    pub(super) fn read_plan(&self) -> ReadPlan {
        ReadPlan {
            consistency: ReadConsistency::Leader,
            min_revision: None,
            timeout: self.request_timeout(),
        }
    }

    /// Runs `answer` on a view for `plan`, if the caller may make the `request` there: at once where no wait is needed.
    pub(super) fn read<'a, S: Send + 'a, T: Send + 'a>(
        &'a self,
        subject: S,
        request: fn(&S) -> Read<'_>,
        plan: ReadPlan,
        answer: impl FnOnce(S, &Seen) -> Result<T, Error> + Send + 'a,
    ) -> Operation<'a, Result<Answer<T>, Error>> {
        if let Some(seen) = self.service().read_now(self.caller(), &request(&subject), &plan) {
            return Operation::ready(seen.and_then(|seen| finish(subject, &seen, answer)));
        }
        Operation::waiting(async move {
            let (subject, seen) = self
                .service()
                .read(self.caller(), subject, request, &plan)
                .await?;
            finish(subject, &seen, answer)
        })
    }

    /// A view for a request that names no key.
    pub(super) async fn look(&self, request: fn(&()) -> Read<'_>, plan: &ReadPlan) -> Result<Seen, Error> {
        self.look_at((), request, plan).await
    }

    /// A view for a request about `subject`.
    pub(super) async fn look_at<S: Send>(
        &self,
        subject: S,
        request: fn(&S) -> Read<'_>,
        plan: &ReadPlan,
    ) -> Result<Seen, Error> {
        match self.service().read_now(self.caller(), &request(&subject), plan) {
            Some(seen) => seen,
            None => {
                let read = self.service().read(self.caller(), subject, request, plan);
                read.await.map(|(_, seen)| seen)
            }
        }
    }

    /// As [`Concord::read`], on a thread for what takes long.
    pub(super) fn read_aside<'a, S: Send + 'static, T: Send + 'static>(
        &'a self,
        subject: S,
        request: fn(&S) -> Read<'_>,
        plan: ReadPlan,
        answer: impl FnOnce(S, &Seen) -> Result<T, Error> + Send + 'static,
    ) -> Operation<'a, Result<Answer<T>, Error>> {
        Operation::waiting(async move {
            let now = self.service().read_now(self.caller(), &request(&subject), &plan);
            let (subject, seen) = match now {
                Some(seen) => (subject, seen?),
                None => {
                    self.service()
                        .read(self.caller(), subject, request, &plan)
                        .await?
                }
            };
            off_the_workers(move || finish(subject, &seen, answer)).await?
        })
    }
}

fn of_key<K: AsRef<[u8]>>(key: &K) -> Read<'_> {
    Read::Get(key.as_ref())
}

fn history_of(key: &Key) -> Read<'_> {
    Read::History(key.as_bytes())
}

fn finish<S, T>(
    subject: S,
    seen: &Seen,
    answer: impl FnOnce(S, &Seen) -> Result<T, Error>,
) -> Result<Answer<T>, Error> {
    let view = seen.view();
    Ok(Answer::new(answer(subject, seen)?, view.revision(), view.now()))
}

macro_rules! read_options {
    ($($plan:tt)+) => {
        /// Linearizable under any clock behaviour: a quorum confirms the leader.
        pub fn strong(self) -> Self {
            self.consistency(ReadConsistency::Strong)
        }

        /// What this node has applied: no network, no wait; works without a quorum.
        pub fn eventual(self) -> Self {
            self.consistency(ReadConsistency::Eventual)
        }

        /// Sets the level.
        pub fn consistency(mut self, consistency: ReadConsistency) -> Self {
            self.$($plan)+.consistency = consistency;
            self
        }

        /// Waits until this node has this revision: reads your own writes on any node.
        pub fn min_revision(mut self, revision: Revision) -> Self {
            self.$($plan)+.min_revision = Some(revision);
            self
        }

        /// Waits at most this long, instead of the configured time.
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.$($plan)+.timeout = timeout;
            self
        }
    };
}
pub(super) use read_options;

/// For interfaces that have all of the above from their caller.
macro_rules! takes_plan {
    () => {
        #[cfg(feature = "http")]
        pub(crate) fn plan(mut self, plan: crate::service::ReadPlan) -> Self {
            self.plan = plan;
            self
        }
    };
}
pub(super) use takes_plan;

/// A read to be awaited: see [`Concord::get`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Get<'a, K> {
    concord: &'a Concord,
    key: K,
    revision: Option<Revision>,
    plan: ReadPlan,
}

impl<'a, K: AsRef<[u8]> + Send + 'a> Get<'a, K> {
    read_options!(plan);
    takes_plan!();

    /// Reads the key as it was at this revision.
    pub fn revision(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Answers with what `found` makes of the entry, whose value may be packed.
    fn look<T: Send + 'a>(
        self,
        found: impl FnOnce(Option<Entry>, &ReadView) -> T + Send + 'a,
    ) -> Operation<'a, Result<Answer<T>, Error>> {
        let Self {
            concord,
            key,
            revision,
            plan,
        } = self;
        if let Err(error) = check_key(key.as_ref()) {
            return Operation::ready(Err(Error::new(ErrorKind::InvalidKey, error.to_string())));
        }
        concord.read(key, of_key, plan, move |key, seen| {
            let (key, view) = (key.as_ref(), seen.view());
            let entry = match revision {
                None => view.get_pinned(key).map(Entry::pinned),
                Some(revision) => view
                    .get_at(key, revision)?
                    .map(|record| Entry::owned(record.to_stored_record())),
            };
            Ok(found(entry, view))
        })
    }
}

impl<'a, K: AsRef<[u8]> + Send + 'a> IntoFuture for Get<'a, K> {
    type Output = Result<Answer<Option<Entry>>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.look(|entry, _| entry).and_then(unpack)
    }
}

/// Unpacks what was found: at once, unless it is large.
fn unpack<'a>(
    found: Result<Answer<Option<Entry>>, Error>,
) -> Operation<'a, Result<Answer<Option<Entry>>, Error>> {
    match found {
        Ok(answer) => unpack_all(answer, |answer, visit| answer.data.iter_mut().for_each(visit)),
        refused => Operation::ready(refused),
    }
}

/// Shows every entry of an answer.
type EachEntry<T> = fn(&mut T, &mut dyn FnMut(&mut Entry));

/// Unpacks the entries that `each` shows: at once, unless there is much of it.
pub(super) fn unpack_all<'a, T: Send + 'static>(
    mut answer: T,
    each: EachEntry<T>,
) -> Operation<'a, Result<T, Error>> {
    let mut bytes = 0_usize;
    each(&mut answer, &mut |entry| {
        bytes = bytes.saturating_add(entry.packed_raw_len())
    });
    if bytes == 0 {
        return Operation::ready(Ok(answer));
    }
    if bytes > UNPACKED_BYTES_MAX {
        let message =
            format!("the values are {bytes} bytes unpacked, limit is {UNPACKED_BYTES_MAX}: ask for fewer");
        let refusal = Error::new(ErrorKind::BatchTooLarge, message);
        return Operation::ready(Err(refusal));
    }
    let work = move || {
        let mut outcome = Ok(());
        each(&mut answer, &mut |entry| {
            if let Err(damage) = entry.unpack() {
                outcome = Err(damage);
            }
        });
        outcome.map(|()| answer).map_err(Error::from)
    };
    if bytes <= PACK_INLINE_BYTES {
        Operation::ready(work())
    } else {
        Operation::waiting(async move { off_the_workers(work).await? })
    }
}

/// A read of a typed document to be awaited: see [`Concord::get_doc`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetDoc<'a, T> {
    get: Get<'a, Bytes>,
    document: PhantomData<fn() -> T>,
}

impl<T> GetDoc<'_, T> {
    read_options!(get.plan);

    /// Reads the key as it was at this revision.
    pub fn revision(mut self, revision: Revision) -> Self {
        self.get = self.get.revision(revision);
        self
    }
}

impl<'a, T: DeserializeOwned + Send + 'a> IntoFuture for GetDoc<'a, T> {
    type Output = Result<Answer<Option<T>>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(async move {
            let found = self.get.await?;
            let document = found.data.as_ref().map(Entry::to_doc).transpose()?;
            Ok(Answer::new(document, found.revision, found.now))
        })
    }
}

/// An existence check to be awaited: see [`Concord::exists`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Exists<'a, K>(Get<'a, K>);

impl<'a, K: AsRef<[u8]> + Send + 'a> Exists<'a, K> {
    read_options!(0.plan);

    /// Asks about this revision.
    pub fn revision(mut self, revision: Revision) -> Self {
        self.0 = self.0.revision(revision);
        self
    }
}

impl<'a, K: AsRef<[u8]> + Send + 'a> IntoFuture for Exists<'a, K> {
    type Output = Result<Answer<bool>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.0.look(|entry, _| entry.is_some())
    }
}

/// A question for the time left, to be awaited: see [`Concord::ttl`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetTtl<'a, K>(Get<'a, K>);

impl<'a, K: AsRef<[u8]> + Send + 'a> GetTtl<'a, K> {
    read_options!(0.plan);
}

impl<'a, K: AsRef<[u8]> + Send + 'a> IntoFuture for GetTtl<'a, K> {
    type Output = Result<Answer<Option<Remaining>>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.0
            .look(|entry, view| entry.map(|entry| Remaining::until(entry.expires_at(), view.now())))
    }
}

/// A look at a key's versions, to be awaited: see [`Concord::history`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct History<'a> {
    concord: &'a Concord,
    key: Result<Key, Error>,
    direction: Direction,
    limit: usize,
    after: Option<Revision>,
    plan: ReadPlan,
}

/// Versions of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryEntries {
    /// In the order asked for.
    pub versions: Vec<Version>,
    /// Where to go on with [`History::after`], if there is more.
    pub next: Option<Revision>,
    /// Versions before this revision are forgotten, but for the one that was in force at it.
    pub compact_revision: Revision,
}

impl History<'_> {
    read_options!(plan);
    takes_plan!();

    /// Oldest first.
    pub fn ascending(mut self) -> Self {
        self.direction = Direction::Ascending;
        self
    }

    /// At most this many.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Goes on behind this revision, in the order of the listing.
    pub fn after(mut self, revision: Revision) -> Self {
        self.after = Some(revision);
        self
    }
}

impl<'a> IntoFuture for History<'a> {
    type Output = Result<Answer<HistoryEntries>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            concord,
            key,
            direction,
            limit,
            after,
            plan,
        } = self;
        let key = match key {
            Ok(key) => key,
            Err(invalid) => return Operation::ready(Err(invalid)),
        };
        // Any of the versions may be packed.
        concord.read_aside(key, history_of, plan, move |key, seen| {
            let view = seen.view();
            let page = view.history(&HistoryRequest {
                key,
                direction,
                limit,
                after,
            })?;
            Ok(HistoryEntries {
                versions: page.versions,
                next: page.next,
                compact_revision: view.compact_revision(),
            })
        })
    }
}

/// A question for the settings, to be awaited: see [`Concord::settings`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetSettings<'a> {
    concord: &'a Concord,
    plan: ReadPlan,
}

impl GetSettings<'_> {
    read_options!(plan);
    takes_plan!();
}

impl<'a> IntoFuture for GetSettings<'a> {
    type Output = Result<Answer<Settings>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.concord.read(
            (),
            |()| Read::Settings,
            self.plan,
            |(), seen| Ok(seen.view().settings()),
        )
    }
}

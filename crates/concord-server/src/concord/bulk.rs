//! Many keys at once: one request, one revision, all or nothing.

use std::future::IntoFuture;
use std::time::Duration;

use concord_auth::Read;
use concord_core::command::{Command, Lifetime, PutItem, TouchItem};
use concord_core::ids::{LeaseId, Millis, Revision};
use concord_core::key::Key;
use concord_core::limits::BATCH_ITEMS_MAX;
use concord_core::reply::{Reply, RequestPart, TouchOutcome};
use concord_core::value::Value;
use concord_raft::ReadConsistency;

use super::Concord;
use super::convert::{IntoValue, lifetime, ttl_millis};
use super::operation::Operation;
use super::read::{read_options, takes_plan, unpack_all};
use super::write::{Stores, Write, WriteKind, key_of};
use crate::answer::{Answer, DeletedMany, Entry, TouchedMany, WrittenMany};
use crate::error::Error;
use crate::service::{ReadPlan, batch_too_large};

impl Concord {
    /// Stores up to 500 values at one revision, or none of them. Of items with one key the
    /// last wins.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// use std::time::Duration;
    /// use concord_server::Item;
    ///
    /// db.put_many([("colour", "red"), ("shape", "round")]).await?;
    /// db.put_many([
    ///     Item::new("session:1", "ada").ttl(Duration::from_secs(60)),
    ///     Item::new("sessions", 1_u64.to_string()),
    /// ])
    /// .await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Concord::put`], with the place of the offending item, from 0, in the number `item` of
    /// the error; `batch_too_large`. Nothing was written then.
    pub fn put_many<I: Into<Item>>(&self, items: impl IntoIterator<Item = I>) -> Write<'_, PutMany> {
        let items = items.into_iter().map(Into::into).collect();
        self.draft(PutMany { items, ttl: Ok(None) })
    }

    /// Removes up to 500 keys at one revision. Absent ones are no obstacle.
    ///
    /// # Errors
    ///
    /// As [`Concord::put_many`].
    pub fn delete_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Write<'_, DeleteMany> {
        self.draft(DeleteMany { keys: keys_of(keys) })
    }

    /// Resets the time that up to 500 keys have left, at one revision. Absent ones are no
    /// obstacle: the answer tells which.
    ///
    /// # Errors
    ///
    /// As [`Concord::put_many`].
    pub fn touch_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = (K, Duration)>,
    ) -> Write<'_, TouchMany> {
        self.touch_all(keys.into_iter().map(|(key, ttl)| (key, Some(ttl))))
    }

    /// Lets up to 500 keys live for ever, as [`Concord::touch_many`].
    ///
    /// # Errors
    ///
    /// As [`Concord::put_many`].
    pub fn persist_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Write<'_, TouchMany> {
        self.touch_all(keys.into_iter().map(|key| (key, None)))
    }

    /// Touches with or without a new time to live.
    pub(crate) fn touch_all<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = (K, Option<Duration>)>,
    ) -> Write<'_, TouchMany> {
        let items = collect(keys.into_iter().map(|(key, ttl)| {
            Ok(TouchItem {
                key: key_of(key)?,
                lifetime: ttl.map(ttl_millis).transpose()?.into(),
            })
        }));
        self.draft(TouchMany { items })
    }

    /// Reads up to 500 keys, all at one revision. Consistency as [`Concord::get`].
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let found = db.get_many(["colour", "shape"]).await?;
    /// for entry in found.iter().flatten() {
    ///     println!("{:?} of revision {}", entry.text(), entry.mod_revision());
    /// }
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Concord::get`], with the place of the offending key in the number `item` of the error;
    /// `batch_too_large`.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> GetMany<'_> {
        GetMany {
            concord: self,
            keys: keys_of(keys),
            revision: None,
            plan: self.read_plan(),
        }
    }
}

/// A value on its way into the store together with others: see [`Concord::put_many`].
#[derive(Clone, Debug)]
pub struct Item {
    key: Result<Key, Error>,
    value: Result<Value, Error>,
    ttl: Result<Option<Millis>, Error>,
    lease: Option<LeaseId>,
}

impl Item {
    /// This value under this key. It does not expire.
    pub fn new(key: impl AsRef<[u8]>, value: impl IntoValue) -> Self {
        Self::at(key_of(key), value)
    }

    pub(super) fn at(key: Result<Key, Error>, value: impl IntoValue) -> Self {
        Self {
            key,
            value: value.into_value(),
            ttl: Ok(None),
            lease: None,
        }
    }

    /// Lets the key expire after this long, by the cluster's clock.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl_millis(ttl).map(Some);
        self
    }

    /// Hangs the key on a lease, instead of a time to live: it goes when the lease ends.
    #[must_use]
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.lease = Some(lease);
        self
    }

    /// What the store is asked for; `common` is how long it lives if it does not say so itself.
    pub(super) fn into_put(self, common: Option<Millis>) -> Result<PutItem, Error> {
        Ok(PutItem {
            key: self.key?,
            value: self.value?.into(),
            lifetime: match lifetime(self.ttl, self.lease)? {
                Lifetime::Forever => common.into(),
                own @ (Lifetime::Ttl(_) | Lifetime::Lease(_)) => own,
            },
        })
    }
}

impl<K: AsRef<[u8]>, V: IntoValue> From<(K, V)> for Item {
    fn from((key, value): (K, V)) -> Self {
        Self::new(key, value)
    }
}

fn keys_of<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Vec<Key>, Error> {
    collect(keys.into_iter().map(key_of))
}

/// All items, or the first that is wrong with its place.
fn collect<T>(items: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    items
        .enumerate()
        .map(|(place, item)| item.map_err(|error| error.in_part(RequestPart::Item, place)))
        .collect()
}

/// See [`Concord::put_many`].
#[derive(Debug)]
pub struct PutMany {
    items: Vec<Item>,
    ttl: Result<Option<Millis>, Error>,
}

impl Write<'_, PutMany> {
    /// Lets the keys of all items that have no time to live or lease of their own expire after this long.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.kind.ttl = ttl_millis(ttl).map(Some);
        self
    }
}

impl Stores for PutMany {}

impl WriteKind for PutMany {
    type Answer = WrittenMany;

    fn command(self) -> Result<Command, Error> {
        let common = self.ttl?;
        let items = collect(self.items.into_iter().map(|item| item.into_put(common)))?;
        Ok(Command::PutMany { items })
    }

    fn answer(reply: Reply) -> Option<WrittenMany> {
        let Reply::WrittenMany { revision } = reply else {
            return None;
        };
        Some(WrittenMany { revision })
    }
}

/// See [`Concord::delete_many`].
#[derive(Debug)]
pub struct DeleteMany {
    keys: Result<Vec<Key>, Error>,
}

impl WriteKind for DeleteMany {
    type Answer = DeletedMany;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::DeleteMany { keys: self.keys? })
    }

    fn answer(reply: Reply) -> Option<DeletedMany> {
        let Reply::DeletedMany { revision, existed } = reply else {
            return None;
        };
        Some(DeletedMany { revision, existed })
    }
}

/// See [`Concord::touch_many`] and [`Concord::persist_many`].
#[derive(Debug)]
pub struct TouchMany {
    items: Result<Vec<TouchItem>, Error>,
}

impl WriteKind for TouchMany {
    type Answer = TouchedMany;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::TouchMany { items: self.items? })
    }

    fn answer(reply: Reply) -> Option<TouchedMany> {
        let Reply::TouchedMany { revision, outcomes } = reply else {
            return None;
        };
        let outcomes = outcomes.into_iter().map(|outcome| match outcome {
            TouchOutcome::NotFound => None,
            TouchOutcome::Touched { expires_at } => Some(expires_at),
        });
        Some(TouchedMany {
            revision,
            expires_at: outcomes.collect(),
        })
    }
}

/// A read of many keys to be awaited: see [`Concord::get_many`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetMany<'a> {
    concord: &'a Concord,
    keys: Result<Vec<Key>, Error>,
    revision: Option<Revision>,
    plan: ReadPlan,
}

impl GetMany<'_> {
    read_options!(plan);
    takes_plan!();

    /// Reads the keys as they were at this revision.
    pub fn revision(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }
}

impl<'a> IntoFuture for GetMany<'a> {
    /// What was found, in the order of the keys.
    type Output = Result<Answer<Vec<Option<Entry>>>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            concord,
            keys,
            revision,
            plan,
        } = self;
        let keys = match keys {
            Ok(keys) if keys.len() > BATCH_ITEMS_MAX => Err(batch_too_large(keys.len())),
            other => other,
        };
        let keys = match keys {
            Ok(keys) => keys,
            Err(invalid) => return Operation::ready(Err(invalid)),
        };
        // A view read: it never enters the log (D-RAFT-9).
        let found = concord.read(keys, of_keys, plan, move |keys, seen| {
            let view = seen.view();
            let entry = |key: &Key| match revision {
                None => Ok(view.get_pinned(key.as_bytes()).map(Entry::pinned)),
                Some(revision) => {
                    let found = view.get_at(key.as_bytes(), revision)?;
                    Ok(found.map(|record| Entry::owned(record.to_stored_record())))
                }
            };
            keys.iter().map(entry).collect()
        });
        found.and_then(unpack)
    }
}

#[expect(clippy::ptr_arg, reason = "it is asked about what it is given")]
fn of_keys(keys: &Vec<Key>) -> Read<'_> {
    Read::GetMany(keys)
}

type Found = Result<Answer<Vec<Option<Entry>>>, Error>;

fn unpack<'a>(found: Found) -> Operation<'a, Found> {
    match found {
        Ok(answer) => unpack_all(answer, |answer, visit| {
            answer.data.iter_mut().flatten().for_each(visit)
        }),
        refused => Operation::ready(refused),
    }
}

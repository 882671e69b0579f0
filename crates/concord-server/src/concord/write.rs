//! Writes: one shape for all of them, and what each kind adds to it.
//!
//! ```text
//!   db.put(key, value) ── Write<Put> ── .ttl(..) .timeout(..) ── .await
//!                                                                  │
//!                          Put::command ─▶ permit ─▶ propose ─▶ Put::answer
//! ```

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use concord_core::command::Command;
use concord_core::idempotency::IdempotencyKey;
use concord_core::ids::{LeaseId, Millis, Revision};
use concord_core::key::Key;
use concord_core::record::{Record, StoredRecord};
use concord_core::reply::Reply;
use concord_core::settings::Settings;
use concord_core::value::Value;
use serde::Serialize;

use super::Concord;
use super::condition::Only;
use super::convert::{IntoValue, lifetime, ttl_millis};
use super::operation::Operation;
use crate::answer::{Deleted, Incremented, Touched, Written};
use crate::compression::Packing;
use crate::error::{Error, ErrorKind};

impl Concord {
    /// Stores a value. Without [`Write::ttl`] the key does not expire, even if it did before.
    ///
    /// # Errors
    ///
    /// `invalid_key`, `invalid_ttl`, `invalid_value`, `value_too_large`; `timeout`, `no_quorum`,
    /// `overloaded` when nothing was written; `outcome_unknown` when it may have been.
    ///
    /// # Consistency
    ///
    /// Once this answers, the write is durable on a majority, and every later `leader` or
    /// `strong` read on any node sees it. It is applied at most once, however often it had
    /// to be sent.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl IntoValue) -> Write<'_, Put> {
        self.put_value(key, value.into_value())
    }

    /// Stores anything that serialises as a document. Errors and consistency as
    /// [`Concord::put`]; `invalid_value` if it has an integer beyond 64 bits or is too deep. A
    /// float that is not finite becomes null, as in JSON.
    pub fn put_doc<T: Serialize + ?Sized>(&self, key: impl AsRef<[u8]>, document: &T) -> Write<'_, Put> {
        let json = serde_json::to_value(document)
            .map_err(|error| Error::new(ErrorKind::InvalidValue, error.to_string()));
        self.put_value(key, json.and_then(IntoValue::into_value))
    }

    fn put_value(&self, key: impl AsRef<[u8]>, value: Result<Value, Error>) -> Write<'_, Put> {
        self.draft(Put {
            key: key_of(key),
            value,
            ttl: Ok(None),
            lease: None,
            only: Only::ALWAYS,
            return_previous: false,
        })
    }

    /// Removes a key. Of an absent one: succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Concord::put`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Write<'_, Delete> {
        self.draft(Delete {
            key: key_of(key),
            only: Only::ALWAYS,
            return_previous: false,
        })
    }

    /// Resets the time that a key has left.
    ///
    /// # Errors
    ///
    /// `not_found` if there is no such key; else as [`Concord::put`].
    pub fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Write<'_, Touch> {
        self.draft(Touch {
            key: key_of(key),
            ttl: ttl_millis(ttl).map(Some),
        })
    }

    /// Lets a key live for ever.
    ///
    /// # Errors
    ///
    /// As [`Concord::touch`].
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Write<'_, Touch> {
        self.draft(Touch {
            key: key_of(key),
            ttl: Ok(None),
        })
    }

    /// Adds to a 64-bit number, atomically. An absent key counts as 0.
    ///
    /// # Errors
    ///
    /// `invalid_value` if the key holds something else or the sum does not fit; else as
    /// [`Concord::put`].
    pub fn increment(&self, key: impl AsRef<[u8]>, delta: i64) -> Write<'_, Increment> {
        self.draft(Increment {
            key: key_of(key),
            delta,
            ttl: Ok(None),
        })
    }

    /// Forgets the history before `revision`, which stays readable itself.
    ///
    /// # Errors
    ///
    /// `compacted` if it is gone already, `future_revision` if it is still to come.
    pub fn compact(&self, revision: Revision) -> Write<'_, Compact> {
        self.draft(Compact { revision })
    }

    /// Replaces the settings that the whole cluster judges by. Does not count as a revision.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a setting out of range; `forbidden`; else as [`Concord::put`].
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let mut settings = db.settings().await?.into_inner();
    /// settings.value_bytes_max = 1 << 20;
    /// db.configure(settings).await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(&self, settings: Settings) -> Write<'_, Configure> {
        self.draft(Configure { settings })
    }

    pub(super) fn draft<K>(&self, kind: K) -> Write<'_, K> {
        Write {
            concord: self,
            kind,
            timeout: self.request_timeout(),
            once: None,
            packing: Packing::Configured,
        }
    }
}

/// A write to be awaited. `K` is its kind, and says what can be added to it.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Write<'a, K> {
    concord: &'a Concord,
    pub(super) kind: K,
    timeout: Duration,
    once: Option<Bytes>,
    packing: Packing,
}

/// What tells one kind of write from another.
pub trait WriteKind: Send {
    /// What it answers with.
    type Answer;

    /// The request, if all that was said about it makes sense.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Nothing was written.
    fn command(self) -> Result<Command, Error>;

    /// The answer, if the reply is of this kind.
    fn answer(reply: Reply) -> Option<Self::Answer>;
}

impl<K> Write<'_, K> {
    /// Waits at most this long, instead of the configured time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Names the request, so that it is applied once however often it is sent under this name,
    /// also by another process: a retry gets the first answer. 1 to 255 bytes; remembered for
    /// a bounded time. Another request under the same name is `idempotency_conflict`.
    pub fn idempotency_key(mut self, name: impl AsRef<[u8]>) -> Self {
        self.once = Some(Bytes::copy_from_slice(name.as_ref()));
        self
    }
}

/// Kinds of writes that store values.
pub trait Stores: WriteKind {}

impl Stores for Put {}

impl<K: Stores> Write<'_, K> {
    /// Compresses the values however small they are, if that makes them smaller, or keeps them as they
    /// are; without this the node's settings decide. Reads give back what was put either way.
    pub fn compress(mut self, compress: impl Into<Option<bool>>) -> Self {
        self.packing = compress.into().into();
        self
    }
}

impl<'a, K: WriteKind + 'a> IntoFuture for Write<'a, K> {
    type Output = Result<K::Answer, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            concord,
            kind,
            timeout,
            once,
            packing,
        } = self;
        Operation::waiting(async move {
            let mut command = kind.command()?;
            if let Some(name) = once {
                let key =
                    IdempotencyKey::new(name).map_err(|error| Error::invalid_request(error.to_string()))?;
                command = Command::Idempotent {
                    key,
                    command: Box::new(command),
                };
            }
            let service = concord.service();
            let reply = service
                .perform(concord.caller(), command, packing, timeout)
                .await?;
            K::answer(reply).ok_or_else(unexpected)
        })
    }
}

pub(super) fn key_of(key: impl AsRef<[u8]>) -> Result<Key, Error> {
    Key::copy_of(key.as_ref()).map_err(|error| Error::new(ErrorKind::InvalidKey, error.to_string()))
}

/// A record of a reply, which is unpacked when it comes here.
fn plain(record: Option<StoredRecord>) -> Option<Option<Record>> {
    match record {
        Some(record) => record.into_plain().map(Some),
        None => Some(None),
    }
}

/// A reply of another kind than the command asks for: two versions that disagree. The
/// command was applied, but to what effect is not known.
fn unexpected() -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        "the state machine gave an answer of another kind",
    )
}

/// See [`Concord::put`].
#[derive(Debug)]
pub struct Put {
    key: Result<Key, Error>,
    value: Result<Value, Error>,
    ttl: Result<Option<Millis>, Error>,
    lease: Option<LeaseId>,
    pub(super) only: Only,
    return_previous: bool,
}

impl Write<'_, Put> {
    /// Lets the key expire after this long, by the cluster's clock. Whole milliseconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.kind.ttl = ttl_millis(ttl).map(Some);
        self
    }

    /// Hangs the key on a lease, instead of a time to live: it goes when the lease ends.
    /// `lease_not_found` if there is no such lease.
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.kind.lease = Some(lease);
        self
    }

    /// Answers with the record that was replaced.
    pub fn return_previous(mut self) -> Self {
        self.kind.return_previous = true;
        self
    }
}

impl WriteKind for Put {
    type Answer = Written;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::Put {
            key: self.key?,
            value: self.value?.into(),
            lifetime: lifetime(self.ttl, self.lease)?,
            condition: self.only.into_condition()?,
            return_previous: self.return_previous,
        })
    }

    fn answer(reply: Reply) -> Option<Written> {
        let Reply::Written { revision, previous } = reply else {
            return None;
        };
        Some(Written {
            revision,
            previous: plain(previous)?,
        })
    }
}

/// See [`Concord::delete`].
#[derive(Debug)]
pub struct Delete {
    key: Result<Key, Error>,
    pub(super) only: Only,
    return_previous: bool,
}

impl Write<'_, Delete> {
    /// Answers with the record that was removed.
    pub fn return_previous(mut self) -> Self {
        self.kind.return_previous = true;
        self
    }
}

impl WriteKind for Delete {
    type Answer = Deleted;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::Delete {
            key: self.key?,
            condition: self.only.into_condition()?,
            return_previous: self.return_previous,
        })
    }

    fn answer(reply: Reply) -> Option<Deleted> {
        let Reply::Deleted {
            revision,
            existed,
            previous,
        } = reply
        else {
            return None;
        };
        Some(Deleted {
            revision,
            existed,
            previous: plain(previous)?,
        })
    }
}

/// See [`Concord::touch`] and [`Concord::persist`].
#[derive(Debug)]
pub struct Touch {
    key: Result<Key, Error>,
    ttl: Result<Option<Millis>, Error>,
}

impl WriteKind for Touch {
    type Answer = Touched;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::Touch {
            key: self.key?,
            lifetime: self.ttl?.into(),
        })
    }

    fn answer(reply: Reply) -> Option<Touched> {
        let Reply::Touched { revision, expires_at } = reply else {
            return None;
        };
        Some(Touched { revision, expires_at })
    }
}

/// See [`Concord::increment`].
#[derive(Debug)]
pub struct Increment {
    key: Result<Key, Error>,
    delta: i64,
    ttl: Result<Option<Millis>, Error>,
}

impl Write<'_, Increment> {
    /// Lets the key expire after this long. Without it a deadline stays as it is.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.kind.ttl = ttl_millis(ttl).map(Some);
        self
    }
}

impl WriteKind for Increment {
    type Answer = Incremented;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::Increment {
            key: self.key?,
            delta: self.delta,
            ttl: self.ttl?,
        })
    }

    fn answer(reply: Reply) -> Option<Incremented> {
        let Reply::Incremented { revision, value } = reply else {
            return None;
        };
        Some(Incremented { revision, value })
    }
}

/// See [`Concord::compact`].
#[derive(Debug)]
pub struct Compact {
    revision: Revision,
}

impl WriteKind for Compact {
    type Answer = Revision;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::Compact {
            revision: self.revision,
        })
    }

    fn answer(reply: Reply) -> Option<Revision> {
        let Reply::Compacted { revision } = reply else {
            return None;
        };
        Some(revision)
    }
}

/// See [`Concord::configure`].
#[derive(Debug)]
pub struct Configure {
    settings: Settings,
}

impl WriteKind for Configure {
    type Answer = Revision;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::Configure(self.settings))
    }

    fn answer(reply: Reply) -> Option<Revision> {
        let Reply::Configured { revision } = reply else {
            return None;
        };
        Some(revision)
    }
}

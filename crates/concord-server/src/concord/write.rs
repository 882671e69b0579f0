//! Writes.

use std::future::IntoFuture;
use std::time::Duration;

use concord_core::command::Command;
use concord_core::ids::{Millis, Revision};
use concord_core::key::Key;
use concord_core::reply::Reply;
use concord_core::value::Value;
use serde::Serialize;

use super::Concord;
use super::convert::{IntoValue, ttl_millis};
use super::operation::Operation;
use crate::answer::{Deleted, Incremented, Touched, Written};
use crate::error::{Error, ErrorKind};
use crate::service;

impl Concord {
    /// Stores a value. Without [`Put::ttl`] the key does not expire, even if it did before.
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
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl IntoValue) -> Put<'_> {
        Put {
            concord: self,
            key: key_of(key),
            value: value.into_value(),
            ttl: Ok(None),
            return_previous: false,
            timeout: self.request_timeout(),
        }
    }

    /// Stores anything that serialises as a document. Errors and consistency as
    /// [`Concord::put`]; `invalid_value` if it has an integer beyond 64 bits or is too deep. A
    /// float that is not finite becomes null, as in JSON.
    pub fn put_doc<T: Serialize + ?Sized>(&self, key: impl AsRef<[u8]>, document: &T) -> Put<'_> {
        let json = serde_json::to_value(document)
            .map_err(|error| Error::new(ErrorKind::InvalidValue, error.to_string()));
        Put {
            value: json.and_then(IntoValue::into_value),
            ..self.put(key, "")
        }
    }

    /// Removes a key. Of an absent one: succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Concord::put`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Delete<'_> {
        Delete {
            concord: self,
            key: key_of(key),
            return_previous: false,
            timeout: self.request_timeout(),
        }
    }

    /// Resets the time that a key has left.
    ///
    /// # Errors
    ///
    /// `not_found` if there is no such key; else as [`Concord::put`].
    pub fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Touch<'_> {
        Touch {
            concord: self,
            key: key_of(key),
            ttl: ttl_millis(ttl).map(Some),
            timeout: self.request_timeout(),
        }
    }

    /// Lets a key live for ever.
    ///
    /// # Errors
    ///
    /// As [`Concord::touch`].
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Touch<'_> {
        Touch {
            concord: self,
            key: key_of(key),
            ttl: Ok(None),
            timeout: self.request_timeout(),
        }
    }

    /// Adds to a 64-bit number, atomically. An absent key counts as 0.
    ///
    /// # Errors
    ///
    /// `invalid_value` if the key holds something else or the sum does not fit; else as
    /// [`Concord::put`].
    pub fn increment(&self, key: impl AsRef<[u8]>, delta: i64) -> Increment<'_> {
        Increment {
            concord: self,
            key: key_of(key),
            delta,
            ttl: Ok(None),
            timeout: self.request_timeout(),
        }
    }

    /// Forgets the history before `revision`, which stays readable itself.
    ///
    /// # Errors
    ///
    /// `compacted` if it is gone already, `future_revision` if it is still to come.
    pub fn compact(&self, revision: Revision) -> Compact<'_> {
        Compact {
            concord: self,
            revision,
            timeout: self.request_timeout(),
        }
    }

    async fn write(&self, command: Command, timeout: Duration) -> Result<Reply, Error> {
        let command = service::permit(self.principal(), command)?;
        self.service().write(command, timeout).await
    }
}

fn key_of(key: impl AsRef<[u8]>) -> Result<Key, Error> {
    Key::copy_of(key.as_ref()).map_err(|error| Error::new(ErrorKind::InvalidKey, error.to_string()))
}

/// A reply of another kind than the command asks for: two versions that disagree. The
/// command was applied, but to what effect is not known.
fn unexpected() -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        "the state machine gave an answer of another kind",
    )
}

macro_rules! with_timeout {
    () => {
        /// Waits at most this long, instead of the configured time.
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.timeout = timeout;
            self
        }
    };
}

/// A put to be awaited: see [`Concord::put`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Put<'a> {
    concord: &'a Concord,
    key: Result<Key, Error>,
    value: Result<Value, Error>,
    ttl: Result<Option<Millis>, Error>,
    return_previous: bool,
    timeout: Duration,
}

impl Put<'_> {
    with_timeout!();

    /// Lets the key expire after this long, by the cluster's clock. Whole milliseconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl_millis(ttl).map(Some);
        self
    }

    /// Answers with the record that was replaced.
    pub fn return_previous(mut self) -> Self {
        self.return_previous = true;
        self
    }

    async fn run(self) -> Result<Written, Error> {
        let Self {
            concord,
            key,
            value,
            ttl,
            return_previous,
            timeout,
        } = self;
        let command = Command::Put {
            key: key?,
            value: value?,
            lifetime: ttl?.into(),
            condition: None,
            return_previous,
        };
        let reply = concord.write(command, timeout).await?;
        let Reply::Written { revision, previous } = reply else {
            return Err(unexpected());
        };
        Ok(Written { revision, previous })
    }
}

impl<'a> IntoFuture for Put<'a> {
    type Output = Result<Written, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.run())
    }
}

/// A delete to be awaited: see [`Concord::delete`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Delete<'a> {
    concord: &'a Concord,
    key: Result<Key, Error>,
    return_previous: bool,
    timeout: Duration,
}

impl Delete<'_> {
    with_timeout!();

    /// Answers with the record that was removed.
    pub fn return_previous(mut self) -> Self {
        self.return_previous = true;
        self
    }

    async fn run(self) -> Result<Deleted, Error> {
        let command = Command::Delete {
            key: self.key?,
            condition: None,
            return_previous: self.return_previous,
        };
        let reply = self.concord.write(command, self.timeout).await?;
        let Reply::Deleted {
            revision,
            existed,
            previous,
        } = reply
        else {
            return Err(unexpected());
        };
        Ok(Deleted {
            revision,
            existed,
            previous,
        })
    }
}

impl<'a> IntoFuture for Delete<'a> {
    type Output = Result<Deleted, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.run())
    }
}

/// A touch to be awaited: see [`Concord::touch`] and [`Concord::persist`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Touch<'a> {
    concord: &'a Concord,
    key: Result<Key, Error>,
    ttl: Result<Option<Millis>, Error>,
    timeout: Duration,
}

impl Touch<'_> {
    with_timeout!();

    async fn run(self) -> Result<Touched, Error> {
        let command = Command::Touch {
            key: self.key?,
            lifetime: self.ttl?.into(),
        };
        let reply = self.concord.write(command, self.timeout).await?;
        let Reply::Touched { revision, expires_at } = reply else {
            return Err(unexpected());
        };
        Ok(Touched { revision, expires_at })
    }
}

impl<'a> IntoFuture for Touch<'a> {
    type Output = Result<Touched, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.run())
    }
}

/// An increment to be awaited: see [`Concord::increment`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Increment<'a> {
    concord: &'a Concord,
    key: Result<Key, Error>,
    delta: i64,
    ttl: Result<Option<Millis>, Error>,
    timeout: Duration,
}

impl Increment<'_> {
    with_timeout!();

    /// Lets the key expire after this long. Without it a deadline stays as it is.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl_millis(ttl).map(Some);
        self
    }

    async fn run(self) -> Result<Incremented, Error> {
        let command = Command::Increment {
            key: self.key?,
            delta: self.delta,
            ttl: self.ttl?,
        };
        let reply = self.concord.write(command, self.timeout).await?;
        let Reply::Incremented { revision, value } = reply else {
            return Err(unexpected());
        };
        Ok(Incremented { revision, value })
    }
}

impl<'a> IntoFuture for Increment<'a> {
    type Output = Result<Incremented, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.run())
    }
}

/// A compaction to be awaited: see [`Concord::compact`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Compact<'a> {
    concord: &'a Concord,
    revision: Revision,
    timeout: Duration,
}

impl Compact<'_> {
    with_timeout!();

    async fn run(self) -> Result<Revision, Error> {
        let command = Command::Compact {
            revision: self.revision,
        };
        let reply = self.concord.write(command, self.timeout).await?;
        let Reply::Compacted { revision } = reply else {
            return Err(unexpected());
        };
        Ok(revision)
    }
}

impl<'a> IntoFuture for Compact<'a> {
    type Output = Result<Revision, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.run())
    }
}

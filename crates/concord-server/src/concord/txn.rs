//! Transactions: compares decide which of two lists of steps is performed, all of it at one
//! revision.
//!
//! ```
//! use concord_server::txn::{key, prefix};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
//! let outcome = db
//!     .txn()
//!     .when(key("owner").is_absent())
//!     .then(key("owner").put("me"))
//!     .then(prefix("draft:").delete())
//!     .otherwise(key("owner").get())
//!     .await?;
//! if !outcome.succeeded {
//!     println!("somebody else owns it: {:?}", outcome.records(0));
//! }
//! # db.shutdown().await?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use bytes::Bytes;
use concord_core::command::{Command, Lifetime, TouchItem};
use concord_core::ids::{LeaseId, Revision, Timestamp};
use concord_core::key::{Key, KeyRange};
use concord_core::record::{Record, StoredRecord};
use concord_core::reply::{Reply, RequestPart, TouchOutcome};
use concord_core::txn::{Compare, Keys, Operation, OperationResult, Operator, Test, Txn, TxnOutcome};

use super::Concord;
use super::bulk::Item;
use super::condition::predicate;
use super::convert::{IntoValue, ttl_millis};
use super::write::{Stores, Write, WriteKind, key_of};
use crate::error::Error;

impl Concord {
    /// Begins a transaction: see [`crate::txn`] for its parts. A failed compare is an answer, not an
    /// error. Steps see what the steps before them wrote; all writes share one revision.
    ///
    /// # Errors
    ///
    /// As [`Concord::put`], with the place of the offending part in the number `compare`,
    /// `success` or `failure` of the error; `batch_too_large`. Nothing was written then.
    ///
    /// # Consistency
    ///
    /// As [`Concord::put`]. A transaction goes through the log also if it only reads.
    pub fn txn(&self) -> Write<'_, Transaction> {
        self.draft(Transaction::new())
    }

    /// A transaction that is put together already.
    #[cfg(feature = "http")]
    pub(crate) fn transact(&self, txn: Txn) -> Write<'_, Transaction> {
        let step = |operation| Step(Ok(operation));
        self.draft(Transaction {
            compares: txn.compares.into_iter().map(Ok).collect(),
            success: txn.success.into_iter().map(step).collect(),
            failure: txn.failure.into_iter().map(step).collect(),
        })
    }
}

/// A transaction, on its own or as a step of another.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens until it is a part of a request"]
pub struct Transaction {
    compares: Vec<Result<Compare, Error>>,
    success: Vec<Step>,
    failure: Vec<Step>,
}

impl Transaction {
    /// One that has no compares, which hold then, and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if this holds, too.
    pub fn when(mut self, condition: impl Into<When>) -> Self {
        self.compares.push(condition.into().0);
        self
    }

    /// If all compares hold, does this.
    pub fn then(mut self, step: impl Into<Step>) -> Self {
        self.success.push(step.into());
        self
    }

    /// If a compare does not hold, does this.
    pub fn otherwise(mut self, step: impl Into<Step>) -> Self {
        self.failure.push(step.into());
        self
    }

    fn into_txn(self) -> Result<Txn, Error> {
        let steps = |part, steps: Vec<Step>| parts(part, steps.into_iter().map(|step| step.0));
        Ok(Txn {
            compares: parts(RequestPart::Compare, self.compares.into_iter())?,
            success: steps(RequestPart::Success, self.success)?,
            failure: steps(RequestPart::Failure, self.failure)?,
        })
    }
}

/// All of them, or the first that is wrong with its place.
fn parts<T>(part: RequestPart, all: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    all.enumerate()
        .map(|(place, one)| one.map_err(|error| error.in_part(part, place)))
        .collect()
}

impl Write<'_, Transaction> {
    /// Only if this holds, too.
    pub fn when(mut self, condition: impl Into<When>) -> Self {
        self.kind = self.kind.when(condition);
        self
    }

    /// If all compares hold, does this.
    pub fn then(mut self, step: impl Into<Step>) -> Self {
        self.kind = self.kind.then(step);
        self
    }

    /// If a compare does not hold, does this.
    pub fn otherwise(mut self, step: impl Into<Step>) -> Self {
        self.kind = self.kind.otherwise(step);
        self
    }
}

impl Stores for Transaction {}

impl WriteKind for Transaction {
    type Answer = Transacted;

    fn command(self) -> Result<Command, Error> {
        self.into_txn().map(Command::Txn)
    }

    fn answer(reply: Reply) -> Option<Transacted> {
        let Reply::Txn { revision, outcome } = reply else {
            return None;
        };
        Transacted::new(revision, outcome)
    }
}

/// A compare of a transaction.
#[derive(Clone, Debug)]
pub struct When(Result<Compare, Error>);

/// A step of a transaction.
#[derive(Clone, Debug)]
pub struct Step(Result<Operation, Error>);

impl From<Transaction> for Step {
    fn from(nested: Transaction) -> Self {
        Self(nested.into_txn().map(Operation::Txn))
    }
}

/// One key, to be compared, read or written.
pub fn key(key: impl AsRef<[u8]>) -> OneKey {
    OneKey(key_of(key))
}

/// All keys that start with this, to be compared, read or deleted.
pub fn prefix(prefix: impl AsRef<[u8]>) -> ManyKeys {
    ManyKeys(KeyRange::prefix(Bytes::copy_from_slice(prefix.as_ref())))
}

/// All keys from `start`, included, to `end`, excluded.
pub fn between(start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> ManyKeys {
    let (start, end) = (start.as_ref(), end.as_ref());
    ManyKeys(KeyRange::between(
        Bytes::copy_from_slice(start),
        Bytes::copy_from_slice(end),
    ))
}

/// See [`key`].
#[derive(Clone, Debug)]
pub struct OneKey(Result<Key, Error>);

/// See [`prefix`] and [`between`]. A compare must hold of every key there is; if there is none,
/// it is judged as of an absent key.
#[derive(Clone, Debug)]
pub struct ManyKeys(KeyRange);

macro_rules! questions {
    () => {
        /// Whether there is such a key.
        pub fn exists(self) -> When {
            self.asks(Ok(Test::Exists(true)))
        }

        /// Whether there is no such key.
        pub fn is_absent(self) -> When {
            self.asks(Ok(Test::Exists(false)))
        }

        /// Whether this expression is true of the record, such as `value.age >= 30`. Of no
        /// record, and by an error, it is not.
        pub fn holds(self, expression: &str) -> When {
            self.asks(predicate(expression).map(Test::Predicate))
        }

        /// About the value. No question about the value of an absent key is answered with yes.
        pub fn value(self) -> ValueQuestion {
            ValueQuestion(self.into_keys())
        }

        /// About the revision of the last write; 0 for an absent key.
        pub fn mod_revision(self) -> Question<Revision> {
            Question(self.into_keys(), Test::ModRevision)
        }

        /// About the revision at which the key came into being; 0 for an absent key.
        pub fn create_revision(self) -> Question<Revision> {
            Question(self.into_keys(), Test::CreateRevision)
        }

        /// About the number of writes since the key came into being; 0 for an absent key.
        pub fn version(self) -> Question<u64> {
            Question(self.into_keys(), Test::Version)
        }

        /// About the lease that the key hangs on; 0 if on none.
        pub fn lease(self) -> Question<LeaseId> {
            Question(self.into_keys(), Test::Lease)
        }

        fn asks(self, test: Result<Test, Error>) -> When {
            asks(self.into_keys(), test)
        }
    };
}

fn asks(keys: Result<Keys, Error>, test: Result<Test, Error>) -> When {
    When(keys.and_then(|keys| Ok(Compare { keys, test: test? })))
}

impl OneKey {
    questions!();

    /// Reads it.
    pub fn get(self) -> Step {
        Step(self.into_keys().map(|keys| Operation::Get { keys, limit: None }))
    }

    /// Stores a value under it.
    pub fn put(self, value: impl IntoValue) -> PutStep {
        PutStep {
            item: Item::at(self.0, value),
            return_previous: false,
        }
    }

    /// Removes it.
    pub fn delete(self) -> DeleteStep {
        DeleteStep {
            keys: self.into_keys(),
            return_previous: false,
        }
    }

    /// Resets the time that it has left. Of an absent key: changes nothing, and says so.
    pub fn touch(self, ttl: Duration) -> Step {
        self.live(ttl_millis(ttl).map(Lifetime::Ttl))
    }

    /// Lets it live for ever.
    pub fn persist(self) -> Step {
        self.live(Ok(Lifetime::Forever))
    }

    fn live(self, lifetime: Result<Lifetime, Error>) -> Step {
        let item = self.0.and_then(|key| {
            let lifetime = lifetime?;
            Ok(TouchItem { key, lifetime })
        });
        Step(item.map(Operation::Touch))
    }

    fn into_keys(self) -> Result<Keys, Error> {
        self.0.map(Keys::One)
    }
}

impl ManyKeys {
    questions!();

    /// Reads them, in order.
    pub fn get(self) -> Step {
        self.read(None)
    }

    /// Reads the first of them, at most this many.
    pub fn get_first(self, limit: u64) -> Step {
        self.read(Some(limit))
    }

    /// Removes them.
    pub fn delete(self) -> DeleteStep {
        DeleteStep {
            keys: self.into_keys(),
            return_previous: false,
        }
    }

    fn read(self, limit: Option<u64>) -> Step {
        Step(self.into_keys().map(|keys| Operation::Get { keys, limit }))
    }

    fn into_keys(self) -> Result<Keys, Error> {
        Ok(Keys::Range(self.0))
    }
}

macro_rules! answers {
    ($given:ty) => {
        /// Equal to this.
        pub fn is(self, given: $given) -> When {
            self.so(Operator::Equal, given)
        }

        /// Not equal to this.
        pub fn is_not(self, given: $given) -> When {
            self.so(Operator::NotEqual, given)
        }

        /// Less than this.
        pub fn is_less_than(self, given: $given) -> When {
            self.so(Operator::Less, given)
        }

        /// Greater than this.
        pub fn is_greater_than(self, given: $given) -> When {
            self.so(Operator::Greater, given)
        }
    };
}

/// A question about a number of a record: what must it be?
#[derive(Clone, Debug)]
pub struct Question<T>(Result<Keys, Error>, fn(Operator, T) -> Test);

impl<T> Question<T> {
    answers!(T);

    fn so(self, operator: Operator, given: T) -> When {
        asks(self.0, Ok((self.1)(operator, given)))
    }
}

/// A question about a value: what must it be? Values of different formats are unequal and have
/// no order, and neither have documents.
#[derive(Clone, Debug)]
pub struct ValueQuestion(Result<Keys, Error>);

impl ValueQuestion {
    answers!(impl IntoValue);

    fn so(self, operator: Operator, given: impl IntoValue) -> When {
        asks(
            self.0,
            given.into_value().map(|value| Test::Value(operator, value)),
        )
    }
}

/// A put as a step: see [`OneKey::put`].
#[derive(Clone, Debug)]
pub struct PutStep {
    item: Item,
    return_previous: bool,
}

impl PutStep {
    /// Lets the key expire after this long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.item = self.item.ttl(ttl);
        self
    }

    /// Hangs the key on a lease, instead of a time to live: it goes when the lease ends.
    #[must_use]
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.item = self.item.lease(lease);
        self
    }

    /// Answers with the record that was replaced.
    #[must_use]
    pub fn return_previous(mut self) -> Self {
        self.return_previous = true;
        self
    }

    fn operation(self) -> Result<Operation, Error> {
        Ok(Operation::Put {
            item: self.item.into_put(None)?,
            return_previous: self.return_previous,
        })
    }
}

impl From<PutStep> for Step {
    fn from(put: PutStep) -> Self {
        Self(put.operation())
    }
}

/// A delete as a step: see [`OneKey::delete`] and [`ManyKeys::delete`].
#[derive(Clone, Debug)]
pub struct DeleteStep {
    keys: Result<Keys, Error>,
    return_previous: bool,
}

impl DeleteStep {
    /// Answers with the records that were removed.
    #[must_use]
    pub fn return_previous(mut self) -> Self {
        self.return_previous = true;
        self
    }
}

impl From<DeleteStep> for Step {
    fn from(delete: DeleteStep) -> Self {
        let return_previous = delete.return_previous;
        Self(delete.keys.map(|keys| Operation::Delete {
            keys,
            return_previous,
        }))
    }
}

/// What a transaction did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Transacted {
    /// Whether the compares held.
    pub succeeded: bool,
    /// The revision of its writes, or the current one if it changed nothing.
    pub revision: Revision,
    /// The results of the steps that were performed, in order.
    pub results: Vec<StepResult>,
}

/// What a step did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StepResult {
    /// What was read.
    Got {
        /// In the order of their keys.
        records: Vec<Record>,
        /// Whether a limit has left some out.
        more: bool,
    },
    /// The value is stored.
    Put {
        /// What it replaced, if that was asked for and there was something.
        previous: Option<Record>,
    },
    /// The keys are absent now.
    Deleted {
        /// How many there were.
        count: u64,
        /// What was removed, if that was asked for.
        previous: Vec<Record>,
    },
    /// The key has its new time to live.
    Touched {
        /// When it expires now; `None`: never.
        expires_at: Option<Timestamp>,
    },
    /// There is no such key to be touched.
    NotFound,
    /// What the transaction within did.
    Transacted(Transacted),
}

impl Transacted {
    /// `None` if a record is not unpacked: it is when it comes here.
    fn new(revision: Revision, outcome: TxnOutcome) -> Option<Self> {
        let plain = |records: Vec<StoredRecord>| -> Option<Vec<Record>> {
            records.into_iter().map(StoredRecord::into_plain).collect()
        };
        let result = |result| {
            Some(match result {
                OperationResult::Records { records, more } => StepResult::Got {
                    records: plain(records)?,
                    more,
                },
                OperationResult::Written { previous } => StepResult::Put {
                    previous: plain(previous.into_iter().collect())?.pop(),
                },
                OperationResult::Deleted { count, previous } => StepResult::Deleted {
                    count,
                    previous: plain(previous)?,
                },
                OperationResult::Touched(TouchOutcome::Touched { expires_at }) => {
                    StepResult::Touched { expires_at }
                }
                OperationResult::Touched(TouchOutcome::NotFound) => StepResult::NotFound,
                OperationResult::Txn(nested) => StepResult::Transacted(Self::new(revision, nested)?),
            })
        };
        Some(Self {
            succeeded: outcome.succeeded,
            revision,
            results: outcome.results.into_iter().map(result).collect::<Option<_>>()?,
        })
    }

    /// The records that the step at this place has read; none if it read nothing.
    pub fn records(&self, place: usize) -> &[Record] {
        match self.results.get(place) {
            Some(StepResult::Got { records, .. }) => records,
            Some(
                StepResult::Put { .. }
                | StepResult::Deleted { .. }
                | StepResult::Touched { .. }
                | StepResult::NotFound
                | StepResult::Transacted(_),
            )
            | None => &[],
        }
    }
}

//! Transactions.

use concord_core::Timestamp;
use concord_core::command::{Lifetime, PutItem, TouchItem};
use concord_core::ids::{LeaseId, Revision};
use concord_core::key::{Key, KeyRange};
use concord_core::reply::RequestPart;
use concord_core::txn::{Compare, Keys, Operation, Operator, Test, Txn};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{Ok as OkBody, ok};
use super::app::{App, CompressParams, WriteParams};
use super::body::{self, Json, present};
use super::condition::NoConditions;
use super::docs::WriteRefusals;
use super::error::{ApiError, ApiResult};
use super::once::Once;
use super::query::Query;
use super::record::RecordBody;
use super::value::{Format, value_of};
use crate::concord::txn::{StepResult, Transacted};
use crate::concord::{predicate, ttl_millis};
use crate::error::ErrorKind;

/// If all compares hold then `success`, else `failure`, in order, at one revision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Txn, example = json!({
    "compare": [{"key": "account:a", "mod_revision": 7}, {"key": "frozen", "exists": false}],
    "success": [
        {"put": {"key": "account:a", "value": 70}},
        {"put": {"key": "account:b", "value": 130, "ttl": "1h"}}
    ],
    "failure": [{"get": {"prefix": "account:"}}]
}))]
pub(crate) struct TxnBody {
    /// Up to 128; none: they hold.
    #[serde(default)]
    compare: Vec<CompareBody>,
    /// Up to 128.
    #[serde(default)]
    success: Vec<OperationBody>,
    /// Up to 128.
    #[serde(default)]
    failure: Vec<OperationBody>,
}

/// A question about the records of `key`, of `prefix`, or of `start` and `end`, with exactly one
/// of the other fields.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompareBody {
    /// Of this key.
    key: Option<String>,
    /// Of all keys that start with this.
    prefix: Option<String>,
    /// Of all keys from this one on, included.
    start: Option<String>,
    /// Of all keys before this one.
    end: Option<String>,
    /// `=` if missing.
    op: Option<OperatorBody>,
    /// Whether there is such a key. Has no `op`.
    exists: Option<bool>,
    /// The value; a string is text, anything else a document.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Value>)]
    value: Option<Box<RawValue>>,
    /// What `value` is kept as, if not as described there.
    format: Option<Format>,
    /// The revision of the last write; 0 if absent.
    mod_revision: Option<u64>,
    /// The revision at which the key came into being; 0 if absent.
    create_revision: Option<u64>,
    /// The number of writes since then; 0 if absent.
    version: Option<u64>,
    /// The lease that the key hangs on; 0 if on none.
    lease: Option<u64>,
    /// An expression that must be true of the record, such as `value.age >= 30`. Has no `op`.
    #[serde(rename = "where")]
    only_where: Option<String>,
}

/// How what is stored must be to what is given.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
enum OperatorBody {
    /// The same.
    #[serde(rename = "=", alias = "==")]
    Equal,
    /// Not the same.
    #[serde(rename = "!=")]
    NotEqual,
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
}

impl From<OperatorBody> for Operator {
    fn from(named: OperatorBody) -> Self {
        match named {
            OperatorBody::Equal => Self::Equal,
            OperatorBody::NotEqual => Self::NotEqual,
            OperatorBody::Less => Self::Less,
            OperatorBody::Greater => Self::Greater,
        }
    }
}

/// A step of a transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum OperationBody {
    /// Read records.
    Get(GetStep),
    /// Store a value.
    Put(PutStep),
    /// Remove keys.
    Delete(DeleteStep),
    /// Reset the time that a key has left. Of an absent key: changes nothing.
    Touch(TouchStep),
    /// Another transaction within this one, up to four levels.
    #[schema(no_recursion)]
    Txn(TxnBody),
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GetStep {
    key: Option<String>,
    prefix: Option<String>,
    start: Option<String>,
    end: Option<String>,
    /// At most this many; missing: all there are.
    limit: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutStep {
    key: String,
    #[schema(value_type = Value)]
    value: Box<RawValue>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
    /// The lease that the key hangs on, instead of a time to live.
    lease: Option<u64>,
    format: Option<Format>,
    #[serde(default)]
    return_previous: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeleteStep {
    key: Option<String>,
    prefix: Option<String>,
    start: Option<String>,
    end: Option<String>,
    #[serde(default)]
    return_previous: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TouchStep {
    key: String,
    /// null: the key no longer expires.
    #[schema(value_type = Option<Object>)]
    ttl: Box<RawValue>,
}

fn one(key: &str) -> ApiResult<Key> {
    Key::copy_of(key.as_bytes()).map_err(|error| ApiError::new(ErrorKind::InvalidKey, error.to_string()))
}

/// One key or a range of them, as four fields say it.
fn keys(
    key: Option<String>,
    prefix: Option<String>,
    start: Option<String>,
    end: Option<String>,
) -> ApiResult<Keys> {
    match (key, prefix, start, end) {
        (Some(key), None, None, None) => one(&key).map(Keys::One),
        (None, Some(prefix), None, None) => Ok(Keys::Range(KeyRange::prefix(prefix))),
        (None, None, Some(start), Some(end)) => Ok(Keys::Range(KeyRange::between(start, end))),
        (None, None, Some(start), None) => Ok(Keys::Range(KeyRange::from(start))),
        (None, None, None, Some(end)) => Ok(Keys::Range(KeyRange::between("", end))),
        _ => Err(ApiError::invalid_request(
            "name either `key`, or `prefix`, or `start` and `end`",
        )),
    }
}

fn lifetime(ttl: &RawValue) -> ApiResult<Lifetime> {
    match ttl.get() {
        "null" => Ok(Lifetime::Forever),
        _ => Ok(Lifetime::Ttl(ttl_millis(body::ttl(ttl)?)?)),
    }
}

impl CompareBody {
    fn read(self) -> ApiResult<Compare> {
        let operator = self.op.map_or(Operator::Equal, Operator::from);
        let number = |test: fn(Operator, u64) -> Test, given: Option<u64>| given.map(|it| test(operator, it));
        let value = match &self.value {
            Some(value) => Some(Test::Value(operator, value_of(value, self.format)?)),
            None if self.format.is_some() => {
                return Err(ApiError::invalid_request("format has no effect without value"));
            }
            None => None,
        };
        if (self.exists.is_some() || self.only_where.is_some()) && self.op.is_some() {
            return Err(ApiError::invalid_request("op has no effect on exists and where"));
        }
        let predicate = match &self.only_where {
            Some(text) => Some(Test::Predicate(predicate(text)?)),
            None => None,
        };
        let mut tests = [
            self.exists.map(Test::Exists),
            value,
            predicate,
            number(
                |op, it| Test::ModRevision(op, Revision::new(it)),
                self.mod_revision,
            ),
            number(
                |op, it| Test::CreateRevision(op, Revision::new(it)),
                self.create_revision,
            ),
            number(Test::Version, self.version),
            number(|op, it| Test::Lease(op, LeaseId::new(it)), self.lease),
        ]
        .into_iter()
        .flatten();
        let (Some(test), None) = (tests.next(), tests.next()) else {
            return Err(ApiError::invalid_request(
                "a compare has exactly one of exists, value, mod_revision, create_revision, version, lease and where",
            ));
        };
        let keys = keys(self.key, self.prefix, self.start, self.end)?;
        Ok(Compare { keys, test })
    }
}

impl OperationBody {
    fn read(self) -> ApiResult<Operation> {
        Ok(match self {
            Self::Get(get) => Operation::Get {
                keys: keys(get.key, get.prefix, get.start, get.end)?,
                limit: get.limit,
            },
            Self::Put(put) => Operation::Put {
                item: PutItem {
                    key: one(&put.key)?,
                    value: value_of(&put.value, put.format)?.into(),
                    lifetime: match (put.ttl.as_deref(), put.lease) {
                        (None, None) => Lifetime::Forever,
                        (Some(ttl), None) => lifetime(ttl)?,
                        (None, Some(id)) => Lifetime::Lease(LeaseId::new(id)),
                        (Some(_), Some(_)) => {
                            return Err(ApiError::invalid_request("a key has a ttl or a lease, not both"));
                        }
                    },
                },
                return_previous: put.return_previous,
            },
            Self::Delete(delete) => Operation::Delete {
                keys: keys(delete.key, delete.prefix, delete.start, delete.end)?,
                return_previous: delete.return_previous,
            },
            Self::Touch(touch) => Operation::Touch(TouchItem {
                key: one(&touch.key)?,
                lifetime: lifetime(&touch.ttl)?,
            }),
            Self::Txn(nested) => Operation::Txn(nested.read()?),
        })
    }
}

/// All of them, or the first that is wrong with its place.
fn each<T, U>(part: RequestPart, all: Vec<T>, read: fn(T) -> ApiResult<U>) -> ApiResult<Vec<U>> {
    all.into_iter()
        .enumerate()
        .map(|(place, one)| read(one).map_err(|error| error.in_part(part, place)))
        .collect()
}

impl TxnBody {
    fn read(self) -> ApiResult<Txn> {
        Ok(Txn {
            compares: each(RequestPart::Compare, self.compare, CompareBody::read)?,
            success: each(RequestPart::Success, self.success, OperationBody::read)?,
            failure: each(RequestPart::Failure, self.failure, OperationBody::read)?,
        })
    }
}

/// What a transaction did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TxnAnswer<'a> {
    /// Whether the compares held.
    succeeded: bool,
    /// The revision of its writes, or the current one if it changed nothing.
    revision: u64,
    /// The results of the steps that were performed, in order.
    results: Vec<ResultBody<'a>>,
}

/// What a step did, under the name of the step.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResultBody<'a> {
    /// What was read.
    Get {
        /// In the order of their keys.
        records: Vec<RecordBody<'a>>,
        /// Whether the limit has left some out.
        more: bool,
    },
    /// The value is stored.
    Put {
        /// What was replaced, if that was asked for and there was something.
        previous: Option<RecordBody<'a>>,
    },
    /// The keys are absent now.
    Delete {
        /// How many there were.
        count: u64,
        /// What was removed, if that was asked for.
        previous: Vec<RecordBody<'a>>,
    },
    /// The key has its new time to live; null: there is no such key.
    Touch(Option<TouchedBody>),
    /// What the transaction within did.
    #[schema(no_recursion)]
    Txn(TxnAnswer<'a>),
}

#[derive(Debug, Serialize, ToSchema)]
struct TouchedBody {
    /// Milliseconds since the Unix epoch, by the cluster's clock; null: never.
    expires_at: Option<u64>,
}

impl<'a> TxnAnswer<'a> {
    fn new(done: &'a Transacted) -> Self {
        let result = |result: &'a StepResult| match result {
            StepResult::Got { records, more } => ResultBody::Get {
                records: records.iter().map(RecordBody::new).collect(),
                more: *more,
            },
            StepResult::Put { previous } => ResultBody::Put {
                previous: previous.as_ref().map(RecordBody::new),
            },
            StepResult::Deleted { count, previous } => ResultBody::Delete {
                count: *count,
                previous: previous.iter().map(RecordBody::new).collect(),
            },
            StepResult::Touched { expires_at } => ResultBody::Touch(Some(TouchedBody {
                expires_at: expires_at.map(Timestamp::get),
            })),
            StepResult::NotFound => ResultBody::Touch(None),
            StepResult::Transacted(nested) => ResultBody::Txn(Self::new(nested)),
        };
        Self {
            succeeded: done.succeeded,
            revision: done.revision.get(),
            results: done.results.iter().map(result).collect(),
        }
    }
}

/// Compares, then does one of two lists of steps, all at one revision. A failed compare is an
/// answer, not an error.
#[utoipa::path(
    post, path = "/api/v1/txn", tag = "kv",
    params(CompressParams, WriteParams),
    request_body = TxnBody,
    responses(
        (status = 200, description = "What it did", body = OkBody<TxnAnswer>),
        WriteRefusals))]
pub(crate) async fn txn(
    app: App,
    Query(packing, common, _): Query<CompressParams, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<TxnBody>,
) -> ApiResult {
    let txn = app.concord.transact(body.read()?).compress(packing.compress);
    let done = common.shape(&app, once, txn)?.await?;
    ok(TxnAnswer::new(&done), done.revision)
}

//! Transactions: compares decide which of two lists of operations is performed, all of it at
//! one revision.
//!
//! Operations are performed in order; reads, compares of nested transactions included, see the
//! writes before them. A key changes at most once, to what the last write of it left: what is
//! created and deleted again is no change. Semantics follow etcd where `product.md` is silent.

use alloc::vec::Vec;

use crate::command::{PutItem, TouchItem};
use crate::expr::Expression;
use crate::ids::{LeaseId, Revision};
use crate::key::{Key, KeyRange};
use crate::record::StoredRecord;
use crate::reply::TouchOutcome;
use crate::value::Value;

/// If all compares hold then `success`, else `failure`. A failed compare is an answer, not an
/// error; a refused operation refuses the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All of these must hold; none: they do. At most
    /// [`TXN_COMPARES_MAX`](crate::limits::TXN_COMPARES_MAX).
    pub compares: Vec<Compare>,
    /// Performed if they hold. At most [`TXN_OPERATIONS_MAX`](crate::limits::TXN_OPERATIONS_MAX).
    pub success: Vec<Operation>,
    /// Performed if they do not. At most [`TXN_OPERATIONS_MAX`](crate::limits::TXN_OPERATIONS_MAX).
    pub failure: Vec<Operation>,
}

/// One key or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This one.
    One(Key),
    /// All that exist in this range.
    Range(KeyRange),
}

/// A question about stored records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Of which keys. A range must pass with every key that exists in it; without any, it is
    /// judged as an absent key.
    pub keys: Keys,
    /// What must hold.
    pub test: Test,
}

/// What must hold of a record. The numbers of an absent key are 0; no test of its value holds,
/// not even that it differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Its value is so to this one. Values of different formats are unequal and have no order;
    /// text and binary are ordered bytewise, documents not at all.
    Value(Operator, Value),
    /// Its last write was so to this revision.
    ModRevision(Operator, Revision),
    /// It came into being so to this revision.
    CreateRevision(Operator, Revision),
    /// The number of its writes is so to this.
    Version(Operator, u64),
    /// Its lease is so to this one; without a lease it is 0.
    Lease(Operator, LeaseId),
    /// It exists, or does not.
    Exists(bool),
    /// The expression is true of it. Of no record, and by an error, it is not. A transaction
    /// may evaluate [`TXN_EVALUATIONS_MAX`](crate::limits::TXN_EVALUATIONS_MAX) times.
    Predicate(Expression),
}

/// How two things must be to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// What is stored is before what is given.
    Less,
    /// What is stored is after what is given.
    Greater,
}

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read records, in the order of their keys.
    Get {
        /// Of which keys.
        keys: Keys,
        /// At most this many; `None`: all there are.
        limit: Option<u64>,
    },
    /// Store a value.
    Put {
        /// What, where and for how long.
        item: PutItem,
        /// Answer with the record that was replaced.
        return_previous: bool,
    },
    /// Remove keys.
    Delete {
        /// Which.
        keys: Keys,
        /// Answer with the records that were removed.
        return_previous: bool,
    },
    /// Replace a lifetime. Of an absent key: changes nothing, and says so.
    Touch(TouchItem),
    /// Another transaction, within this one.
    Txn(Txn),
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether the compares held.
    pub succeeded: bool,
    /// The results of the operations that were performed, in order.
    pub results: Vec<OperationResult>,
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationResult {
    /// What was read.
    Records {
        /// In the order of their keys.
        records: Vec<StoredRecord>,
        /// Whether the limit has left some out.
        more: bool,
    },
    /// The value is stored.
    Written {
        /// What it replaced, if that was asked for and there was something.
        previous: Option<StoredRecord>,
    },
    /// The keys are absent.
    Deleted {
        /// How many there were.
        count: u64,
        /// What was removed, if that was asked for.
        previous: Vec<StoredRecord>,
    },
    /// What became of the key.
    Touched(TouchOutcome),
    /// What the nested transaction did.
    Txn(TxnOutcome),
}

impl Operator {
    /// Whether it holds between what is stored and what is given.
    pub(crate) fn holds<T: Ord>(self, stored: T, given: T) -> bool {
        match self {
            Self::Equal => stored == given,
            Self::NotEqual => stored != given,
            Self::Less => stored < given,
            Self::Greater => stored > given,
        }
    }

    /// Whether it asks for an order.
    pub(crate) const fn is_order(self) -> bool {
        match self {
            Self::Equal | Self::NotEqual => false,
            Self::Less | Self::Greater => true,
        }
    }
}

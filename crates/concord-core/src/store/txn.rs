//! Transactions, performed on a draft and committed at one revision.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::Store;
use super::draft::{Draft, DraftedRange};
use super::mutate::bytes;
use crate::check::{check_count, check_operations};
use crate::command::TouchItem;
use crate::expr::Scope;
use crate::ids::{LeaseId, Timestamp};
use crate::limits::{TXN_EVALUATIONS_MAX, TXN_KEYS_MAX, TXN_REPLY_BYTES_MAX};
use crate::record::{RecordRef, StoredRecord};
use crate::reply::{BatchUnit, Rejection, Reply, RequestPart};
use crate::txn::{Compare, Keys, Operation, OperationResult, Operator, Test, Txn, TxnOutcome};
use crate::value::Value;

/// A transaction on its way.
#[derive(Default)]
struct Run {
    draft: Draft,
    budget: Budget,
}

/// What a transaction has used of its limits.
#[derive(Default)]
struct Budget {
    /// Keys that its ranges have looked at.
    keys: usize,
    /// Bytes of what it will answer with.
    bytes: usize,
    /// Evaluations of expressions.
    evaluations: usize,
}

impl Budget {
    /// Counts a record that a range looks at.
    fn visit(&mut self, keys: &Keys) -> Result<(), Rejection> {
        match keys {
            Keys::One(_) => Ok(()),
            Keys::Range(_) => {
                self.keys = self.keys.saturating_add(1);
                check_count(BatchUnit::Keys, self.keys, TXN_KEYS_MAX)
            }
        }
    }

    /// Counts an evaluation of an expression.
    fn evaluate(&mut self) -> Result<(), Rejection> {
        self.evaluations = self.evaluations.saturating_add(1);
        check_count(BatchUnit::Evaluations, self.evaluations, TXN_EVALUATIONS_MAX)
    }

    /// Takes a record into the answer.
    fn answer(&mut self, record: &RecordRef<'_>) -> Result<StoredRecord, Rejection> {
        let bytes = record.key().len().saturating_add(record.value_len());
        self.bytes = self.bytes.saturating_add(bytes);
        check_count(BatchUnit::Bytes, self.bytes, TXN_REPLY_BYTES_MAX)?;
        Ok(record.to_stored_record())
    }
}

impl Store {
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<Reply, Rejection> {
        // Decoding has judged the shape.
        check_operations(txn, self.state.settings.value_bytes_max)?;
        let mut run = Run::default();
        let outcome = self.run_txn(&mut run, txn)?;
        let revision = self.commit(run.draft)?;
        Ok(Reply::Txn { revision, outcome })
    }

    fn run_txn(&self, run: &mut Run, txn: &Txn) -> Result<TxnOutcome, Rejection> {
        let mut succeeded = true;
        for (index, compare) in txn.compares.iter().enumerate() {
            let holds = self.compare(run, compare);
            if !holds.map_err(|cause| cause.in_part(RequestPart::Compare, index))? {
                succeeded = false;
                break;
            }
        }
        let (part, branch) = if succeeded {
            (RequestPart::Success, &txn.success)
        } else {
            (RequestPart::Failure, &txn.failure)
        };
        let mut results = Vec::with_capacity(branch.len());
        for (index, operation) in branch.iter().enumerate() {
            let result = self.operation(run, operation);
            results.push(result.map_err(|cause| cause.in_part(part, index))?);
        }
        Ok(TxnOutcome { succeeded, results })
    }

    fn compare(&self, run: &mut Run, Compare { keys, test }: &Compare) -> Result<bool, Rejection> {
        let mut is_empty = true;
        for record in self.selected(&run.draft, keys) {
            run.budget.visit(keys)?;
            is_empty = false;
            if let Test::Predicate(_) = test {
                run.budget.evaluate()?;
            }
            if !test.holds(Some(&record), self.state.now) {
                return Ok(false);
            }
        }
        Ok(!is_empty || test.holds(None, self.state.now))
    }

    fn operation(&self, run: &mut Run, operation: &Operation) -> Result<OperationResult, Rejection> {
        match operation {
            Operation::Get { keys, limit } => self.read(run, keys, *limit),
            Operation::Put {
                item,
                return_previous,
            } => {
                let current = self.drafted(&run.draft, &item.key).filter(|_| *return_previous);
                let previous = match current {
                    Some(current) => Some(run.budget.answer(&current)?),
                    None => None,
                };
                self.draft_put(&mut run.draft, item)?;
                Ok(OperationResult::Written { previous })
            }
            Operation::Delete {
                keys,
                return_previous,
            } => self.remove(run, keys, *return_previous),
            Operation::Touch(TouchItem { key, lifetime }) => {
                let outcome = self.draft_touch(&mut run.draft, key, *lifetime)?;
                Ok(OperationResult::Touched(outcome))
            }
            Operation::Txn(txn) => Ok(OperationResult::Txn(self.run_txn(run, txn)?)),
        }
    }

    fn read(&self, run: &mut Run, keys: &Keys, limit: Option<u64>) -> Result<OperationResult, Rejection> {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut records = Vec::new();
        for record in self.selected(&run.draft, keys) {
            if records.len() >= limit {
                return Ok(OperationResult::Records { records, more: true });
            }
            run.budget.visit(keys)?;
            records.push(run.budget.answer(&record)?);
        }
        Ok(OperationResult::Records { records, more: false })
    }

    fn remove(
        &self,
        run: &mut Run,
        keys: &Keys,
        return_previous: bool,
    ) -> Result<OperationResult, Rejection> {
        let (mut doomed, mut previous) = (Vec::new(), Vec::new());
        for record in self.selected(&run.draft, keys) {
            run.budget.visit(keys)?;
            doomed.push(record.to_key());
            if return_previous {
                previous.push(run.budget.answer(&record)?);
            }
        }
        for key in &doomed {
            self.draft_delete(&mut run.draft, key);
        }
        let count = bytes(doomed.len());
        Ok(OperationResult::Deleted { count, previous })
    }

    /// The records of these keys as the draft leaves them, in order.
    fn selected<'a>(&'a self, draft: &'a Draft, keys: &'a Keys) -> Selected<'a> {
        match keys {
            Keys::One(key) => Selected::One(self.drafted(draft, key)),
            Keys::Range(range) => Selected::Range(self.drafted_range(draft, range)),
        }
    }
}

/// See [`Store::selected`].
enum Selected<'a> {
    One(Option<RecordRef<'a>>),
    Range(DraftedRange<'a>),
}

impl<'a> Iterator for Selected<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        match self {
            Self::One(record) => record.take(),
            Self::Range(range) => range.next(),
        }
    }
}

impl Test {
    /// Whether it holds of what is stored.
    fn holds(&self, current: Option<&RecordRef<'_>>, now: Timestamp) -> bool {
        let number = |number: fn(&RecordRef<'_>) -> u64| current.map_or(0, number);
        match self {
            Self::Value(operator, value) => {
                current.is_some_and(|current| value_holds(*operator, current, value))
            }
            Self::ModRevision(operator, revision) => {
                operator.holds(number(|record| record.mod_revision().get()), revision.get())
            }
            Self::CreateRevision(operator, revision) => {
                operator.holds(number(|record| record.create_revision().get()), revision.get())
            }
            Self::Version(operator, version) => operator.holds(number(|record| record.version()), *version),
            Self::Lease(operator, lease) => operator.holds(
                number(|record| record.lease().map_or(0, LeaseId::get)),
                lease.get(),
            ),
            Self::Exists(exists) => *exists == current.is_some(),
            Self::Predicate(expression) => {
                current.is_some_and(|current| expression.holds(&Scope::of(current, now)))
            }
        }
    }
}

/// D-DATA-13: no value equals one of another format, nor comes before or after it.
fn value_holds(operator: Operator, current: &RecordRef<'_>, value: &Value) -> bool {
    if current.format() != value.format() {
        return matches!(operator, Operator::NotEqual);
    }
    let stored = current.stored();
    let differs = match operator {
        // What is of another length need not be looked at.
        Operator::Equal | Operator::NotEqual => stored.raw_len() != value.bytes().len(),
        Operator::Less | Operator::Greater => false,
    };
    if differs {
        return matches!(operator, Operator::NotEqual);
    }
    // Of a damaged value no test holds.
    let order = stored.compare(value.bytes());
    order.is_ok_and(|order| operator.holds(order, Ordering::Equal))
}

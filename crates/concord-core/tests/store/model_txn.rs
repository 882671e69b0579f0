//! Transactions of the model: step by step on a copy of the records.

use concord_core::reply::{InvalidRequestReason, RequestPart};
use concord_core::*;

use crate::model::{Work, plain};

fn in_part(part: RequestPart, index: usize) -> impl Fn(Rejection) -> Rejection {
    move |cause| Rejection::InPart {
        part,
        index: index as u64,
        cause: Box::new(cause),
    }
}

/// What is wrong with a transaction whatever is stored; of both branches.
pub(crate) fn check(txn: &Txn) -> Result<(), Rejection> {
    for (index, compare) in txn.compares.iter().enumerate() {
        if let Test::Value(Operator::Less | Operator::Greater, value) = &compare.test
            && value.format() == ValueFormat::Document
        {
            let reason = InvalidRequestReason::DocumentOrder;
            return Err(in_part(RequestPart::Compare, index)(Rejection::InvalidRequest {
                reason,
            }));
        }
    }
    let branches = [
        (RequestPart::Success, &txn.success),
        (RequestPart::Failure, &txn.failure),
    ];
    for (part, branch) in branches {
        for (index, operation) in branch.iter().enumerate() {
            if let Operation::Txn(nested) = operation {
                check(nested).map_err(in_part(part, index))?;
            }
        }
    }
    Ok(())
}

/// As [`check`], of what is judged after all of that.
pub(crate) fn check_lifetimes(txn: &Txn) -> Result<(), Rejection> {
    let branches = [
        (RequestPart::Success, &txn.success),
        (RequestPart::Failure, &txn.failure),
    ];
    for (part, branch) in branches {
        for (index, operation) in branch.iter().enumerate() {
            let lifetime = match operation {
                Operation::Put { item, .. } => item.lifetime,
                Operation::Touch(item) => item.lifetime,
                Operation::Txn(nested) => {
                    check_lifetimes(nested).map_err(in_part(part, index))?;
                    continue;
                }
                Operation::Get { .. } | Operation::Delete { .. } => continue,
            };
            if lifetime == Lifetime::Ttl(Millis::new(0)) {
                return Err(in_part(part, index)(Rejection::InvalidTtl { ttl_ms: 0 }));
            }
        }
    }
    Ok(())
}

impl Work {
    pub(crate) fn txn(&mut self, txn: &Txn) -> Result<TxnOutcome, Rejection> {
        let succeeded = txn.compares.iter().all(|compare| self.compare(compare));
        let (part, branch) = if succeeded {
            (RequestPart::Success, &txn.success)
        } else {
            (RequestPart::Failure, &txn.failure)
        };
        let mut results = Vec::new();
        for (index, operation) in branch.iter().enumerate() {
            results.push(self.operation(operation).map_err(in_part(part, index))?);
        }
        Ok(TxnOutcome { succeeded, results })
    }

    fn select(&self, keys: &Keys) -> Vec<Record> {
        let is_selected = |record: &&Record| match keys {
            Keys::One(key) => record.key == *key,
            Keys::Range(range) => range.contains(record.key.as_bytes()),
        };
        self.records.values().filter(is_selected).cloned().collect()
    }

    fn compare(&self, compare: &Compare) -> bool {
        let selected = self.select(&compare.keys);
        if selected.is_empty() {
            return self.holds(&compare.test, None);
        }
        selected
            .iter()
            .all(|record| self.holds(&compare.test, Some(record)))
    }

    fn holds(&self, test: &Test, record: Option<&Record>) -> bool {
        match test {
            Test::Exists(exists) => record.is_some() == *exists,
            Test::Value(operator, value) => record.is_some_and(|record| {
                let same_format = record.value.format() == value.format();
                match operator {
                    Operator::Equal => record.value == *value,
                    Operator::NotEqual => record.value != *value,
                    Operator::Less => same_format && record.value.bytes() < value.bytes(),
                    Operator::Greater => same_format && record.value.bytes() > value.bytes(),
                }
            }),
            Test::Predicate(expression) => record.is_some_and(|record| self.is_true(expression, record)),
            Test::ModRevision(operator, given) => ordered(
                *operator,
                record.map_or(0, |record| record.mod_revision.get()),
                given.get(),
            ),
            Test::CreateRevision(operator, given) => ordered(
                *operator,
                record.map_or(0, |record| record.create_revision.get()),
                given.get(),
            ),
            Test::Version(operator, given) => {
                ordered(*operator, record.map_or(0, |record| record.version), *given)
            }
            Test::Lease(operator, given) => {
                let lease = record.and_then(|record| record.lease);
                ordered(*operator, lease.map_or(0, LeaseId::get), given.get())
            }
        }
    }

    fn operation(&mut self, operation: &Operation) -> Result<OperationResult, Rejection> {
        Ok(match operation {
            Operation::Get { keys, limit } => {
                let mut records = self.select(keys);
                let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
                let more = records.len() > limit;
                records.truncate(limit);
                let records = records.into_iter().map(Into::into).collect();
                OperationResult::Records { records, more }
            }
            Operation::Put {
                item,
                return_previous,
            } => {
                let ends = self.ends(item.lifetime)?;
                let previous = self.put(&item.key, plain(&item.value), ends);
                OperationResult::Written {
                    previous: previous.filter(|_| *return_previous).map(Into::into),
                }
            }
            Operation::Delete {
                keys,
                return_previous,
            } => {
                let mut previous = self.select(keys);
                let count = previous.len() as u64;
                for record in &previous {
                    self.delete(&record.key);
                }
                if !return_previous {
                    previous.clear();
                }
                let previous = previous.into_iter().map(Into::into).collect();
                OperationResult::Deleted { count, previous }
            }
            Operation::Touch(item) => OperationResult::Touched(self.touch(&item.key, item.lifetime)?),
            Operation::Txn(txn) => OperationResult::Txn(self.txn(txn)?),
        })
    }
}

fn ordered(operator: Operator, stored: u64, given: u64) -> bool {
    match operator {
        Operator::Equal => stored == given,
        Operator::NotEqual => stored != given,
        Operator::Less => stored < given,
        Operator::Greater => stored > given,
    }
}

//! The store as its users see it: batches in, replies and views out.

#[cfg(test)]
#[path = "store/compaction.rs"]
mod compaction;
#[cfg(test)]
#[path = "store/cost.rs"]
mod cost;
#[cfg(test)]
#[path = "store/filters.rs"]
mod filters;
#[cfg(test)]
#[path = "store/idempotency.rs"]
mod idempotency;
#[cfg(test)]
#[path = "store/indexes.rs"]
mod indexes;
#[cfg(test)]
#[path = "store/leases.rs"]
mod leases;
#[cfg(test)]
#[path = "store/model.rs"]
mod model;
#[cfg(test)]
#[path = "store/model_txn.rs"]
mod model_txn;
#[cfg(test)]
#[path = "store/operations.rs"]
mod operations;
#[cfg(test)]
#[path = "store/policy.rs"]
mod policy;
#[cfg(test)]
#[path = "store/properties.rs"]
mod properties;
#[cfg(test)]
#[path = "store/quotas.rs"]
mod quotas;
#[cfg(test)]
#[path = "store/restore.rs"]
mod restore;
#[cfg(test)]
#[path = "store/sessions.rs"]
mod sessions;
#[cfg(test)]
#[path = "store/snapshots.rs"]
mod snapshots;
#[cfg(test)]
#[path = "store/subscriptions.rs"]
mod subscriptions;
#[cfg(test)]
#[path = "store/support.rs"]
mod support;
#[cfg(test)]
#[path = "store/traces.rs"]
mod traces;
#[cfg(test)]
#[path = "store/traps.rs"]
mod traps;
#[cfg(test)]
#[path = "store/txns.rs"]
mod txns;
#[cfg(test)]
#[path = "store/versions.rs"]
mod versions;
#[cfg(test)]
#[path = "store/writes.rs"]
mod writes;

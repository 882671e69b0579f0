//! What must be true of a run. Each check names the invariants that it stands for.

pub(crate) mod guards;
pub(crate) mod indexes;
pub(crate) mod judge;
pub(crate) mod leases;
pub(crate) mod ledger;
pub(crate) mod linearizability;
pub(crate) mod locks;
pub(crate) mod model;
pub(crate) mod replicas;
pub(crate) mod restores;
pub(crate) mod revisions;
pub(crate) mod watches;

#[cfg(test)]
mod tests;

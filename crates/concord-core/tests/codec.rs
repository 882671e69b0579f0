//! Decoders against arbitrary and damaged bytes.

#[cfg(test)]
#[path = "codec/arbitrary_policy.rs"]
mod arbitrary_policy;
#[cfg(test)]
#[path = "codec/arbitrary_txn.rs"]
mod arbitrary_txn;
#[cfg(test)]
#[path = "codec/properties.rs"]
mod properties;

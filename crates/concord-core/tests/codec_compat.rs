//! Formats against bytes that were committed when they were made.

#[cfg(test)]
#[path = "codec/compat.rs"]
mod compat;

//! Decoders against arbitrary and damaged bytes.

#[cfg(test)]
#[path = "codec/properties.rs"]
mod properties;

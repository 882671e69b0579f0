//! What a traced request has in front of it.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{CommandError, TRACED, VERSION};
use crate::codec::reader::Reader;
use crate::trace::TraceContext;

/// Version, kind and both ids.
pub(crate) const HEAD_BYTES: usize = 2 + 16 + 8;

pub(crate) fn encode_head(context: TraceContext, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, TRACED]);
    out.extend_from_slice(&context.trace_id().to_be_bytes());
    out.extend_from_slice(&context.span_id().to_be_bytes());
}

/// Two compares for a request that has none.
pub(crate) fn take_off(request: &Bytes) -> Result<Option<(TraceContext, Bytes)>, CommandError> {
    if !request.starts_with(&[VERSION, TRACED]) {
        return Ok(None);
    }
    let mut reader = Reader::new(request);
    reader.take(2)?;
    let trace_id = u128::from_be_bytes(reader.array()?);
    let span_id = u64::from_be_bytes(reader.array()?);
    let Some(context) = TraceContext::new(trace_id, span_id) else {
        return Err(reader.error("trace of nobody").into());
    };
    let request = request.slice_ref(reader.rest());
    if request.starts_with(&[VERSION, TRACED]) {
        return Err(reader.error("trace within another").into());
    }
    Ok(Some((context, request)))
}

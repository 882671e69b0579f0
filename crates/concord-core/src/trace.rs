//! Of which trace a request is: what it carries to wherever it is applied, so that the work of every node can be told as one.
//!
//! Nothing here reaches the state: a request does the same with it and without, and leaves the same bytes.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec::command::{CommandError, trace};

/// The trace and the span that proposed a request, as W3C trace context numbers them. Only traced requests carry one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
}

impl TraceContext {
    /// `None` if either is zero, which is nobody's.
    #[must_use]
    pub const fn new(trace_id: u128, span_id: u64) -> Option<Self> {
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self { trace_id, span_id })
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(self) -> u128 {
        self.trace_id
    }

    /// The span that what is done for the request belongs under.
    #[must_use]
    pub const fn span_id(self) -> u64 {
        self.span_id
    }

    /// The encoded request with this context in front of it.
    #[must_use]
    pub fn wrap(self, request: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(request.len().saturating_add(trace::HEAD_BYTES));
        trace::encode_head(self, &mut out);
        out.extend_from_slice(request);
        Bytes::from(out)
    }

    /// The context of an encoded request that carries one.
    #[must_use]
    pub fn of(request: &Bytes) -> Option<Self> {
        let (context, _) = Self::take_off(request).ok()??;
        Some(context)
    }

    /// Takes the context off an encoded request, if it has one; the rest is the request.
    pub(crate) fn take_off(request: &Bytes) -> Result<Option<(Self, Bytes)>, CommandError> {
        trace::take_off(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: TraceContext = TraceContext {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span_id: 0xb7ad_6b71_6920_3331,
    };

    #[test]
    fn a_context_comes_off_as_it_was_put_on() {
        let wrapped = CONTEXT.wrap(b"\x01\x01rest");
        assert_eq!(
            TraceContext::take_off(&wrapped),
            Ok(Some((CONTEXT, Bytes::from_static(b"\x01\x01rest"))))
        );
        assert_eq!(TraceContext::of(&wrapped), Some(CONTEXT));
    }

    #[test]
    fn requests_without_one_are_left_alone() {
        for request in [b"".as_slice(), b"\x01", b"\x01\x01", b"\x02\x48anything"] {
            assert_eq!(TraceContext::take_off(&Bytes::copy_from_slice(request)), Ok(None));
        }
    }

    #[test]
    fn half_a_context_no_context_and_two_are_refused() {
        let wrapped = CONTEXT.wrap(b"\x01\x01");
        for end in 2..trace::HEAD_BYTES {
            assert!(TraceContext::take_off(&wrapped.slice(..end)).is_err(), "{end}");
        }
        assert!(TraceContext::take_off(&CONTEXT.wrap(&wrapped)).is_err());
        let mut nobody = wrapped.to_vec();
        nobody[2..18].fill(0);
        assert!(TraceContext::take_off(&nobody.into()).is_err());
        assert_eq!(TraceContext::new(0, 1), None);
        assert_eq!(TraceContext::new(1, 0), None);
    }
}

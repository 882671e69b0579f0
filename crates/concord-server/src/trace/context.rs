//! W3C trace context: the header `traceparent`.

use std::fmt;
use std::str::FromStr;

use concord_core::trace::TraceContext;

/// `00-`, trace id, span id and flags, with dashes.
const BYTES: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
const SAMPLED: u8 = 0x01;

/// Somebody's span, and whether its trace is recorded: what the header `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    context: TraceContext,
    is_sampled: bool,
}

/// Text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent: 00, 32, 16 and 2 lower-case hexadecimal digits with dashes between them")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// A span of a trace that is recorded.
    pub const fn sampled(context: TraceContext) -> Self {
        Self {
            context,
            is_sampled: true,
        }
    }

    /// Its ids.
    pub const fn context(self) -> TraceContext {
        self.context
    }

    /// Whether the trace is recorded.
    pub const fn is_sampled(self) -> bool {
        self.is_sampled
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let head = text.get(..BYTES).ok_or(InvalidTraceParent)?;
        let rest = text.get(BYTES..).ok_or(InvalidTraceParent)?;
        let mut parts = head.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            part.filter(is_hex).ok_or(InvalidTraceParent)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may say more behind another dash; version ff is none.
        let is_whole = match version {
            "00" => rest.is_empty(),
            "ff" => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        if !is_whole {
            return Err(InvalidTraceParent);
        }
        let trace = u128::from_str_radix(trace, 16).map_err(|_| InvalidTraceParent)?;
        let span = u64::from_str_radix(span, 16).map_err(|_| InvalidTraceParent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| InvalidTraceParent)?;
        Ok(Self {
            context: TraceContext::new(trace, span).ok_or(InvalidTraceParent)?,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        let (trace, span) = (self.context.trace_id(), self.context.span_id());
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn a_header_comes_out_as_it_came_in() {
        let parent: TraceParent = TEXT.parse().unwrap();
        assert!(parent.is_sampled());
        assert_eq!(parent.context().span_id(), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(parent.to_string(), TEXT);
        let unsampled: TraceParent = TEXT.replace("-01", "-00").parse().unwrap();
        assert!(!unsampled.is_sampled());
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for text in [
            TEXT.replacen("00-", "01-", 1),
            format!("{}-more", TEXT.replacen("00-", "cc-", 1)),
        ] {
            assert!(text.parse::<TraceParent>().unwrap().is_sampled(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_nobodys_trace() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        for text in [
            "",
            "00",
            &TEXT[1..],
            &TEXT.to_uppercase(),
            &TEXT.replacen("00-", "ff-", 1),
            &TEXT.replace('-', "_"),
            &format!("{TEXT}-more"),
            &format!("{TEXT} "),
            &format!("{}more", TEXT.replacen("00-", "01-", 1)),
            &TEXT.replace("0af7", "0ag7"),
            &TEXT.replace("0af7", "+af7"),
            &TEXT.replace("0af7", "é77"),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text:?}");
        }
    }
}

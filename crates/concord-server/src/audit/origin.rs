//! Where a request came from and what its sender calls it, for its line. Noted by a listener for everything that is done for the
//! request, so that nothing in between has to hand it on.

use std::net::IpAddr;
use std::sync::Arc;

#[cfg(feature = "http")]
use concord_auth::token::PREFIX;

#[cfg(feature = "http")]
use crate::limits::REQUEST_ID_BYTES_MAX;

tokio::task_local! {
    static ORIGIN: Arc<Origin>;
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The other end of the connection: a client, or the proxy before it.
    pub(super) source: Option<IpAddr>,
    pub(super) trace: Option<Trace>,
    pub(super) request_id: Option<Box<str>>,
}

/// What the header `traceparent` (W3C) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
}

#[cfg(feature = "http")]
impl Origin {
    /// Of a request with these headers. What is malformed says nothing.
    pub(crate) fn new(source: Option<IpAddr>, traceparent: Option<&str>, request_id: Option<&str>) -> Self {
        Self {
            source,
            trace: traceparent.and_then(Trace::parse),
            request_id: request_id.filter(|id| is_request_id(id)).map(Into::into),
        }
    }

    /// Does the work that the request asks for.
    pub(crate) async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        ORIGIN.scope(Arc::new(self), work).await
    }
}

/// Where what is done just now comes from.
pub(super) fn current() -> Option<Arc<Origin>> {
    ORIGIN.try_with(Arc::clone).ok()
}

/// Short, printable, and not a token that somebody has put into the wrong header.
#[cfg(feature = "http")]
fn is_request_id(text: &str) -> bool {
    let is_short = (1..=REQUEST_ID_BYTES_MAX).contains(&text.len());
    is_short && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(PREFIX)
}

#[cfg(feature = "http")]
impl Trace {
    /// `00-<32 digits>-<16 digits>-<2 digits>`; a later version may say more behind another dash.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            part.bytes().all(is_hex).then_some(part)
        };
        let (version, trace_id, span_id) = (part(2)?, part(32)?, part(16)?);
        part(2)?;
        let is_whole = version != "ff" && (version != "00" || parts.next().is_none());
        let trace_id = u128::from_str_radix(trace_id, 16).ok()?;
        let span_id = u64::from_str_radix(span_id, 16).ok()?;
        (is_whole && trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id })
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_read_and_what_is_none_says_nothing() {
        let trace = Trace::parse(PARENT).unwrap();
        assert_eq!(
            format!("{:032x}", trace.trace_id),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(trace.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(Trace::parse(&format!("{}-more", PARENT.replacen("00", "01", 1))).is_some());
        for wrong in [
            "",
            "00",
            &PARENT[1..],
            &PARENT.replace("-01", ""),
            &PARENT.replace("0af7", "0AF7"),
            &PARENT.replace("0af7", "+af7"),
            &PARENT.replacen("00-", "ff-", 1),
            &format!("{PARENT}-more"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(Trace::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_of_a_request_is_short_and_printable_and_no_secret() {
        let id_of = |text: &str| Origin::new(None, None, Some(text)).request_id;
        assert_eq!(id_of("7f-\"x\"").as_deref(), Some("7f-\"x\""));
        for wrong in [
            "",
            "two words",
            "a\u{7f}",
            "ä",
            &"a".repeat(129),
            "xsk_concord_AAAA",
        ] {
            assert_eq!(id_of(wrong), None, "{wrong}");
        }
    }
}

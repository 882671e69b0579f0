//! Where a request came from and what its sender calls it, for its line. Noted by a listener for everything that is done for the
//! request, so that nothing in between has to hand it on.

use std::net::IpAddr;
use std::sync::Arc;

#[cfg(feature = "http")]
use concord_auth::token::PREFIX;

#[cfg(feature = "http")]
use crate::limits::REQUEST_ID_BYTES_MAX;
#[cfg(feature = "http")]
use crate::trace::TraceParent;
use concord_core::trace::TraceContext;

tokio::task_local! {
    static ORIGIN: Arc<Origin>;
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The other end of the connection: a client, or the proxy before it.
    pub(super) source: Option<IpAddr>,
    /// What the header `traceparent` (W3C) says.
    pub(super) trace: Option<TraceContext>,
    pub(super) request_id: Option<Box<str>>,
}

#[cfg(feature = "http")]
impl Origin {
    /// Of a request with these headers. What is malformed says nothing.
    pub(crate) fn new(source: Option<IpAddr>, traceparent: Option<&str>, request_id: Option<&str>) -> Self {
        Self {
            source,
            trace: traceparent
                .and_then(|text| text.parse::<TraceParent>().ok())
                .map(TraceParent::context),
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

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_and_what_is_none_says_nothing() {
        const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let trace_of = |text: &str| Origin::new(None, Some(text), None).trace;
        let trace = trace_of(PARENT).unwrap();
        assert_eq!(trace.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(trace.span_id(), 0x00f0_67aa_0ba9_02b7);
        for wrong in ["", "00", &PARENT[1..], &format!("{PARENT}-more")] {
            assert_eq!(trace_of(wrong), None, "{wrong}");
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

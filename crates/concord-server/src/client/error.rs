//! What can go wrong between a client and a cluster, and whether a write may have happened.

use bytes::Bytes;
use concord_net::tls;
use serde::Deserialize;
use serde_json::Value;

use super::request::{Effect, Request};

/// Why there is no answer, or not the one asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An endpoint is not an address. Nothing was sent.
    #[error("endpoint `{endpoint}`: {reason}")]
    BadEndpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates cannot be used. Nothing was sent.
    #[error("{reason}")]
    Certificates {
        /// Which, and what is wrong.
        reason: String,
    },
    /// The token is none. Nothing was sent.
    #[error("the token has characters that no token has")]
    BadToken,
    /// No node could be reached. Nothing was written.
    #[error("no node answered: {}", tried.join("; "))]
    Unreachable {
        /// Each node that was tried, and why it failed.
        tried: Vec<String>,
    },
    /// The time was over, or the connection, after a write was sent: it may have happened.
    #[error("no answer from {endpoint}, the write may have happened: {reason}")]
    Unknown {
        /// Whom we asked.
        endpoint: String,
        /// How it ended.
        reason: String,
    },
    /// The node answered with an error. Whether anything was written depends on its code.
    #[error("{message}")]
    Refused {
        /// Who answered.
        endpoint: String,
        /// HTTP status.
        status: u16,
        /// The stable name of the error.
        code: String,
        /// For people.
        message: String,
        /// For programs; depends on the code.
        details: Value,
    },
    /// The answer is not one that a Concord node gives.
    #[error("{endpoint} gave an answer that makes no sense (HTTP {status}): {reason}")]
    Garbled {
        /// Who answered.
        endpoint: String,
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
}

/// Codes that say: nothing was written, another node may do better.
const ASK_ANOTHER: [&str; 4] = ["no_quorum", "not_ready", "overloaded", "shutting_down"];

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorObject,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: String,
    message: String,
    #[serde(default)]
    details: Value,
}

impl ClientError {
    pub(super) fn no_endpoint() -> Self {
        Self::BadEndpoint {
            endpoint: String::new(),
            reason: "none was given".to_owned(),
        }
    }

    /// The stable name of the error, as in the answers of the API.
    pub fn code(&self) -> &str {
        match self {
            Self::BadEndpoint { .. } => "invalid_request",
            Self::Certificates { .. } => "invalid_config",
            Self::BadToken => "unauthorized",
            Self::Unreachable { .. } => "unreachable",
            Self::Unknown { .. } => "outcome_unknown",
            Self::Refused { code, .. } => code,
            Self::Garbled { .. } => "garbled_answer",
        }
    }

    /// What the node gave for programs, if it answered.
    pub fn details(&self) -> &Value {
        match self {
            Self::Refused { details, .. } => details,
            Self::BadEndpoint { .. }
            | Self::Certificates { .. }
            | Self::BadToken
            | Self::Unreachable { .. }
            | Self::Unknown { .. }
            | Self::Garbled { .. } => &Value::Null,
        }
    }

    /// Whether a write may have taken effect, or may yet.
    pub fn may_have_happened(&self) -> bool {
        self.code() == "outcome_unknown"
    }

    pub(super) fn from_answer(endpoint: &str, status: u16, body: &Bytes) -> Self {
        let endpoint = endpoint.to_owned();
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(ErrorBody { error }) => Self::Refused {
                endpoint,
                status,
                code: error.code,
                message: error.message,
                details: error.details,
            },
            // A HEAD has no body, and neither have some proxies.
            Err(_) if status == 404 && body.is_empty() => Self::Refused {
                endpoint,
                status,
                code: "not_found".to_owned(),
                message: "not found".to_owned(),
                details: Value::Null,
            },
            Err(e) => Self::Garbled {
                endpoint,
                status,
                reason: e.to_string(),
            },
        }
    }

    pub(super) fn transport(endpoint: &str, error: &reqwest::Error, effect: Effect) -> Self {
        let reason = tls::words(error).unwrap_or_else(|| innermost(error));
        // A certificate is judged when the client's own handshake is through already.
        if tls::is_refused(error) || error.is_connect() || error.is_builder() || effect == Effect::Reads {
            return Self::Unreachable {
                tried: vec![format!("{endpoint}: {reason}")],
            };
        }
        Self::Unknown {
            endpoint: endpoint.to_owned(),
            reason,
        }
    }

    /// Whether another node can be asked without doing anything twice.
    pub(super) fn is_worth_another_node(&self, request: &Request) -> bool {
        (self.may_have_happened() && request.is_named()) || self.is_safe_elsewhere(request.effect())
    }

    /// The same for a request without a name.
    pub(super) fn is_safe_elsewhere(&self, effect: Effect) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => ASK_ANOTHER.contains(&code.as_str()),
            Self::Garbled { .. } => effect == Effect::Reads,
            Self::BadEndpoint { .. } | Self::Certificates { .. } | Self::BadToken | Self::Unknown { .. } => {
                false
            }
        }
    }

    /// Whether it says nothing about the request itself, so that an earlier attempt whose
    /// outcome is open stays open.
    pub(super) fn leaves_open(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unknown { .. } | Self::Garbled { .. } => true,
            Self::Refused { code, .. } => {
                code == "timeout" || self.may_have_happened() || ASK_ANOTHER.contains(&code.as_str())
            }
            Self::BadEndpoint { .. } | Self::Certificates { .. } | Self::BadToken => false,
        }
    }

    /// Two nodes have failed: an answer tells more than silence, else both are told.
    pub(super) fn and(self, later: Self) -> Self {
        match (self, later) {
            (Self::Unreachable { mut tried }, Self::Unreachable { tried: more }) => {
                tried.extend(more);
                Self::Unreachable { tried }
            }
            // What may have happened stays so, whatever others say who know nothing of it.
            (earlier, later) if earlier.may_have_happened() && !later.may_have_happened() => earlier,
            (earlier, Self::Unreachable { .. }) => earlier,
            (_, later) => later,
        }
    }
}

/// The last link of the chain: `connection refused` says more than `error sending request`.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

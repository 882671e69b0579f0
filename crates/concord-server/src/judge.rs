//! Who asks, and what they may: the same question on every path.
//!
//! ```text
//!   Caller ── token's hash ──> policy of the view that is read ──> Principal ── authorize ──> Seen, or refused
//!                                     └ kept until the policy moves (bounded)
//! ```
//!
//! A caller is looked up anew for each operation, by the policy of the very view that the operation reads, so that
//! whatever was taken away is gone with the next view. Not here: which right is needed where, which is
//! `concord_auth`'s; and the door through which the answer goes (`service`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use concord_auth::{Policy, Principal, Request, Rights, Secret, TokenHash, authorize};
use concord_core::ids::Timestamp;
use concord_core::view::{KeyFilter, ReadView};
use parking_lot::RwLock;

use crate::error::{Error, ErrorKind};
use crate::limits::PRINCIPALS_KEPT_MAX;

/// In whose name a handle asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    /// The process that embeds the node: it holds the data anyway, so it may do everything.
    Embedder,
    /// Whoever reaches a listener of a node that asks nobody who they are.
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only a listener has such callers")
    )]
    Anonymous,
    /// Somebody who shows nothing that could be a token.
    Nobody,
    /// Whoever knows the secret of this hash.
    Token(TokenHash),
}

impl Caller {
    /// Who shows this text.
    pub(crate) fn showing(token: &str) -> Self {
        Secret::parse(token).map_or(Self::Nobody, |secret| Self::Token(secret.hash()))
    }

    /// Whether what they may do depends on the policy.
    pub(crate) const fn is_judged(&self) -> bool {
        match self {
            Self::Embedder | Self::Anonymous => false,
            Self::Nobody | Self::Token(_) => true,
        }
    }
}

/// The callers that were seen of late, by one revision of the policy.
#[derive(Debug, Default)]
struct Kept {
    policy_revision: u64,
    principals: HashMap<[u8; 32], Arc<Principal>>,
}

/// Looks callers up and judges what they ask.
#[derive(Debug)]
pub(crate) struct Judge {
    embedder: Arc<Principal>,
    anonymous: Arc<Principal>,
    kept: RwLock<Kept>,
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self {
            embedder: Arc::new(Principal::embedder()),
            anonymous: Arc::new(Principal::anonymous()),
            kept: RwLock::default(),
        }
    }

    /// Who the caller is by the policy of a view.
    pub(crate) fn principal(&self, caller: &Caller, view: &ReadView) -> Result<Arc<Principal>, Error> {
        let hash = match caller {
            Caller::Embedder => return Ok(Arc::clone(&self.embedder)),
            Caller::Anonymous => return Ok(Arc::clone(&self.anonymous)),
            Caller::Nobody => return Err(unauthorized()),
            Caller::Token(hash) => hash,
        };
        let principal = match self.kept(hash, view) {
            Some(kept) => kept,
            None => self.look_up(hash, view)?,
        };
        match principal.expires_at() {
            Some(end) if present(view) >= end => Err(unauthorized()),
            Some(_) | None => Ok(principal),
        }
    }

    /// Judges a request by the policy of a view. Says who asks.
    pub(crate) fn judge<T: Request>(
        &self,
        caller: &Caller,
        request: T,
        view: &ReadView,
    ) -> Result<Arc<Principal>, Error> {
        let principal = self.principal(caller, view)?;
        authorize(&principal, request)?;
        Ok(principal)
    }

    fn kept(&self, hash: &TokenHash, view: &ReadView) -> Option<Arc<Principal>> {
        let kept = self.kept.read();
        let is_current = kept.policy_revision == view.policy_revision();
        let found = kept.principals.get(hash.as_bytes()).filter(|_| is_current);
        found.map(Arc::clone)
    }

    fn look_up(&self, hash: &TokenHash, view: &ReadView) -> Result<Arc<Principal>, Error> {
        let policy = Policy::of(view);
        let known = policy.recognize(hash, view.now());
        let principal = Arc::new(known.map_err(|_| unauthorized())?);
        let mut kept = self.kept.write();
        if kept.policy_revision < view.policy_revision() {
            kept.policy_revision = view.policy_revision();
            kept.principals.clear();
        }
        // A view of the past is asked now and then, and finds nothing kept.
        if kept.policy_revision == view.policy_revision() {
            if kept.principals.len() >= PRINCIPALS_KEPT_MAX {
                kept.principals.clear();
            }
            kept.principals.insert(*hash.as_bytes(), Arc::clone(&principal));
        }
        Ok(principal)
    }
}

/// The later of the replicated clock, which stands still while nobody writes and nothing can expire, and this node's:
/// so that a token ends on time also in a store that is only read.
pub(crate) fn present(view: &ReadView) -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let own = Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    view.now().max(own)
}

/// The one answer to everybody who may not come in: it does not say why.
pub(crate) fn unauthorized() -> Error {
    Error::new(ErrorKind::Unauthorized, concord_auth::Unauthorized.to_string())
}

/// What of a view is shown: `None`: all of it.
#[derive(Clone, Debug)]
pub(crate) struct Sight(Option<Arc<Rights>>);

impl Sight {
    pub(crate) fn of(principal: &Principal) -> Self {
        Self(principal.sight())
    }

    /// What reads leave keys out by.
    pub(crate) fn filter(&self) -> Option<&dyn KeyFilter> {
        self.0.as_ref().map(|rights| rights.as_ref() as &dyn KeyFilter)
    }

    pub(crate) const fn is_confined(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a key is shown.
    pub(crate) fn shows(&self, key: &[u8]) -> bool {
        self.filter().is_none_or(|filter| filter.shows(key))
    }
}

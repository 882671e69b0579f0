//! Who asks, and what they may: the same question on every path.
//!
//! ```text
//!   Caller ── token's hash or name ──> policy of the view that is read ──> Principal ── authorize ──> Seen, or refused
//!                                             └ kept until the policy moves (bounded)
//! ```
//!
//! A caller is looked up anew for each operation, by the policy of the very view that the operation reads, so that
//! whatever was taken away is gone with the next view. Not here: which right is needed where, which is
//! `concord_auth`'s; and the door through which the answer goes (`service`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use concord_auth::{Name, Policy, Principal, Request, Secret, SharedRights, TokenHash, authorize};
use concord_core::ids::Timestamp;
use concord_core::view::{KeyFilter, ReadView};
use parking_lot::RwLock;

use crate::error::{Error, ErrorKind};
use crate::limits::PRINCIPALS_KEPT_MAX;
use crate::service::uses::{Noted, Uses};

/// In whose name a handle asks.
#[derive(Clone, Debug)]
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
    /// Whoever has shown a certificate that is verified and names the token of this name.
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only a listener sees certificates")
    )]
    Certificate(Arc<Name>),
}

impl Caller {
    /// Who shows this text.
    pub(crate) fn showing(token: &str) -> Self {
        Secret::parse(token).map_or(Self::Nobody, |secret| Self::Token(secret.hash()))
    }

    /// Who has proven to be called this.
    #[cfg(feature = "http")]
    pub(crate) fn called(name: &str) -> Self {
        Name::new(name).map_or(Self::Nobody, |name| Self::Certificate(Arc::new(name)))
    }

    /// Whether what they may do depends on the policy.
    pub(crate) const fn is_judged(&self) -> bool {
        match self {
            Self::Embedder | Self::Anonymous => false,
            Self::Nobody | Self::Token(_) | Self::Certificate(_) => true,
        }
    }

    /// Whether another policy could say something else of them.
    pub(crate) const fn may_become_known(&self) -> bool {
        match self {
            Self::Embedder | Self::Anonymous | Self::Nobody => false,
            Self::Token(_) | Self::Certificate(_) => true,
        }
    }
}

/// The callers that were seen of late, by one revision of the policy.
#[derive(Debug, Default)]
struct Kept {
    policy_revision: u64,
    by_hash: HashMap<[u8; 32], Known, BuildHasherDefault<FirstBytes>>,
    by_name: HashMap<Arc<Name>, Known>,
    rights: SharedRights,
}

/// Of what is a SHA-256 already: nobody chooses which of those that are kept begin alike.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .first_chunk()
            .map_or(self.0, |first| u64::from_le_bytes(*first));
    }

    fn write_usize(&mut self, _: usize) {
        // How many bytes follow: always the same.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Known {
    principal: Arc<Principal>,
    noted: Noted,
}

/// What a caller is looked up by.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Secret(&'a TokenHash),
    Certificate(&'a Arc<Name>),
}

impl Kept {
    fn get(&self, shown: Shown<'_>) -> Option<&Known> {
        match shown {
            Shown::Secret(hash) => self.by_hash.get(hash.as_bytes()),
            Shown::Certificate(name) => self.by_name.get(name),
        }
    }

    fn keep(&mut self, shown: Shown<'_>, mut principal: Principal, noted: Noted) -> Arc<Principal> {
        if self.by_hash.len() + self.by_name.len() >= PRINCIPALS_KEPT_MAX {
            self.clear();
        }
        self.rights.share(&mut principal);
        let principal = Arc::new(principal);
        let known = Known {
            principal: Arc::clone(&principal),
            noted,
        };
        match shown {
            Shown::Secret(hash) => self.by_hash.insert(*hash.as_bytes(), known),
            Shown::Certificate(name) => self.by_name.insert(Arc::clone(name), known),
        };
        principal
    }

    fn clear(&mut self) {
        self.by_hash.clear();
        self.by_name.clear();
        self.rights.clear();
    }
}

/// Somebody who was looked up, for a moment. Who is the same for all that ask is not counted: all threads would do that in
/// one place.
#[derive(Debug)]
pub(crate) enum Identified<'a> {
    Standing(&'a Principal),
    Known(Arc<Principal>),
}

impl Deref for Identified<'_> {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        match self {
            Self::Standing(principal) => principal,
            Self::Known(principal) => principal,
        }
    }
}

/// Looks callers up and judges what they ask.
#[derive(Debug)]
pub(crate) struct Judge {
    embedder: Arc<Principal>,
    anonymous: Arc<Principal>,
    kept: RwLock<Kept>,
    uses: Arc<Uses>,
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self {
            embedder: Arc::new(Principal::embedder()),
            anonymous: Arc::new(Principal::anonymous()),
            kept: RwLock::default(),
            uses: Arc::new(Uses::new()),
        }
    }

    pub(crate) fn uses(&self) -> Arc<Uses> {
        Arc::clone(&self.uses)
    }

    /// Who the caller is whatever the policy says; `None` if that depends on it.
    pub(crate) const fn standing(&self, caller: &Caller) -> Option<&Arc<Principal>> {
        match caller {
            Caller::Embedder => Some(&self.embedder),
            Caller::Anonymous => Some(&self.anonymous),
            Caller::Nobody | Caller::Token(_) | Caller::Certificate(_) => None,
        }
    }

    /// Who the caller is by the policy of a view.
    pub(crate) fn principal(&self, caller: &Caller, view: &ReadView) -> Result<Arc<Principal>, Error> {
        let shown = match caller {
            Caller::Embedder => return Ok(Arc::clone(&self.embedder)),
            Caller::Anonymous => return Ok(Arc::clone(&self.anonymous)),
            Caller::Nobody => return Err(unauthorized()),
            Caller::Token(hash) => Shown::Secret(hash),
            Caller::Certificate(name) => Shown::Certificate(name),
        };
        let (principal, is_news) = match self.kept(shown, view) {
            Some(kept) => kept,
            None => self.look_up(shown, view)?,
        };
        match principal.expires_at() {
            Some(end) if present(view) >= end => Err(unauthorized()),
            Some(_) | None => {
                if is_news {
                    self.uses.note(&principal);
                }
                Ok(principal)
            }
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

    /// With whether it is the first time today.
    fn kept(&self, shown: Shown<'_>, view: &ReadView) -> Option<(Arc<Principal>, bool)> {
        let kept = self.kept.read();
        if kept.policy_revision != view.policy_revision() {
            return None;
        }
        let known = kept.get(shown)?;
        Some((Arc::clone(&known.principal), self.uses.is_first(&known.noted)))
    }

    fn look_up(&self, shown: Shown<'_>, view: &ReadView) -> Result<(Arc<Principal>, bool), Error> {
        let policy = Policy::of(view);
        let known = match shown {
            Shown::Secret(hash) => policy.recognize(hash, view.now()),
            Shown::Certificate(name) => policy.recognize_named(name, view.now()),
        };
        let principal = known.map_err(|_| unauthorized())?;
        let mut kept = self.kept.write();
        if kept.policy_revision < view.policy_revision() {
            kept.policy_revision = view.policy_revision();
            kept.clear();
        }
        // A view of the past is asked now and then, and finds nothing kept.
        if kept.policy_revision != view.policy_revision() {
            return Ok((Arc::new(principal), true));
        }
        let noted = Uses::never();
        self.uses.is_first(&noted);
        Ok((kept.keep(shown, principal, noted), true))
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

/// What of a view somebody is shown.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    principal: Arc<Principal>,
}

impl Sight {
    pub(crate) const fn of(principal: Arc<Principal>) -> Self {
        Self { principal }
    }

    /// Whose it is.
    pub(crate) const fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// What reads leave keys out by; `None`: all of it is shown.
    pub(crate) fn filter(&self) -> Option<&dyn KeyFilter> {
        self.principal.sight().map(|rights| rights as &dyn KeyFilter)
    }

    pub(crate) fn is_confined(&self) -> bool {
        self.principal.sight().is_some()
    }

    /// Whether a key is shown.
    pub(crate) fn shows(&self, key: &[u8]) -> bool {
        self.filter().is_none_or(|filter| filter.shows(key))
    }
}

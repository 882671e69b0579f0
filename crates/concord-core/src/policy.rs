//! The replicated policy, and on whose behalf a request is made.
//!
//! The policy is records, bytes under keys of bytes: `concord-auth` knows what they say, the store does not look.
//! It has a revision of its own, and whoever judged a request says by which one ([`Guard`]): a request that was
//! judged by another policy than the one that it meets is refused and judged anew. So nothing that was allowed by
//! a right that is gone is ever applied (I22).

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::ids::Timestamp;
use crate::limits::PRINCIPAL_ID_BYTES_MAX;
use crate::namespace::NamespaceEdit;

/// A record of the policy to write, or to remove.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyEdit {
    /// Its key: 1 to [`crate::limits::POLICY_KEY_BYTES_MAX`] bytes.
    pub key: Bytes,
    /// What is to be under it; `None`: nothing.
    pub record: Option<Bytes>,
}

/// Without the record: it may hold the hash of a secret.
impl fmt::Debug for PolicyEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.record.is_some() { "write" } else { "remove" };
        write!(f, "PolicyEdit({what} {})", self.key.escape_ascii())
    }
}

/// A change of the policy: all of it, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// Only if the policy is at this revision, which then grows. `None`: at any, and it stays. That is for records
    /// alone that no judgement depends on.
    pub expected: Option<u64>,
    /// What is written and removed. Of edits with one key the last wins.
    pub edits: Vec<PolicyEdit>,
    /// What comes of namespaces with it, in order.
    pub namespaces: Vec<NamespaceEdit>,
}

impl PolicyChange {
    /// A change of the policy as it is at revision `expected`.
    #[must_use]
    pub const fn new(expected: u64, edits: Vec<PolicyEdit>) -> Self {
        Self {
            expected: Some(expected),
            edits,
            namespaces: Vec::new(),
        }
    }

    /// The same change, and these of namespaces with it.
    #[must_use]
    pub fn with_namespaces(self, namespaces: Vec<NamespaceEdit>) -> Self {
        Self { namespaces, ..self }
    }

    /// A change of records that no judgement depends on, whatever the revision is.
    #[must_use]
    pub const fn unjudged(edits: Vec<PolicyEdit>) -> Self {
        Self {
            expected: None,
            edits,
            namespaces: Vec::new(),
        }
    }
}

/// What somebody who asks is known by in the store: at most [`PRINCIPAL_ID_BYTES_MAX`] bytes. None of them means
/// nobody in particular.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalId {
    bytes: [u8; PRINCIPAL_ID_BYTES_MAX],
    len: u8,
}

/// Bytes that are too many for the id of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("principal id has more than {PRINCIPAL_ID_BYTES_MAX} bytes")]
pub struct InvalidPrincipalId;

impl PrincipalId {
    /// Nobody in particular: the process that embeds the store, or anybody while nobody is asked who they are.
    pub const NOBODY: Self = Self {
        bytes: [0; PRINCIPAL_ID_BYTES_MAX],
        len: 0,
    };

    /// Checks and copies `id`.
    ///
    /// # Errors
    ///
    /// If it has more than [`PRINCIPAL_ID_BYTES_MAX`] bytes.
    pub fn new(id: &[u8]) -> Result<Self, InvalidPrincipalId> {
        let mut bytes = [0; PRINCIPAL_ID_BYTES_MAX];
        let taken = bytes.get_mut(..id.len()).ok_or(InvalidPrincipalId)?;
        taken.copy_from_slice(id);
        let len = u8::try_from(id.len()).map_err(|_| InvalidPrincipalId)?;
        Ok(Self { bytes, len })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether this is nobody in particular.
    #[must_use]
    pub const fn is_nobody(&self) -> bool {
        self.len == 0
    }

    /// The id in these bytes, which somebody else wrote.
    pub(crate) fn decode(bytes: &[u8], reader: &Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(bytes).map_err(|_| reader.error("principal id is too long"))
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrincipalId({self})")
    }
}

/// On whose behalf a request is made, and by what it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The revision of the policy by which the request was allowed.
    pub policy_revision: u64,
    /// From when on the caller is nobody any more: refused when the replicated clock has reached this.
    pub expires_at: Option<Timestamp>,
    /// Who asks. Owns the leases that the request makes, and the idempotency keys that it uses.
    pub principal: PrincipalId,
    /// Whether the caller's rights are narrowed to some keys: then there are no leases but their own.
    pub is_confined: bool,
    /// The namespace of the tenant that the caller belongs to, which the operation counts for.
    pub tenant: Option<Bytes>,
}

/// Who makes the request that is being applied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caller {
    pub(crate) principal: PrincipalId,
    pub(crate) is_confined: bool,
}

impl Caller {
    /// Nobody in particular, who may use every lease.
    pub(crate) const NOBODY: Self = Self {
        principal: PrincipalId::NOBODY,
        is_confined: false,
    };

    /// Whether a lease of this owner is one for this caller.
    pub(crate) fn may_use(self, owner: PrincipalId) -> bool {
        !self.is_confined || self.principal == owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_ids_are_short_and_told_apart() {
        assert!(PrincipalId::NOBODY.is_nobody());
        assert_eq!(PrincipalId::new(b""), Ok(PrincipalId::NOBODY));
        let (one, other) = (
            PrincipalId::new(&[0]).unwrap(),
            PrincipalId::new(&[0, 0]).unwrap(),
        );
        assert_ne!(one, other);
        assert_ne!(one, PrincipalId::NOBODY);
        assert_eq!(other.as_bytes(), [0, 0]);
        assert!(PrincipalId::new(&[1; PRINCIPAL_ID_BYTES_MAX]).is_ok());
        assert_eq!(
            PrincipalId::new(&[1; PRINCIPAL_ID_BYTES_MAX + 1]),
            Err(InvalidPrincipalId)
        );
    }

    #[test]
    fn the_records_of_an_edit_are_not_shown() {
        let edit = PolicyEdit {
            key: Bytes::from_static(b"t1"),
            record: Some(Bytes::from_static(b"hash")),
        };
        let change = PolicyChange::new(7, alloc::vec![edit]);
        assert!(!alloc::format!("{change:?}").contains("hash"));
    }
}

//! How far a watcher has come.

use core::fmt;
use core::str::FromStr;

use concord_core::ids::Revision;

/// How far a watcher has come in the change log: behind a whole revision, or, where one
/// revision has more changes than fit on a page, behind one of its changes.
///
/// As text: `41`, or `41.1023` within revision 41. Good on every node.
///
/// Ordered as the change log is: a place within a revision comes before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    revision: Revision,
    /// The last change that was delivered, by its order; `WHOLE`: all of them were.
    order: u32,
}

/// The order that no change has: a revision would need more memory than there is.
const WHOLE: u32 = u32::MAX;

/// Text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a revision, or a revision and an order such as 41.1023")]
pub struct InvalidPosition;

impl Position {
    /// Behind every change of `revision`.
    #[must_use]
    pub const fn behind(revision: Revision) -> Self {
        Self {
            revision,
            order: WHOLE,
        }
    }

    /// Before every change of `revision`, behind those of the one before.
    #[must_use]
    pub const fn before(revision: Revision) -> Self {
        Self::behind(Revision::new(revision.get().saturating_sub(1)))
    }

    /// Behind the change of `revision` at `order`.
    #[must_use]
    pub const fn within(revision: Revision, order: u32) -> Self {
        Self { revision, order }
    }

    /// The revision that it is in or behind.
    #[must_use]
    pub const fn revision(self) -> Revision {
        self.revision
    }

    /// The last change that was delivered of a revision that is not complete.
    #[must_use]
    pub const fn order(self) -> Option<u32> {
        match self.order {
            WHOLE => None,
            order => Some(order),
        }
    }

    /// The revision of which the next change is, if it has one there.
    #[must_use]
    pub const fn next_revision(self) -> Revision {
        match self.order {
            WHOLE => self.revision.next(),
            _ => self.revision,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.order() {
            None => self.revision.fmt(f),
            Some(order) => write!(f, "{}.{order}", self.revision),
        }
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (revision, order) = match text.split_once('.') {
            Some((revision, order)) => (revision, Some(number(order)?)),
            None => (text, None),
        };
        let revision = Revision::new(number(revision)?);
        match order.map(u32::try_from) {
            None => Ok(Self::behind(revision)),
            Some(Ok(order)) if order < WHOLE => Ok(Self::within(revision, order)),
            Some(Ok(_) | Err(_)) => Err(InvalidPosition),
        }
    }
}

/// Digits only: `parse` would take a sign.
fn number(text: &str) -> Result<u64, InvalidPosition> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidPosition);
    }
    text.parse().map_err(|_| InvalidPosition)
}
